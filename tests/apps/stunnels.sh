# shellcheck shell=bash
# stunnel for a test. Sourced after harness.sh, not run.
#
#   plain_server           a server without TLS, at the port `inner`
#   start NAME             starts stunnel with a service, its settings on stdin; the variable `global` may have settings for all
#   reload NAME URL        has it read its configuration anew: it answers as before

declare -A pids=()
global=()

plain_server() {
    mkdir "$work/www"
    echo "keys in the HSM" >"$work/www/index.html"
    free_port inner
    # shellcheck disable=SC2154 # free_port sets it
    python3 -m http.server --bind 127.0.0.1 --directory "$work/www" "$inner" >"$work/www.log" 2>&1 &
    started "$!"
}

start() {
    {
        printf '%s\n' "foreground = yes" "pid =" "debug = info" "${global[@]}" "[$1]"
        cat
    } >"$work/$1.conf"
    launch "$work/$1.log" stunnel "$work/$1.conf"
    pids[$1]=$pid
}

# Not under load: stunnel closes its port for a moment, and resets who waits there, whatever key it has.
reload() {
    local before
    before=$(configurations "$1")
    kill -HUP "${pids[$1]}"
    wait_until 30 has_configurations "$1" "$((before + 1))" || { tail -n 20 "$work/$1.log"; return 1; }
    ready "$2" "$work/$1.log" && many "$2" 10
}
configurations() { grep -c 'Configuration successful' "$work/$1.log"; }
has_configurations() { [ "$(configurations "$1")" -ge "$2" ]; }
