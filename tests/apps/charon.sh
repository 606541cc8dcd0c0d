# shellcheck shell=bash disable=SC2034
# Two charons of strongSwan for a test, server and visitor, each with a /run of its own; the IKE SA only, without IPsec in the kernel.
# Sourced after harness.sh, not run.
#
#   needs_charons             ends the script as skipped, loudly, if they can't be started here
#   starts_both WHAT          two checks: both start, with WHAT; sets `server` and `client`. Before that a script defines
#     credentials NAME          prints what an end's swanctl.conf has besides, and puts files into its folder
#     own NAME                  prints an end's certificate for its section `local`
#     further_plugin, plugin_settings   for strongswan.conf
#   control NAME OPTION…      swanctl at one of them
#   connects CONNECTION       pkcs1 or pss, as the server signs with its RSA key
#   authenticated CONNECTION ALGORITHM    the same, with one signature at each end

charon=/usr/lib/ipsec/charon
further_plugin='' plugin_settings=''

needs_charons() {
    needs "$charon" strongswan-charon
    needs swanctl strongswan-swanctl
    apart=(unshare --mount)
    # In a root that is no mount point that can't be made private, and needn't if nothing is shared.
    if ! "${apart[@]}" true 2>/dev/null && ! grep -q ' shared:' /proc/self/mountinfo; then
        apart+=(--propagation unchanged)
    fi
    if [ "$(id -u)" -ne 0 ] || ! "${apart[@]}" true 2>/dev/null; then
        skip strongSwan "two charons are started by root, each with a /run of its own"
        finish
    fi
    free_port server_port
    free_port server_natt
    free_port client_port
    free_port client_natt
}

# One end: end NAME PORT NAT_PORT, with its connections on stdin.
end() {
    local name=$1 folder=$work/$1
    mkdir -p "$folder/x509ca"
    cp "$work/ca.crt" "$folder/x509ca/"
    {
        cat
        credentials "$name"
    } >"$folder/swanctl.conf"
    cat >"$folder/strongswan.conf" <<END
charon {
    port = $2
    port_nat_t = $3
    install_routes = no
    install_virtual_ip = no
    load = random nonce $further_plugin openssl pem pkcs1 pkcs8 x509 pubkey constraints revocation kdf hmac vici socket-default kernel-netlink
    plugins {
        vici {
            socket = unix://$folder/charon.vici
        }
        $plugin_settings
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
            $(own server)
            id = $1
        }
        remote {
            auth = pubkey
            id = visitor
        }
    }
END
}

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
            $(own visitor)
            id = visitor
        }
        remote {
            auth = ike:rsa$2
            id = $1
        }
    }
END
}

starts_both() {
    check "server: starts, with $1" end server "$server_port" "$server_natt" < <(
        echo "connections {"
        inward pkcs1 -sha256
        inward pss /pss-sha384
        echo "}"
    )
    server=$pid
    check "client: starts, with $1" end visitor "$client_port" "$client_natt" < <(
        echo "connections {"
        outward pkcs1 -sha256
        outward pss /pss-sha384
        echo "}"
    )
    client=$pid
}

connects() { control visitor --initiate --ike "$1" --timeout 30; }
# One signature at each end.
authenticated() {
    local rsa ec
    rsa=$(signatures rsa) ec=$(signatures ec)
    connects "$1" || { tail -n 15 "$work/server/charon.log" "$work/visitor/charon.log"; return 1; }
    tail -n 20 "$work/visitor/charon.log" | grep "authentication of '$1' with $2.* successful" && signed rsa "$rsa" 1 && signed ec "$ec" 1
}
