/* SPDX-License-Identifier: Apache-2.0 */
#include "keyset_support.h"

trust_signer *signer_for(trust_purpose purpose)
{
    trust_signer *signer;
    rpc_status status;
    if (trust_signer_parse(
            rpc_bytes_str("{" ROOT_JWK ",\"d\":\"" D "\"}"), purpose, &signer, &status) != RPC_OK)
        fail_msg("%s", status.message);
    return signer;
}

trust_keyring *ring_of(const char *jwks, trust_purpose purpose)
{
    trust_keyring *ring;
    rpc_status status;
    if (trust_keyring_parse(rpc_bytes_str(jwks), purpose, 1, &ring, &status) != RPC_OK)
        fail_msg("%s", status.message);
    return ring;
}

trust_keyring *root_ring(void)
{
    return ring_of("{" ROOT_JWK "}", TRUST_FOR_KEY_SETS);
}

trust_keyring *ring_of_signer(const trust_signer *signer)
{
    RPC_AUTOFREE char *jwks = trust_signer_public_jwks(signer);
    return ring_of(jwks, trust_signer_purpose(signer));
}

trust_signer *fresh_root(void)
{
    trust_signer *signer;
    rpc_status status;
    assert_int_equal(trust_signer_generate(TRUST_FOR_KEY_SETS, &signer, &status), RPC_OK);
    return signer;
}

trust_keyset make_set(void)
{
    static char jwks[] = KEYS(MANIFEST_KEY);
    return (trust_keyset){.issuer = "https://skms.example",
        .service = "https://dacm.example/",
        .purpose = TRUST_FOR_MANIFESTS,
        .version = 7,
        .issued_at = NOW,
        .expires_at = NOW + 3600,
        .jwks = jwks};
}

char *sign_set(const trust_keyset *set)
{
    RPC_CLEANUP(signer_freep) trust_signer *root = signer_for(TRUST_FOR_KEY_SETS);
    rpc_status status;
    char *jws = NULL;
    if (trust_keyset_sign(root, set, &jws, &status) != RPC_OK)
        fail_msg("%s", status.message);
    return jws;
}

char *sign_payload(const char *typ, const char *payload)
{
    RPC_CLEANUP(signer_freep) trust_signer *root = signer_for(TRUST_FOR_KEY_SETS);
    rpc_status status;
    char *jws = NULL;
    assert_int_equal(trust_jws_sign(root, typ, rpc_bytes_str(payload), &jws, &status), RPC_OK);
    return jws;
}
