/* SPDX-License-Identifier: Apache-2.0 */
/** The life of the keys of one set: a function of policy, keys and time, and nothing else.
 *
 *      pre-published ─▶ active ─▶ verify-only ─▶ retired        compromised, from any of them
 *
 *  A key signs from signs_from on and before signs_until. There is always one key that signs and
 *  one that verifiers know already and that signs after it. Times are seconds since 1970. */
#ifndef SKM_LIFE_H
#define SKM_LIFE_H

#include "base.h"

#define SKM_LIFE_KEYS_MAX 64u /* of a set, whatever their state */
#define SKM_NOBODY        SIZE_MAX
#define SKM_NEVER         INT64_MAX

/** As in skms.v1.KeyState. */
typedef enum skm_key_state {
    SKM_PRE_PUBLISHED = 1, /* verifiers learn it; it signs nothing yet */
    SKM_ACTIVE,
    SKM_VERIFY_ONLY, /* signs nothing any more; what it signed verifies */
    SKM_RETIRED,     /* what was signed in its window still verifies; tokens do not */
    SKM_COMPROMISED, /* verifies nothing, whenever it was signed */
} skm_key_state;

typedef struct skm_policy {
    int64_t active_s;           /* how long a key signs */
    int64_t published_before_s; /* before its first signature; at most active_s */
    int64_t verify_only_s;      /* after its last one */
    bool delegated;             /* private halves do not leave */
    bool provisioned;           /* keys come from outside: none is made, no window is moved */
} skm_policy;

typedef struct skm_key_life {
    int64_t created_at; /* published from then on */
    int64_t signs_from, signs_until;
    int64_t revoked_at; /* 0: it was not */
} skm_key_life;

skm_key_state skm_life_state(const skm_policy *policy, const skm_key_life *key, int64_t now);

/** What is, and what must be done for it to go on. */
typedef struct skm_life {
    size_t signer;      /* of the active keys the one whose window began last; SKM_NOBODY */
    size_t next;        /* that signs after it; SKM_NOBODY */
    int64_t changes_at; /* when a state changes by itself; SKM_NEVER */
} skm_life;

/** Judges count keys. */
skm_life skm_life_judge(
    const skm_policy *policy, const skm_key_life *keys, size_t count, int64_t now);

/** Changes windows and adds keys so that one signs now and one is published that signs after it:
 *  - nobody signs: the next one begins now, or a new one does;
 *  - nobody comes next: a new one does, when the signer ends, but not before it has been published
 *    for long enough; meanwhile the signer goes on.
 *  New keys stand at keys[*count …], of room entries; whoever calls makes them. Of a provisioned
 *  set nothing changes. False: there is no room.  What holds already is left as it is. */
bool skm_life_tend(
    const skm_policy *policy, skm_key_life *keys, size_t *count, size_t room, int64_t now);

/** The next key takes over as soon as it has been published for long enough, and the signer, which
 *  has a second at least, ends then. False: there is no next key. Whatever has to follow is
 * skm_life_tend()'s business. */
bool skm_life_rotate(const skm_policy *policy, skm_key_life *keys, size_t count, int64_t now);

#endif
