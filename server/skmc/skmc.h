/* SPDX-License-Identifier: Apache-2.0 */
/** The SKM-C: a server's side of the SKM-S (skms.v1.SigningKeys, docs/keys.md). It enrols once,
 *  gets the keys that its server signs with, watches key sets, and serves on with what it has
 *  while the SKM-S is away, across restarts too. Everything here may be called from any thread.
 *
 *  A thread of its own talks to the SKM-S. What it learns becomes an immutable snapshot; whoever
 *  signs with one never signs with a key that the verified set does not say to sign at that time.
 */
#ifndef SERVER_SKMC_H
#define SERVER_SKMC_H

#include "host.h"
#include "program.h"
#include "trust.h"

/* ---- keys that a server signs with ----------------------------------------------------------- */

/** Private keys of one purpose with what verifiers know of them: immutable, counted. */
typedef struct skmc_keys skmc_keys;

/** From a private JWK set, as a server has it in a file. version: of its ring. Errors of
 *  trust_signers_parse(). */
RPC_MUST_USE rpc_code skmc_keys_parse(rpc_bytes private_jwks, trust_purpose purpose,
    uint64_t version, skmc_keys **ret, rpc_status *reterr);
skmc_keys *skmc_keys_ref(skmc_keys *keys);
/** NULL is allowed. */
void skmc_keys_unref(skmc_keys *keys);
/** Who signs with alg at that time (seconds since 1970); NULL: nobody. It lives as long as keys.
 *  Where private halves stay at the SKM-S (trust_signer_is_remote()), signing waits for it:
 *  UNAVAILABLE while it is away, ABORTED when another key signs by now (skmc_keys_after()). */
const trust_signer *skmc_keys_signer(const skmc_keys *keys, trust_alg alg, int64_t time);
/** What verifies what they signed, with the states of all keys. */
const trust_keyring *skmc_keys_ring(const skmc_keys *keys);
/** For publication: a JWK set of all keys with their states; of tokens, without those that nobody
 *  may verify with any more. */
const char *skmc_keys_jwks(const skmc_keys *keys);
/** May something that kid signed be handed out now? A key that is active or verify-only. */
bool skmc_keys_serves(const skmc_keys *keys, const char *kid);
/** Is one of them, under whatever kid, in ring? Its kid; NULL: none. One key has one purpose. */
const char *skmc_keys_in(const skmc_keys *keys, const trust_keyring *ring);

/* ---- settings -------------------------------------------------------------------------------- */

#define SKMC_SETTINGS                                                                              \
    PROGRAM_TEXT("skms.target", 0, "", "the SKM-S, tls+tcp://host:port"),                          \
        PROGRAM_RELOADED("skms.ca", 0, "", "who signed its certificate, PEM"),                     \
        PROGRAM_TEXT("skms.server_name", 0, "", "name in it; empty: that of the target"),          \
        PROGRAM_RELOADED("skms.certificate", 0, "", "our certificate as SKM-C, PEM, leaf first"),  \
        PROGRAM_RELOADED("skms.key", 0, "", "its private key, PEM"),                               \
        PROGRAM_TEXT("skms.directory", 0, "",                                                      \
            "where what the SKM-S gave is kept, of mode 0700: sealed keys, the root, key sets"),   \
        PROGRAM_TEXT("skms.enrolment_file", 0, "",                                                 \
            "the operator's token, with which we enrol once (mode 0640 at most)"),                 \
        PROGRAM_TEXT("skms.sealing_key_file", 0, "",                                               \
            "the key that keys are sealed to, made if it is missing; empty: in skms.directory"),   \
        PROGRAM_TEXT("skms.root_file", 0, "",                                                      \
            "the root of key sets, a JWK; empty: the one that the SKM-S names when we enrol"),     \
        PROGRAM_TEXT("skms.root_fingerprint", 0, "",                                               \
            "the root that is pinned must have it (SHA256:…); empty: any"),                        \
        PROGRAM_NUMBER("skms.timeout_ms", "ms", 100, 600000, "5000",                               \
            "how long the SKM-S may take for an answer"),                                          \
        PROGRAM_NUMBER("skms.warn_s", "s", 0, 31536000, "604800",                                  \
            "health warns when the keys that are here sign for no longer than that")

