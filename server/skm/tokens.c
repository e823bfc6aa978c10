/* SPDX-License-Identifier: Apache-2.0 */
#include "tokens.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

struct skm_tokens {
    pthread_rwlock_t lock; /* guards which issuers there are */
    issuers_set *issuers;
    issuers_fetcher *fetcher;
    skm_state *state;
    atomic_bool behind;   /* issuers may have keys that are no more */
    const char *audience; /* as the server was started */
    const rpc_clock *clock;
};

static rpc_code read_entry(const host_values *entry, size_t index, rpc_arena *arena,
    trust_issuer *issuer, issuers_rule *rule, rpc_status *reterr)
{
    (void)index;
    (void)arena;
    (void)rule;
    (void)reterr;
    issuer->may_delegate = true; /* a VAL server's token; whom it acts for is nothing to us */
    issuer->lifetime_s_max = host_int(entry, "token_life_s_max");
    return RPC_OK;
}

/* ---- life ---------------------------------------------------------------------------------------
 */

static issuers_set *issuers_of(skm_tokens *tokens)
{
    pthread_rwlock_rdlock(&tokens->lock);
    issuers_set *issuers = issuers_ref(tokens->issuers);
    pthread_rwlock_unlock(&tokens->lock);
    return issuers;
}

/* Of the issuer's set here, those keys that may verify; none before it has one. NULL: no memory. */
static trust_keyring *own_ring(skm_state *state, const char *issuer)
{
    skm_keyset *set = NULL;
    trust_keyring *ring = NULL;
    rpc_status why;
    if (skm_keyset_get(state, issuer, SKM_FOR_TOKENS, &set, &why) != RPC_OK)
        return issuers_no_keys();
    if (trust_keyring_parse(rpc_bytes_str(skm_keyset_jwks(set)), TRUST_FOR_TOKENS,
            issuers_next_version(), &ring, &why) != RPC_OK)
        ring = issuers_no_keys(); /* all are revoked */
    skm_keyset_unref(set);
    return ring;
}

/* Keys of now into a snapshot that is not published yet; locked for writing, so that none that
 * comes meanwhile is missed. False: no memory. */
static bool apply_keys(const skm_tokens *tokens, issuers_set *issuers)
{
    issuers_fetcher_apply(tokens->fetcher, issuers);
    for (size_t i = 0; i < issuers->count; i++) {
        if (!issuers->rules[i].watched)
            continue;
        trust_keyring *ring = own_ring(tokens->state, issuers->issuers[i].issuer);
        if (!ring)
            return false;
        issuers_set_keys(issuers, i, ring);
    }
    return true;
}

/* On the thread of whoever changed them. Without memory no token is taken until there is some: the
 * old keys may have been revoked. */
static void keys_changed(void *ctx)
{
    skm_tokens *tokens = ctx;
    pthread_rwlock_wrlock(&tokens->lock);
    issuers_set *old = tokens->issuers, *renewed = issuers_copy(old);
    const bool ok = renewed && apply_keys(tokens, renewed);
    if (ok)
        tokens->issuers = renewed;
    atomic_store(&tokens->behind, !ok);
    pthread_rwlock_unlock(&tokens->lock);
    issuers_unref(ok ? old : renewed);
}

static rpc_code catch_up(skm_tokens *tokens, rpc_status *reterr)
{
    if (atomic_load(&tokens->behind))
        keys_changed(tokens);
    return atomic_load(&tokens->behind) ? rpc_status_set(reterr, RPC_UNAUTHENTICATED,
                                              "token: there is no memory for the keys of issuers")
                                        : RPC_OK;
}

void skm_tokens_set_changed(skm_tokens *tokens, const char *service, skm_purpose purpose)
{
    issuers_set *issuers = issuers_of(tokens);
    const size_t i = issuers_find(issuers, service);
    const bool ours = purpose == SKM_FOR_TOKENS && i < issuers->count && issuers->rules[i].watched;
    issuers_unref(issuers);
    if (ours)
        keys_changed(tokens);
}

static rpc_code load(
    const host_values *settings, const char *audience, issuers_set **ret, rpc_status *reterr)
{
    return issuers_load(settings, audience, read_entry, ret, reterr);
}

rpc_code skm_tokens_check(const host_values *settings, rpc_status *reterr)
{
    issuers_set *issuers = NULL;
    const rpc_code code = load(settings, host_string(settings, "resource"), &issuers, reterr);
    issuers_unref(issuers);
    return code;
}

rpc_code skm_tokens_reload(skm_tokens *tokens, const host_values *settings, rpc_status *reterr)
{
    issuers_set *issuers = NULL;
    rpc_code code = load(settings, tokens->audience, &issuers, reterr);
    if (code == RPC_OK)
        code = issuers_fetcher_configure(tokens->fetcher, settings, reterr);
    if (code != RPC_OK) {
        issuers_unref(issuers);
        return code;
    }
    pthread_rwlock_wrlock(&tokens->lock);
    issuers_set *old = tokens->issuers;
    const bool ok = apply_keys(tokens, issuers);
    if (ok)
        tokens->issuers = issuers;
    pthread_rwlock_unlock(&tokens->lock);
    issuers_unref(ok ? old : issuers);
    return ok ? RPC_OK
              : rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "no memory for the issuers' keys");
}

