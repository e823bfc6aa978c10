/* SPDX-License-Identifier: Apache-2.0 */
#include "authorization.h"

#include <jansson.h>
#include <stdlib.h>

#define ID_TOKEN_BYTES_MAX 4096u /* of ours; far below it */

RPC_DEFINE_FREEP(json_freep, json_t *, json_decref)

static bool text_is(const json_t *claims, const char *name, const char *expected)
{
    const char *text = json_string_value(json_object_get(claims, name));
    return text && strcmp(text, expected) == 0;
}

bool sim_hint_read(
    sim_oidc *oidc, const char *token, const char *client_id, char ret_sub[SIM_SUB_CHARS + 1])
{
    static const char *const typs[] = {"JWT", NULL};
    trust_jws jws = {0};
    const sim_key_set *keys = sim_keys_now(oidc->service->keys);
    trust_verdict verdict = trust_jws_verify(
        rpc_bytes_str(token), ID_TOKEN_BYTES_MAX, keys->ring, typs, &jws, NULL);
    sim_key_set_unref(keys);
    if (verdict != TRUST_VALID)
        return false;
    RPC_AUTOFREE uint8_t *payload = jws.payload;
    RPC_CLEANUP(json_freep)
    json_t *claims = trust_json_parse(
        rpc_bytes_of(payload, jws.payload_size), ID_TOKEN_BYTES_MAX, "id_token_hint", NULL);
    const char *sub = json_string_value(json_object_get(claims, "sub"));
    return sub && text_is(claims, "iss", oidc->service->config.issuer) &&
           text_is(claims, "aud", client_id) && rpc_text_copy(ret_sub, SIM_SUB_CHARS + 1, sub) &&
           *sub;
}
