#!/usr/bin/env bash
# Languages: Python by PyKCS11, Go by crypto11, Ruby by Fiddle, as its openssl gem has no engines.
# shellcheck source=tests/apps/harness.sh
. "$(dirname "$0")/harness.sh"
# shellcheck source=tests/apps/tokens.sh
. "$(dirname "$0")/tokens.sh"

needs_engine
start_token

cat >"$work/sign.py" <<'END'
import sys
from PyKCS11 import CKA_CLASS, CKA_ID, CKA_LABEL, CKA_EC_PARAMS, CKA_TOKEN, CKA_SIGN, CKA_VERIFY, CKF_SERIAL_SESSION, CKF_RW_SESSION
from PyKCS11 import CKM_AES_KEY_GEN, CKM_ECDSA, CKM_EC_KEY_PAIR_GEN, CKM_SHA256_RSA_PKCS, CKO_PRIVATE_KEY, CKO_PUBLIC_KEY
from PyKCS11 import CKA_DECRYPT, CKA_ENCRYPT, CKA_VALUE_LEN, AES_GCM_Mechanism, Mechanism, PyKCS11Lib

lib = PyKCS11Lib()
lib.load(sys.argv[1])
slot = lib.getSlotList(tokenPresent=True)[0]
assert lib.getTokenInfo(slot).label.strip() == "hsm"
session = lib.openSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION)

def find(label):
    both = [session.findObjects([(CKA_CLASS, of), (CKA_LABEL, label)]) for of in (CKO_PRIVATE_KEY, CKO_PUBLIC_KEY)]
    assert [len(found) for found in both] == [1, 1], both
    return [found[0] for found in both]

def try_key(private, public, mechanism, data):
    signature = bytes(session.sign(private, data, mechanism))
    assert session.verify(public, data, signature, mechanism)
    assert not session.verify(public, bytes(len(data)), signature, mechanism)

try_key(*find("rsa"), Mechanism(CKM_SHA256_RSA_PKCS, None), b"what is signed")
try_key(*find("ec"), Mechanism(CKM_ECDSA, None), bytes(range(32)))
common = [(CKA_TOKEN, True), (CKA_LABEL, "made"), (CKA_ID, [7])]
curve = [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]
public, private = session.generateKeyPair(
    common + [(CKA_EC_PARAMS, curve), (CKA_VERIFY, True)], common + [(CKA_SIGN, True)], Mechanism(CKM_EC_KEY_PAIR_GEN, None))
try_key(private, public, Mechanism(CKM_ECDSA, None), bytes(range(32)))

# The HSM puts its initialisation vector in the place of the zero bytes.
secret = session.generateKey(
    [(CKA_TOKEN, True), (CKA_LABEL, "secret"), (CKA_ENCRYPT, True), (CKA_DECRYPT, True), (CKA_VALUE_LEN, 32)],
    Mechanism(CKM_AES_KEY_GEN, None))
gcm = AES_GCM_Mechanism(bytes(12), b"beside", 128)
sealed = session.encrypt(secret, b"secret", gcm)
iv = bytes(gcm._source_iv)
assert iv != bytes(12)
assert bytes(session.decrypt(secret, sealed, AES_GCM_Mechanism(iv, b"beside", 128))) == b"secret"
session.closeSession()
END
# A key of a session, and no time to delete it.
cat >"$work/killed.py" <<'END'
import os, signal, sys
from PyKCS11 import CKA_EC_PARAMS, CKF_RW_SESSION, CKF_SERIAL_SESSION, CKM_ECDSA, CKM_EC_KEY_PAIR_GEN, Mechanism, PyKCS11Lib

lib = PyKCS11Lib()
lib.load(sys.argv[1])
session = lib.openSession(lib.getSlotList(tokenPresent=True)[0], CKF_SERIAL_SESSION | CKF_RW_SESSION)
curve = [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]
public, private = session.generateKeyPair([(CKA_EC_PARAMS, curve)], [], Mechanism(CKM_EC_KEY_PAIR_GEN, None))
session.sign(private, bytes(range(32)), Mechanism(CKM_ECDSA, None))
os.kill(os.getpid(), signal.SIGKILL)
END
# Every key.
any="[-a-z0-9]*"
by_pykcs11() {
    local before
    before=$(signatures "$any")
    expects_keys 2
    /usr/bin/python3 "$work/sign.py" "$token_module" || return 1
    signed "$any" "$before" 3 && performed "$any" encrypt 0 1 && performed "$any" decrypt 0 1
}
killed() {
    local before
    before=$(signatures "$any")
    /usr/bin/python3 "$work/killed.py" "$token_module"
    [ "$?" -eq "$((128 + 9))" ] && signed "$any" "$before" 1
}
if /usr/bin/python3 -c "import PyKCS11" 2>/dev/null; then
    check "Python, PyKCS11: find, sign, verify, generate, AES-GCM" by_pykcs11
    check "a process is killed that has made a key for its session" killed
    check "akv pkcs11 sweep takes that key away" sweeps 1
