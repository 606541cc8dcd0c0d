#!/usr/bin/env bash
# OpenVPN by its own PKCS#11 (pkcs11-helper): both ends of a tunnel, certificate and key on the token, without a network device.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"
# shellcheck source=tests/apps/tokens.sh
. "$(dirname "$0")/tokens.sh"

needs openvpn openvpn
needs_engine
start_token
openvpn --version | head -n 1
token_certificate server rsa "/CN=server" extendedKeyUsage=serverAuth
token_certificate client ec "/CN=client" extendedKeyUsage=clientAuth

# identity CN: how OpenVPN names a certificate of the token
identity() {
    openvpn --show-pkcs11-ids "$token_module" 2>/dev/null | grep -A 3 "DN: *CN=$1\$" | sed -n 's/.*Serialized id: *//p'
}
lists() { openvpn --show-pkcs11-ids "$token_module" && [ -n "$(identity server)" ] && [ -n "$(identity client)" ]; }
check "--show-pkcs11-ids lists both certificates" lists

# tunnel VERSION: a connection takes a signature at each end
tunnel() {
    local version=$1 rsa ec port pids=() status=0 token
    rsa=$(signatures rsa) ec=$(signatures ec)
    free_port port
    rm -f "$work"/openvpn-*.log
    token=(--ca "$work/ca.crt" --pkcs11-providers "$token_module" --pkcs11-id)
    launch "$work/openvpn-server.log" openvpn --dev null --dh none --tls-server --local 127.0.0.1 --port "$port" "${token[@]}" \
        "$(identity server)" --tls-version-min "$version" --tls-version-max "$version" --remote-cert-tls client --verb 4
    pids+=("$pid")
    launch "$work/openvpn-client.log" openvpn --dev null --tls-client --remote 127.0.0.1 "$port" --nobind "${token[@]}" \
        "$(identity client)" --remote-cert-tls server --verb 4
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
finish
