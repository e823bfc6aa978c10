/* SPDX-License-Identifier: Apache-2.0 */
/* LOCKS: one, over what there is to fetch and what was fetched; never held while something is
 * fetched or a callback runs. The thread is the only one that frees a provider. */
#include "issuers.h"

#include "cleanup.h"

#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DISCOVERY_BYTES_MAX (64u << 10)
#define CONNECT_MS          5000
#define TOTAL_MS            10000
#define URL_MAX             2048

typedef struct provider {
    struct provider *next;
    char *issuer;
    /* as configured; under the lock */
    char *url; /* of the key set; NULL: discovery */
    char *ca_file;
    bool allow_http, wanted;
    trust_alg rsa_alg;
    int64_t refresh_us, unknown_us, max_age_us;
    /* under the lock */
    int64_t due_us, tried_us, fetched_us; /* monotonic; 0 = never */
    trust_keyring *ring;                  /* NULL = none */
    bool failing, expired;
    /* the thread's: what the ring was read from */
    char *text;
    size_t text_size;
} provider;

struct issuers_fetcher {
    issuers_fetcher_links links;
    pthread_t thread;
    bool started;
    atomic_bool stopping;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    provider *first;
};

static int64_t now_us(const issuers_fetcher *p)
{
    return rpc_clock_monotonic_us(p->links.clock);
}

/* ---- life -------------------------------------------------------------------------------------
 */

issuers_fetcher *issuers_fetcher_new(const issuers_fetcher_links *links)
{
    issuers_fetcher *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->links = *links;
    pthread_mutex_init(&p->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&p->wake, &attr);
    pthread_condattr_destroy(&attr);
    return p;
}

static void provider_free(provider *it)
{
    trust_keyring_unref(it->ring);
    free(it->issuer);
    free(it->url);
    free(it->ca_file);
    free(it->text);
    free(it);
}

void issuers_fetcher_free(issuers_fetcher *p)
{
    if (!p)
        return;
    for (provider *it = p->first, *next; it; it = next) {
        next = it->next;
        provider_free(it);
    }
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

/* ---- configuration ----------------------------------------------------------------------------
 */

static provider *find(const issuers_fetcher *p, const char *issuer)
{
    provider *it = p->first;
    while (it && strcmp(it->issuer, issuer) != 0)
        it = it->next;
    return it;
}

/* Of RSA keys without `alg`. */
static trust_alg rsa_alg_of(const host_values *entry)
{
    const char *const *names = host_string_list(entry, "algorithms");
    for (size_t i = 0; i < host_list_count(entry, "algorithms"); i++)
        if (strcmp(names[i], "PS256") == 0)
            return TRUST_ALG_PS256;
        else if (strcmp(names[i], "RS256") == 0)
            break;
    return TRUST_ALG_RS256;
}

static void replace(char **to, char *from)
{
    free(*to);
    *to = from;
}

/* Locked. False: no memory. */
static bool configure_one(issuers_fetcher *p, const host_values *entry)
{
    const char *issuer = host_string(entry, "issuer");
    const bool discovery = host_bool(entry, "discovery");
    provider *it = find(p, issuer);
    char *url = discovery ? NULL : strdup(host_string(entry, "jwks_url"));
    char *ca_file = strdup(host_string(entry, "jwks_ca_file"));
    if (!it) {
        it = calloc(1, sizeof *it);
        if (it && !(it->issuer = strdup(issuer))) {
            free(it);
            it = NULL;
        }
        if (it) {
            it->next = p->first;
            p->first = it;
        }
    }
    if (!it || !ca_file || (!url && !discovery)) {
        free(url);
        free(ca_file);
        return false;
    }
    replace(&it->url, url);
    replace(&it->ca_file, ca_file);
    it->allow_http = host_bool(entry, "jwks_allow_http");
    it->rsa_alg = rsa_alg_of(entry);
    it->refresh_us = host_int(entry, "jwks_refresh_s") * 1000000;
    it->unknown_us = host_int(entry, "jwks_unknown_kid_s") * 1000000;
    it->max_age_us = host_int(entry, "jwks_max_age_s") * 1000000;
    it->wanted = true;
    it->due_us = now_us(p); /* SIGHUP fetches anew */
    return true;
}

rpc_code issuers_fetcher_configure(
    issuers_fetcher *p, const host_values *settings, rpc_status *reterr)
{
    bool ok = true;
    pthread_mutex_lock(&p->lock);
    for (provider *it = p->first; it; it = it->next)
        it->wanted = false;
    for (size_t i = 0; ok && i < host_list_count(settings, "issuers"); i++) {
        const host_values *entry = host_map_list(settings, "issuers", i);
        if (!host_string(entry, "jwks_file")[0] && !issuers_watched(entry))
            ok = configure_one(p, entry);
    }
    pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->lock);
    return ok ? RPC_OK
              : rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "no memory for the issuers");
}

