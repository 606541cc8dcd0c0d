#!/usr/bin/env bash
# The Compose files of nginx-example and grpc-example: by the schema of the Compose specification, and as podman-compose runs them, in
# containers of their own with a network of their own.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"
. scripts/roots.sh

needs_python compose "the Compose files"
work=$(mktemp -d)
PATH=$(dirname "$python"):$PATH

# --- the files --------------------------------------------------------------------------------------------------------

valid() { check-jsonschema --builtin-schema vendor.compose-spec "$1"; }
wrong() {
    sed 's/depends_on:/depend_on:/' nginx-example/compose/compose.yaml >"$work/wrong.yaml"
    ! valid "$work/wrong.yaml"
}
for example in nginx grpc; do
    check "$example-example: the file is valid" valid "$example-example/compose/compose.yaml"
done
check "a wrong file is noticed" wrong

# --- podman -----------------------------------------------------------------------------------------------------------

# What is needed to run containers, or why they can't run here.
obstacle() {
    if [ "$(id -u)" -ne 0 ]; then
        echo "it is tried as root"
    elif ! command -v podman >/dev/null || ! command -v mmdebstrap >/dev/null || [ ! -x /usr/lib/podman/netavark ] ||
        [ ! -x /usr/lib/podman/aardvark-dns ]; then
        echo "it needs podman with names of containers (apt-get install podman netavark aardvark-dns iptables mmdebstrap)"
    fi
}
reason=$(obstacle)
if [ -n "$reason" ]; then
    skip "the examples in containers" "$reason"
    finish
fi
if ! require_module || ! require_programs akv managed-hsm-emulator; then
    broken "The images are made of what was built."
fi

# Nothing of this machine's own containers is touched: storage, networks and settings lie in `work`.
# Images are built with this machine's network, which may lead to the registry of packages another way than a container's.
export BUILDAH_ISOLATION=chroot
export CONTAINERS_CONF=$work/containers.conf CONTAINERS_STORAGE_CONF=$work/storage.conf
settings() { # RUNTIME LIMITS
    cat >"$CONTAINERS_CONF" <<END
[containers]
default_ulimits = [$2]
[engine]
runtime = "$1"
[network]
network_backend = "netavark"
network_config_dir = "$work/networks"
END
}
cat >"$CONTAINERS_STORAGE_CONF" <<END
[storage]
driver = "overlay"
graphroot = "$work/storage"
runroot = "$work/storage-run"
END
base=docker.io/library/debian:trixie-slim
# Debian's image, made here from Debian's packages.
make_base() {
    put_suite trixie "$work/trixie.tar" && podman import --quiet "$work/trixie.tar" "$base"
    rm -f "$work/trixie.tar"
}
runs() { podman run --rm "$base" true >"$work/run.log" 2>&1; }
# crun knows no hybrid hierarchy of cgroups, which runc does; and a machine may not let podman raise limits.
find_runtime() {
    local runtime limits
    for limits in '' '"nofile=1024:1024", "nproc=4096:4096"'; do
        for runtime in crun runc; do
            settings "$runtime" "$limits"
            ! runs || return 0
        done
    done
    return 1
}
settings runc ''
check "Debian's image" make_base
if ! find_runtime; then
    skip "the examples in containers" "podman can run none here, by crun or, if it is installed, runc: $(tail -n 1 "$work/run.log")"
    finish
fi

# --- the images -------------------------------------------------------------------------------------------------------

