#!/usr/bin/env bash
# curl, Python, Ruby, Perl, Node.js and PHP: each as a client with a certificate, and as a server, in both versions of TLS.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"

start_hsm
# A server with a software key that asks for a certificate; it answers with a page about the connection.
software_certificate backend
free_port backend
openssl s_server -accept "127.0.0.1:$backend" -cert "$work/backend.crt" -key "$work/backend.key" -CAfile "$work/ca.crt" \
    -Verify 1 -verify_return_error -www >"$work/backend.log" 2>&1 &
started "$!"
wait_until 10 port_is_open "$backend" || broken "openssl s_server did not start."
export BACKEND=$backend WORK=$work

# A client with a certificate gets the page: client_of PROGRAM… (which takes the TLS version in TLS_VERSION)
client_of() {
    local version before
    for version in 1.2 1.3; do
        before=$(signatures ec)
        TLS_VERSION=$version with_provider "$@" >"$work/page" || return 1
        grep -q "TLSv$version" "$work/page" || { echo "not by TLS $version:"; head -n 12 "$work/page"; return 1; }
        signed ec "$before" 1 || return 1
    done
}

# A server with the RSA key at PORT: server_of NAME PROGRAM…
server_of() {
    local name=$1
    shift
    free_port port
    PORT=$port launch "$work/$name.log" "$@"
    wait_until 30 port_is_open "$port" || { cat "$work/$name.log"; return 1; }
    if ! handshake "$port" 1.2 RSA+SHA256 rsa || ! handshake "$port" 1.3 RSA-PSS+SHA256 rsa ||
        ! many "https://localhost:$port/" 10; then
        cat "$work/$name.log"
        return 1
    fi
    end_process "$pid" KILL
}

# Both for a program: both NAME VERSION CLIENT… -- SERVER…
both() {
    local name=$1 version=$2 client=()
    shift 2
    while [ "$1" != -- ]; do
        client+=("$1")
        shift
    done
    shift
    check "$name $version: client certificate" client_of "${client[@]}"
    check "$name $version: server" server_of "$name" "$@"
}

# --- curl

curl_client() {
    curl --silent --show-error --cacert "$work/ca.crt" --cert "$work/client.crt" --key "$work/client.key" \
        --tlsv"$TLS_VERSION" --tls-max "$TLS_VERSION" "https://localhost:$backend/"
}
# The URI rather than a key file, from 8.12 on; openssl.cnf isn't needed then, as --engine loads the provider.
curl_uri_client() {
    env --unset=OPENSSL_CONF OPENSSL_MODULES="$work/modules" curl --silent --show-error --cacert "$work/ca.crt" \
        --cert "$work/client.crt" --engine akv_provider --key-type PROV --key managedhsm:MyHSM:ec \
        --tlsv"$TLS_VERSION" --tls-max "$TLS_VERSION" "https://localhost:$backend/"
}
curl_one_file() {
    curl --silent --show-error --cacert "$work/ca.crt" --cert "$work/client.pem" \
        --tlsv"$TLS_VERSION" --tls-max "$TLS_VERSION" "https://localhost:$backend/"
}
curl_title=$(curl --version | cut -d' ' -f1,2 | head -n 1)
check "$curl_title: client certificate" client_of curl_client
check "$curl_title: client certificate and key in one file" client_of curl_one_file
if [ "$(printf '%s\n' "curl 8.12" "$curl_title" | sort --version-sort | head -n 1)" = "curl 8.12" ]; then
    check "$curl_title: client certificate, --key-type PROV" client_of curl_uri_client
else
    skip "$curl_title, --key-type PROV" "curl has it from 8.12 on"
fi

# --- Python

