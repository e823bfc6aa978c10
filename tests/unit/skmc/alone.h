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

#define ALONE_SEALED_MAX 512u

typedef struct alone_key {
    trust_signer *signer;
    char kid[TRUST_KID_MAX + 1]; /* in sets; its own, unless a test says otherwise */
    const char *state;
    int64_t from, until;
} alone_key;

typedef struct alone {
    char folder[512], kept[600], config[700];
    int64_t wall_s;
    int64_t stopped_us; /* the monotonic clock stands there; 0: it runs */
    rpc_clock clock;
    rpc_runtime *runtime;
    host_log *log;
    host_metrics *metrics;
    host_health *health;
    host_settings *settings;
    trust_signer *root;
    char *statement; /* comes with each set; NULL: none */
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
/** Another root follows, by the only statement that comes from now on. Returns the one before. */
trust_signer *alone_replace_root(alone *a);
/** What the SKM-S says, to a watch. */
rpc_code alone_say(alone *a, skmc__watch *w, const char *jws, bool *ret_newer, rpc_status *reterr);
/** Takes set version of the keys, and publishes. */
void alone_take(alone *a, uint64_t version);
/** One key of an answer of GetSigningKey. seed NULL: its private half stays at the SKM-S. */
typedef struct alone_half {
    const char *kid;
    const uint8_t *seed; /* 32 bytes; sealed to the client */
} alone_half;
/** What the SKM-S answers when it is asked for private halves; at most 8. */
rpc_code alone_answer(alone *a, const alone_half *halves, size_t count, rpc_status *reterr);
/** An answer with the private half of keys[key] alone, under that kid. */
void alone_give(alone *a, size_t key, const char *kid);
/** The kid that signs at that time, or NULL. */
const char *alone_signer(const alone *a, int64_t at);

#endif
