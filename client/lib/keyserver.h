/* SPDX-License-Identifier: Apache-2.0 */
/** How libdacm asks an SKM-S: keyserver.c for one answer, keywatch.c for as long as a client lives.
 *  What comes goes through the rules of pinned roots into their folder (trusted.c) and is read from
 *  there; nothing else of an answer is kept. */
#ifndef DACM_CLIENT_KEYSERVER_H
#define DACM_CLIENT_KEYSERVER_H

#include "client_internal.h"

/** Who speaks for a service, as pinned. */
typedef struct client_speaker {
    char issuer[256];
    char address[1025]; /* "": none was pinned */
    uint64_t sequence;  /* root statements that were followed */
} client_speaker;

/** NO_KEY: no pinned SKM-S speaks for it, or nobody knows which of several. */
dacm_code client__speaker(
    const dacm_trust *trust, const char *service, client_speaker *ret, dacm_error *reterr);

/** Which key set is wanted; borrowed. */
typedef struct client_wanted_set {
    const dacm_trust *trust;
    const char *service;
    dacm_keys_for purpose;
} client_wanted_set;

/** Starts GetKeySet or WatchKeys for it. */
dacm_code client__keyset_ask(dacm_client *server, client_mailbox *mailbox, const char *path,
    const client_wanted_set *wanted, const client_speaker *speaker, int64_t timeout_ms,
    client_exchange **ret, dacm_error *reterr);
/** Judges an answer (a packed KeySet) and keeps what it has. Errors of dacm_trust_update(). */
dacm_code client__keyset_take(const client_wanted_set *wanted, const client_speaker *speaker,
    rpc_message *answer, dacm_trust_change *ret, dacm_error *reterr);

/* ---- for as long as a client lives (keywatch.c) ------------------------------------------------
 */

#define KEYS_WATCH_PATH "/skms.v1.SigningKeys/WatchKeys"
#define KEYS_GET_PATH   "/skms.v1.SigningKeys/GetKeySet"

/** Asks nobody yet. Uses client's runtime, and is freed before it. */
dacm_code client__watch_new(dacm_client *client, const dacm_client_options *options,
    client_watch **ret, dacm_error *reterr);
/** Waits for its thread. NULL is allowed. */
void client__watch_free(client_watch *watch);
/** Asks from now on. False: there is no address to ask at (*reterr says why; NULL is allowed). Any
 *  number of times. */
bool client__watch_start(client_watch *watch, dacm_error *reterr);
/** How many answers were taken so far; no lock is taken. */
uint64_t client__watch_answers(client_watch *watch);
/** Waits until the first answer came or failed; at once when that is so. */
void client__watch_first(client_watch *watch, int64_t wait_ms);
/** Asks for the set now, whoever else wants it at the same time included, unless that was done a
 *  moment ago; an answer that is on its way is waited for. True: there are more than answers_seen,
 *  so that what is kept may be another. */
bool client__watch_refresh(client_watch *watch, uint64_t answers_seen);
void client__watch_state(client_watch *watch, dacm_keys_state *ret);

#endif