cat >"$work/client.py" <<'END'
import os, ssl, sys, urllib.request
work, version = os.environ["WORK"], os.environ["TLS_VERSION"]
context = ssl.create_default_context(cafile=work + "/ca.crt")
context.load_cert_chain(work + "/client.crt", work + "/client.key")
context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, "TLSv" + version.replace(".", "_"))
url = "https://localhost:" + os.environ["BACKEND"] + "/"
sys.stdout.write(urllib.request.urlopen(url, context=context, timeout=30).read().decode())
END
cat >"$work/server.py" <<'END'
import http.server, os, ssl
work = os.environ["WORK"]
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(work + "/rsa.pem")
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), http.server.SimpleHTTPRequestHandler)
# The handshake is made by the thread that serves the connection.
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
END
# Debian's, which uses the system's OpenSSL, whatever else is first in PATH.
if [ -x /usr/bin/python3 ]; then
    both python "$(/usr/bin/python3 -c 'import platform; print(platform.python_version())')" \
        /usr/bin/python3 "$work/client.py" -- /usr/bin/python3 "$work/server.py"
else
    skip python "it is not installed (apt-get install python3)"
fi

# --- Ruby

cat >"$work/client.rb" <<'END'
require "net/http"
work = ENV["WORK"]
http = Net::HTTP.new("localhost", ENV["BACKEND"])
http.use_ssl = true
http.ca_file = work + "/ca.crt"
http.cert = OpenSSL::X509::Certificate.new(File.read(work + "/client.crt"))
http.key = OpenSSL::PKey.read(File.read(work + "/client.key"))
http.min_version = http.max_version = OpenSSL::SSL.const_get("TLS" + ENV["TLS_VERSION"].tr(".", "_") + "_VERSION")
print http.get("/").body
END
cat >"$work/server.rb" <<'END'
require "openssl"
require "socket"
work = ENV["WORK"]
context = OpenSSL::SSL::SSLContext.new
context.add_certificate(OpenSSL::X509::Certificate.new(File.read(work + "/rsa.crt")), OpenSSL::PKey.read(File.read(work + "/rsa.key")))
server = OpenSSL::SSL::SSLServer.new(TCPServer.new("127.0.0.1", ENV["PORT"].to_i), context)
server.start_immediately = false
loop do
  connection = server.accept
  Thread.new do
    connection.accept
    connection.gets
    connection.write("HTTP/1.0 200 OK\r\n\r\nkeys in the HSM\n")
    connection.close
  rescue StandardError => error
    warn error
  end
end
END
# The gem, up to 3.2 at least, asks libcrypto for the key's numbers, which it hasn't, and crashes.
ruby_impossible() {
    local before printed
    before=$(signatures ec)
    printed=$(TLS_VERSION=1.3 with_provider /usr/bin/ruby "$work/client.rb" 2>&1)
    grep -a -m 1 "Segmentation fault" <<<"$printed" && grep -a -m 1 "_get0_.*key" <<<"$printed" && signed ec "$before" 0
}
if [ ! -x /usr/bin/ruby ]; then
    skip ruby "it is not installed (apt-get install ruby)"
else
    gem=$(/usr/bin/ruby -ropenssl -e 'print OpenSSL::VERSION')
    version="$(/usr/bin/ruby -e 'print RUBY_VERSION'), openssl $gem"
    if [ "$(printf '3.3\n%s\n' "$gem" | sort --version-sort | head -n 1)" = 3.3 ]; then
        both ruby "$version" /usr/bin/ruby "$work/client.rb" -- /usr/bin/ruby "$work/server.rb"
    else
        check "ruby $version: impossible, it crashes in libcrypto" ruby_impossible
    fi
fi

# --- Perl

cat >"$work/client.pl" <<'END'
use IO::Socket::SSL;
my $version = $ENV{TLS_VERSION} =~ tr/./_/r;
my $socket = IO::Socket::SSL->new(PeerAddr => "localhost:$ENV{BACKEND}", SSL_ca_file => "$ENV{WORK}/ca.crt",
    SSL_cert_file => "$ENV{WORK}/client.crt", SSL_key_file => "$ENV{WORK}/client.key", SSL_version => "TLSv$version")
    or die "$SSL_ERROR\n";
