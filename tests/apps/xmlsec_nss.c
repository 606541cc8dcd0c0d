/* Signs an XML template by xmlsec's library for NSS, with a key that a certificate of a token has: xmlsec_nss DATABASE NICKNAME TEMPLATE */
#include <stdio.h>

#include <cert.h>
#include <keyhi.h>
#include <pk11pub.h>

#include <xmlsec/xmlsec.h>
#include <xmlsec/nss/app.h>
#include <xmlsec/nss/crypto.h>
#include <xmlsec/nss/pkikeys.h>
#include <xmlsec/nss/x509.h>
#include <xmlsec/templates.h>
#include <xmlsec/xmldsig.h>
#include <xmlsec/xmltree.h>

/* The key with its certificate, which the signature shows; NULL if there is none. */
static xmlSecKeyPtr find(const char *nickname) {
    CERTCertificate *certificate = PK11_FindCertFromNickname(nickname, NULL);
    SECKEYPrivateKey *private = certificate == NULL ? NULL : PK11_FindKeyByAnyCert(certificate, NULL);
    xmlSecKeyDataPtr pair, shown = xmlSecKeyDataCreate(xmlSecNssKeyDataX509Id);
    xmlSecKeyPtr key = xmlSecKeyCreate();
    if (private == NULL || shown == NULL || key == NULL)
        return NULL;
    pair = xmlSecNssPKIAdoptKey(private, CERT_ExtractPublicKey(certificate));
    if (pair == NULL || xmlSecKeySetValue(key, pair) < 0 || xmlSecNssKeyDataX509AdoptKeyCert(shown, CERT_DupCertificate(certificate)) < 0 ||
        xmlSecNssKeyDataX509AdoptCert(shown, certificate) < 0 || xmlSecKeyAdoptData(key, shown) < 0)
        return NULL;
    return key;
}

int main(int argc, char **argv) {
    xmlDocPtr document = argc == 4 ? xmlParseFile(argv[3]) : NULL;
    xmlNodePtr signature;
    xmlSecDSigCtxPtr context;
    if (document == NULL || xmlSecInit() < 0 || xmlSecNssAppInit(argv[1]) < 0 || xmlSecNssInit() < 0)
        return 2;
    signature = xmlSecFindNode(xmlDocGetRootElement(document), xmlSecNodeSignature, xmlSecDSigNs);
    context = xmlSecDSigCtxCreate(NULL);
    if (signature == NULL || context == NULL || (context->signKey = find(argv[2])) == NULL)
        return 3;
    if (xmlSecDSigCtxSign(context, signature) < 0 || context->status != xmlSecDSigStatusSucceeded)
        return 1;
    return xmlDocDump(stdout, document) < 0 ? 1 : 0;
}
