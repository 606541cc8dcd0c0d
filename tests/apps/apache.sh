#!/usr/bin/env bash
# Apache httpd: prefork and event, RSA and EC keys, graceful restarts, and its own certificate towards a backend.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"

needs apache2 apache2
start_hsm
echo "$(apache2 -v | head -n 1), $(openssl version | cut -d' ' -f1,2)"
# shellcheck source=tests/apps/httpd.sh
. "$(dirname "$0")/httpd.sh"

for mpm in prefork event; do
    free_port port
    check "$mpm: starts" start "$mpm" "$mpm" <<END
Listen 127.0.0.1:$port
<VirtualHost *:$port>
    SSLEngine on
    SSLCertificateFile $work/rsa.crt
    SSLCertificateKeyFile $work/rsa.key
    SSLCertificateFile $work/ec.crt
    SSLCertificateKeyFile $work/ec.key
</VirtualHost>
END
    check "$mpm: answers" ready "https://localhost:$port/" "$work/$mpm/log"
    handshakes "$mpm" "$port" rsa ec
    for version in 1.2 1.3; do
        check "$mpm: session resumed, TLS $version" resumption "$port" "$version"
    done
    check "$mpm: 50 handshakes, 8 at a time" many "https://localhost:$port/" 50
    check "$mpm: graceful restarts under load" restarts "$mpm" "https://localhost:$port/"
    check "$mpm: the HSM restarts under load" hsm_restarts page "https://localhost:$port/"
    check "$mpm: stops" stop "$mpm"
done

# A certificate of its own towards a backend can't be an HSM's key: httpd reads that file by PEM_X509_INFO_read_bio, which passes
# over all keys but software keys.
free_port front
free_port back
software_certificate backend
check "proxy with a client certificate: starts" start proxy event <<END
Listen 127.0.0.1:$back
Listen 127.0.0.1:$front
<VirtualHost *:$back>
    SSLEngine on
    SSLCertificateFile $work/rsa.pem
    SSLCACertificateFile $work/ca.crt
    SSLVerifyClient require
</VirtualHost>
<VirtualHost *:$front>
    SSLProxyEngine on
    SSLProxyMachineCertificateFile $work/client.pem
    SSLProxyCACertificateFile $work/ca.crt
    SSLProxyVerify require
    ProxyPass / https://localhost:$back/
</VirtualHost>
END
impossible() {
    local ec
    ec=$(signatures ec)
    ! page "http://localhost:$front/" && signed ec "$ec" 0 && grep "AH02206: no client certs found" "$work/proxy/log"
}
check "proxy with a client certificate: impossible, httpd passes over the key" impossible
check "server with certificate and key in one file, which asks for a client certificate" \
    page --cert "$work/backend.crt" --key "$work/backend.key" "https://localhost:$back/"
check "server that asks for a client certificate: refuses others" eval "! page https://localhost:$back/"
check "proxy: stops" stop proxy
finish
