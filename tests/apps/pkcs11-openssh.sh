#!/usr/bin/env bash
# OpenSSH with keys of the HSM: the host's key by an agent, a user's key by ssh itself and by an agent, an authority for users and
# hosts; git signs commits so.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"
# shellcheck source=tests/apps/tokens.sh
. "$(dirname "$0")/tokens.sh"

needs sshd openssh-server
needs ssh-agent openssh-client
needs_engine
emulator_options=("${short_lived[@]}")
start_token
ssh -V 2>&1
create_key host '{"kty":"EC-HSM","crv":"P-256"}'
create_key user '{"kty":"RSA-HSM","key_size":2048}'
[ "$(id -u)" -ne 0 ] || mkdir -p /run/sshd

# public KEY: its line, found by the number that both have
public() {
    local file="$work/$1.pub"
    with_provider openssl pkey -engine pkcs11 -inform engine -in "$(token_uri "$1")" -pubout -out "$work/$1.pem" &&
        ssh-keygen -i -m PKCS8 -f "$work/$1.pem" >"$file"
}
for key in host user ca; do
    check "the public key, $key" public "$key"
done

# An agent that has the token's keys; the PIN that it asks for is empty. It logs in itself.
log_in
printf '%s\n' '#!/bin/sh' echo >"$work/ask"
chmod 755 "$work/ask"
export SSH_ASKPASS="$work/ask" SSH_ASKPASS_REQUIRE=force
agent="$work/private/agent"
launch "$work/agent.log" ssh-agent -D -a "$agent" -P "$token_module"
wait_until 10 test -S "$agent"
adds() { SSH_AUTH_SOCK=$agent ssh-add -s "$token_module"; }
check "ssh-add -s" adds

# by_authority NAME OPTION…: a certificate for the public key in NAME.pub
by_authority() {
    local before
    before=$(signatures ca)
    SSH_AUTH_SOCK=$agent ssh-keygen -q -U -s "$work/ca.pub" -I "$1" "${@:2}" "$work/$1.pub" || return 1
    signed ca "$before" 1 && ssh-keygen -L -f "$work/$1-cert.pub"
}
check "the authority signs the host's key" by_authority host -h -n localhost
check "the authority signs the user's key" by_authority user -n "$(id -un)"

free_port port
cat >"$work/sshd_config" <<END
Port $port
ListenAddress 127.0.0.1
HostKeyAgent $agent
HostKey $work/host.pub
HostCertificate $work/host-cert.pub
TrustedUserCAKeys $work/ca.pub
AuthorizedKeysFile $work/authorized
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin yes
END
cp "$work/user.pub" "$work/authorized"
launch "$work/sshd.log" "$(command -v sshd)" -D -e -f "$work/sshd_config"
wait_until 20 port_is_open "$port" || cat "$work/sshd.log"
echo "@cert-authority * $(cat "$work/ca.pub")" >"$work/by-authority"
echo "[127.0.0.1]:$port $(cat "$work/host.pub")" >"$work/by-key"
# signs_in KNOWN_HOSTS OPTION…: takes one signature of the host and one of the user
signs_in() {
    local host user said
    host=$(signatures host) user=$(signatures user)
    said=$(ssh -F none -p "$port" -o "UserKnownHostsFile=$work/$1" -o StrictHostKeyChecking=yes -o BatchMode=no \
        -o HostKeyAlgorithms="$2" -o HostKeyAlias="$3" "${@:4}" 127.0.0.1 echo signed in 2>"$work/ssh.log") || true
    [ "$said" = "signed in" ] || { cat "$work/ssh.log"; tail "$work/sshd.log"; return 1; }
    signed host "$host" 1 && signed user "$user" 1
}
plain=ecdsa-sha2-nistp256 certified=ecdsa-sha2-nistp256-cert-v01@openssh.com
by_module=(-o "PKCS11Provider=$token_module" -o IdentityAgent=none -o IdentitiesOnly=yes -i "$work/user.pub")
by_agent=(-o "IdentityAgent=$agent" -o IdentitiesOnly=yes -i "$work/user.pub")
check "signs in: the user's key by ssh itself" signs_in by-key "$plain" "[127.0.0.1]:$port" "${by_module[@]}"
check "signs in: the user's key by the agent" signs_in by-key "$plain" "[127.0.0.1]:$port" "${by_agent[@]}"
# While the HSM is killed and started, tokens are renewed and its keys get new versions, sshd and the agent go on with those that they
# know. Each connection takes a signature of the host and one of the user.
load_signatures=2
signs_in_again() {
    [ "$(ssh -F none -p "$port" -o "UserKnownHostsFile=$work/by-key" -o StrictHostKeyChecking=yes -o HostKeyAlgorithms="$plain" \
        -o HostKeyAlias="[127.0.0.1]:$port" "${by_agent[@]}" 127.0.0.1 echo signed in)" = "signed in" ]
}
check "signs in while the HSM restarts" hsm_restarts signs_in_again
check "signs in while tokens are renewed" renewals 3 signs_in_again
check "signs in while keys rotate" rotations "host user" 3 signs_in_again
# sshd closes its port for a moment, and who waits there is refused before the server has said a word, whatever key it has.
signs_in_by_and_by() {
    local said i
    for i in 1 2 3; do
        said=$(signs_in_again 2>&1) && return
        grep -q 'Connection refused\|kex_exchange_identification' <<<"$said" || break
    done
    echo "$said"
    return 1
}
listens_again() { [ "$(grep -c "Server listening" "$work/sshd.log")" -gt "$1" ]; }
reloads() {
    local before i good=yes
    begin_load signs_in_by_and_by
    for i in 1 2 3; do
        more_load 10 || good=no
        before=$(grep -c "Server listening" "$work/sshd.log")
        kill -HUP "$pid"
        wait_until 20 listens_again "$before" || { echo "reload $i did not happen"; good=no; }
    done
    more_load 10 || good=no
    end_load "$load_signatures" && [ "$good" = yes ]
}
check "signs in while sshd starts itself anew" reloads
: >"$work/authorized"
check "signs in: both by certificates" signs_in by-authority "$certified" localhost "${by_agent[@]}" \
    -o "CertificateFile=$work/user-cert.pub"
stranger() {
    ssh-keygen -q -t ed25519 -N "" -f "$work/stranger"
    ! ssh -F none -p "$port" -o "UserKnownHostsFile=$work/by-key" -o IdentityAgent=none -i "$work/stranger" \
        -o HostKeyAlias="[127.0.0.1]:$port" 127.0.0.1 true
}
check "a stranger does not" stranger

commits() {
    local before
    rm -rf "$work/repository"
    git init -q "$work/repository"
    echo "somebody@localhost $(cat "$work/user.pub")" >"$work/signers"
    before=$(signatures user)
    SSH_AUTH_SOCK=$agent git -C "$work/repository" -c user.name=Somebody -c user.email=somebody@localhost -c gpg.format=ssh \
        -c user.signingkey="$work/user.pub" commit -q -S --allow-empty -m "Keys stay in the HSM" || return 1
    signed user "$before" 1 || return 1
    git -C "$work/repository" -c gpg.format=ssh -c gpg.ssh.allowedSignersFile="$work/signers" verify-commit HEAD
}
if command -v git >/dev/null; then
    check "git: a signed commit" commits
else
    skip "git" "it is not installed (apt-get install git)"
fi
finish
