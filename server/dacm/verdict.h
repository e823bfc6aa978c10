/* SPDX-License-Identifier: Apache-2.0 */
/** Decisions that allowed, remembered so that the same question need not be asked again.
 *
 *  They hang on what a connection remembers of one verified token (bearer.c), so a verdict can
 *  answer neither for another token, audience, key version or issuer's rules (those end what is
 *  remembered of the token) nor for another connection's certificate. Beyond that it holds for
 *  the very method, avatar, user and action, until the avatar's records change, anything is
 *  revoked, or the token expires. Refusals are never remembered. Strand, but for dacm_lists. */
#ifndef DACM_VERDICT_H
#define DACM_VERDICT_H

#include "audit.h"
#include "base.h"

#include <stdatomic.h>

/** How often the records of avatars have changed; several share a counter. Any thread. */
typedef struct dacm_lists dacm_lists;
/** NULL when memory is short. */
RPC_MUST_USE dacm_lists *dacm_lists_new(void);
void dacm_lists_free(dacm_lists *lists);
/** For the store's watch: whoever looks from now on sees another number. */
void dacm_lists_changed(dacm_lists *lists, const char *asset_id);
/** Look before the facts are read, and remember what was seen. */
uint64_t dacm_lists_now(const dacm_lists *lists, const char *asset_id);

/** What was asked, and what the decision stood on. */
typedef struct dacm_grounds {
    const char *method; /* static */
    const char *asset_id, *gpsi;
    int action;
    uint64_t list;       /* dacm_lists_now(), and the revocations' epoch, both seen before … */
    uint64_t revocation; /* … the decision was made */
    uint64_t pseudonyms; /* host_pseudonym_version(), seen before audit was made */
    uint64_t trust;      /* of the keys and issuers' rules that the token was judged by */
} dacm_grounds;

typedef struct dacm_verdict {
    int64_t valid_until;       /* of the token, seconds since 1970 */
    trust_audit_common *audit; /* what its records have in common */
} dacm_verdict;

#define DACM_VERDICTS_MAX 4u

typedef struct dacm_verdicts {
    struct dacm_kept_verdict *kept[DACM_VERDICTS_MAX];
    unsigned next;
} dacm_verdicts;

/** Keeps one, in the place of an older one, with a reference to audit. Without memory it is not
 *  kept. */
void dacm_verdicts_add(
    dacm_verdicts *verdicts, const dacm_grounds *grounds, const dacm_verdict *verdict);
/** The verdict on the very same grounds that still holds at now (seconds since 1970), or NULL;
 *  borrowed until the next call on verdicts. */
const dacm_verdict *dacm_verdicts_find(
    const dacm_verdicts *verdicts, const dacm_grounds *grounds, int64_t now);
void dacm_verdicts_clear(dacm_verdicts *verdicts);

#endif
