/* SPDX-License-Identifier: Apache-2.0 */
/* Keys that VAL servers bring; what the wire adds to it: tests/e2e/skms_provision_test.py. */
#include "known.h"
#include "state_internal.h"

#define MAPS "https://maps.example"

static const skm_client client = {"https://sims.example", "maps"};

static void open_provisioned(known *k)
{
    rpc_status status = {0};
    char token[SKM_TOKEN_CHARS + 1];
    int64_t expires_at = 0;
    uint8_t sealing_key[SKM_SEALING_BYTES] = {9};
    skm_enrolled enrolled;
    known_open(k);
    const skm_caller caller = known_caller(SAN);
    const skm_service_view view = {.name = MAPS,
        .purposes = {false, true, true},
        .policy = {.active_s = 10 * DAY, .verify_only_s = DAY, .provisioned = true}};
    OK(skm_service_add(k->state, &view, &status));
    OK(skm_enrolment_add(k->state, MAPS, SAN, &client, token, &expires_at, &status));
    OK(skm_enrol(k->state, &caller, token, sealing_key, &enrolled, &status));
}

static rpc_code bring(known *k, const uint8_t *seed, rpc_status *reterr)
{
    trust_signer *signer = NULL;
    skm_provisioned provisioned;
    skm_caller caller = known_caller(SAN);
    caller.client = client;
    assert_int_equal(trust_signer_from_seed(seed, TRUST_FOR_MANIFESTS, &signer, NULL), RPC_OK);
    const rpc_code code = skm_key_provision(
        k->state, &caller, MAPS, SKM_FOR_MANIFESTS, signer, 0, 0, &provisioned, reterr);
    trust_signer_free(signer);
    return code;
}

static void no_root_is_brought(known *k, uint8_t (*seeds)[32], size_t count)
{
    rpc_status status;
    for (size_t i = 0; i < count; i++) {
        REFUSED(bring(k, seeds[i], &status), RPC_INVALID_ARGUMENT);
        assert_non_null(strstr(status.message, "something else"));
    }
}

TEST(key_that_is_or_was_the_root_is_brought_by_nobody)
{
    known k;
    rpc_status status = {0};
    uint8_t seeds[3][32], other[32] = {7};
    open_provisioned(&k);
    for (size_t i = 0; i < 3; i++) {
        if (i > 0)
            OK(skm_root_rotate(k.state, NULL, NULL, &status));
        memcpy(seeds[i], trust_signer_seed(k.state->root.signer), 32);
        no_root_is_brought(&k, seeds, i + 1);
    }
    known_reopen(&k);
    no_root_is_brought(&k, seeds, 3);
    OK(bring(&k, other, &status));
    known_close(&k);
}
