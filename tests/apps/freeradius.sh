#!/usr/bin/env bash
# FreeRADIUS: EAP-TLS with both ends' keys in the HSM (the other one is wpa_supplicant's code, by eapol_test), and RadSec.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"

needs freeradius freeradius
needs eapol_test eapoltest
start_hsm
freeradius -v | sed -n '1s/,.*//p'
software_certificate access-point
free_port port
free_port radsec
mkdir "$work/raddb"
: >"$work/raddb/dictionary"
user=
if [ "$(id -u)" -eq 0 ]; then
    user="user = freerad
    group = freerad"
    chown freerad "$work"
fi

# tls_config: the server's certificate and key
tls_config() {
    cat <<CONF
        certificate_file = $work/rsa.crt
        private_key_file = $work/rsa.key
        ca_file = $work/ca.crt
        tls_min_version = "1.2"
        tls_max_version = "1.3"
CONF
}
cat >"$work/raddb/radiusd.conf" <<CONF
prefix = /usr
logdir = $work
run_dir = $work
db_dir = $work
libdir = /usr/lib/freeradius
log {
    destination = stdout
}
security {
    $user
    allow_vulnerable_openssl = no
}
# RadSec needs threads.
thread pool {
    start_servers = 2
}
client localhost {
    ipaddr = 127.0.0.1
    secret = testing123
}
clients radsec {
    client localhost {
        ipaddr = 127.0.0.1
        proto = tls
        secret = radsec
    }
}
modules {
    eap {
        default_eap_type = tls
        tls-config keys {
$(tls_config)
        }
        tls {
            tls = keys
        }
    }
}
server default {
    listen {
        type = auth
        ipaddr = 127.0.0.1
        port = $port
    }
    listen {
        type = auth
        ipaddr = 127.0.0.1
        port = $radsec
        proto = tcp
        clients = radsec
        tls {
$(tls_config)
            require_client_cert = yes
        }
    }
    authorize {
        eap
    }
    authenticate {
        eap
    }
}
CONF
launch "$work/radius.log" freeradius -fxx -l stdout -d "$work/raddb"
server=$pid
check "starts" eval "wait_until 30 grep -q 'Ready to process requests' '$work/radius.log' || { tail -n 30 '$work/radius.log'; false; }"
[ "$failed" -eq 0 ] || finish

# login VERSION NAME: by a certificate and key of that name
login() {
    # Several run at once.
    local off=1 files=$work/eapol-$BASHPID
    [ "$1" = 1.2 ] || off=0
    cat >"$files.conf" <<CONF
network={
    key_mgmt=WPA-EAP
    eap=TLS
    identity="$2"
    ca_cert="$work/ca.crt"
    client_cert="$work/$2.crt"
    private_key="$work/$2.key"
    phase1="tls_disable_tlsv1_3=$off"
}
CONF
    with_provider eapol_test -c "$files.conf" -p "$port" -s testing123 -t 30 >"$files.log" 2>&1 || {
        tail -n 30 "$files.log"
        return 1
    }
    grep -q "SSL: Using TLS version TLSv$1" "$files.log"
}
eap() {
    local rsa ec
    rsa=$(signatures rsa) ec=$(signatures ec)
    login "$1" client && signed rsa "$rsa" 1 && signed ec "$ec" 1
}
check "EAP-TLS, TLS 1.2: a signature for each end" eap 1.2
check "EAP-TLS, TLS 1.3: a signature for each end" eap 1.3
openssl req -new -x509 -newkey rsa:2048 -noenc -keyout "$work/stranger.key" -subj /CN=stranger -out "$work/stranger.crt" 2>/dev/null
check "EAP-TLS: a certificate of another CA is refused" eval "! login 1.3 stranger"
handshakes "RadSec" "$radsec" rsa -- -cert "$work/access-point.crt" -key "$work/access-point.key"
check "the HSM restarts under load" hsm_restarts login 1.3 access-point
check "stops" end_process "$server"
finish