void issuers_fetcher_apply(issuers_fetcher *p, issuers_set *set)
{
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < set->count; i++) {
        const provider *it = set->rules[i].fetched ? find(p, set->issuers[i].issuer) : NULL;
        if (it && it->ring)
            issuers_set_keys(set, i, trust_keyring_ref(it->ring));
    }
    pthread_mutex_unlock(&p->lock);
}

void issuers_fetcher_unknown_kid(issuers_fetcher *p, const char *issuer)
{
    pthread_mutex_lock(&p->lock);
    provider *it = find(p, issuer);
    const int64_t soonest = it ? it->tried_us + it->unknown_us : 0;
    if (it && it->due_us > soonest) {
        it->due_us = soonest;
        pthread_cond_signal(&p->wake);
    }
    pthread_mutex_unlock(&p->lock);
}

/* ---- fetching ---------------------------------------------------------------------------------
 */

/* What one fetch needs, copied out of the lock. */
typedef struct job {
    provider *of;
    char *url, *ca_file;
    bool allow_http;
    trust_alg rsa_alg;
} job;

static void job_done(job *j)
{
    free(j->url);
    free(j->ca_file);
}

static rpc_code get(issuers_fetcher *p, const job *j, const char *url, size_t max, char **ret,
    size_t *ret_size, rpc_status *reterr)
{
    const host_fetch fetch = {.url = url,
        .ca_file = j->ca_file,
        .allow_http = j->allow_http,
        .bytes_max = max,
        .connect_ms = CONNECT_MS,
        .total_ms = TOTAL_MS,
        .cancel = &p->stopping};
    return host_fetch_get(&fetch, ret, ret_size, reterr);
}

/* OpenID Connect Discovery 4.3: the document must name the very issuer. */
static rpc_code discover(issuers_fetcher *p, job *j, rpc_status *reterr)
{
    char url[URL_MAX];
    size_t size = strlen(j->of->issuer);
    if (size > 0 && j->of->issuer[size - 1] == '/')
        size--;
    const int written = snprintf(
        url, sizeof url, "%.*s/.well-known/openid-configuration", (int)size, j->of->issuer);
    RPC_AUTOFREE char *text = NULL;
    size_t text_size = 0;
    if (written < 0 || (size_t)written >= sizeof url)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "the issuer's name is too long");
    rpc_code code = get(p, j, url, DISCOVERY_BYTES_MAX, &text, &text_size, reterr);
    if (code != RPC_OK)
        return code;
    json_t *json = json_loadb(text, text_size, JSON_REJECT_DUPLICATES, NULL);
    const char *issuer = json_string_value(json_object_get(json, "issuer"));
    const char *jwks_uri = json_string_value(json_object_get(json, "jwks_uri"));
    if (!issuer || strcmp(issuer, j->of->issuer) != 0)
        code = rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "'%.200s' is not JSON with `issuer` as it is configured", url);
    else if (!jwks_uri || !(j->url = strdup(jwks_uri)))
        code = rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "'%.200s' has no `jwks_uri`", url);
    json_decref(json);
    return code;
}

/* A new ring, or RPC_OK with *ret NULL: the very bytes of before. */
static rpc_code fetch_ring(issuers_fetcher *p, job *j, trust_keyring **ret, rpc_status *reterr)
{
    RPC_AUTOFREE char *text = NULL;
    size_t size = 0;
    rpc_code code = j->url ? RPC_OK : discover(p, j, reterr);
    if (code == RPC_OK)
        code = get(p, j, j->url, TRUST_JWKS_BYTES_MAX, &text, &size, reterr);
    if (code != RPC_OK)
        return code;
    if (j->of->text && j->of->text_size == size && memcmp(j->of->text, text, size) == 0)
        return RPC_OK;
    trust_keyring *ring = NULL;
    code = trust_keyring_parse_published(rpc_bytes_of(text, size), TRUST_FOR_TOKENS, j->rsa_alg,
        issuers_next_version(), &ring, reterr);
    if (code != RPC_OK)
        return code;
    if (p->links.acceptable && !p->links.acceptable(p->links.ctx, ring, reterr)) {
        trust_keyring_unref(ring);
        return RPC_INVALID_ARGUMENT;
    }
    replace(&j->of->text, RPC_TAKE(text));
    j->of->text_size = size;
    *ret = ring;
    return RPC_OK;
}

static int64_t with_jitter(int64_t us)
{
    uint32_t random = 0;
    rpc_random(&random, sizeof random);
    return us - us / 10 + (int64_t)(random % (uint32_t)(us / 5 / 1000 + 1)) * 1000;
}

/* Locked. */
static void warn(const issuers_fetcher *p)
{
    bool failing = false;
    for (const provider *it = p->first; it; it = it->next)
        failing = failing || (it->wanted && it->failing);
    host_health_warn(p->links.health, "jwks",
        failing ? "the key set of an issuer cannot be fetched: see the log; what was fetched last "
                  "counts until jwks_max_age_s"
                : NULL);
}

