/* SPDX-License-Identifier: Apache-2.0 */
/* What is read of an asset that is to be adapted, and when. */
#include "kept.h"
#include "making.h"

#include <sys/resource.h>
#include <unistd.h>

typedef struct gate {
    rpc_code answer;
    unsigned asked;
    uint64_t size;
} gate;

static rpc_code pass_gate(void *ctx, uint64_t size, rpc_status *reterr)
{
    gate *g = ctx;
    g->asked++;
    g->size = size;
    return g->answer == RPC_OK ? RPC_OK : rpc_status_set(reterr, g->answer, "the gate is shut");
}

/* Asset 1, version 1: chunks 0 and 1, of 1000 and 1001 bytes. */
static void put_asset(kept *k, dacm_wanted *ret)
{
    kept_version v = {.asset = 1, .version = 1, .count = 2};
    kept_put_version(k, &v);
    *ret = (dacm_wanted){.which = kept_which(1, "{}")};
    memset(ret->uid, 0x40, sizeof ret->uid);
    ret->uid[0] = 1;
    kept_asset_id(1, ret->asset_id);
}

/* -1: refused, as *reterr says. */
static int make(kept *k, const dacm_wanted *wanted, uint64_t bytes_max, gate *g, rpc_status *reterr)
{
    uint8_t sha256[DACM_DIGEST_BYTES];
    const dacm_source_rule rule = {.bytes_max = bytes_max, .admit = pass_gate, .ctx = g};
    int source = -1;
    *reterr = (rpc_status){.code = RPC_OK};
    const rpc_code code = dacm_make_source(k->db, wanted, &rule, &source, sha256, reterr);
    assert_int_equal(code, reterr->code);
    assert_int_equal(code == RPC_OK, source >= 0);
    return source;
}

TEST(admitted_source_has_all_bytes_of_the_version)
{
    kept k;
    dacm_wanted wanted;
    gate g = {.answer = RPC_OK};
    rpc_status status;
    kept_open(&k);
    put_asset(&k, &wanted);
    const int source = make(&k, &wanted, 2001, &g, &status);
    assert_int_equal(g.asked, 1);
    assert_int_equal(g.size, 2001);
    assert_int_equal(lseek(source, 0, SEEK_END), 2001);
    close(source);
    kept_close(&k);
}

TEST(source_that_is_not_admitted_is_not_read_and_too_large_a_one_asks_for_no_place)
{
    kept k;
    dacm_wanted wanted;
    gate g = {.answer = RPC_OK};
    rpc_status status;
    uint8_t digest[32];
    kept_open(&k);
    put_asset(&k, &wanted);
    kept_chunk(0, digest, NULL);
    kept_drop_digest(&k, 1, digest); /* whoever reads finds that it is missing */
    assert_int_equal(make(&k, &wanted, 2001, &g, &status), -1);
    assert_int_equal(status.code, RPC_DATA_LOSS);
    assert_string_equal(status.message, "a chunk of a version is missing");
    g.answer = RPC_RESOURCE_EXHAUSTED;
    assert_int_equal(make(&k, &wanted, 2001, &g, &status), -1);
    assert_int_equal(status.code, RPC_RESOURCE_EXHAUSTED);
    assert_string_equal(status.message, "the gate is shut");
    assert_int_equal(g.asked, 2);
    assert_int_equal(make(&k, &wanted, 2000, &g, &status), -1);
    assert_int_equal(status.code, RPC_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(status.message, "media.source_bytes_max lets 2000"));
    assert_int_equal(g.asked, 2);
    kept_close(&k);
}

/* What is made of it would have a signature of its own, which no client could tell from a good one.
 */
TEST(source_whose_bytes_are_not_those_that_were_stored_is_not_adapted)
{
    kept k;
    dacm_wanted wanted;
    gate g = {.answer = RPC_OK};
    rpc_status status;
    kept_open(&k);
    put_asset(&k, &wanted);
    kept_rot_chunk(&k, 1, 1);
    assert_int_equal(make(&k, &wanted, 2001, &g, &status), -1);
    assert_int_equal(status.code, RPC_DATA_LOSS);
    assert_non_null(strstr(status.message, "--store-check"));
    kept_close(&k);
}

TEST(version_that_is_gone_meanwhile_is_not_found)
{
    kept k;
    dacm_wanted wanted;
    gate g = {.answer = RPC_OK};
    rpc_status status;
    kept_open(&k);
    put_asset(&k, &wanted);
    kept_delete(&k, dacm_key_asset(wanted.asset_id), dacm_key_version(1));
    assert_int_equal(make(&k, &wanted, 2001, &g, &status), -1);
    assert_int_equal(status.code, RPC_NOT_FOUND);
    kept_close(&k);
}

/* Its record is read, and then deleted and swept. */
static rpc_code delete_it(void *ctx, uint64_t size, rpc_status *reterr)
{
    (void)size;
    (void)reterr;
    kept *k = ctx;
    uint8_t digest[32];
    char id[2 * STORE_UID_BYTES + 1];
    kept_asset_id(1, id);
    kept_delete(k, dacm_key_asset(id), dacm_key_version(1));
    kept_chunk(0, digest, NULL);
    kept_drop_digest(k, 1, digest);
    return RPC_OK;
}

TEST(version_that_goes_while_it_is_read_is_not_found)
{
    kept k;
    dacm_wanted wanted;
    uint8_t sha256[DACM_DIGEST_BYTES];
    int source = -1;
    rpc_status status = {.code = RPC_OK};
    kept_open(&k);
    put_asset(&k, &wanted);
    const dacm_source_rule rule = {.bytes_max = 2001, .admit = delete_it, .ctx = &k};
    assert_int_equal(
        dacm_make_source(k.db, &wanted, &rule, &source, sha256, &status), RPC_NOT_FOUND);
    assert_int_equal(status.code, RPC_NOT_FOUND);
    assert_int_equal(source, -1);
    kept_close(&k);
}

TEST(want_of_descriptors_is_not_the_assets_fault)
{
    kept k;
    dacm_wanted wanted;
    gate g = {.answer = RPC_OK};
    rpc_status status;
    struct rlimit before;
    kept_open(&k);
    put_asset(&k, &wanted);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    const struct rlimit none = {.rlim_cur = 0, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_int_equal(make(&k, &wanted, 2001, &g, &status), -1);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(status.code, RPC_UNAVAILABLE);
    assert_non_null(strstr(status.message, "try again"));
    const int source = make(&k, &wanted, 2001, &g, &status);
    assert_int_equal(status.code, RPC_OK);
    close(source);
    kept_close(&k);
}
