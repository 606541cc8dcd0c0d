# shellcheck shell=bash
# What the tests of Java share. Sourced after tokens.sh, not run.
#
#   needs_java      ends the script as skipped, loudly, if no JDK is installed
#   start_java      Java's security properties, which have it know the token; sets `java_options`
#   java_handshakes TITLE PORT KEY…   what its keys can do in TLS: as `handshakes`, but Java signs with a P-256 key by SHA-256 only,
#                   where the key is in software too

needs_java() {
    needs javac openjdk-17-jdk-headless
    needs java openjdk-17-jdk-headless
}

start_java() {
    local number properties=$work/java.security
    installed_as java.cfg "$token_module" >"$work/java.cfg"
    # The provider stands in Java's own list, without a configuration.
    number=$(sed -n 's/^security\.provider\.\([0-9]*\)=SunPKCS11.*/\1/p' "$(java_home)/conf/security/java.security")
    [ -n "$number" ] || broken "SunPKCS11 is not in Java's list of providers."
    installed_as java.security "$token_module" | sed "s|^\(security\.provider\.\)[0-9]*=|\1$number=|; s|/usr/share/akv-pkcs11/|$work/|" >"$properties"
    # shellcheck disable=SC2034 # The scripts use it.
    java_options=("-Djava.security.properties=$properties")
}

java_home() { (cd "$(dirname "$(readlink -f "$(command -v javac)")")/.." && pwd); }

java_handshakes() {
    local title=$1 port=$2 key
    shift 2
    for key; do
        if [ "$key" = ec ]; then
            check "$title: TLS 1.2, EC, SHA256" handshake "$port" 1.2 ECDSA+SHA256 ec
            check "$title: TLS 1.3, EC" handshake "$port" 1.3 ECDSA+SHA256 ec
        else
            handshakes "$title" "$port" "$key"
        fi
    done
}
