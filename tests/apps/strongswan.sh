#!/usr/bin/env bash
# strongSwan: IKEv2 between two charons, each with a key file; the IKE SA only, without IPsec in the kernel.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"

charon=/usr/lib/ipsec/charon
needs "$charon" strongswan-charon
needs swanctl strongswan-swanctl
if [ ! -f /usr/lib/ipsec/plugins/libstrongswan-openssl.so ]; then
    skip strongSwan "its plugin openssl is not installed (apt-get install libstrongswan-standard-plugins)"
    finish
fi
apart=(unshare --mount)
# In a root that is no mount point that can't be made private, and needn't if nothing is shared.
if ! "${apart[@]}" true 2>/dev/null && ! grep -q ' shared:' /proc/self/mountinfo; then
    apart+=(--propagation unchanged)
fi
if [ "$(id -u)" -ne 0 ] || ! "${apart[@]}" true 2>/dev/null; then
    skip strongSwan "two charons are started by root, each with a /run of its own"
    finish
fi
start_hsm
swanctl --version 2>/dev/null | head -n 1
certificate server rsa "/CN=server" subjectAltName=DNS:pkcs1,DNS:pss
certificate visitor ec "/CN=visitor" subjectAltName=DNS:visitor
free_port server_port
free_port server_natt
free_port client_port
free_port client_natt

# One end: end NAME PORT NAT_PORT, with its connections on stdin.
end() {
    local name=$1 folder=$work/$1
    mkdir -p "$folder"/{x509,x509ca,private}
    cp "$work/$name.crt" "$folder/x509/"
    cp "$work/ca.crt" "$folder/x509ca/"
    cp "$work/$name.key" "$folder/private/"
    cat >"$folder/swanctl.conf"
    cat >"$folder/strongswan.conf" <<END
charon {
    port = $2
    port_nat_t = $3
    install_routes = no
    install_virtual_ip = no
    load = random nonce openssl pem pkcs1 pkcs8 x509 pubkey constraints revocation kdf hmac vici socket-default kernel-netlink
    plugins {
        vici {
            socket = unix://$folder/charon.vici
        }
    }
    filelog {
        log {
            path = $folder/charon.log
            default = 1
            flush_line = yes
        }
    }
}
END
    # Its file with the process id is always at the same place.
    STRONGSWAN_CONF="$folder/strongswan.conf" launch "$folder/out.log" "${apart[@]}" bash -c "mount -t tmpfs none /run && exec $charon"
    wait_until 20 test -S "$folder/charon.vici" || { tail "$folder/out.log"; return 1; }
    control "$name" --load-all
}
control() {
    local name=$1
    shift
    SWANCTL_DIR="$work/$name" STRONGSWAN_CONF="$work/$name/strongswan.conf" swanctl "$@" --uri "unix://$work/$name/charon.vici"
}
# The server's key by each padding, as the visitor asks for the one or the other.
inward() {
    cat <<END
    $1 {
        version = 2
        local_addrs = 127.0.0.1
        unique = never
        local {
            auth = ike:rsa$2
            certs = server.crt
            id = $1
        }
        remote {
            auth = pubkey
            id = visitor
        }
    }
END
}
check "server: starts and loads its key file" end server "$server_port" "$server_natt" < <(
    echo "connections {"
    inward pkcs1 -sha256
    inward pss /pss-sha384
    echo "}"
)
server=$pid
outward() {
    cat <<END
    $1 {
        version = 2
        childless = force
        local_addrs = 127.0.0.1
        remote_addrs = 127.0.0.1
        local_port = $client_natt
        remote_port = $server_natt
        unique = never
        local {
            certs = visitor.crt
            id = visitor
        }
        remote {
            auth = ike:rsa$2
            id = $1
        }
    }
END
}
check "client: starts and loads its key file" end visitor "$client_port" "$client_natt" < <(
    echo "connections {"
    outward pkcs1 -sha256
    outward pss /pss-sha384
    echo "}"
)
client=$pid
connects() { control visitor --initiate --ike "$1" --timeout 30; }
# One signature at each end.
authenticated() {
    local rsa ec
    rsa=$(signatures rsa) ec=$(signatures ec)
    connects "$1" || { tail -n 5 "$work/server/charon.log"; return 1; }
    tail -n 20 "$work/visitor/charon.log" | grep "authentication of '$1' with $2.* successful" && signed rsa "$rsa" 1 && signed ec "$ec" 1
}
check "IKEv2: RSA, PKCS#1, and EC" authenticated pkcs1 RSA_EMSA_PKCS1_SHA2_256
check "IKEv2: RSA, PSS, and EC" authenticated pss RSA_EMSA_PSS_SHA2_384
# A connection begins just before the HSM ends, five times.
reconnects() {
    local i visitor lost=0
    for i in 1 2 3 4 5; do
        control visitor --terminate --ike pkcs1 || return 1
        connects pkcs1 >"$work/connects.log" 2>&1 &
        visitor=$!
        restart_hsm || return 1
        wait "$visitor" || { tail -n 3 "$work/connects.log"; lost=$((lost + 1)); }
    done
    echo "figures: 5 connections, $lost lost"
    [ "$lost" -eq 0 ]
}
check "the HSM restarts while they connect" reconnects
stops() { end_process "$client" && end_process "$server"; }
check "stops" stops
finish
