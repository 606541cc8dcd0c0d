#!/usr/bin/env bash
# Mosquitto: the key of its broker, and the certificate of its clients and of a bridge between two brokers.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"

needs mosquitto mosquitto
needs mosquitto_pub mosquitto-clients
start_hsm
# It prints its version with its usage, which counts as a failure.
{ mosquitto -h || true; } | head -n 1

# start NAME: with the configuration on stdin
start() {
    {
        cat
        [ "$(id -u)" -ne 0 ] || echo "user mosquitto"
    } >"$work/$1.conf"
    launch "$work/$1.log" mosquitto -c "$work/$1.conf"
}
free_port rsa_port
free_port ec_port
start broker <<CONF
per_listener_settings false
allow_anonymous true
listener $rsa_port 127.0.0.1
certfile $work/rsa.crt
keyfile $work/rsa.key
listener $ec_port 127.0.0.1
certfile $work/ec.crt
keyfile $work/ec.key
cafile $work/ca.crt
require_certificate true
CONF
broker=$pid
check "listens" eval "wait_until 20 port_is_open $rsa_port && wait_until 20 port_is_open $ec_port || { cat '$work/broker.log'; false; }"
handshakes "broker" "$rsa_port" rsa

publish() {
    mosquitto_pub -h localhost -p "$1" --cafile "$work/ca.crt" -t keys -m "in the HSM" "${@:2}"
}
subscribe() {
    mosquitto_sub -h localhost -p "$1" --cafile "$work/ca.crt" -t keys -C 1 -W 30 "${@:2}"
}
own_certificate=(--cert "$work/client.crt" --key "$work/client.key")
published() {
    local before
    before=$(signatures rsa)
    publish "$rsa_port" && signed rsa "$before" 1
}
check "a message to the broker" published
# Both ends sign with the EC key.
mutual() {
    local before
    before=$(signatures ec)
    with_provider publish "$ec_port" "${own_certificate[@]}" && signed ec "$before" 2 && ! publish "$ec_port"
}
check "a client's certificate, and none is refused" mutual

# A second broker hands on what it hears to the first.
free_port plain
start bridge <<CONF
allow_anonymous true
listener $plain 127.0.0.1
connection hsm
address 127.0.0.1:$ec_port
topic keys out
bridge_cafile $work/ca.crt
bridge_certfile $work/client.crt
bridge_keyfile $work/client.key
CONF
bridge=$pid
bridged() {
    local heard=$work/heard
    with_provider subscribe "$ec_port" "${own_certificate[@]}" >"$heard" &
    local listener=$!
    wait_until 20 port_is_open "$plain" || { cat "$work/bridge.log"; return 1; }
    # Until both are connected a message may be lost.
    wait_until 30 eval "mosquitto_pub -h localhost -p $plain -t keys -m 'over the bridge' && grep -q 'over the bridge' '$heard'"
    local status=$?
    kill "$listener" 2>/dev/null
    [ "$status" -eq 0 ] || cat "$work/bridge.log"
    return "$status"
}
bridge_before=$(signatures ec)
check "a bridge with a certificate" bridged
# Both ends of the bridge's connection and of the listener's.
check "a bridge with a certificate: signed by the HSM" has_signatures ec "$((bridge_before + 4))"
check "the bridge stops" end_process "$bridge"
check "the HSM restarts under load" hsm_restarts publish "$rsa_port"
check "stops" end_process "$broker"
finish
