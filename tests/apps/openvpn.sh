#!/usr/bin/env bash
# OpenVPN: both ends of a tunnel, without a network device.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"

needs openvpn openvpn
start_hsm
openvpn --version | head -n 1
certificate server rsa "/CN=server" extendedKeyUsage=serverAuth

# tunnel VERSION [COMMAND…]: a connection takes a signature at each end; the command comes before OpenVPN's options.
tunnel() {
    local version=$1 openvpn=("${@:2}") rsa ec port pids=() status=0
    [ "${#openvpn[@]}" -gt 0 ] || openvpn=(openvpn)
    rsa=$(signatures rsa) ec=$(signatures ec)
    free_port port
    rm -f "$work"/openvpn-*.log
    launch "$work/openvpn-server.log" "${openvpn[@]}" --dev null --dh none --tls-server --local 127.0.0.1 --port "$port" --ca "$work/ca.crt" --cert "$work/server.crt" \
        --key "$work/server.key" --tls-version-min "$version" --tls-version-max "$version" --remote-cert-tls client --verb 4
    pids+=("$pid")
    launch "$work/openvpn-client.log" "${openvpn[@]}" --dev null --tls-client --remote 127.0.0.1 "$port" --nobind --ca "$work/ca.crt" --cert "$work/client.crt" \
        --key "$work/client.key" --remote-cert-tls server --verb 4
    pids+=("$pid")
    for end in server client; do
        if ! wait_until 60 grep -q "Initialization Sequence Completed" "$work/openvpn-$end.log"; then
            tail -n 10 "$work/openvpn-$end.log"
            status=1
        fi
    done
    grep -q "Control Channel: TLSv$version" "$work/openvpn-client.log" && signed rsa "$rsa" 1 && signed ec "$ec" 1 || status=1
    end_process "${pids[1]}"
    end_process "${pids[0]}"
    return "$status"
}
check "tunnel, TLS 1.2" tunnel 1.2
check "tunnel, TLS 1.3" tunnel 1.3
# By OpenVPN's own option, and no openssl.cnf.
check "tunnel, --providers" tunnel 1.3 env --unset=OPENSSL_CONF OPENSSL_MODULES="$work/modules" openvpn --providers default akv_provider
finish