rpc_code skm_tokens_start(const host_values *settings, skm_state *state, const rpc_clock *clock,
    host_log *log, host_metrics *metrics, host_health *health, skm_tokens **ret, rpc_status *reterr)
{
    skm_tokens *tokens = calloc(1, sizeof *tokens);
    if (!tokens)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "skmsd: no memory to start");
    pthread_rwlock_init(&tokens->lock, NULL);
    tokens->clock = clock;
    tokens->state = state;
    tokens->audience = host_string(settings, "resource");
    const issuers_fetcher_links links = {.clock = clock,
        .log = log,
        .health = health,
        .fetched = host_metrics_counter(
            metrics, "skm_jwks_fetched_total", "Key sets of issuers that were fetched.", NULL),
        .failed = host_metrics_counter(metrics, "skm_jwks_failed_total",
            "Key sets of issuers that could not be fetched or used.", NULL),
        .changed = keys_changed,
        .ctx = tokens};
    tokens->fetcher = issuers_fetcher_new(&links);
    rpc_code code = tokens->fetcher ? skm_tokens_reload(tokens, settings, reterr)
                                    : rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
                                          "skmsd: no memory to start");
    if (code == RPC_OK)
        code = issuers_fetcher_start(tokens->fetcher, reterr);
    if (code == RPC_OK)
        *ret = tokens;
    else
        skm_tokens_stop(tokens);
    return code;
}

void skm_tokens_stop(skm_tokens *tokens)
{
    if (!tokens)
        return;
    issuers_fetcher_stop(tokens->fetcher);
    issuers_fetcher_free(tokens->fetcher);
    issuers_unref(tokens->issuers);
    pthread_rwlock_destroy(&tokens->lock);
    free(tokens);
}

/* ---- the token of a call ------------------------------------------------------------------------
 */

static rpc_code check_binding(const trust_token *token, const rpc_call *call, rpc_status *reterr)
{
    const rpc_peer *peer = rpc_call_peer(call);
    if (!token->bound)
        return RPC_OK;
    return peer->has_certificate && memcmp(peer->certificate_sha256, token->certificate_sha256,
                                        sizeof token->certificate_sha256) == 0
               ? RPC_OK
               : rpc_status_set(reterr, RPC_UNAUTHENTICATED,
                     "token: it is bound to another certificate (cnf)");
}

static rpc_code verify(skm_tokens *tokens, rpc_bytes text, trust_token **ret, rpc_status *reterr)
{
    rpc_code code = catch_up(tokens, reterr);
    if (code != RPC_OK)
        return code;
    issuers_set *issuers = issuers_of(tokens);
    size_t index = 0;
    code = issuers_verify(
        issuers, text, rpc_clock_wall_ms(tokens->clock) / 1000, &index, ret, reterr);
    if (code != RPC_OK && index < issuers->count && issuers->rules[index].fetched &&
        trust_token_key_unknown(text, issuers->issuers[index].keys))
        issuers_fetcher_unknown_kid(tokens->fetcher, issuers->issuers[index].issuer);
    issuers_unref(issuers);
    return code;
}

/* The right to keys is a VAL server's, not that of whoever logs in with its client. */
static rpc_code check_holder(const trust_token *token, rpc_status *reterr)
{
    return strcmp(token->subject, token->client_id) == 0 && token->gpsis.count == 0
               ? RPC_OK
               : rpc_status_set(reterr, RPC_PERMISSION_DENIED,
                     "token: it is a user's: its `sub` is not `client_id`, or it has `gpsi`");
}

rpc_code skm_token_of(skm_tokens *tokens, const rpc_call *call, const char *scope,
    trust_token **ret, rpc_status *reterr)
{
    const char *header = NULL;
    rpc_bytes text = {NULL, 0};
    *ret = NULL;
    if (rpc_call_metadata_count(call, "authorization") +
            rpc_call_metadata_count(call, "dacm-token") ==
        0)
        return RPC_OK;
    rpc_code code = issuers_find_token(call, &header, &text, reterr);
    if (code == RPC_OK)
        code = verify(tokens, text, ret, reterr);
    if (code == RPC_OK)
        code = check_binding(*ret, call, reterr);
    if (code == RPC_OK && !trust_token_has_scope(*ret, scope))
        code = rpc_status_set(reterr, RPC_PERMISSION_DENIED, "token: it has not scope %s", scope);
    if (code == RPC_OK)
        code = check_holder(*ret, reterr);
    if (code != RPC_OK) {
        trust_token_unref(*ret);
        *ret = NULL;
    }
    return code;
}

/* Single spaces between, none around: what is written another way was not written by a SIM-S. */
static bool is_list(const char *text)
{
    bool blank = true;
    for (; *text; text++) {
        if ((blank && *text == ' ') || *text < ' ' || *text > '~')
            return false;
        blank = *text == ' ';
    }
    return !blank;
}

bool skm_token_provisions(const trust_token *token, const char *service)
{
    const size_t size = strlen(service);
    if (!token->skeyprov || size == 0 || strchr(service, ' ') || !is_list(token->skeyprov))
        return false;
    for (const char *at = token->skeyprov; at; at = strchr(at, ' ')) {
        at += *at == ' ';
        if (strncmp(at, service, size) == 0 && (at[size] == ' ' || at[size] == '\0'))
            return true;
    }
    return false;
}

bool skm_tokens_know_key(skm_tokens *tokens, const trust_signer *signer)
{
    issuers_set *issuers = issuers_of(tokens);
    bool known = false;
    for (size_t i = 0; i < issuers->count && !known; i++)
        known = trust_signer_in(signer, issuers->issuers[i].keys);
    issuers_unref(issuers);
    return known;
}

bool skm_tokens_issuer(skm_tokens *tokens, const char *name, char *ret, size_t room)
{
    issuers_set *issuers = issuers_of(tokens);
    const size_t index = name[0] ? issuers_find(issuers, name) : 0;
    const bool found = index < issuers->count && (name[0] || issuers->count == 1) &&
                       rpc_text_copy(ret, room, issuers->issuers[index].issuer);
    issuers_unref(issuers);
    return found;
}
