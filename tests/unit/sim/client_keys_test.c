/* SPDX-License-Identifier: Apache-2.0 */
#include "client_keys.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>

static char *new_keys(void)
{
    trust_signer *signer = NULL;
    rpc_status status;
    assert_int_equal(trust_signer_generate(TRUST_FOR_CLIENTS, &signer, &status), RPC_OK);
    char *jwks = trust_signer_public_jwks(signer);
    trust_signer_free(signer);
    return jwks;
}

/* Still held by the table where it keeps it: a pointer tells only then. */
static const trust_keyring *keys_of(sim_client_keys *keys, const char *client_id, const char *jwks)
{
    const sim_client client = {.client_id = client_id, .jwks = jwks};
    trust_keyring *ring = NULL;
    rpc_status status;
    assert_int_equal(sim_client_keys_of(keys, &client, &ring, &status), RPC_OK);
    const trust_keyring *seen = ring;
    assert_int_equal(trust_keyring_count(ring), 1);
    char kid[TRUST_KID_MAX + 8];
    snprintf(kid, sizeof kid, "\"%s\"", trust_key_kid(trust_keyring_at(ring, 0)));
    assert_non_null(strstr(jwks, kid));
    trust_keyring_unref(ring);
    return seen;
}

TEST(keys_of_a_client_are_read_once_until_its_registration_has_others)
{
    sim_client_keys *keys = sim_client_keys_new();
    char *first = new_keys(), *second = new_keys();
    const trust_keyring *ring = keys_of(keys, "val", first);
    assert_ptr_equal(keys_of(keys, "val", first), ring);
    keys_of(keys, "val", second);
    keys_of(keys, "val", first); /* rolled back: those of now, each time */
    for (unsigned i = 0; i < 1000; i++) {
        char id[32];
        snprintf(id, sizeof id, "client-%u", i % 250); /* more than have a place */
        keys_of(keys, id, i % 2 ? first : second);
    }
    free(first);
    free(second);
    sim_client_keys_free(keys);
}

TEST(keys_that_cannot_be_read_are_refused_each_time_and_leave_what_is_kept)
{
    sim_client_keys *keys = sim_client_keys_new();
    rpc_status status;
    trust_keyring *ring = NULL;
    char *good = new_keys();
    const trust_keyring *kept = keys_of(keys, "val", good);
    const sim_client client = {.client_id = "val", .jwks = "{\"keys\": []}"};
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(sim_client_keys_of(keys, &client, &ring, &status), RPC_INVALID_ARGUMENT);
    assert_null(ring);
    assert_ptr_equal(keys_of(keys, "val", good), kept);
    free(good);
    sim_client_keys_free(keys);
}

TEST(key_sets_too_long_to_be_kept_are_read_all_the_same)
{
    sim_client_keys *keys = sim_client_keys_new();
    char *good = new_keys(), *longer = calloc(1, 8192);
    const char *rest = strchr(good, '{');
    snprintf(longer, 8192, "{\"comment\": \"%05000d\",%s", 0, rest + 1);
    keys_of(keys, "val", longer);
    keys_of(keys, "val", longer);
    free(longer);
    free(good);
    sim_client_keys_free(keys);
}
