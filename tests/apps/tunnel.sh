# shellcheck shell=bash
# A tunnel of OpenVPN between two ends, without a network device. Sourced after harness.sh, not run.
#
#   tunnel VERSION [COMMAND…]   a connection takes a signature at each end; the command comes before OpenVPN's options. Before that a
#                               script defines
#     own NAME                  prints the options for the certificate and key of `server` and `client`, one in each line

tunnel() {
    local version=$1 openvpn=("${@:2}") server client rsa ec port pids=() status=0
    [ "${#openvpn[@]}" -gt 0 ] || openvpn=(openvpn)
    mapfile -t server < <(own server)
    mapfile -t client < <(own client)
    rsa=$(signatures rsa) ec=$(signatures ec)
    free_port port
    rm -f "$work"/openvpn-*.log
    launch "$work/openvpn-server.log" "${openvpn[@]}" --dev null --dh none --tls-server --local 127.0.0.1 --port "$port" --ca "$work/ca.crt" \
        "${server[@]}" --tls-version-min "$version" --tls-version-max "$version" --remote-cert-tls client --verb 4
    pids+=("$pid")
    launch "$work/openvpn-client.log" "${openvpn[@]}" --dev null --tls-client --remote 127.0.0.1 "$port" --nobind --ca "$work/ca.crt" \
        "${client[@]}" --remote-cert-tls server --verb 4
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
