#!/usr/bin/env bash
# wpa_supplicant signs in to a network by EAP-TLS with a key and a certificate of the token, by libp11's engine. The other end is
# hostapd with a software key, and the network a wire.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"
# shellcheck source=tests/apps/tokens.sh
. "$(dirname "$0")/tokens.sh"
# shellcheck source=tests/apps/networks.sh
. "$(dirname "$0")/networks.sh"

needs wpa_supplicant wpasupplicant
needs wpa_cli wpasupplicant
needs hostapd hostapd
needs_networks
needs_engine
start_token
wpa_supplicant -v | head -n 1
for key in rsa ec; do
    token_certificate "$key" "$key" /CN=visitor extendedKeyUsage=clientAuth
done
openssl req -x509 -newkey rsa:2048 -noenc -subj /CN=network -days 1 -keyout "$work/network.key" -out "$work/network.crt" 2>/dev/null
networks network visitor
# It takes modules below /usr/lib only, where this one is installed.
installed=${engine_file%/engines-*}/pkcs11
inside visitor mount --bind "$work/modules" "$installed" || broken "The module can't be put into $installed."

cat >"$work/hostapd.conf" <<END_OF_CONF
interface=network
driver=wired
ctrl_interface=$work/hostapd
ieee8021x=1
eap_server=1
eap_user_file=$work/users
ca_cert=$work/ca.crt
server_cert=$work/network.crt
private_key=$work/network.key
END_OF_CONF
echo '"visitor" TLS' >"$work/users"
launch "$work/hostapd.log" "${inside[@]}" "${network[network]}" hostapd "$work/hostapd.conf"

wpa() { wpa_cli -p "$work/wpa" -i visitor "$@"; }
state_is() { wpa status 2>/dev/null | tee "$work/status" | grep -q "^EAP state=$1"; }
# One signature: signs_in NAME KEY SETTING…
signs_in() {
    local before
    printf '%s\n' "ctrl_interface=$work/wpa" ap_scan=0 "pkcs11_engine_path=$engine_file" "pkcs11_module_path=$installed/${token_module##*/}" 'network={' \
        key_mgmt=IEEE8021X eap=TLS 'identity="visitor"' "ca_cert=\"$work/network.crt\"" eapol_flags=0 "${@:3}" '}' >"$work/$1.conf"
    before=$(signatures "$2")
    launch "$work/$1.log" "${inside[@]}" "${network[visitor]}" wpa_supplicant -D wired -i visitor -c "$work/$1.conf" -dd
    wait_until 20 state_is SUCCESS || { grep -i 'engine\|pkcs11\|fail\|EAP-TLS' "$work/$1.log" | tail -n 20; tail -n 5 "$work/hostapd.log"; return 1; }
    signed "$2" "$before" 1
}
for key in rsa ec; do
    check "signs in, $key, as engine, key_id and cert_id" signs_in "engine-$key" "$key" engine=1 'engine_id="pkcs11"' \
        "key_id=\"$(token_uri "$key")\"" "cert_id=\"$(token_uri "$key" cert)\""
    check "ends" end_process "$pid"
    check "signs in, $key, as private_key and client_cert" signs_in "uri-$key" "$key" "private_key=\"$(token_uri "$key")\"" \
        "client_cert=\"$(token_uri "$key" cert)\""
    check "ends" end_process "$pid"
done
finish
