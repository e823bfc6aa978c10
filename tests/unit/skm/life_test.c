/* SPDX-License-Identifier: Apache-2.0 */
/* The life of keys, by tables and by walking a clock over years. */
#include "life.h"
#include "test.h"

#define DAY  86400
#define T0   1800000000
#define KEYS SKM_LIFE_KEYS_MAX

static const skm_policy policy = {
    .active_s = 90 * DAY, .published_before_s = DAY, .verify_only_s = 2 * DAY};

/* ---- tables ------------------------------------------------------------------------------------
 */

TEST(state_of_a_key_by_time)
{
    const skm_key_life key = {.created_at = T0, .signs_from = T0 + 10, .signs_until = T0 + 20};
    const skm_policy short_one = {.active_s = 10, .verify_only_s = 5};
    static const struct {
        int64_t at;
        skm_key_state state;
    } rows[] = {{T0 - 1000000, SKM_PRE_PUBLISHED}, {T0 + 9, SKM_PRE_PUBLISHED},
        {T0 + 10, SKM_ACTIVE}, {T0 + 19, SKM_ACTIVE}, {T0 + 20, SKM_VERIFY_ONLY},
        {T0 + 24, SKM_VERIFY_ONLY}, {T0 + 25, SKM_RETIRED}, {T0 + 10000000, SKM_RETIRED}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(skm_life_state(&short_one, &key, rows[i].at), rows[i].state);
    skm_key_life revoked = key;
    revoked.revoked_at = T0 + 12;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(skm_life_state(&short_one, &revoked, rows[i].at), SKM_COMPROMISED);
}

TEST(empty_set_gets_one_that_signs_at_once_and_one_that_follows)
{
    skm_key_life keys[KEYS];
    size_t count = 0;
    assert_true(skm_life_tend(&policy, keys, &count, KEYS, T0));
    assert_int_equal(count, 2);
    assert_int_equal(keys[0].signs_from, T0);
    assert_int_equal(keys[0].signs_until, T0 + 90 * DAY);
    assert_int_equal(keys[1].created_at, T0);
    assert_int_equal(keys[1].signs_from, T0 + 90 * DAY);
    assert_int_equal(keys[1].signs_until, T0 + 180 * DAY);
    const skm_life life = skm_life_judge(&policy, keys, count, T0);
    assert_int_equal(life.signer, 0);
    assert_int_equal(life.next, 1);
    assert_int_equal(life.changes_at, T0 + 90 * DAY);
    const skm_key_life before[2] = {keys[0], keys[1]};
    assert_true(skm_life_tend(&policy, keys, &count, KEYS, T0 + 89 * DAY));
    assert_int_equal(count, 2);
    assert_memory_equal(before, keys, sizeof before);
}

TEST(rotation_waits_until_verifiers_know_the_next_key)
{
    skm_key_life keys[KEYS];
    size_t count = 0;
    assert_true(skm_life_tend(&policy, keys, &count, KEYS, T0));
    assert_true(skm_life_rotate(&policy, keys, count, T0 + 100)); /* published 100 s ago */
    assert_int_equal(keys[1].signs_from, T0 + DAY);
    assert_int_equal(keys[0].signs_until, T0 + DAY);
    assert_int_equal(keys[1].signs_until, T0 + 91 * DAY);
    assert_true(skm_life_rotate(&policy, keys, count, T0 + 200)); /* no sooner */
    assert_int_equal(keys[1].signs_from, T0 + DAY);
    assert_true(skm_life_tend(&policy, keys, &count, KEYS, T0 + 200));
    assert_int_equal(count, 2);
    assert_true(skm_life_tend(&policy, keys, &count, KEYS, T0 + DAY));
    assert_int_equal(count, 3);
    assert_true(skm_life_rotate(&policy, keys, count, T0 + 10 * DAY)); /* long known: at once */
    const skm_life life = skm_life_judge(&policy, keys, count, T0 + 10 * DAY);
    assert_int_equal(life.signer, 2);
    assert_int_equal(skm_life_state(&policy, &keys[1], T0 + 10 * DAY), SKM_VERIFY_ONLY);
}

TEST(rotated_twice_in_a_second_no_window_is_empty)
{
    const skm_policy at_once = {.active_s = 10 * DAY, .verify_only_s = DAY};
    skm_key_life keys[SKM_LIFE_KEYS_MAX];
    size_t count = 0;
    assert_true(skm_life_tend(&at_once, keys, &count, SKM_LIFE_KEYS_MAX, T0));
    for (int i = 0; i < 3; i++) {
        assert_true(skm_life_rotate(&at_once, keys, count, T0 + 100));
        assert_true(skm_life_tend(&at_once, keys, &count, SKM_LIFE_KEYS_MAX, T0 + 100));
    }
    for (size_t i = 0; i < count; i++)
        assert_true(keys[i].signs_from < keys[i].signs_until);
    assert_int_equal(count, 3); /* the second and third wait for the same second */
    assert_int_equal(skm_life_judge(&at_once, keys, count, T0 + 100).signer, 1);
    assert_int_equal(skm_life_judge(&at_once, keys, count, T0 + 101).signer, 2);
}

TEST(key_that_signs_is_compromised_and_the_next_one_signs_in_the_same_second)
{
    skm_key_life keys[KEYS];
    size_t count = 0;
    const int64_t now = T0 + 5 * DAY;
    assert_true(skm_life_tend(&policy, keys, &count, KEYS, T0));
    keys[0].revoked_at = now;
    assert_true(skm_life_tend(&policy, keys, &count, KEYS, now));
    const skm_life life = skm_life_judge(&policy, keys, count, now);
    assert_int_equal(life.signer, 1);
    assert_int_equal(keys[1].signs_from, now);
    assert_int_equal(life.next, 2);
    assert_int_equal(keys[2].signs_from, keys[1].signs_until);
}

TEST(next_key_is_compromised_just_before_its_turn_and_the_signer_goes_on_meanwhile)
{
    skm_key_life keys[KEYS];
    size_t count = 0;
    const int64_t now = T0 + 90 * DAY - 60;
    assert_true(skm_life_tend(&policy, keys, &count, KEYS, T0));
    keys[1].revoked_at = now;
    assert_true(skm_life_tend(&policy, keys, &count, KEYS, now));
    const skm_life life = skm_life_judge(&policy, keys, count, now);
    assert_int_equal(life.signer, 0);
    assert_int_equal(keys[life.next].signs_from, now + DAY);
    assert_int_equal(keys[0].signs_until, now + DAY);
}

TEST(all_keys_are_compromised_at_once)
{
    skm_key_life keys[KEYS];
    size_t count = 0;
    assert_true(skm_life_tend(&policy, keys, &count, KEYS, T0));
    keys[0].revoked_at = keys[1].revoked_at = T0 + 7;
    assert_true(skm_life_tend(&policy, keys, &count, KEYS, T0 + 7));
    assert_int_equal(count, 4);
    assert_int_equal(keys[2].signs_from, T0 + 7);
    assert_int_equal(keys[3].signs_from, keys[2].signs_until);
}

TEST(provisioned_keys_are_left_as_they_came)
{
    const skm_policy theirs = {.active_s = DAY, .verify_only_s = DAY, .provisioned = true};
    skm_key_life keys[KEYS] = {{.created_at = T0, .signs_from = T0 + 10, .signs_until = T0 + 20}};
    const skm_key_life before = keys[0];
    size_t count = 1;
    for (int64_t at = T0; at < T0 + 3 * DAY; at += 7)
        assert_true(skm_life_tend(&theirs, keys, &count, KEYS, at));
    assert_int_equal(count, 1);
    assert_memory_equal(&before, keys, sizeof before);
    assert_true(skm_life_judge(&theirs, keys, 1, T0 + 20).signer == SKM_NOBODY);
}

TEST(no_room_is_told_and_nothing_is_changed)
{
    skm_key_life keys[3] = {{.revoked_at = 1}, {.revoked_at = 1}};
    const skm_key_life before[3] = {keys[0], keys[1], keys[2]};
    size_t count = 2;
    assert_false(skm_life_tend(&policy, keys, &count, 3, T0));
    assert_int_equal(count, 2);
    assert_memory_equal(before, keys, sizeof before);
}

/* ---- a clock ------------------------------------------------------------------------------------
 */

typedef struct walk {
    skm_policy policy;
    skm_key_life keys[KEYS];
    size_t count;
    unsigned seed;
    int64_t now;
} walk;

/* What skmsd drops, too. */
static void drop_retired(walk *w)
{
    for (size_t i = 0; w->count > 8 && i < w->count;)
        if (skm_life_state(&w->policy, &w->keys[i], w->now) == SKM_RETIRED ||
            (w->keys[i].revoked_at && w->keys[i].signs_until < w->now))
            w->keys[i] = w->keys[--w->count];
        else
            i++;
}

/* Somebody signs, with a key that no verifier hears of for the first time, and somebody follows. */
static void judge(const walk *w, bool emergency)
{
    const skm_life life = skm_life_judge(&w->policy, w->keys, w->count, w->now);
    assert_true(life.signer != SKM_NOBODY);
    assert_true(life.next != SKM_NOBODY);
    assert_true(life.changes_at > w->now);
    const skm_key_life *signer = &w->keys[life.signer], *next = &w->keys[life.next];
    assert_true(signer->signs_from <= w->now && w->now < signer->signs_until);
    assert_true(signer->signs_until >= next->signs_from); /* no gap */
    if (!emergency)
        assert_true(next->signs_from - next->created_at >= w->policy.published_before_s);
}

static void step(walk *w, int64_t seconds)
{
    w->now += seconds;
    drop_retired(w);
    assert_true(skm_life_tend(&w->policy, w->keys, &w->count, KEYS, w->now));
    judge(w, false);
}

TEST(a_year_hour_by_hour_never_lacks_a_signer)
{
    walk w = {.policy = {.active_s = 7 * DAY, .published_before_s = DAY, .verify_only_s = 2 * DAY},
        .now = T0};
    size_t made = 0, turns = 0;
    int64_t signer_from = 0;
    for (int hour = 0; hour < 366 * 24; hour++) {
        const size_t before = w.count;
        step(&w, 3600);
        made += w.count > before ? w.count - before : 0;
        const skm_life life = skm_life_judge(&w.policy, w.keys, w.count, w.now);
        turns += signer_from != w.keys[life.signer].signs_from;
        signer_from = w.keys[life.signer].signs_from;
    }
    assert_int_equal(turns, (366 * 24 - 1) / (7 * 24) + 1);
    assert_true(made >= 2);
}

TEST(years_with_rotations_revocations_and_sleep_never_lack_a_signer)
{
    for (unsigned seed = 1; seed <= 20; seed++) {
        walk w = {
            .policy = {.active_s = 5 * DAY, .published_before_s = DAY, .verify_only_s = 2 * DAY},
            .seed = seed,
            .now = T0};
        step(&w, 0);
        for (int i = 0; i < 5000; i++) {
            const int what = rand_r(&w.seed) % 20;
            const size_t which = (size_t)rand_r(&w.seed) % w.count;
            if (what == 0)
                skm_life_rotate(&w.policy, w.keys, w.count, w.now);
            if (what == 1 && !w.keys[which].revoked_at)
                w.keys[which].revoked_at = w.now;
            step(&w, what == 2 ? 30 * DAY : rand_r(&w.seed) % (4 * 3600)); /* 2: it was off */
        }
    }
}

TEST(clock_that_goes_back_and_forth_brings_no_key_back_that_was_revoked)
{
    skm_key_life keys[KEYS];
    size_t count = 0;
    assert_true(skm_life_tend(&policy, keys, &count, KEYS, T0));
    keys[0].revoked_at = T0 + DAY;
    for (int64_t jump = -400 * DAY; jump <= 400 * DAY; jump += 13 * DAY) {
        assert_true(skm_life_tend(&policy, keys, &count, KEYS, T0 + jump));
        const skm_life life = skm_life_judge(&policy, keys, count, T0 + jump);
        assert_true(life.signer != 0 && life.signer != SKM_NOBODY);
        assert_int_equal(skm_life_state(&policy, &keys[0], T0 + jump), SKM_COMPROMISED);
    }
}
