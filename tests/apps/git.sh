#!/usr/bin/env bash
# git: commits and tags signed with X.509, by openssl cms in the place of gpgsm.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"

needs git git
start_hsm
git --version
cd "$work" || exit
certificate author rsa "/CN=Author" extendedKeyUsage=emailProtection

# What git calls instead of gpgsm: with -bsau and the signer's name to sign, with --verify and a file to verify.
cat >git-openssl <<END
#!/bin/sh
# The key's URI and the signer's certificate are in git's configuration; verification needs the CA only. By the label
# SIGNED MESSAGE git knows a signature of this kind.
status=\${1#--status-fd=}
case \$2 in
    --verify)
        sed 's/SIGNED MESSAGE/CMS/' "\$3" >"\$3.cms"
        if openssl cms -verify -binary -inform PEM -in "\$3.cms" -content /dev/stdin -CAfile "\$(git config openssl.ca)" -purpose any -out /dev/null 2>&1; then
            echo "[GNUPG:] GOODSIG 0 \$(openssl cms -cmsout -print -in "\$3.cms" -inform PEM | sed -n 's/ *subject: //p' | head -n 1)" >&\$status
        else
            echo "[GNUPG:] BADSIG 0 unknown" >&\$status
            exit 1
        fi
        ;;
    *)
        signature=\$(mktemp)
        trap 'rm -f "\$signature"' EXIT
        openssl cms -sign -binary -in /dev/stdin -outform PEM -md sha256 -out "\$signature" \\
            -signer "\$(git config openssl.certificate)" -inkey "\$(git config openssl.key)" || exit
        sed 's/CMS/SIGNED MESSAGE/' "\$signature"
        echo "[GNUPG:] SIG_CREATED " >&\$status
        ;;
esac
END
chmod +x git-openssl
export GIT_CONFIG_GLOBAL="$work/gitconfig" GIT_CONFIG_NOSYSTEM=1
git config --global user.name Author
git config --global user.email author@localhost
git config --global init.defaultBranch main
git config --global gpg.format x509
git config --global gpg.x509.program "$work/git-openssl"
git config --global openssl.key managedhsm:MyHSM:rsa
git config --global openssl.certificate "$work/author.crt"
git config --global openssl.ca "$work/ca.crt"
git init -q repository
cd repository || exit

signs() {
    local before
    before=$(signatures rsa)
    with_provider "$@" && signed rsa "$before" 1
}
check "commit -S: one signature" signs git commit -q --allow-empty -S -m "Signed in the HSM"
check "verify-commit" git verify-commit HEAD
check "tag -s: one signature" signs git tag -s -m "Signed in the HSM" v1
check "verify-tag" git verify-tag v1
forged() {
    local commit
    commit=$(git cat-file commit HEAD | sed 's/Signed in the HSM/Forged/' | git hash-object -t commit -w --stdin) || return 1
    ! git verify-commit "$commit"
}
check "a changed commit is refused" forged
finish
