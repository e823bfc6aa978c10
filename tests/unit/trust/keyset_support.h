/* SPDX-License-Identifier: Apache-2.0 */
/** Roots, key sets and payloads, for the tests of both. A helper that cannot do its work fails the
 *  test; what is returned is the caller's. */
#ifndef DACM_TEST_KEYSET_SUPPORT_H
#define DACM_TEST_KEYSET_SUPPORT_H

#include "test.h"
#include "trust.h"

#include "cleanup.h"

#define NOW      1790000000
#define X        "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" /* RFC 8037 appendix A */
#define D        "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
#define ROOT_JWK "\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"root\",\"x\":\"" X "\""
#define OTHER_X  "PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw" /* RFC 8032 7.1, test 2 */
#define THIRD_X  "_FHNjmIYoaONpH7QAjDwWAgW7RO6MwOsXeuRFUiQgCU" /* RFC 8032 7.1, test 3 */
#define KEY(kid, x, purpose, state)                                                                \
    "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"" kid "\",\"x\":\"" x                          \
    "\",\"dacm_purpose\":\"" purpose "\",\"dacm_state\":\"" state                                  \
    "\",\"nbf\":1789990000,\"exp\":1790990000}"
#define MANIFEST_KEY KEY("m1", OTHER_X, "manifest", "active")
#define KEYS(keys)   "{\"keys\":[" keys "]}"
#define COUNT(array) (sizeof(array) / sizeof *(array))

RPC_DEFINE_FREEP(ring_freep, trust_keyring *, trust_keyring_unref)
RPC_DEFINE_FREEP(signer_freep, trust_signer *, trust_signer_free)

/** With the private half D. */
trust_signer *signer_for(trust_purpose purpose);
trust_keyring *ring_of(const char *jwks, trust_purpose purpose);
trust_keyring *root_ring(void);
trust_keyring *ring_of_signer(const trust_signer *signer);
/** Another root each time. */
trust_signer *fresh_root(void);
/** A good set of one manifest key, issued NOW; its texts are constants. */
trust_keyset make_set(void);
/** By the root D. */
char *sign_set(const trust_keyset *set);
char *sign_payload(const char *typ, const char *payload);

#endif
