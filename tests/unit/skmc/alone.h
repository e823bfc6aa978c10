/* SPDX-License-Identifier: Apache-2.0 */
/** An SKM-C of one service, in a folder of its own, without a thread: what an SKM-S says is given
 * to it by hand. */
#ifndef SKMC_ALONE_H
#define SKMC_ALONE_H

#include "skmc_internal.h"

#include "test.h"

#define ALONE_NOW     1790000000
#define ALONE_SERVICE "https://dacm.example/"
#define ALONE_SKMS    "https://skms.example"

typedef struct alone_key {
    trust_signer *signer;
    const char *state;
    int64_t from, until;
} alone_key;

typedef struct alone {
    char folder[512], kept[600], config[700];
    int64_t wall_s;
    rpc_clock clock;
    rpc_runtime *runtime;
    host_log *log;
    host_metrics *metrics;
    host_health *health;
    host_settings *settings;
    trust_signer *root;
    alone_key keys[4];
    size_t key_count;
    skmc *client;
    unsigned changes;
} alone;

/** A root, two keys that sign one after the other for 1,000 s from ALONE_NOW on, and a client. */
void alone_start(alone *a);
void alone_done(alone *a);
/** The client again, as after a restart; its code. */
rpc_code alone_open(alone *a, const char *val_service, rpc_status *reterr);
void alone_close(alone *a);

/** A set of the keys as they are. free() it. */
char *alone_set(const alone *a, const char *service, uint64_t version);
/** What the SKM-S says, to a watch. */
rpc_code alone_say(alone *a, skmc__watch *w, const char *jws, bool *ret_newer, rpc_status *reterr);
/** Takes set version of the keys, and publishes. */
void alone_take(alone *a, uint64_t version);
/** The private half of keys[key], sealed to the client, under that kid: among what is kept. */
void alone_give(alone *a, size_t key, const char *kid);
/** The kid that signs at that time, or NULL. */
const char *alone_signer(const alone *a, int64_t at);

#endif
