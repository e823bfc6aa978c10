/* SPDX-License-Identifier: Apache-2.0 */
#include "life.h"

skm_key_state skm_life_state(const skm_policy *policy, const skm_key_life *key, int64_t now)
{
    if (key->revoked_at)
        return SKM_COMPROMISED;
    if (now < key->signs_from)
        return SKM_PRE_PUBLISHED;
    if (now < key->signs_until)
        return SKM_ACTIVE;
    return now - key->signs_until < policy->verify_only_s ? SKM_VERIFY_ONLY : SKM_RETIRED;
}

/* When the state that a key has now ends. */
static int64_t state_ends(const skm_policy *policy, const skm_key_life *key, int64_t now)
{
    switch (skm_life_state(policy, key, now)) {
    case SKM_PRE_PUBLISHED:
        return key->signs_from;
    case SKM_ACTIVE:
        return key->signs_until;
    case SKM_VERIFY_ONLY:
        return key->signs_until + policy->verify_only_s;
    case SKM_RETIRED:
    case SKM_COMPROMISED:
        break;
    }
    return SKM_NEVER;
}

skm_life skm_life_judge(
    const skm_policy *policy, const skm_key_life *keys, size_t count, int64_t now)
{
    skm_life life = {.signer = SKM_NOBODY, .next = SKM_NOBODY, .changes_at = SKM_NEVER};
    for (size_t i = 0; i < count; i++) {
        const skm_key_state state = skm_life_state(policy, &keys[i], now);
        const int64_t ends = state_ends(policy, &keys[i], now);
        if (ends < life.changes_at)
            life.changes_at = ends;
        if (state == SKM_ACTIVE &&
            (life.signer == SKM_NOBODY || keys[i].signs_from > keys[life.signer].signs_from))
            life.signer = i;
        if (state == SKM_PRE_PUBLISHED &&
            (life.next == SKM_NOBODY || keys[i].signs_from < keys[life.next].signs_from))
            life.next = i;
    }
    return life;
}

static size_t add(
    const skm_policy *policy, skm_key_life *keys, size_t *count, int64_t from, int64_t now)
{
    keys[*count] = (skm_key_life){
        .created_at = now, .signs_from = from, .signs_until = from + policy->active_s};
    return (*count)++;
}

static void move(const skm_policy *policy, skm_key_life *key, int64_t from)
{
    key->signs_from = from;
    key->signs_until = from + policy->active_s;
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

bool skm_life_tend(
    const skm_policy *policy, skm_key_life *keys, size_t *count, size_t room, int64_t now)
{
    if (policy->provisioned)
        return true;
    skm_life life = skm_life_judge(policy, keys, *count, now);
    const size_t wanted = (life.signer == SKM_NOBODY && life.next == SKM_NOBODY) +
                          (life.signer == SKM_NOBODY || life.next == SKM_NOBODY);
    if (wanted > room - *count)
        return false;
    if (life.signer == SKM_NOBODY && life.next != SKM_NOBODY) {
        move(policy, &keys[life.next], now);
        life = skm_life_judge(policy, keys, *count, now);
    } else if (life.signer == SKM_NOBODY)
        life.signer = add(policy, keys, count, now, now);
    skm_key_life *signer = &keys[life.signer];
    if (life.next == SKM_NOBODY)
        life.next = add(
            policy, keys, count, later(signer->signs_until, now + policy->published_before_s), now);
    signer->signs_until = later(signer->signs_until, keys[life.next].signs_from);
    return true;
}

bool skm_life_rotate(const skm_policy *policy, skm_key_life *keys, size_t count, int64_t now)
{
    const skm_life life = skm_life_judge(policy, keys, count, now);
    if (life.next == SKM_NOBODY)
        return false;
    skm_key_life *next = &keys[life.next];
    int64_t from = later(now, next->created_at + policy->published_before_s);
    if (life.signer != SKM_NOBODY) /* which has a second at least: no window is empty */
        from = later(from, keys[life.signer].signs_from + 1);
    if (from < next->signs_from)
        move(policy, next, from);
    if (life.signer != SKM_NOBODY)
        keys[life.signer].signs_until = next->signs_from;
    return true;
}
