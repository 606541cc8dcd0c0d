#!/usr/bin/env bash
# GnuPG's gpgsm by gnupg-pkcs11-scd, and git with it.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"
# shellcheck source=tests/apps/tokens.sh
. "$(dirname "$0")/tokens.sh"

needs gpgsm gpgsm
needs gpg-agent gpg-agent
needs gnupg-pkcs11-scd gnupg-pkcs11-scd
needs_engine
start_token
gpgsm --version | head -n 1
dpkg-query --show gnupg-pkcs11-scd
token_certificate rsa rsa "/CN=Signer" $'subjectAltName=email:signer@localhost\nkeyUsage=digitalSignature,keyEncipherment'
token_certificate ec ec "/CN=Other" subjectAltName=email:other@localhost
export GNUPGHOME="$work/gnupg"
mkdir -m 700 "$GNUPGHOME"
echo "scdaemon-program $(command -v gnupg-pkcs11-scd)" >"$GNUPGHOME/gpg-agent.conf"
printf '%s\n' "providers hsm" "provider-hsm-library $token_module" >"$GNUPGHOME/gnupg-pkcs11-scd.conf"
echo disable-crl-checks >"$GNUPGHOME/gpgsm.conf"
echo "$(openssl x509 -in "$work/ca.crt" -noout -fingerprint -sha1 | cut -d= -f2) S" >"$GNUPGHOME/trustlist.txt"
launch "$work/agent.log" gpg-agent --daemon --no-detach
agent_answers() { gpg-connect-agent --no-autostart /bye 2>/dev/null; }
wait_until 10 agent_answers || cat "$work/agent.log"

learns() { gpgsm --batch --import "$work/ca.crt" && gpgsm --batch --learn-card && gpgsm --list-secret-keys | tee "$work/keys" && grep 'CN=Signer' "$work/keys"; }
check "the key is learnt" learns
only_rsa() { ! grep 'CN=Other' "$work/keys"; }
check "an EC key is not: gnupg-pkcs11-scd knows RSA alone" only_rsa
signs() { # DIGEST
    local before
    before=$(signatures rsa)
    gpgsm --batch --yes --local-user signer@localhost --output "$work/message.cms" --digest-algo "$1" --sign \
        "$work/message.txt" || return 1
    signed rsa "$before" 1 && gpgsm --verify "$work/message.cms" || return 1
    # One signature of 256 begins with a zero, which libksba leaves out and OpenSSL misses.
    openssl cms -verify -inform DER -in "$work/message.cms" -CAfile "$work/ca.crt" -purpose any -out "$work/opened" 2>"$work/verified" ||
        grep "wrong signature length" "$work/verified"
}
for digest in SHA256 SHA384 SHA512; do
    check "signs a message, $digest" signs "$digest"
done
decryptions() { grep -c "method=POST path=/keys/rsa/[0-9a-f]*/decrypt status=200" "$requests"; }
decrypts() {
    local before
    before=$(decryptions)
    gpgsm --batch --recipient signer@localhost --output "$work/sealed.cms" --encrypt "$work/message.txt" &&
        gpgsm --batch --output "$work/opened.txt" --decrypt "$work/sealed.cms" && cmp "$work/opened.txt" "$work/message.txt" &&
        [ "$(decryptions)" -eq $((before + 1)) ]
}
check "decrypts a message" decrypts
commits() {
    local before git=(git -C "$work/repository" -c user.name=Signer -c user.email=signer@localhost -c gpg.format=x509
        -c user.signingkey=signer@localhost)
    git init -q "$work/repository"
    before=$(signatures rsa)
    "${git[@]}" commit -q -S --allow-empty -m "Keys stay in the HSM" && "${git[@]}" tag -s -m "It is signed" signed || return 1
    signed rsa "$before" 2 && "${git[@]}" verify-commit HEAD && "${git[@]}" verify-tag signed
}
if command -v git >/dev/null; then
    check "git: a signed commit and a signed tag" commits
else
    skip "git" "it is not installed (apt-get install git)"
fi
through_restart() { restart_hsm && signs SHA256; }
check "after the HSM has restarted" through_restart
check "the agent ends" end_process "$pid"
finish
