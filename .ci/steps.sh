# shellcheck shell=bash
# What .ci/run and .ci/full share: steps with names, chosen on the command line, run in a row, and summed up at the end. Sourced, not
# run; the one that sources it says first what its steps are:
#
#   step NAME USUAL COMMAND…      USUAL: what it usually takes on two cores, after the steps before it. Cheap ones come first, but for those
#                                 that need what a dearer one has built
#   steps_main "$@"               runs the steps that are named, or all
#
# A command that can't be tried here ends with status 77, and its last line says why: that is a skip. It is counted, not a failure.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
exec </dev/null
# shellcheck source=scripts/packages.sh
. scripts/packages.sh

# Nothing here is built a second time with changes.
export CARGO_INCREMENTAL=0

# What a step that compiles needs.
prepare() { install_missing build-essential pkg-config libssl-dev openssl curl ca-certificates; }

# All tests, with the programs that they try the PKCS#11 module with, the one that gives a program capabilities, and one that judges
# manual pages.
tests() {
    prepare && install_missing opensc gnutls-bin softhsm2 libengine-pkcs11-openssl libnss3-tools openssh-client nginx-light \
        libcap2-bin mandoc jq zsh fish && ./runtest.sh
}

# The one that sources this, and how many seconds a step may take.
script=.ci/$(basename "$0")
longest=5400

# What each step printed.
logs=target/ci
names=()
declare -A usual=() commands=()
summary=() failed=() skipped=0

step() {
    names+=("$1")
    usual[$1]=$2
    commands[$1]=${*:3}
}

# For a step: it can't be tried here, for this reason.
cannot() {
    echo "SKIPPED: $*"
    return 77
}

list_steps() {
    local name
    for name in "${names[@]}"; do
        printf '  %-14s %s\n' "$name" "usually ${usual[$name]}"
    done
}

run_step() {
    local name=$1 began=$SECONDS status=0 out tee
    printf '\n=== %s, after %s s, usually %s: %s\n' "$name" "$SECONDS" "${usual[$name]}" "${commands[$name]}"
    # Not by a pipe: what a step might leave running would keep that open. All else that was printed is waited for.
    exec {out}> >(exec tee "$logs/$name")
    tee=$!
    timeout --verbose --kill-after=60 "$longest" "$script" --only "$name" >&"$out" 2>&1 || status=$?
    exec {out}>&-
    timeout 5 tail --pid="$tee" --follow /dev/null || true
    case $status in
        0) summary+=("ok       $name ($((SECONDS - began)) s)$(counted "$name")") ;;
        77)
            summary+=("SKIPPED  $name: $(sed -n 's/^SKIPPED: //p' "$logs/$name" | tail -n 1)")
            skipped=$((skipped + 1))
            ;;
        *)
            summary+=("FAILED   $name ($((SECONDS - began)) s)$(counted "$name")")
            failed+=("$name")
            ;;
    esac
}

# What a step counted, if its last line says so.
counted() { sed -n 's/^\(.*[0-9]* passed, [0-9]* failed, [0-9]* skipped\)$/: \1/p' "$logs/$1" | tail -n 1; }

# What was printed about failures; where there is nothing of the kind, the end of what was printed.
report_failure() {
    local reports
    reports=$(grep --text --after-context=30 -e ' panicked at ' -e '^FAILED ' -e '^error' "$logs/$1" | head -n 200)
    printf '\n=== what failed in %s\n%s\n' "$1" "${reports:-$(tail -n 40 "$logs/$1")}"
}

steps_main() {
    local name chosen=("$@")
    # A step by itself, in a process that can be ended.
    if [ "${1:-}" = --only ]; then
        read -ra chosen <<<"${commands[$2]}"
        "${chosen[@]}"
        exit
    fi
    for name in "${chosen[@]}"; do
        if [ -z "${commands[$name]:-}" ]; then
            printf "There is no step '%s' here. These are the steps:\n" "$name" >&2
            list_steps >&2
            exit 2
        fi
    done
    [ "${#chosen[@]}" -gt 0 ] || chosen=("${names[@]}")
    echo "The steps:"
    list_steps
    require_cargo || exit 1
    mkdir -p "$logs"
    for name in "${chosen[@]}"; do
        run_step "$name"
    done
    for name in "${failed[@]}"; do
        report_failure "$name"
    done
    printf '\n=== summary\n'
    printf '%s\n' "${summary[@]}"
    echo "$((${#chosen[@]} - ${#failed[@]} - skipped)) steps ok, ${#failed[@]} failed, $skipped skipped"
    [ "${#failed[@]}" -eq 0 ]
}
