/* SPDX-License-Identifier: Apache-2.0 */
#include "verdict.h"

#include "records.h"

#include <stdlib.h>
#include <string.h>

#define LISTS 4096u

struct dacm_lists {
    atomic_uint_fast64_t changes[LISTS];
};

dacm_lists *dacm_lists_new(void)
{
    return calloc(1, sizeof(dacm_lists));
}

void dacm_lists_free(dacm_lists *lists)
{
    free(lists);
}

static size_t place_of(const char *asset_id)
{
    return dacm_asset_hash(asset_id) % LISTS;
}

void dacm_lists_changed(dacm_lists *lists, const char *asset_id)
{
    atomic_fetch_add(&lists->changes[place_of(asset_id)], 1);
}

uint64_t dacm_lists_now(const dacm_lists *lists, const char *asset_id)
{
    return atomic_load(&lists->changes[place_of(asset_id)]);
}

/* ---- verdicts ---- */

struct dacm_kept_verdict {
    dacm_grounds grounds; /* its strings stand in text */
    dacm_verdict verdict;
    char text[];
};

static struct dacm_kept_verdict *copy_of(const dacm_grounds *grounds, const dacm_verdict *verdict)
{
    size_t asset_size = strlen(grounds->asset_id) + 1, gpsi_size = strlen(grounds->gpsi) + 1;
    struct dacm_kept_verdict *kept = malloc(sizeof *kept + asset_size + gpsi_size);
    if (!kept)
        return NULL;
    kept->grounds = *grounds;
    kept->grounds.asset_id = memcpy(kept->text, grounds->asset_id, asset_size);
    kept->grounds.gpsi = memcpy(kept->text + asset_size, grounds->gpsi, gpsi_size);
    kept->verdict = *verdict;
    trust_audit_common_ref(kept->verdict.audit);
    return kept;
}

/* NULL is allowed. */
static void free_kept(struct dacm_kept_verdict *kept)
{
    if (kept)
        trust_audit_common_unref(kept->verdict.audit);
    free(kept);
}

static bool same_question(const dacm_grounds *a, const dacm_grounds *b)
{
    return a->action == b->action && a->method == b->method &&
           strcmp(a->asset_id, b->asset_id) == 0 && strcmp(a->gpsi, b->gpsi) == 0;
}

static bool same_grounds(const dacm_grounds *a, const dacm_grounds *b)
{
    return a->list == b->list && a->revocation == b->revocation && a->pseudonyms == b->pseudonyms &&
           a->trust == b->trust;
}

void dacm_verdicts_add(
    dacm_verdicts *verdicts, const dacm_grounds *grounds, const dacm_verdict *verdict)
{
    struct dacm_kept_verdict *kept = copy_of(grounds, verdict);
    if (!kept)
        return;
    unsigned place = verdicts->next;
    for (unsigned i = 0; i < DACM_VERDICTS_MAX; i++)
        if (verdicts->kept[i] && same_question(&verdicts->kept[i]->grounds, grounds))
            place = i;
    if (place == verdicts->next)
        verdicts->next = (place + 1) % DACM_VERDICTS_MAX;
    free_kept(verdicts->kept[place]);
    verdicts->kept[place] = kept;
}

const dacm_verdict *dacm_verdicts_find(
    const dacm_verdicts *verdicts, const dacm_grounds *grounds, int64_t now)
{
    for (unsigned i = 0; i < DACM_VERDICTS_MAX; i++) {
        const struct dacm_kept_verdict *kept = verdicts->kept[i];
        if (kept && same_question(&kept->grounds, grounds))
            return same_grounds(&kept->grounds, grounds) && now <= kept->verdict.valid_until
                       ? &kept->verdict
                       : NULL;
    }
    return NULL;
}

void dacm_verdicts_clear(dacm_verdicts *verdicts)
{
    for (unsigned i = 0; i < DACM_VERDICTS_MAX; i++)
        free_kept(verdicts->kept[i]);
    *verdicts = (dacm_verdicts){.next = 0};
}
