#!/usr/bin/env bash
# What deploy/ has, and the module's package for systemd: the units by systemd's own check; the manifest by the schemas of Kubernetes;
# the image, built by buildah from the Containerfile; and the sidecar as the manifest has it, in the image, with workload identity.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"
. scripts/roots.sh

# The emulator takes an application that has no secret, only trust in the issuer of its pods' tokens, and may use one key.
issuer=https://oidc.example subject=system:serviceaccount:default:tls-sidecar client=33333333-0000-0000-0000-000000000001
identity=$(mktemp -d)
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$identity/issuer.key" 2>/dev/null
cat >"$identity/principals.json" <<END
[{
  "client_id": "$client",
  "object_id": "33333333-0000-0000-0000-000000000002",
  "federated_credentials": [{
    "issuer": "$issuer",
    "subject": "$subject",
    "keys": ["$(openssl pkey -in "$identity/issuer.key" -pubout | awk '{ printf "%s\\n", $0 }')"]
  }],
  "roles": [{"role": "Managed HSM Crypto User", "scope": "/keys/rsa"}]
}]
END
emulator_options=(--principals "$identity/principals.json")
start_hsm
mv "$identity/issuer.key" "$work/private/"
rm -r "$identity"

# --- systemd ----------------------------------------------------------------------------------------------------------

# The unit of a server with the drop-in, as docs/deployment.md puts it: with_drop_in SERVER UNIT DROP_IN
with_drop_in() {
    mkdir -p "$work/units/$1.service.d"
    cp "$2" "$work/units/$1.service"
    cp "$3" "$work/units/$1.service.d/"
    verify "$1.service" && grep -q . "$work/units/$1.service.d/${3##*/}"
}
# Nothing printed: unknown names are warnings only.
verify() {
    local said
    said=$(SYSTEMD_UNIT_PATH="$work/units:" systemd-analyze verify --man=no "$1" 2>&1) || { echo "$said"; return 1; }
    said=$(grep -F "$work/units" <<<"$said")
    [ -z "$said" ] || { echo "$said"; return 1; }
}
if command -v systemd-analyze >/dev/null; then
    mkdir "$work/units"
    for server in nginx haproxy apache2 postgresql@; do
        unit=$(find /lib/systemd/system -name "$server.service" 2>/dev/null)
        instance=${server/@/@main}
        if [ -n "$unit" ]; then
            check "systemd: $server with the drop-in" with_drop_in "$instance" "$unit" deploy/systemd/akv.conf
        else
            skip "systemd: $server with the drop-in" "the server is not installed"
        fi
    done
    # What the module's package has.
    cp packaging/files/pkcs11/akv-p11-kit-server.service "$work/units/"
    if command -v p11-kit >/dev/null; then
        check "systemd: akv-p11-kit-server.service" verify akv-p11-kit-server.service
    else
        skip "systemd: akv-p11-kit-server.service" "p11-kit is not installed (apt-get install p11-kit)"
    fi
    unit=$(find /lib/systemd/system -name nginx.service)
    if [ -n "$unit" ]; then
        rm -rf "$work/units/nginx.service.d"
        check "systemd: nginx with the module's drop-in" with_drop_in nginx "$unit" packaging/files/pkcs11/akv-pkcs11.conf
    fi
    # The script lies where the unit looks for it on a server only.
    for kind in service timer; do
        sed "s|/usr/local/lib/akv/renew.sh|$PWD/deploy/acme/renew.sh|" "deploy/systemd/akv-renew@.$kind" >"$work/units/akv-renew@.$kind"
    done
    check "systemd: akv-renew@web.service" verify akv-renew@web.service
    check "systemd: akv-renew@web.timer" verify akv-renew@web.timer
    notices() {
        sed 's/^Restart=/Restarts=/' deploy/systemd/akv.conf >"$work/units/akv-wrong.conf"
        mkdir -p "$work/units/akv-renew@web.service.d"
        mv "$work/units/akv-wrong.conf" "$work/units/akv-renew@web.service.d/"
        ! verify akv-renew@web.service
    }
    check "systemd: a wrong drop-in is noticed" notices
else
    skip "systemd units" "systemd-analyze is not installed (apt-get install systemd)"
fi

# --- Kubernetes -------------------------------------------------------------------------------------------------------

needs_python deployment "Kubernetes, and the sidecar"
mkdir "$work/pod"
check "Kubernetes: the manifest is valid" "$python" tests/apps/deployment/manifest.py deploy/kubernetes/nginx.yaml "$work/pod" 1.30 1.37
wrong_manifest() {
    sed 's/runAsNonRoot/runAsNotRoot/' deploy/kubernetes/nginx.yaml >"$work/wrong.yaml"
    mkdir "$work/wrong"
    ! "$python" tests/apps/deployment/manifest.py "$work/wrong.yaml" "$work/wrong" 1.37
}
check "Kubernetes: a wrong manifest is noticed" wrong_manifest

# --- the image --------------------------------------------------------------------------------------------------------

if [ "$(id -u)" -ne 0 ] || ! command -v mmdebstrap >/dev/null || ! command -v buildah >/dev/null; then
    skip "the image, and the sidecar" "it is made by root, with mmdebstrap and buildah (apt-get install mmdebstrap buildah)"
    finish
