/* SPDX-License-Identifier: Apache-2.0 */
/** What the files of server/dacm share: the service, and one request's way to its decision. */
#ifndef DACM_INTERNAL_H
#define DACM_INTERNAL_H

#include "adaptations.h"
#include "assemble.h"
#include "bearer.h"
#include "config.h"
#include "dacm/v1/admin.pb-c.h"
#include "dacm/v1/consumer_list.pb-c.h"
#include "dacm/v1/digital_asset.pb-c.h"
#include "dacm/v1/token_status.pb-c.h"
#include "facts.h"
#include "object.h"
#include "program.h"
#include "records.h"
#include "ring.h"
#include "rpc.h"
#include "running.h"
#include "store.h"
#include "trust.h"
#include "uploads.h"

typedef struct dacm_service {
    const dacm_config *config;
    const rpc_clock *clock;
    rpc_runtime *runtime;
    store *store;
    rpc_pool *verify_pool, *upload_pool;
    rpc_pool *sign_pool; /* waits for signatures of the SKM-S; NULL: keys are here */
    dacm_objects *objects;
    dacm_variants *variants;
    dacm_adaptations *adaptations; /* NULL: media is not adapted */
    dacm_running *running;
    dacm_uploads *uploads;
    dacm_ring *ring;
    dacm_trust *trust;
    dacm_lists *lists;
    program_strangers strangers;
    host_log *log;
    uint8_t page_key[32]; /* seals page tokens */
} dacm_service;

typedef enum dacm_action {
    DACM_ACTION_CREATE,
    DACM_ACTION_DISCOVERY,
    DACM_ACTION_GET,
    DACM_ACTION_UPDATE,
    DACM_ACTION_DELETE,
} dacm_action;

/** What a call asks for, as the client said it. */
typedef struct dacm_request {
    const char *method; /* static */
    dacm_action action;
    bool about_profile;             /* GET: of the profile, not of the media */
    const char *asset_id;           /* NULL for CREATE and DISCOVERY */
    const char *gpsi, *external_id; /* one of them */
    bool remember; /* an allowed decision may be taken from memory: only access.exists of the
                      facts is then known */
} dacm_request;

/** status is RPC_OK when it is allowed, otherwise what the call is to fail with: audited and
 *  noted already. Strand. */
typedef void dacm_access_fn(void *arg, const rpc_status *status);

/** One request's way to its decision. Lives until the last fn of it has run. */
typedef struct dacm_access {
    dacm_service *service;
    rpc_call *call;
    const char *method;
    dacm_action action;
    bool about_profile;
    bool prepared, remember;
    bool exists; /* the asset, when it was allowed */
    char request_id[DACM_REQUEST_ID_CHARS + 1];
    char asset_id[DACM_ASSET_ID_MAX + 1];
    char gpsi[DACM_GPSI_MAX + 1];
    int64_t valid_until; /* of the token, seconds since 1970 */
    dacm_bearer bearer;
    dacm_facts facts;    /* of the last decision */
    bool noted;          /* there is an explanation of it */
    char why[192];       /* for it, of a failure after the decision: of the asset, of no user */
    trust_reason reason; /* of the last decision */
    rpc_status outcome;  /* while it is being audited */
    dacm_facts_load load;
    int64_t now_ms;                      /* wall clock, of the decision or change under way */
    uint64_t list_seen, revocation_seen; /* before the facts were read */
    rpc_arena *arena;                    /* of the decision under way */
    store_executor executor;
    bool is_again, audited;
    uint64_t left_out; /* requests of strangers without a record before this one */
    dacm_access_fn *fn;
    void *arg;
} dacm_access;

void dacm_access_init(dacm_access *access, dacm_service *service, rpc_call *call);
/** NULL fields and halves are allowed. */
void dacm_access_done(dacm_access *access);
/** Syntax: INVALID_ARGUMENT names the field. Nothing else happens. */
RPC_MUST_USE rpc_code dacm_access_prepare(
    dacm_access *access, const dacm_request *request, rpc_status *reterr);
/** Token, then facts (into arena), then the decision. fn runs once, possibly inside. */
void dacm_access_start(dacm_access *access, rpc_arena *arena, dacm_access_fn *fn, void *arg);
/** The decision again, with the keys, revocations and facts of now. */
void dacm_access_again(dacm_access *access, rpc_arena *arena, dacm_access_fn *fn, void *arg);
/** The status of a call whose token has expired while it ran. */
void dacm_access_expired(dacm_access *access, rpc_status *ret);
/** Ends the call: dacm_access_end() and rpc_call_finish(). */
void dacm_access_finish(dacm_access *access, const rpc_status *status);
/** Before a call ends with that code: the trailing request ID, and an explanation where the
 *  decision left none. */
void dacm_access_end(dacm_access *access, rpc_code code);
/** Audits what is decided elsewhere than here (peers, operators), before its answer. what is
 *  static. fn runs once, possibly inside; RPC_OK: it is in the trail. */
void dacm_access_record(dacm_access *access, const char *asset_id, rpc_code outcome,
    const char *what, dacm_access_fn *fn, void *arg);
/** Audits a change, before its answer. what is static. fn runs once, possibly inside;
 *  UNAVAILABLE: the change is made and the audit trail does not have it. */
void dacm_access_changed(
    dacm_access *access, const char *asset_id, const char *what, dacm_access_fn *fn, void *arg);

/** Runs completions of the store on the call's strand. */
store_executor dacm_call_executor(rpc_call *call);
/** Logs a failure of the store and gives what the client may know of it. */
const rpc_status *dacm_store_status(
    dacm_service *service, const char *doing, const rpc_status *status);
/** The second half of that: what failed is for the operator, who was told. */
void dacm_hide_store_failure(rpc_status *status);
void dacm_log_store_failure(dacm_service *service, const char *doing, const rpc_status *status);

/** jws is the taker's, free() it; NULL with a status: RESOURCE_EXHAUSTED, UNAVAILABLE (no key
 * signs, or the SKM-S, where the key is, does not). object as long as fn runs. */
typedef void dacm_manifest_fn(void *arg, dacm_object *object, char *jws, const rpc_status *status);
/** The manifest of an object: kept, or signed now and kept. fn runs once, on the call's strand,
 *  possibly inside. Strand. */
void dacm_manifest_get(
    dacm_service *service, rpc_call *call, dacm_object *object, dacm_manifest_fn *fn, void *arg);

/** How many assets there are or were. Blocks. */
RPC_MUST_USE rpc_code dacm_count_assets(store *db, uint64_t *ret, rpc_status *reterr);

extern const rpc_handler dacm_download_handler, dacm_upload_handler;

#endif
