#!/bin/sh
# In a clean system, as root: install, use, upgrade, remove and purge the Debian packages of a folder. scripts/try-packages.sh runs it.
#
#   packaging/try.sh FOLDER NEWER     both with *.deb; those of NEWER have a later version
#
# Prints a line for each check; ends with status 1 if any failed.
# shellcheck disable=SC2016,SC2317 # the functions are called by check; what is in quotes is another shell's
set -u
folder=$1 newer=$2
failed=0

check() {
    what=$1
    shift
    if "$@" >/tmp/output 2>&1; then
        echo "ok      $what"
    else
        echo "FAILED  $what"
        sed 's/^/        /' /tmp/output
        failed=1
    fi
}
install_all() { apt-get install --yes --no-install-recommends "$1"/*.deb; }
# What a shell line does with an emulator that has two keys.
with_keys() {
    managed-hsm-emulator run -- sh -euc "
        akv keys create managedhsm:MyHSM:ec --type ec --curve P-256
        akv keys create managedhsm:MyHSM:rsa --type rsa --size 2048
        $1"
}
names() { find / -xdev \( -path /proc -o -path /var/lib/dpkg -o -path /var/log -o -path /tmp -o -path "$folder" -o -path "$newer" -o -path /packaging \) -prune \
    -o \( -name '*akv*' -o -name '*mhsm*' -o -name 'managed-hsm*' \) -print; }

export DEBIAN_FRONTEND=noninteractive
configuration=$(realpath "$(openssl version -d | cut -d'"' -f2)/openssl.cnf")
cp --preserve "$configuration" /tmp/openssl.cnf
cd /tmp || exit 1
echo hello >message

check "the packages are installed" install_all "$folder"
check "nothing is turned on by that" cmp "$configuration" /tmp/openssl.cnf
check "openssl finds the provider by its name" openssl list -providers -provider akv_provider -provider default
check "a key of the emulator signs" with_keys '
    openssl dgst -provider akv_provider -provider default -sha256 -sign managedhsm:MyHSM:rsa -out rsa.sig message
    akv verify managedhsm:MyHSM:rsa message --signature rsa.sig'
check "README's block works" /packaging/readme-block.sh /packaging/README.md
check "the module's tools and link work" with_keys '
    mhsm_p11_list_keys
    akv pkcs11 info
    test -e /usr/lib/libmhsm-pkcs11.so'
check "p11-kit knows the module" sh -c 'p11-kit list-modules | grep -q akv_pkcs11'
check "configurations of programs that use the module are there" sh -c '
    cd /usr/share/akv-pkcs11 &&
        for file in java.cfg java.security openssl-engine.cnf openssl-pkcs11-provider.cnf akv-pkcs11.conf akv-p11-kit-server.service; do
            test -s "$file" || exit 1
        done
    test -e "$(sed -n "s/^library = //p" java.cfg)" && test -e "$(sed -n "s/^MODULE_PATH = //p" openssl-engine.cnf)" &&
        test -e "$(sed -n "s/^pkcs11-module-path = //p" openssl-pkcs11-provider.cnf)"'
check "what the documents call deploy/ is there" sh -c '
    cd /usr/share/akv/deploy && test -x acme/renew.sh &&
        for file in systemd/akv.conf systemd/akv-renew@.service systemd/akv-renew@.timer kubernetes/nginx.yaml; do
            test -s "$file" || exit 1
        done'
check "manual pages and completions are there" sh -c '
    for page in man1/akv.1 man1/akv-keys.1 man1/mhsm_p11_list_keys.1 man5/mhsm-pkcs11.conf.5 man7/akv_provider.7 man7/akv_pkcs11.7 man1/managed-hsm-emulator.1; do
        test -s /usr/share/man/$page.gz || exit 1
    done
    test -s /usr/share/bash-completion/completions/akv'
check "the emulator's unit is sound, and neither enabled nor started" sh -c '
    systemd-analyze verify --man=no managed-hsm-emulator.service &&
        test -z "$(find /etc/systemd -name "*managed-hsm-emulator*")"'

check "akv turns the provider on for all programs" akv config enable --settings /etc/akv/akv_provider.cnf
check "openssl has it then without an option" with_keys '
    openssl dgst -sha256 -sign managedhsm:MyHSM:ec -out ec.sig message
    akv verify managedhsm:MyHSM:ec message --signature ec.sig
    openssl genpkey -algorithm RSA -out /dev/null'

echo "log-level = info" >>/etc/akv/akv_provider.cnf
check "a setting of the file counts" with_keys '
    openssl dgst -sha256 -sign managedhsm:MyHSM:ec -out ec.sig message 2>log
    grep -q "sign with managedhsm" log'
cp "$configuration" enabled.cnf
check "the packages are upgraded" install_all "$newer"
check "the version is the later one" sh -c "dpkg-query --show akv | grep -q '~next'"
check "an upgrade keeps settings and what is turned on" sh -c "
    grep -q '^log-level = info' /etc/akv/akv_provider.cnf && cmp $configuration enabled.cnf"
check "the provider works after it" with_keys 'openssl dgst -sha256 -sign managedhsm:MyHSM:ec -out ec.sig message'

all="openssl-provider-akv akv-pkcs11 akv managed-hsm-emulator"
# shellcheck disable=SC2086 # four names
check "the packages are removed" apt-get remove --yes $all
check "openssl.cnf is what it was before" cmp "$configuration" openssl.cnf
check "openssl works, and knows no provider of that name" sh -c '
    openssl genpkey -algorithm EC -pkeyopt group:P-256 -out /dev/null && ! openssl list -providers -provider akv_provider'
check "settings are kept until they are purged" grep -q '^log-level = info' /etc/akv/akv_provider.cnf
# apt doesn't know packages of files any more that have left nothing.
# shellcheck disable=SC2086
check "the packages are purged" dpkg --purge $all
check "nothing is left" sh -c "test -z '$(names)' || { echo '$(names)'; exit 1; }"
exit "$failed"
