/* SPDX-License-Identifier: Apache-2.0 */
/* What the audit trail knows of delegated signatures: how many may follow, before the first of
 * them; how many were made, afterwards. */
#include "known.h"

#define SAN "dacm.example"

/* The trail of a test. */
typedef struct trail {
    bool refuses;
    unsigned announcements;
    uint64_t up_to, count, made;
} trail;

static rpc_code announce(void *ctx, const skm_announce *what, uint64_t up_to, rpc_status *reterr)
{
    trail *t = ctx;
    assert_string_equal(what->service, DACM);
    assert_int_equal(what->purpose, SKM_FOR_TOKENS);
    t->announcements++;
    if (t->refuses)
        return rpc_status_set(reterr, RPC_UNAVAILABLE, "the disk is full");
    t->up_to = up_to;
    return RPC_OK;
}

static bool tell(void *ctx, const skm_signed *what)
{
    trail *t = ctx;
    t->count = what->count;
    t->made = what->made;
    return !t->refuses;
}

static void opened(known *k)
{
    const uint8_t sealing_key[32] = {9};
    known_open(k);
    known_add(k, DACM, true);
    known_enrol(k, DACM, SAN, sealing_key);
}

static rpc_code sign(known *k, trail *t)
{
    rpc_status status = {0};
    char kid[TRUST_KID_MAX + 1];
    uint8_t signature[SKM_SIGNATURE_BYTES];
    skm_announce more;
    const skm_caller caller = known_caller(SAN);
    for (;;) {
        const rpc_code code = skm_sign(k->state, &caller, "", SKM_FOR_TOKENS, "",
            rpc_bytes_str("input"), kid, signature, &more, &status);
        if (code != RPC_OK && code != RPC_ABORTED)
            return code;
        if (more.needed &&
            skm_signatures_announce(k->state, &more, announce, t, &status) != RPC_OK &&
            code == RPC_ABORTED)
            return status.code;
        if (code == RPC_OK)
            return code;
    }
}

TEST(nothing_is_signed_of_which_the_trail_does_not_know_and_it_never_knows_of_many_more)
{
    known k;
    trail t = {0};
    opened(&k);
    for (uint64_t made = 1; made <= 20000; made++) {
        assert_int_equal(sign(&k, &t), RPC_OK);
        assert_true(t.up_to >= made);
        assert_true(t.up_to <= 2 * made + 24);
        assert_true(t.up_to <= made + 4096 + 2048);
    }
    assert_true(t.announcements < 30); /* and costs few records */
    skm_signatures_tell(k.state, tell, &t);
    assert_int_equal(t.count, 20000);
    assert_int_equal(t.made, 20000);
    known_close(&k);
}

TEST(what_was_announced_is_void_once_the_trail_knows_what_was_made)
{
    known k;
    trail t = {0};
    opened(&k);
    for (int i = 0; i < 3; i++)
        assert_int_equal(sign(&k, &t), RPC_OK);
    skm_signatures_tell(k.state, tell, &t);
    assert_int_equal(t.made, 3);
    assert_int_equal(t.announcements, 1);
    assert_int_equal(sign(&k, &t), RPC_OK);
    assert_int_equal(t.announcements, 2);
    assert_int_equal(t.up_to, 3 + 16);
    t.count = 0;
    skm_signatures_tell(k.state, tell, &t);
    assert_int_equal(t.count, 1);
    assert_int_equal(t.made, 4);
    t.count = 0;
    skm_signatures_tell(k.state, tell, &t); /* nothing new: no record */
    assert_int_equal(t.count, 0);
    known_close(&k);
}

TEST(trail_that_refuses_ends_signing_with_what_it_knows)
{
    known k;
    trail t = {.refuses = true};
    unsigned made = 0;
    opened(&k);
    assert_int_equal(sign(&k, &t), RPC_UNAVAILABLE);
    t.refuses = false;
    assert_int_equal(sign(&k, &t), RPC_OK);
    t.refuses = true;
    for (made = 1; sign(&k, &t) == RPC_OK; made++)
        assert_true(made <= t.up_to);
    assert_int_equal(made, t.up_to);
    t.refuses = false;
    assert_int_equal(sign(&k, &t), RPC_OK);
    known_close(&k);
}

TEST(count_that_the_trail_refused_is_told_again)
{
    known k;
    trail t = {0};
    opened(&k);
    for (int i = 0; i < 3; i++)
        assert_int_equal(sign(&k, &t), RPC_OK);
    t.refuses = true;
    skm_signatures_tell(k.state, tell, &t);
    assert_int_equal(t.count, 3);
    t = (trail){.up_to = t.up_to};
    assert_int_equal(sign(&k, &t), RPC_OK); /* what it knew of is good still */
    assert_int_equal(t.announcements, 0);
    skm_signatures_tell(k.state, tell, &t);
    assert_int_equal(t.count, 4);
    known_close(&k);
}