static void tell(issuers_fetcher *p, const provider *it, bool was_failing,
    const trust_keyring *ring, const rpc_status *status)
{
    if (status->code != RPC_OK && status->code != RPC_CANCELLED && !was_failing)
        HOST_LOG(p->links.log, HOST_WARNING, "the key set of an issuer cannot be fetched",
            host_text("issuer", it->issuer), host_text("why", status->message));
    else if (status->code == RPC_OK && (ring || was_failing))
        HOST_LOG(p->links.log, HOST_INFO, "fetched the key set of an issuer",
            host_text("issuer", it->issuer),
            host_number("keys", ring ? (int64_t)trust_keyring_count(ring) : -1));
}

static void fetch(issuers_fetcher *p, job *j)
{
    trust_keyring *ring = NULL;
    rpc_status status = {.code = RPC_OK};
    status.code = fetch_ring(p, j, &ring, &status);
    provider *it = j->of;
    pthread_mutex_lock(&p->lock);
    const bool ok = status.code == RPC_OK, was_failing = it->failing;
    const bool changed = ring != NULL;
    it->tried_us = now_us(p);
    it->due_us = it->tried_us + (ok ? with_jitter(it->refresh_us) : it->unknown_us);
    it->failing = !ok;
    if (ok) {
        it->fetched_us = it->tried_us;
        it->expired = false;
    }
    if (changed) {
        trust_keyring_unref(it->ring);
        it->ring = trust_keyring_ref(ring);
    }
    warn(p);
    pthread_mutex_unlock(&p->lock);
    host_counter_add(ok ? p->links.fetched : p->links.failed, 1);
    tell(p, it, was_failing, ring, &status);
    trust_keyring_unref(ring);
    if (changed)
        p->links.changed(p->links.ctx);
}

/* ---- the thread -------------------------------------------------------------------------------
 */

/* Locked. True: a set has grown too old, and counts no more. */
static bool expire(issuers_fetcher *p, provider *it, int64_t now)
{
    if (!it->ring || it->expired || now < it->fetched_us + it->max_age_us)
        return false;
    trust_keyring *none = issuers_no_keys();
    if (!none)
        return false; /* tried again */
    trust_keyring_unref(it->ring);
    it->ring = none;
    it->expired = true;
    replace(&it->text, NULL);
    HOST_LOG(p->links.log, HOST_ERROR,
        "the key set of an issuer is older than jwks_max_age_s: its tokens are refused",
        host_text("issuer", it->issuer));
    return true;
}

/* Locked. What is due first, into j (of NULL: nothing yet); until when to sleep. */
static int64_t choose(issuers_fetcher *p, job *j, bool *ret_expired)
{
    const int64_t now = now_us(p);
    int64_t next = INT64_MAX;
    for (provider *it = p->first; it; it = it->next) {
        if (!it->wanted)
            continue;
        *ret_expired = expire(p, it, now) || *ret_expired;
        const int64_t end = it->ring && !it->expired ? it->fetched_us + it->max_age_us : INT64_MAX;
        if (it->due_us <= now && !j->of)
            *j = (job){.of = it,
                .url = it->url ? strdup(it->url) : NULL,
                .ca_file = strdup(it->ca_file),
                .allow_http = it->allow_http,
                .rsa_alg = it->rsa_alg};
        next = it->due_us < next ? it->due_us : next;
        next = end < next ? end : next;
    }
    return next;
}

static void *run(void *arg)
{
    issuers_fetcher *p = arg;
    pthread_mutex_lock(&p->lock);
    while (!atomic_load(&p->stopping)) {
        job j = {.of = NULL};
        bool expired = false;
        const int64_t next = choose(p, &j, &expired);
        if (j.of || expired) {
            pthread_mutex_unlock(&p->lock);
            if (expired)
                p->links.changed(p->links.ctx);
            if (j.of)
                fetch(p, &j);
            job_done(&j);
            pthread_mutex_lock(&p->lock);
        } else if (next == INT64_MAX)
            pthread_cond_wait(&p->wake, &p->lock);
        else {
            const struct timespec until = {
                .tv_sec = next / 1000000, .tv_nsec = next % 1000000 * 1000};
            pthread_cond_timedwait(&p->wake, &p->lock, &until);
        }
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

rpc_code issuers_fetcher_start(issuers_fetcher *p, rpc_status *reterr)
{
    p->started = pthread_create(&p->thread, NULL, run, p) == 0;
    return p->started
               ? RPC_OK
               : rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "no thread to fetch key sets");
}

void issuers_fetcher_stop(issuers_fetcher *p)
{
    if (!p || !p->started)
        return;
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->stopping, true);
    pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->lock);
    pthread_join(p->thread, NULL);
    p->started = false;
}