else
    skip "Python, PyKCS11" "it is not installed (apt-get install python3-pykcs11)"
fi

# Debian's gem is built without engines; by Fiddle, which comes with Ruby, a program calls the module itself.
no_engine() { ruby -e 'require "openssl"; abort "it has engines" if defined?(OpenSSL::Engine)'; }
by_fiddle() {
    local before
    before=$(signatures "$any")
    expects_keys 1
    ruby tests/apps/ruby/token.rb "$token_module" || return 1
    signed "$any" "$before" 3
}
if command -v ruby >/dev/null; then
    ruby --version
    check "Ruby: the openssl gem has no engines" no_engine
    check "Ruby, Fiddle: find, sign, verify, generate" by_fiddle
else
    skip "Ruby" "it is not installed (apt-get install ruby)"
fi

cat >"$work/sign.go" <<'END'
package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"log"
	"os"

	"github.com/ThalesIgnite/crypto11"
)

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	log.SetFlags(log.Lshortfile)
	config := crypto11.Config{Path: os.Args[1], TokenLabel: "hsm", LoginNotSupported: true}
	token, err := crypto11.Configure(&config)
	must(err)
	digest := sha256.Sum256([]byte("what is signed"))
	find := func(label string) crypto11.Signer {
		key, err := token.FindKeyPair(nil, []byte(label))
		must(err)
		if key == nil {
			log.Fatal(label, " is not found")
		}
		return key
	}
	key := find("rsa")
	public := key.Public().(*rsa.PublicKey)
	signature, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
	must(err)
	must(rsa.VerifyPKCS1v15(public, crypto.SHA256, digest[:], signature))
	pss := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	signature, err = key.Sign(rand.Reader, digest[:], pss)
	must(err)
	must(rsa.VerifyPSS(public, crypto.SHA256, digest[:], signature, pss))
	sealed, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, public, []byte("secret"), nil)
	must(err)
	opened, err := key.(crypto.Decrypter).Decrypt(rand.Reader, sealed, &rsa.OAEPOptions{Hash: crypto.SHA256})
	must(err)
	if !bytes.Equal(opened, []byte("secret")) {
		log.Fatal("decrypted to something else")
	}
	made, err := token.GenerateECDSAKeyPairWithLabel([]byte{7}, []byte("made"), elliptic.P256())
	must(err)
	for _, key := range []crypto11.Signer{find("ec"), made} {
		signature, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
		must(err)
		if !ecdsa.VerifyASN1(key.Public().(*ecdsa.PublicKey), digest[:], signature) {
			log.Fatal("not verified")
		}
	}
	secret, err := token.GenerateSecretKeyWithLabel([]byte{8}, []byte("secret"), 256, crypto11.CipherAES)
	must(err)
	cbc, err := secret.NewCBC(crypto11.PaddingPKCS)
	must(err)
	iv := make([]byte, cbc.NonceSize())
	opened, err = cbc.Open(nil, iv, cbc.Seal(nil, iv, []byte("secret"), nil), nil)
	must(err)
	if !bytes.Equal(opened, []byte("secret")) {
		log.Fatal("decrypted to something else")
	}
	// It doesn't tell which initialisation vector the HSM has made, whatever its documentation says of these settings.
	config.GCMIVLength, config.UseGCMIVFromHSM = 12, true
	config.GCMIVFromHSMControl = crypto11.GCMIVFromHSMConfig{SupplyIvForHSMGCMEncrypt: true, SupplyIvForHSMGCMDecrypt: true}
	other, err := crypto11.Configure(&config)
	must(err)
	secret, err = other.FindKey([]byte{8}, nil)
	must(err)
	gcm, err := secret.NewGCM()
	must(err)
	iv = make([]byte, gcm.NonceSize())
	sealed = gcm.Seal(nil, iv, []byte("secret"), nil)
	if !bytes.Equal(iv, make([]byte, len(iv))) {
		log.Fatal("it tells the initialisation vector")
	}
	if _, err = gcm.Open(nil, iv, sealed, nil); err == nil {
		log.Fatal("it is opened all the same")
	}
	must(other.Close())
	must(token.Close())
}
END
by_go() {
    local before sealed opened
    before=$(signatures "$any") sealed=$(operations "$any" encrypt) opened=$(operations "$any" decrypt)
    (cd "$work" && GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE="$work/go" GOFLAGS=-trimpath go build -o sign_go sign.go) || return 1
    expects_keys 2
    "$work/sign_go" "$token_module" || return 1
    # By OAEP, CBC and GCM; the last is not opened again.
    signed "$any" "$before" 4 && performed "$any" encrypt "$sealed" 2 && performed "$any" decrypt "$opened" 2
}
if command -v go >/dev/null && [ -d /usr/share/gocode/src/github.com/ThalesIgnite/crypto11 ]; then
    go version
    check "Go, crypto11: find, sign, decrypt, generate, AES-CBC, but not AES-GCM" by_go
else
    skip "Go, crypto11" "it is not installed (apt-get install golang-go golang-github-thalesignite-crypto11-dev)"
fi
finish
