/* SPDX-License-Identifier: Apache-2.0 */
/** What the store knows about an asset and one user: the facts of the decision's last step. */
#ifndef DACM_FACTS_H
#define DACM_FACTS_H

#include "records.h"
#include "rpc.h"

/** As of one generation of the asset's group. */
typedef struct dacm_facts {
    uint64_t generation;
    Dacm__Records__Profile *profile; /* NULL: no such asset, or deleted; in the arena */
    bool deleted;                    /* there was one: its ID is used up */
    bool owner;
    uint32_t operations; /* bit 1 << Operation, of the user's own grant */
} dacm_facts;

typedef struct dacm_facts_load dacm_facts_load;
/** facts is valid during the call but for what lies in the arena; status tells UNAVAILABLE,
 *  DATA_LOSS … (no such asset is no failure). */
typedef void dacm_facts_fn(void *arg, const dacm_facts *facts, const rpc_status *status);

/** Room for a load; embed it in what lives as long as the load runs. */
struct dacm_facts_load {
    store_op op;
    store_executor executor;
    store *db;
    rpc_arena *arena;
    host_key group, grant;
    const char *gpsi;
    unsigned tries;
    dacm_facts facts;
    dacm_facts_fn *fn;
    void *arg;
};

/** Reads profile and grant as of one generation (again, a few times, when it moved between).
 *  gpsi may be NULL: no grant is looked for. fn runs once, through executor or inside this
 *  function. */
void dacm_facts_get(dacm_facts_load *load, store *db, const store_executor *executor,
    rpc_arena *arena, const char *asset_id, const char *gpsi, dacm_facts_fn *fn, void *arg);

#endif
