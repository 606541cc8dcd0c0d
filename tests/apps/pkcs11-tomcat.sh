#!/usr/bin/env bash
# Tomcat with keys and certificates of the token, by Java's own TLS.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"
# shellcheck source=tests/apps/tokens.sh
. "$(dirname "$0")/tokens.sh"
# shellcheck source=tests/apps/java.sh
. "$(dirname "$0")/java.sh"

needs_java
home=/usr/share/tomcat10
if [ ! -x "$home/bin/catalina.sh" ]; then
    skip Tomcat "it is not installed (apt-get install tomcat10)"
    finish
fi
needs_engine
start_token
start_java
token_certificate rsa rsa
token_certificate ec ec
cp "$work/ca.crt" "$work/certificates/ca.pem"
base=$work/tomcat
mkdir -p "$base/conf" "$base/logs" "$base/temp" "$base/work" "$base/webapps/ROOT"
echo served >"$base/webapps/ROOT/index.html"
cp "$home/etc/web.xml" "$base/conf/"
free_port port
stores='certificateKeystoreFile="NONE" certificateKeystoreType="PKCS11" certificateKeystorePassword="x"'
cat >"$base/conf/server.xml" <<END_OF_XML
<Server port="-1">
    <Service name="Catalina">
        <Connector port="$port" address="127.0.0.1" protocol="org.apache.coyote.http11.Http11NioProtocol" SSLEnabled="true">
            <SSLHostConfig protocols="TLSv1.2+TLSv1.3">
                <Certificate type="RSA" certificateKeyAlias="rsa" $stores/>
                <Certificate type="EC" certificateKeyAlias="ec" $stores/>
            </SSLHostConfig>
        </Connector>
        <Engine name="Catalina" defaultHost="localhost"><Host name="localhost" appBase="webapps"/></Engine>
    </Service>
</Server>
END_OF_XML
CATALINA_HOME=$home CATALINA_BASE=$base "$home/bin/version.sh" 2>/dev/null | grep '^Server version'
CATALINA_HOME=$home CATALINA_BASE=$base CATALINA_OPTS="${java_options[*]}" launch "$work/tomcat.log" "$home/bin/catalina.sh" run
check "answers" ready "https://localhost:$port/" "$work/tomcat.log"
served() { [ "$(page "https://localhost:$port/")" = served ]; }
check "serves a page" served
java_handshakes Tomcat "$port" rsa ec
check "24 requests, 8 at a time" many "https://localhost:$port/" 24
check "the HSM restarts under load" hsm_restarts page "https://localhost:$port/"
check "stops" end_process "$pid"
finish
