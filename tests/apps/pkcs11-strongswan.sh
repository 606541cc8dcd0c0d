#!/usr/bin/env bash
# strongSwan by its plugin pkcs11: IKEv2 between two charons, certificates and keys on the token; the IKE SA only, without IPsec in
# the kernel.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"
# shellcheck source=tests/apps/tokens.sh
. "$(dirname "$0")/tokens.sh"

charon=/usr/lib/ipsec/charon
needs "$charon" strongswan-charon
needs swanctl strongswan-swanctl
needs_engine
if [ ! -f /usr/lib/ipsec/plugins/libstrongswan-pkcs11.so ]; then
    skip strongSwan "its plugin pkcs11 is not installed (apt-get install libstrongswan-extra-plugins)"
    finish
fi
apart=(unshare --mount)
if ! "${apart[@]}" true 2>/dev/null && ! grep -q ' shared:' /proc/self/mountinfo; then
    apart+=(--propagation unchanged)
fi
if [ "$(id -u)" -ne 0 ] || ! "${apart[@]}" true 2>/dev/null; then
    skip strongSwan "two charons are started by root, each with a /run of its own"
    finish
fi
start_token
"$charon" --version
token_certificate server rsa "/CN=server" subjectAltName=DNS:pkcs1,DNS:pss
token_certificate visitor ec "/CN=visitor" subjectAltName=DNS:visitor
free_port server_port
free_port server_natt
free_port client_port
free_port client_natt

# How strongSwan names an object of the token: by its CKA_ID
handle() { openssl x509 -in "$work/$1.crt" -noout -ext subjectKeyIdentifier | tail -n 1 | tr -d ' :\n' | tr 'A-F' 'a-f'; }

# One end: end NAME PORT NAT_PORT, with its connections on stdin.
end() {
    local name=$1 folder=$work/$1
    mkdir -p "$folder/x509ca"
    cp "$work/ca.crt" "$folder/x509ca/"
    {
        cat
        echo "secrets { token { handle = $(handle "$name"); slot = 0; module = akv; pin = x } }" | tr ';' '\n'
    } >"$folder/swanctl.conf"
    cat >"$folder/strongswan.conf" <<END
charon {
    port = $2
    port_nat_t = $3
    install_routes = no
    install_virtual_ip = no
    load = random nonce pkcs11 openssl pem pkcs1 pkcs8 x509 pubkey constraints revocation kdf hmac vici socket-default kernel-netlink
    plugins {
        vici {
            socket = unix://$folder/charon.vici
        }
        pkcs11 {
            modules {
                akv {
                    path = $token_module
                }
            }
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
own() { printf '%s\n' "cert {" "handle = $(handle "$1")" "slot = 0" "module = akv" "}" "id = $2"; }
inward() {
    cat <<END
    $1 {
        version = 2
        local_addrs = 127.0.0.1
        unique = never
        local {
            auth = ike:rsa$2
            $(own server "$1")
        }
        remote {
            auth = pubkey
            id = visitor
        }
    }
END
}
check "server: starts, with certificate and key of the token" end server "$server_port" "$server_natt" < <(
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
            $(own visitor visitor)
        }
        remote {
            auth = ike:rsa$2
            id = $1
        }
    }
END
}
check "client: starts, with certificate and key of the token" end visitor "$client_port" "$client_natt" < <(
    echo "connections {"
    outward pkcs1 -sha256
    outward pss /pss-sha384
    echo "}"
)
client=$pid
# One signature at each end.
authenticated() {
    local rsa ec
    rsa=$(signatures rsa) ec=$(signatures ec)
    control visitor --initiate --ike "$1" --timeout 30 || { tail -n 15 "$work/server/charon.log" "$work/visitor/charon.log"; return 1; }
    tail -n 20 "$work/visitor/charon.log" | grep "authentication of '$1' with $2.* successful" && signed rsa "$rsa" 1 && signed ec "$ec" 1
}
check "IKEv2: RSA, PKCS#1, and EC" authenticated pkcs1 RSA_EMSA_PKCS1_SHA2_256
# What the plugin can't, it says before it asks the token.
refused() {
    local before
    before=$(signatures rsa)
    ! control visitor --initiate --ike pss --timeout 30 &&
        grep "signature scheme RSA_EMSA_PSS not supported" "$work/server/charon.log" && signed rsa "$before" 0
}
case $("$charon" --version) in
    *" 5."*) check "IKEv2: RSA, PSS: impossible, the plugin does not know it" refused ;;
    *) check "IKEv2: RSA, PSS, and EC" authenticated pss RSA_EMSA_PSS_SHA2_384 ;;
esac
check "client: stops" end_process "$client"
check "server: stops" end_process "$server"
finish