print $socket "GET / HTTP/1.0\r\n\r\n";
print while <$socket>;
END
cat >"$work/server.pl" <<'END'
use IO::Socket::SSL;
my $server = IO::Socket::SSL->new(Listen => 16, LocalAddr => "127.0.0.1:$ENV{PORT}", SSL_cert_file => "$ENV{WORK}/rsa.crt",
    SSL_key_file => "$ENV{WORK}/rsa.key") or die "$SSL_ERROR\n";
while (1) {
    my $client = $server->accept or next;
    <$client>;
    print $client "HTTP/1.0 200 OK\r\n\r\nkeys in the HSM\n";
    close $client;
}
END
if perl -MIO::Socket::SSL -e 1 2>/dev/null; then
    both perl "$(perl -MIO::Socket::SSL -e 'printf "%vd, IO::Socket::SSL %s", $^V, $IO::Socket::SSL::VERSION')" \
        perl "$work/client.pl" -- perl "$work/server.pl"
else
    skip perl "IO::Socket::SSL is not installed (apt-get install libio-socket-ssl-perl)"
fi

# --- Node.js

cat >"$work/client.cjs" <<'END'
const fs = require("fs"), https = require("https"), work = process.env.WORK, version = "TLSv" + process.env.TLS_VERSION;
https.get({ host: "localhost", port: process.env.BACKEND, ca: fs.readFileSync(work + "/ca.crt"),
  cert: fs.readFileSync(work + "/client.crt"), key: fs.readFileSync(work + "/client.key"),
  minVersion: version, maxVersion: version }, answer => answer.pipe(process.stdout));
END
cat >"$work/server.cjs" <<'END'
const fs = require("fs"), https = require("https"), work = process.env.WORK;
https.createServer({ cert: fs.readFileSync(work + "/rsa.crt"), key: fs.readFileSync(work + "/rsa.key") },
  (request, response) => response.end("keys in the HSM\n")).listen(Number(process.env.PORT), "127.0.0.1");
END
if command -v node >/dev/null; then
    # Node.js reads OPENSSL_CONF only if it is told so.
    both node "$(node --version), OpenSSL $(node -p process.versions.openssl)" \
        node --openssl-shared-config "$work/client.cjs" -- node --openssl-shared-config "$work/server.cjs"
else
    skip node "it is not installed (apt-get install nodejs)"
fi

# --- PHP

cat >"$work/client.php" <<'END'
<?php
$work = getenv("WORK");
$method = getenv("TLS_VERSION") == "1.2" ? STREAM_CRYPTO_METHOD_TLSv1_2_CLIENT : STREAM_CRYPTO_METHOD_TLSv1_3_CLIENT;
echo file_get_contents("https://localhost:" . getenv("BACKEND") . "/", false, stream_context_create(["ssl" => [
    "cafile" => "$work/ca.crt", "local_cert" => "$work/client.crt", "local_pk" => "$work/client.key", "crypto_method" => $method]]));
END
cat >"$work/server.php" <<'END'
<?php
$work = getenv("WORK");
$context = stream_context_create(["ssl" => ["local_cert" => "$work/rsa.crt", "local_pk" => "$work/rsa.key"]]);
$server = stream_socket_server("tcp://127.0.0.1:" . getenv("PORT"), $code, $text, STREAM_SERVER_BIND | STREAM_SERVER_LISTEN, $context);
while (true) {
    $client = stream_socket_accept($server, -1);
    if (stream_socket_enable_crypto($client, true, STREAM_CRYPTO_METHOD_TLSv1_2_SERVER | STREAM_CRYPTO_METHOD_TLSv1_3_SERVER)) {
        fgets($client);
        fwrite($client, "HTTP/1.0 200 OK\r\n\r\nkeys in the HSM\n");
    }
    fclose($client);
}
END
if command -v php >/dev/null; then
    both php "$(php -r 'echo PHP_VERSION;')" php "$work/client.php" -- php "$work/server.php"
else
    skip php "it is not installed (apt-get install php-cli)"
fi
finish