/** Is an SKM-S configured at all? */
bool skmc_configured(const host_values *settings);
/** What can be judged without a file. INVALID_ARGUMENT names the setting. */
RPC_MUST_USE rpc_code skmc_settings_check(const host_values *settings, rpc_status *reterr);
/** Reads and judges the files that settings name and changes nothing. */
RPC_MUST_USE rpc_code skmc_files_check(const host_values *settings, rpc_status *reterr);

/* ---- the client ------------------------------------------------------------------------------ */

typedef struct skmc skmc;

/** Everything outlives the skmc; settings are copied. */
typedef struct skmc_options {
    rpc_runtime *runtime;
    const host_values *settings;
    const rpc_clock *clock;
    host_log *log;
    host_metrics *metrics;
    host_health *health;
    /** Whose keys are signed with: the resource of a DACM, the issuer of a SIM-S. NULL: nobody's;
     *  sets are watched only. */
    const char *val_service;
    trust_purpose purpose;
    /** May those keys be used, beside all others that the server knows? False, with a reason: the
     *  last ones stay. On the thread. NULL: they may. */
    bool (*acceptable)(
        void *ctx, const char *val_service, const trust_keyring *ring, rpc_status *reterr);
    /** The keys of that service have changed: skmc_keys_now(), or skmc_ring(). On the thread; and
     *  in skmc_start(), for what was kept. */
    void (*changed)(void *ctx, const char *val_service);
    /** Numbers of rings, never the same twice in the process. NULL: they are counted here. */
    uint64_t (*next_version)(void);
    void *ctx;
} skmc_options;

/** Reads what was kept; nothing is asked yet. RESOURCE_EXHAUSTED; FAILED_PRECONDITION: the folder
 *  is somebody else's, in use, or damaged; INVALID_ARGUMENT. The message says what to do. */
RPC_MUST_USE rpc_code skmc_open(const skmc_options *options, skmc **ret, rpc_status *reterr);
/** Also watches the key set of another service. Before skmc_start(). RESOURCE_EXHAUSTED. */
RPC_MUST_USE rpc_code skmc_watch(
    skmc *client, const char *val_service, trust_purpose purpose, rpc_status *reterr);
/** Begins to talk, and waits for the first answer, for skms.timeout_ms at most: the SKM-S being
 *  away stops no server from starting. */
RPC_MUST_USE rpc_code skmc_start(skmc *client, rpc_status *reterr);
/** Certificates anew, for SIGHUP; on failure the old ones stay. */
RPC_MUST_USE rpc_code skmc_reload(skmc *client, const host_values *settings, rpc_status *reterr);
/** NULL is allowed. Nothing signs with its keys any more when it returns, or may later. */
void skmc_close(skmc *client);

/** The keys of now with a reference; NULL: none have ever come. */
skmc_keys *skmc_keys_now(skmc *client);
/** Waits for other keys than those, timeout_ms at most; with a reference, NULL: none came. */
skmc_keys *skmc_keys_after(skmc *client, const skmc_keys *keys, int64_t timeout_ms);
/** Signs something that is said at that time (seconds since 1970); may be called again after
 *  ABORTED, with another signer and a later time. */
typedef rpc_code skmc_sign_fn(
    void *ctx, const trust_signer *signer, int64_t time, rpc_status *reterr);
/** Calls fn with who of keys signs with alg now. Where it answers ABORTED, which is a turn of keys
 *  at the SKM-S that was not heard of here, it is called again with the keys that come, 5 s later
 * at most each time, three times at most. Any thread that may wait. UNAVAILABLE: none came; else
 * what fn answers. */
RPC_MUST_USE rpc_code skmc_sign(skmc *client, const skmc_keys *keys, trust_alg alg,
    skmc_sign_fn *fn, void *ctx, rpc_status *reterr);
/** The set of a watched service with a reference; NULL: none has come, or the last one has expired:
 *  whoever verifies believes nobody for longer than the SKM-S said. */
trust_keyring *skmc_ring(skmc *client, const char *val_service);
/** Is the key set of that service watched, with skmc_watch()? */
bool skmc_watches(const skmc *client, const char *val_service);
/** Sets conditions and warnings of health as they are now. */
void skmc_judge(skmc *client);

#endif