fi
skip "the image: its build stage" "no registry of images is asked; the $(basename "$target") build of this machine is in its place"
export BUILDAH_ISOLATION=chroot
# Storage that mounts nothing, so that the folder can be removed whatever happens.
storage=(--root "$work/containers" --runroot "$work/containers-run" --storage-driver vfs)
image() { buildah "${storage[@]}" "$@"; }
# Debian's image, made here from Debian's packages.
base() {
    local container
    put_suite trixie "$work/trixie.tar" &&
        container=$(image from scratch) && image add "$container" "$work/trixie.tar" / &&
        image commit --rm "$container" docker.io/library/debian:trixie-slim
    rm -f "$work/trixie.tar"
}
check "the image: its base, from Debian's packages" base
build() {
    mkdir -p "$work/built/source/target/shipped/release"
    cp "$module" "$target/akv" "$work/built/source/target/shipped/release/"
    image build --pull=never --build-context "build=$work/built" --file deploy/container/Containerfile --tag akv-nginx .
}
check "the image: buildah builds the Containerfile" build
# The emulator's, as the user of the image, in its volume.
build_emulator() {
    cp "$target/managed-hsm-emulator" "$work/built/source/target/shipped/release/"
    image build --pull=never --format docker --build-context "build=$work/built" --file deploy/emulator/Containerfile --tag emulator .
}
check "the emulator's image: buildah builds the Containerfile" build_emulator
emulates() {
    local container
    container=$(image from --pull-never emulator) || return 1
    # shellcheck disable=SC2016 # the container's shell expands it
    image run "$container" -- sh -euc '
        test "$(id -u)" = 65532 && test -w /data
        managed-hsm-emulator serve --data-dir /data --listen 0.0.0.0 --port 0 &
        serving=$!
        managed-hsm-emulator env --data-dir /data --wait 30
        test -n "$(managed-hsm-emulator token --data-dir /data)"
        kill $serving; wait $serving'
}
check "the emulator's image: it serves" emulates

# --- the sidecar ------------------------------------------------------------------------------------------------------

# What the manifest leaves open: certificate and key file. Its port is another here, as nothing keeps this pod's apart.
free_port port
cp "$work/rsa.crt" "$work/pod/akv/tls.crt"
cp "$work/rsa.key" "$work/pod/akv/tls.key"
sed -i "s/listen $(cat "$work/pod/port") ssl/listen 127.0.0.1:$port ssl/" "$work/pod/akv/nginx.conf"
chmod -R a+rX "$work/pod"
mkdir -m 1777 "$work/pod/tmp"
free_port application
sed -i "s/127.0.0.1:8080/127.0.0.1:$application/" "$work/pod/akv/nginx.conf"
mkdir "$work/www"
echo "the application" >"$work/www/index.html"
python3 -m http.server --bind 127.0.0.1 --directory "$work/www" "$application" >"$work/www.log" 2>&1 &
started "$!"
# The service account's token, as the cluster signs it and the webhook mounts it.
base64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
jwt() {
    local now text
    now=$(date +%s)
    text=$(printf '{"alg":"RS256","typ":"JWT"}' | base64url).$(printf '{"iss":"%s","sub":"%s","aud":"api://AzureADTokenExchange","iat":%d,"nbf":%d,"exp":%d}' \
        "$issuer" "$1" "$now" "$now" "$((now + 3600))" | base64url)
    printf '%s.%s' "$text" "$(printf '%s' "$text" | openssl dgst -sha256 -sign "$work/private/issuer.key" -binary | base64url)"
}
mkdir "$work/pod/token"
jwt "$subject" >"$work/pod/token/azure-identity-token"
chmod -R a+rX "$work/pod/token"
cp "$AKV_CA_FILE" "$work/pod/token/emulator-ca.pem"
tenant=$("$target/managed-hsm-emulator" env --identity --data-dir "$work/private/hsm" | sed -n "s/^export AZURE_TENANT_ID='\(.*\)'/\1/p")

# The container's command line, user, environment and volumes; the webhook's variables and its volume, at another place, as buildah has a folder of
# its own there; and where the emulator is instead of Azure.
run_sidecar() {
    local container options=() arguments
    container=$(image from --pull-never akv-nginx) || return 1
    while IFS= read -r variable; do
        options+=(--env "$variable")
    done <"$work/pod/environment"
    options+=(--env "AZURE_CLIENT_ID=$client" --env "AZURE_TENANT_ID=$tenant" --env "AZURE_AUTHORITY_HOST=$AZURE_MANAGEDHSM_URL"
        --env "AZURE_FEDERATED_TOKEN_FILE=/azure/tokens/azure-identity-token")
    options+=(--env "AZURE_MANAGEDHSM_URL=$AZURE_MANAGEDHSM_URL" --env "AKV_CA_FILE=/azure/tokens/emulator-ca.pem")
    mapfile -t arguments <"$work/pod/arguments"
    exec buildah "${storage[@]}" run --user "$(cat "$work/pod/user")" "${options[@]}" \
        --volume "$work/pod/akv:/etc/akv:ro" --volume "$work/pod/tmp:/tmp" --volume "$work/pod/token:/azure/tokens:ro" \
        "$container" -- /usr/sbin/nginx "${arguments[@]}"
}
run_sidecar >"$work/sidecar.log" 2>&1 &
started "$!"
url=https://localhost:$port/
check "the sidecar starts" ready "$url" "$work/sidecar.log"
answers_for_application() { [ "$(page "$url")" = "the application" ]; }
check "the sidecar answers for the application" answers_for_application
handshakes "the sidecar" "$port" rsa
check "the sidecar: 50 handshakes, 8 at a time" many "$url" 50
by_workload_identity() { grep "method=POST path=/$tenant/oauth2/v2.0/token status=200" "$requests"; }
check "the sidecar: logged in by workload identity" by_workload_identity
as_user() {
    local pid
    pid=$(cat "$work/pod/tmp/nginx.pid")
    [ "$(stat --format=%u "/proc/$pid")" = "$(cat "$work/pod/user")" ]
}
check "the sidecar runs as the manifest's user" as_user
stop_sidecar() { end_process "$(cat "$work/pod/tmp/nginx.pid")" QUIT; }
check "the sidecar stops" stop_sidecar
finish
