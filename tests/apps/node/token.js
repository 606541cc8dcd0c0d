// Keys of a token by pkcs11js and graphene: found, signed with, verified by Node.js, and made: token.js MODULE

"use strict";
const assert = require("node:assert");
const crypto = require("node:crypto");
const pkcs11js = require("pkcs11js");
const graphene = require("graphene-pk11");

// CKA_PUBLIC_KEY_INFO, which pkcs11js has no name for.
const PUBLIC_KEY_INFO = 0x129;
const message = Buffer.from("what is signed");
const digest = crypto.createHash("sha256").update(message).digest();

// The calls of PKCS#11 themselves.
function byCalls(file) {
    const token = new pkcs11js.PKCS11();
    token.load(file);
    token.C_Initialize();
    const [slot] = token.C_GetSlotList(true);
    assert.strictEqual(token.C_GetTokenInfo(slot).label.trim(), "hsm");
    const session = token.C_OpenSession(slot, pkcs11js.CKF_SERIAL_SESSION | pkcs11js.CKF_RW_SESSION);

    const find = (label, kind) => {
        token.C_FindObjectsInit(session, [
            { type: pkcs11js.CKA_CLASS, value: kind },
            { type: pkcs11js.CKA_LABEL, value: label },
        ]);
        const found = token.C_FindObjects(session, 10);
        token.C_FindObjectsFinal(session);
        assert.strictEqual(found.length, 1, label);
        return found[0];
    };
    const attribute = (key, type) => token.C_GetAttributeValue(session, key, [{ type }])[0].value;
    const outside = (key) => crypto.createPublicKey({ key: attribute(key, PUBLIC_KEY_INFO), format: "der", type: "spki" });
    const sign = (key, mechanism, data) => {
        token.C_SignInit(session, { mechanism }, key);
        return token.C_Sign(session, data, Buffer.alloc(512));
    };

    const rsa = outside(find("rsa", pkcs11js.CKO_PUBLIC_KEY));
    const signature = sign(find("rsa", pkcs11js.CKO_PRIVATE_KEY), pkcs11js.CKM_SHA256_RSA_PKCS, message);
    assert(crypto.verify("sha256", message, rsa, signature));
    assert(!crypto.verify("sha256", digest, rsa, signature));

    const common = [
        { type: pkcs11js.CKA_TOKEN, value: true },
        { type: pkcs11js.CKA_LABEL, value: "made" },
        { type: pkcs11js.CKA_ID, value: Buffer.from([7]) },
    ];
    const curve = Buffer.from("06082a8648ce3d030107", "hex");
    const made = token.C_GenerateKeyPair(session, { mechanism: pkcs11js.CKM_EC_KEY_PAIR_GEN },
        [...common, { type: pkcs11js.CKA_EC_PARAMS, value: curve }, { type: pkcs11js.CKA_VERIFY, value: true }],
        [...common, { type: pkcs11js.CKA_SIGN, value: true }]);
    for (const [privateKey, publicKey] of [
        [made.privateKey, made.publicKey],
        [find("ec", pkcs11js.CKO_PRIVATE_KEY), find("ec", pkcs11js.CKO_PUBLIC_KEY)],
    ]) {
        const raw = sign(privateKey, pkcs11js.CKM_ECDSA, digest);
        assert(crypto.verify("sha256", message, { key: outside(publicKey), dsaEncoding: "ieee-p1363" }, raw));
    }
    token.C_CloseSession(session);
    token.C_Finalize();
    token.close();
}

// And the objects that graphene makes of them.
function byObjects(file) {
    const token = graphene.Module.load(file, "akv");
    token.initialize();
    const session = token.getSlots(0).open(graphene.SessionFlag.SERIAL_SESSION | graphene.SessionFlag.RW_SESSION);
    const find = (label, kind) => {
        const found = session.find({ label, class: kind });
        assert.strictEqual(found.length, 1, label);
        return found.items(0).toType();
    };
    const privateKey = find("rsa", graphene.ObjectClass.PRIVATE_KEY);
    const publicKey = find("rsa", graphene.ObjectClass.PUBLIC_KEY);
    const signature = session.createSign("SHA256_RSA_PKCS", privateKey).once(message);
    assert(session.createVerify("SHA256_RSA_PKCS", publicKey).once(message, signature));
    assert(!session.createVerify("SHA256_RSA_PKCS", publicKey).once(digest, signature));
    assert.strictEqual(session.generateRandom(20).length, 20);
    session.close();
    token.finalize();
}

byCalls(process.argv[2]);
byObjects(process.argv[2]);
