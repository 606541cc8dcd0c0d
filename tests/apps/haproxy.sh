#!/usr/bin/env bash
# HAProxy: certificate and key in one file, 1 and 4 threads, with and without ssl-mode-async, reloads, its own certificate
# towards a backend.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"

needs haproxy haproxy
start_hsm
haproxy -v | head -n 1
# shellcheck source=tests/apps/haproxies.sh
. "$(dirname "$0")/haproxies.sh"

for mode in "1 no" "4 no" "1 yes" "4 yes"; do
    read -r threads async <<<"$mode"
    serves "$threads" "$async"
done

# The key may be beside the certificate, as NAME.crt and NAME.crt.key.
cp "$work/client.key" "$work/client.crt.key"
proxies "$work/client.crt"

# By HAProxy's own option, and no openssl.cnf.
free_port port
cat >"$work/provider.cfg" <<END
global
    insecure-fork-wanted
    ssl-provider-path $work/modules
    ssl-provider default
    ssl-provider akv_provider
defaults
    mode http
    timeout connect 10s
    timeout client 30s
    timeout server 30s
frontend tls
    bind 127.0.0.1:$port ssl crt $work/rsa.pem crt $work/ec.pem ssl-min-ver TLSv1.2
    http-request return status 200 content-type text/plain string "keys in the HSM"
END
launch "$work/provider.log" env --unset=OPENSSL_CONF haproxy -W -db -f "$work/provider.cfg"
masters[provider]=$pid
check "ssl-provider: answers" ready "https://localhost:$port/" "$work/provider.log"
check "ssl-provider: TLS 1.3, RSA" handshake "$port" 1.3 RSA-PSS+SHA256:RSA+SHA256 rsa
check "ssl-provider: TLS 1.3, EC" handshake "$port" 1.3 ECDSA+SHA256 ec
check "ssl-provider: stops" stop provider
finish
