# shellcheck shell=bash
# Two networks with a wire between them, for programs that want ports or frames of their own. Sourced after harness.sh, not run.
#
#   needs_networks            ends the script as skipped, loudly, if they can't be made here
#   networks ONE OTHER        makes them, after the HSM has started, which is at its port in each of them, too; their end of the wire
#                             is called so. They go with the script
#   inside NAME COMMAND…      runs a command in one of them, in a mount namespace of its own
#   inside, network           the same for `launch`: "${inside[@]}" "${network[NAME]}" COMMAND…
#   address_of NAME           of its end of the wire

inside=(nsenter --net --mount --target)
declare -A network=() address=()

needs_networks() {
    needs socat socat
    needs ip iproute2
    if [ "$(id -u)" -ne 0 ] || ! unshare --net --mount true 2>/dev/null; then
        skip "${0##*/}" "root makes two networks for it, which can't be done here"
        finish
    fi
}

inside() { "${inside[@]}" "${network[$1]}" "${@:2}"; }
address_of() { echo "${address[$1]}"; }

networks() {
    local name hsm_port=${AZURE_MANAGEDHSM_URL##*:}
    launch "$work/way.log" socat "UNIX-LISTEN:$work/way,fork" "TCP:127.0.0.1:$hsm_port"
    address=([$1]=10.99.0.1 [$2]=10.99.0.2)
    for name; do
        launch "$work/$name.network" unshare --net --mount sleep infinity
        network[$name]=$pid
        wait_until 10 is_apart "$pid" || broken "There is no network of $name."
    done
    inside "$1" ip link add "$1" type veth peer name "$2" netns "${network[$2]}" || broken "There is no wire."
    for name; do
        inside "$name" ip link set lo up
        inside "$name" ip address add "${address[$name]}/24" dev "$name"
        inside "$name" ip link set "$name" up
        launch "$work/$name.way" "${inside[@]}" "${network[$name]}" \
            socat "TCP-LISTEN:$hsm_port,bind=127.0.0.1,fork,reuseaddr" "UNIX-CONNECT:$work/way"
    done
}

is_apart() { [ "$(readlink "/proc/$1/ns/net")" != "$(readlink /proc/self/ns/net)" ]; }
