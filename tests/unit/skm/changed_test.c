/* SPDX-License-Identifier: Apache-2.0 */
/* A store, or a copy that is restored, in which somebody has written who has not the secret. */
#include "known.h"

#include <sodium.h>

#define RECORDS_MAX 32u

typedef struct record {
    uint8_t group[300], item[300], value[2000];
    size_t group_size, item_size, value_size;
} record;

typedef struct records {
    size_t count;
    record list[RECORDS_MAX];
} records;

static bool keep(void *ctx, const store_entry *entry)
{
    records *all = ctx;
    assert_true(all->count < RECORDS_MAX);
    record *r = &all->list[all->count++];
    assert_true(entry->group.size <= sizeof r->group && entry->item.size <= sizeof r->item &&
                entry->value.size <= sizeof r->value);
    memcpy(r->group, entry->group.data, r->group_size = entry->group.size);
    if (entry->item.size)
        memcpy(r->item, entry->item.data, entry->item.size);
    r->item_size = entry->item.size;
    memcpy(r->value, entry->value.data, r->value_size = entry->value.size);
    return true;
}

static void put(known *k, const record *at, const uint8_t *value, size_t size)
{
    store_wait wait;
    const store_change change = {.kind = STORE_PUT,
        .item = rpc_bytes_of(at->item, at->item_size),
        .value = rpc_bytes_of(value, size)};
    assert_int_equal(store_wait_update(k->db, rpc_bytes_of(at->group, at->group_size),
                         STORE_ANY_GENERATION, &change, 1, &wait),
        RPC_OK);
}

/* A service with keys and an SKM-C, a root that was replaced, a key that may not come back. */
static records *filled(known *k, uint8_t sealing_key[32], uint8_t secret_key[32])
{
    rpc_status status;
    records *all = calloc(1, sizeof *all);
    const store_scan_request everything = {.group_is_prefix = true};
    assert_non_null(all);
    known_open(k);
    crypto_box_keypair(sealing_key, secret_key);
    known_add(k, DACM, false);
    known_enrol(k, DACM, SAN, sealing_key);
    OK(skm_root_rotate(k->state, NULL, NULL, &status));
    OK(skm_key_bar(k->state, "hN9aaw_-bBiml1CDgByBXJb7TwxomEGj5RITWhvvluc", START_S, &status));
    OK(store_walk(k->db, &everything, keep, all, &status));
    assert_true(all->count >= 11);
    return all;
}

/* The state on the store as it is now. */
static rpc_code open_anew(known *k, rpc_status *ret_why)
{
    known_close(k);
    return known_try(k, ret_why);
}

TEST(each_changed_byte_of_a_record_is_found)
{
    known k;
    rpc_status status;
    uint8_t public_key[32], secret_key[32], changed[2000];
    records *all = filled(&k, public_key, secret_key);
    for (size_t i = 0; i < all->count; i++) {
        const record *r = &all->list[i];
        for (size_t at = 0; at < r->value_size; at++) {
            memcpy(changed, r->value, r->value_size);
            changed[at] ^= (uint8_t)(1u << (at % 8));
            put(&k, r, changed, r->value_size);
            const rpc_code code = open_anew(&k, &status);
            if (r->group[0] == 'h') /* it opens with the right secret, or not: no tag is needed */
                assert_true(code == RPC_OK || status.message[0]);
            else
                assert_string_equal(rpc_code_name(code), "DATA_LOSS");
        }
        for (size_t size = 0; size < r->value_size; size += 7) {
            put(&k, r, r->value, size);
            assert_int_not_equal(open_anew(&k, &status), RPC_OK);
        }
        put(&k, r, r->value, r->value_size);
        OK(open_anew(&k, &status));
    }
    known_close(&k);
    free(all);
}

/* Tags are of a place: nobody gets another's rights by copying a record of his own there. */
TEST(record_at_another_place_is_found)
{
    known k;
    rpc_status status;
    uint8_t public_key[32], secret_key[32];
    records *all = filled(&k, public_key, secret_key);
    for (size_t i = 0; i < all->count; i++)
        for (size_t j = 0; j < all->count; j++) {
            const record *from = &all->list[i], *to = &all->list[j];
            if (i == j || to->group[0] == 'h')
                continue;
            put(&k, to, from->value, from->value_size);
            REFUSED(open_anew(&k, &status), RPC_DATA_LOSS);
            put(&k, to, to->value, to->value_size);
        }
    OK(open_anew(&k, &status));
    known_close(&k);
    free(all);
}

/* A whole record of another server, whose operator its writer is. */
TEST(enrolment_of_another_server_is_found)
{
    known mine, other;
    rpc_status status;
    uint8_t public_key[32], secret_key[32];
    records *all = filled(&other, public_key, secret_key),
            *ours = filled(&mine, public_key, secret_key);
    unsigned tried = 0;
    for (size_t i = 0; i < all->count; i++) {
        if (all->list[i].group[0] != 's' || all->list[i].item_size == 0)
            continue;
        put(&mine, &all->list[i], all->list[i].value, all->list[i].value_size);
        REFUSED(open_anew(&mine, &status), RPC_DATA_LOSS);
        assert_non_null(strstr(status.message, "not written by this server"));
        tried++;
    }
    assert_int_equal(tried, 1);
    known_close(&mine);
    known_close(&other);
    free(all);
    free(ours);
}