skip "the images: their build stages" "no registry of images is asked; what this machine has built is in their place"
programs=${GRPC_TARGET_DIR:-${target%/*}/grpc-example}/release
# As images are built by `up --build`, but for the first stage: image TAG CONTAINERFILE FILE…
image() {
    local tag=$1 containerfile=$2 built=$work/built-$1
    shift 2
    mkdir -p "$built"
    (cd "$built" && mkdir -p "$place") && cp "$@" "$built/$place/" &&
        podman build --quiet --pull=never --build-context "build=$built" --file "$containerfile" --tag "$tag" .
    local status=$?
    rm -rf "$built"
    return "$status"
}
place=source/target/shipped/release
check "the image akv-nginx" image akv-nginx deploy/container/Containerfile "$module" "$target/akv"
check "the image managed-hsm-emulator" image managed-hsm-emulator deploy/emulator/Containerfile "$target/managed-hsm-emulator"

# The emulator alone, as its README has it: asked by a published port, with its CA and a token from the container.
free_port alone
runs_alone() {
    podman run --detach --name hsm --publish "127.0.0.1:$alone:8443" managed-hsm-emulator &&
        podman exec hsm managed-hsm-emulator env --data-dir /data --wait 10 >/dev/null &&
        podman cp hsm:/data/ca.pem "$work/alone.pem" || return
    AZURE_CLI_ACCESS_TOKEN=$(podman exec hsm managed-hsm-emulator token --data-dir /data) AZURE_MANAGEDHSM_URL=https://localhost:$alone \
        AKV_CA_FILE=$work/alone.pem "$target/akv" keys create managedhsm:MyHSM:demo --type ec --curve P-256
}
check "the emulator, by podman run" runs_alone
check "the emulator goes" podman rm --force --volumes --time 5 hsm

# --- the examples -----------------------------------------------------------------------------------------------------

compose() { (cd "$example-example/compose" && podman-compose "$@"); }
# Not in the foreground, as a reader of the README starts it: what ends by itself is waited for.
up() { compose up --detach --no-build; }
container() { podman ps --all --quiet --filter "label=io.podman.compose.project=akv-$example-example" --filter "label=com.docker.compose.service=$1"; }
# A container that ends by itself, well: ended SERVICE WORDS
ended() {
    local status
    status=$(timeout 120 podman wait "$(container "$1")") || return
    podman logs "$(container "$1")" >"$work/$example-$1.log" 2>&1
    if [ "$status" != 0 ] || ! grep -qF "$2" "$work/$example-$1.log"; then
        tail -n 20 "$work/$example-$1.log"
        return 1
    fi
}
# More signatures with a key than set-up has made, which knows how many: signed_besides KEY NUMBER
signed_besides() {
    local number
    number=$(podman logs "$(container emulator)" 2>&1 | grep -c "method=POST path=/keys/$1/[0-9a-f]*/sign status=200")
    echo "figures: $number signatures with $1, $2 of them by set-up"
    [ "$number" -gt "$2" ]
}
as_user() { [ "$(podman exec "$(container "$1")" id -u)" = 65532 ]; }
# The page by a published port, from outside of all containers.
published() {
    podman cp "$(container nginx):/run/example/ca.crt" "$work/ca.crt" &&
        curl --silent --show-error --fail --max-time 20 --cacert "$work/ca.crt" "https://localhost:$1/" | grep "Hello from nginx with an emulated"
}
# A key of the other application is not nginx's to use.
refused() { # SERVICE KEY
    local said
    said=$(podman exec --env OPENSSL_CONF=/run/example/openssl.cnf "$(container "$1")" \
        sh -c "echo text | openssl dgst -sha256 -sign managedhsm:MyHSM:$2 -out /dev/null" 2>&1)
    grep -i forbidden <<<"$said" || { echo "$said"; return 1; }
}
down() { compose down --volumes --timeout 5 && [ -z "$(podman ps --all --quiet)" ]; }
end_containers() {
    local i
    # One that others stand on goes after them.
    for ((i = 0; i < 6; i++)); do
        podman rm --all --force --volumes --time 2 >/dev/null 2>&1
    done
    podman network prune --force >/dev/null 2>&1
    umount --lazy "$work/storage/overlay" 2>/dev/null
    clean_up
}
trap end_containers EXIT

example=nginx
free_port RSA_PORT
free_port EC_PORT
export RSA_PORT EC_PORT
check "nginx-example: it starts" up
check "nginx-example: keys and certificates" ended set-up "The HSM signed"
check "nginx-example: the client has its pages" ended client "The client has its pages."
check "nginx-example: the HSM signed with the RSA key" signed_besides nginx-rsa 1
check "nginx-example: the HSM signed with the EC key" signed_besides nginx-ec 1
check "nginx-example: the page by the published port" published "$RSA_PORT"
check "nginx-example: the EC key's page" published "$EC_PORT"
check "nginx-example: nginx runs as the image's user" as_user nginx
check "nginx-example: nginx may not use the CA's key" refused nginx nginx-ca
check "nginx-example: it goes" down

example=grpc
if [ ! -x "$programs/greeter-server" ] || [ ! -x "$programs/greeter-client" ]; then
    skip "grpc-example in containers" "$programs has no client and server: tests/apps/grpc-example.sh builds them"
    finish
fi
place=source/target/release
check "the image grpc-example" image grpc-example grpc-example/compose/Containerfile "$programs/greeter-server" "$programs/greeter-client"
check "grpc-example: it starts" up
check "grpc-example: keys and certificates" ended set-up "foreign: subject="
check "grpc-example: the client has its answers" ended client "The client has its answers."
check "grpc-example: the HSM signed for the server" signed_besides grpc-server 1
check "grpc-example: the HSM signed for the client" signed_besides grpc-client 5
check "grpc-example: the client's sidecar may not use the server's key" refused client-sidecar grpc-server
check "grpc-example: it goes" down
finish
