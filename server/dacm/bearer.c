/* SPDX-License-Identifier: Apache-2.0 */
#include "bearer.h"

#include "dacm_internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* What a connection remembers of a header that the peer refers to again. */
struct seen {
    trust_token *token;
    issuers_rule rule;
    uint64_t version;
    dacm_verdicts verdicts;
};

static void seen_free(void *arg)
{
    struct seen *seen = arg;
    trust_token_unref(seen->token);
    dacm_verdicts_clear(&seen->verdicts);
    free(seen);
}

struct job {
    dacm_service *service;
    rpc_call *call;
    dacm_bearer *ret;
    void (*fn)(void *arg);
    void *arg;
    issuers_set *issuers;
    const char *header;
    uint8_t sha256[32];
    size_t size;
    uint8_t text[];
};

void dacm_bearer_done(dacm_bearer *bearer)
{
    trust_token_unref(bearer->token);
    bearer->token = NULL;
}

static void remember(rpc_call *call, const char *header, const dacm_bearer *bearer)
{
    struct seen *seen = malloc(sizeof *seen);
    if (!seen)
        return;
    *seen = (struct seen){
        .token = trust_token_ref(bearer->token), .rule = bearer->rule, .version = bearer->version};
    rpc_call_set_header_object(call, header, seen, seen_free);
}

static void take(dacm_bearer *bearer, trust_token *token, const issuers_set *issuers)
{
    size_t index = issuers_find(issuers, token->issuer);
    bearer->token = token;
    bearer->rule = issuers->rules[index];
    bearer->version = issuers->version;
}

/* ---- verifying ---- */

/* Strand. */
static void verified(void *arg)
{
    struct job *job = arg;
    if (job->ret->token && !rpc_call_cancelled(job->call))
        remember(job->call, job->header, job->ret);
    issuers_unref(job->issuers);
    job->fn(job->arg);
    rpc_call_unref(job->call);
    free(job);
}

/* Answered at once all the same: a stranger's token must not hold a call until a stranger's server
 * answers. */
static void ask_for_keys(const struct job *job, size_t index)
{
    const trust_issuer *issuer = &job->issuers->issuers[index];
    if (job->issuers->rules[index].fetched &&
        trust_token_key_unknown(rpc_bytes_of(job->text, job->size), issuer->keys))
        issuers_fetcher_unknown_kid(job->service->trust->fetcher, issuer->issuer);
}

/* Pool. */
static void verify(void *arg)
{
    struct job *job = arg;
    rpc_bytes text = rpc_bytes_of(job->text, job->size);
    int64_t now = rpc_clock_wall_ms(job->service->clock) / 1000;
    trust_token *token = NULL;
    size_t index = 0;
    if (issuers_verify(job->issuers, text, now, &index, &token, &job->ret->status) != RPC_OK) {
        if (index < job->issuers->count)
            ask_for_keys(job, index);
    } else {
        trust_token_cache_put(
            job->service->trust->tokens, job->sha256, token, &job->issuers->issuers[index]);
        take(job->ret, token, job->issuers);
    }
    rpc_call_post(job->call, verified, job);
}

static void submit(struct job *job)
{
    if (rpc_pool_submit(job->service->verify_pool, verify, job) == RPC_OK)
        return;
    rpc_status_set(&job->ret->status, RPC_RESOURCE_EXHAUSTED,
        "tokens: too many new ones wait to be verified; try again in a second");
    verified(job);
}

static struct job *job_new(dacm_service *service, rpc_call *call, rpc_bytes text)
{
    struct job *job = malloc(sizeof *job + text.size);
    if (!job)
        return NULL;
    memset(job, 0, sizeof *job);
    job->service = service;
    job->call = rpc_call_ref(call);
    job->size = text.size;
    memcpy(job->text, text.data, text.size);
    return job;
}

/* Verified before? Otherwise into the pool. */
static void look_up(dacm_service *service, rpc_call *call, const char *header, rpc_bytes text,
    dacm_bearer *ret, void (*fn)(void *arg), void *arg)
{
    issuers_set *issuers = dacm_trust_issuers(service->trust);
    uint8_t sha256[32];
    trust_sha256(text, sha256);
    trust_token *token = trust_token_cache_find(service->trust->tokens, sha256, issuers->issuers,
        issuers->count, rpc_clock_wall_ms(service->clock) / 1000);
    struct job *job = token ? NULL : job_new(service, call, text);
    if (job) {
        job->ret = ret;
        job->fn = fn;
        job->arg = arg;
        job->issuers = issuers;
        job->header = header;
        memcpy(job->sha256, sha256, sizeof sha256);
        submit(job);
        return;
    }
    if (token) {
        take(ret, token, issuers);
        remember(call, header, ret);
    } else
        rpc_status_set(&ret->status, RPC_RESOURCE_EXHAUSTED, "tokens: no memory; try again later");
    issuers_unref(issuers);
    fn(arg);
}

static struct seen *find_seen(const dacm_service *service, rpc_call *call, const char *header)
{
    struct seen *seen = rpc_call_header_object(call, header);
    return seen && seen->version == dacm_trust_version(service->trust) ? seen : NULL;
}

dacm_verdicts *dacm_bearer_verdicts(dacm_service *service, rpc_call *call)
{
    const char *header = NULL;
    rpc_bytes text;
    if (issuers_find_token(call, &header, &text, NULL) != RPC_OK)
        return NULL;
    struct seen *seen = find_seen(service, call, header);
    return seen ? &seen->verdicts : NULL;
}

void dacm_bearer_get(
    dacm_service *service, rpc_call *call, dacm_bearer *ret, void (*fn)(void *arg), void *arg)
{
    const char *header = NULL;
    rpc_bytes text = {NULL, 0};
    dacm_bearer_done(ret);
    *ret = (dacm_bearer){.token = NULL};
    if (issuers_find_token(call, &header, &text, &ret->status) != RPC_OK) {
        fn(arg);
        return;
    }
    const struct seen *seen = find_seen(service, call, header);
    if (!seen) {
        look_up(service, call, header, text, ret, fn, arg);
        return;
    }
    ret->token = trust_token_ref(seen->token);
    ret->rule = seen->rule;
    ret->version = seen->version;
    fn(arg);
}
