/* The functions of PKCS#11 2.40 in the order of CK_FUNCTION_LIST. */
#ifndef AKV_CRYPTOKI_H
#define AKV_CRYPTOKI_H

#include "pkcs11t.h"

typedef struct CK_FUNCTION_LIST CK_FUNCTION_LIST, *CK_FUNCTION_LIST_PTR, **CK_FUNCTION_LIST_PTR_PTR;

#define AKV_SESSION CK_SESSION_HANDLE
#define AKV_BYTES CK_BYTE_PTR, CK_ULONG
#define AKV_OUT CK_BYTE_PTR, CK_ULONG_PTR
#define AKV_INIT (AKV_SESSION, CK_MECHANISM_PTR, CK_OBJECT_HANDLE)
#define AKV_INTO (AKV_SESSION, AKV_BYTES, AKV_OUT)
#define AKV_TEMPLATE CK_ATTRIBUTE_PTR, CK_ULONG

#define AKV_FUNCTIONS(F)                                                                                             \
    F(C_Initialize, (CK_VOID_PTR))                                                                                   \
    F(C_Finalize, (CK_VOID_PTR))                                                                                     \
    F(C_GetInfo, (CK_INFO_PTR))                                                                                      \
    F(C_GetFunctionList, (CK_FUNCTION_LIST_PTR_PTR))                                                                 \
    F(C_GetSlotList, (CK_BBOOL, CK_SLOT_ID_PTR, CK_ULONG_PTR))                                                       \
    F(C_GetSlotInfo, (CK_SLOT_ID, CK_SLOT_INFO_PTR))                                                                 \
    F(C_GetTokenInfo, (CK_SLOT_ID, CK_TOKEN_INFO_PTR))                                                               \
    F(C_GetMechanismList, (CK_SLOT_ID, CK_MECHANISM_TYPE_PTR, CK_ULONG_PTR))                                         \
    F(C_GetMechanismInfo, (CK_SLOT_ID, CK_MECHANISM_TYPE, CK_MECHANISM_INFO_PTR))                                    \
    F(C_InitToken, (CK_SLOT_ID, CK_UTF8CHAR_PTR, CK_ULONG, CK_UTF8CHAR_PTR))                                         \
    F(C_InitPIN, (AKV_SESSION, CK_UTF8CHAR_PTR, CK_ULONG))                                                           \
    F(C_SetPIN, (AKV_SESSION, CK_UTF8CHAR_PTR, CK_ULONG, CK_UTF8CHAR_PTR, CK_ULONG))                                 \
    F(C_OpenSession, (CK_SLOT_ID, CK_FLAGS, CK_VOID_PTR, CK_NOTIFY, CK_SESSION_HANDLE_PTR))                          \
    F(C_CloseSession, (AKV_SESSION))                                                                                 \
    F(C_CloseAllSessions, (CK_SLOT_ID))                                                                              \
    F(C_GetSessionInfo, (AKV_SESSION, CK_SESSION_INFO_PTR))                                                          \
    F(C_GetOperationState, (AKV_SESSION, AKV_OUT))                                                                   \
    F(C_SetOperationState, (AKV_SESSION, AKV_BYTES, CK_OBJECT_HANDLE, CK_OBJECT_HANDLE))                             \
    F(C_Login, (AKV_SESSION, CK_USER_TYPE, CK_UTF8CHAR_PTR, CK_ULONG))                                               \
    F(C_Logout, (AKV_SESSION))                                                                                       \
    F(C_CreateObject, (AKV_SESSION, AKV_TEMPLATE, CK_OBJECT_HANDLE_PTR))                                             \
    F(C_CopyObject, (AKV_SESSION, CK_OBJECT_HANDLE, AKV_TEMPLATE, CK_OBJECT_HANDLE_PTR))                             \
    F(C_DestroyObject, (AKV_SESSION, CK_OBJECT_HANDLE))                                                              \
    F(C_GetObjectSize, (AKV_SESSION, CK_OBJECT_HANDLE, CK_ULONG_PTR))                                                \
    F(C_GetAttributeValue, (AKV_SESSION, CK_OBJECT_HANDLE, AKV_TEMPLATE))                                            \
    F(C_SetAttributeValue, (AKV_SESSION, CK_OBJECT_HANDLE, AKV_TEMPLATE))                                            \
    F(C_FindObjectsInit, (AKV_SESSION, AKV_TEMPLATE))                                                                \
    F(C_FindObjects, (AKV_SESSION, CK_OBJECT_HANDLE_PTR, CK_ULONG, CK_ULONG_PTR))                                    \
    F(C_FindObjectsFinal, (AKV_SESSION))                                                                             \
    F(C_EncryptInit, AKV_INIT)                                                                                       \
    F(C_Encrypt, AKV_INTO)                                                                                           \
    F(C_EncryptUpdate, AKV_INTO)                                                                                     \
    F(C_EncryptFinal, (AKV_SESSION, AKV_OUT))                                                                        \
    F(C_DecryptInit, AKV_INIT)                                                                                       \
    F(C_Decrypt, AKV_INTO)                                                                                           \
    F(C_DecryptUpdate, AKV_INTO)                                                                                     \
    F(C_DecryptFinal, (AKV_SESSION, AKV_OUT))                                                                        \
    F(C_DigestInit, (AKV_SESSION, CK_MECHANISM_PTR))                                                                 \
    F(C_Digest, AKV_INTO)                                                                                            \
    F(C_DigestUpdate, (AKV_SESSION, AKV_BYTES))                                                                      \
    F(C_DigestKey, (AKV_SESSION, CK_OBJECT_HANDLE))                                                                  \
    F(C_DigestFinal, (AKV_SESSION, AKV_OUT))                                                                         \
    F(C_SignInit, AKV_INIT)                                                                                          \
    F(C_Sign, AKV_INTO)                                                                                              \
    F(C_SignUpdate, (AKV_SESSION, AKV_BYTES))                                                                        \
    F(C_SignFinal, (AKV_SESSION, AKV_OUT))                                                                           \
    F(C_SignRecoverInit, AKV_INIT)                                                                                   \
    F(C_SignRecover, AKV_INTO)                                                                                       \
    F(C_VerifyInit, AKV_INIT)                                                                                        \
    F(C_Verify, (AKV_SESSION, AKV_BYTES, AKV_BYTES))                                                                 \
    F(C_VerifyUpdate, (AKV_SESSION, AKV_BYTES))                                                                      \
    F(C_VerifyFinal, (AKV_SESSION, AKV_BYTES))                                                                       \
    F(C_VerifyRecoverInit, AKV_INIT)                                                                                 \
    F(C_VerifyRecover, AKV_INTO)                                                                                     \
    F(C_DigestEncryptUpdate, AKV_INTO)                                                                               \
    F(C_DecryptDigestUpdate, AKV_INTO)                                                                               \
    F(C_SignEncryptUpdate, AKV_INTO)                                                                                 \
    F(C_DecryptVerifyUpdate, AKV_INTO)                                                                               \
    F(C_GenerateKey, (AKV_SESSION, CK_MECHANISM_PTR, AKV_TEMPLATE, CK_OBJECT_HANDLE_PTR))                            \
    F(C_GenerateKeyPair, (AKV_SESSION, CK_MECHANISM_PTR, AKV_TEMPLATE, AKV_TEMPLATE, CK_OBJECT_HANDLE_PTR,           \
                          CK_OBJECT_HANDLE_PTR))                                                                     \
    F(C_WrapKey, (AKV_SESSION, CK_MECHANISM_PTR, CK_OBJECT_HANDLE, CK_OBJECT_HANDLE, AKV_OUT))                       \
    F(C_UnwrapKey, (AKV_SESSION, CK_MECHANISM_PTR, CK_OBJECT_HANDLE, AKV_BYTES, AKV_TEMPLATE, CK_OBJECT_HANDLE_PTR)) \
    F(C_DeriveKey, (AKV_SESSION, CK_MECHANISM_PTR, CK_OBJECT_HANDLE, AKV_TEMPLATE, CK_OBJECT_HANDLE_PTR))            \
    F(C_SeedRandom, (AKV_SESSION, AKV_BYTES))                                                                        \
    F(C_GenerateRandom, (AKV_SESSION, AKV_BYTES))                                                                    \
    F(C_GetFunctionStatus, (AKV_SESSION))                                                                            \
    F(C_CancelFunction, (AKV_SESSION))                                                                               \
    F(C_WaitForSlotEvent, (CK_FLAGS, CK_SLOT_ID_PTR, CK_VOID_PTR))

/* CK_C_Sign is a pointer to C_Sign, and so on. */
#define AKV_TYPE(name, arguments) typedef CK_RV(*CK_##name) arguments;
AKV_FUNCTIONS(AKV_TYPE)
#undef AKV_TYPE

#define AKV_MEMBER(name, arguments) CK_##name name;
struct CK_FUNCTION_LIST {
    CK_VERSION version;
    AKV_FUNCTIONS(AKV_MEMBER)
};
#undef AKV_MEMBER

#endif
