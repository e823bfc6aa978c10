/* SPDX-License-Identifier: Apache-2.0 */
/* Settings, life, and what is told of it. */
#include "skmc_internal.h"

#include "cleanup.h"
#include "skms_proto_descriptors.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BACKOFF_MS     200
#define BACKOFF_MAX_MS 5000
/* A connection into a black hole is noticed; more often than each 10 s servers take for a flood,
 * and a watch may hear nothing else for most of an hour. */
#define KEEPALIVE_MS         15000
#define KEEPALIVE_TIMEOUT_MS 5000
#define ANSWER_BYTES_MAX     (8u << 20)
#define ROOT_BYTES_MAX       4096u

/* ---- settings ---------------------------------------------------------------------------------
 */

bool skmc_configured(const host_values *settings)
{
    return host_string(settings, "skms.target")[0] != '\0';
}

rpc_code skmc_settings_check(const host_values *settings, rpc_status *reterr)
{
    static const char *const needed[] = {
        "skms.target", "skms.ca", "skms.certificate", "skms.key", "skms.directory"};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (!host_string(settings, needed[i])[0])
            return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                "'%s': is needed where keys come from the SKM-S", needed[i]);
    const char *target = host_string(settings, "skms.target");
    return strncmp(target, "tls+tcp://", 10) == 0
               ? RPC_OK
               : rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                     "'skms.target': '%.200s' is not tls+tcp://host:port; private keys go over "
                     "TLS only",
                     target);
}

static rpc_code read_root(const char *path, char **ret, size_t *ret_size, rpc_status *reterr)
{
    rpc_status why;
    const rpc_code code = program_file_read(path, ROOT_BYTES_MAX, ret, ret_size, &why);
    return code == RPC_OK ? code
                          : rpc_status_set(reterr, code, "'skms.root_file': %.300s", why.message);
}

static rpc_code check_root(const host_values *settings, rpc_status *reterr)
{
    const char *path = host_string(settings, "skms.root_file");
    char *text = NULL, fingerprint[TRUST_FINGERPRINT_SIZE];
    size_t size = 0;
    rpc_status why;
    if (!path[0])
        return RPC_OK;
    rpc_code code = read_root(path, &text, &size, reterr);
    if (code != RPC_OK)
        return code;
    code = skmc__root_judge(
        text, host_string(settings, "skms.root_fingerprint"), fingerprint, &why);
    program_file_done(text, size);
    return code == RPC_OK ? code
                          : rpc_status_set(reterr, code, "'skms.root_file': %.300s", why.message);
}

rpc_code skmc_files_check(const host_values *settings, rpc_status *reterr)
{
    const rpc_tls_options tls = {.certificate_file = host_string(settings, "skms.certificate"),
        .key_file = host_string(settings, "skms.key"),
        .ca_file = host_string(settings, "skms.ca"),
        .client_auth = RPC_CLIENT_AUTH_REQUIRE};
    rpc_status why;
    rpc_code code = rpc_tls_check_listener(&tls, &why);
    if (code != RPC_OK)
        return rpc_status_set(reterr, code, "'skms': %.300s", why.message);
    code = skmc__folder_check(host_string(settings, "skms.directory"), reterr);
    return code == RPC_OK ? check_root(settings, reterr) : code;
}

/* ---- the channel ------------------------------------------------------------------------------
 */

static rpc_tls_options tls_of(const skmc *s, const host_values *settings)
{
    return (rpc_tls_options){.certificate_file = host_string(settings, "skms.certificate"),
        .key_file = host_string(settings, "skms.key"),
        .ca_file = host_string(settings, "skms.ca"),
        .server_name = s->server_name[0] ? s->server_name : NULL};
}

static rpc_code open_channel(skmc *s, const host_values *settings, rpc_status *reterr)
{
    rpc_channel_options options = {.target = s->target,
        .tls = tls_of(s, settings),
        .limits = rpc_limits_default_client(),
        .connect_ms = s->timeout_ms,
        .backoff_initial_ms = BACKOFF_MS,
        .backoff_max_ms = BACKOFF_MAX_MS,
        .descriptor_set = {skms_proto_descriptors, skms_proto_descriptors_size}};
    rpc_status why;
    options.limits.message_receive_bytes_max = ANSWER_BYTES_MAX;
    options.limits.keepalive_ms = KEEPALIVE_MS;
    options.limits.keepalive_timeout_ms = KEEPALIVE_TIMEOUT_MS;
    const rpc_code code = rpc_channel_new(s->options.runtime, &options, &s->channel, &why);
    return code == RPC_OK ? code : rpc_status_set(reterr, code, "'skms': %.300s", why.message);
}

/* ---- what is told -----------------------------------------------------------------------------
 */

/* Of keys that we sign with: how long they do, and whether one does now. */
static void look_at_keys(skmc *s, int64_t *ret_left, bool *ret_signs)
{
    const int64_t now = skmc__now_s(s);
    pthread_mutex_lock(&s->lock);
    *ret_left = s->signs_until >= now ? s->signs_until - now + 1 : 0; /* it is the last second */
    *ret_signs = s->keys && skmc_keys_signer(s->keys, TRUST_ALG_EDDSA, now);
    pthread_mutex_unlock(&s->lock);
}

typedef struct told {
    bool away, refused, denied, unsaved;
} told;

static told look(skmc *s)
{
    pthread_mutex_lock(&s->lock);
    told t = {.denied = s->denied, .unsaved = s->unsaved_told};
    for (const skmc__watch *w = s->watches; w; w = w->next) {
        t.away = t.away || !w->up;
        t.refused = t.refused || w->refused;
    }
    pthread_mutex_unlock(&s->lock);
    return t;
}

static const char *warning_of(skmc *s, const told *t)
{
    int64_t left = 0;
    bool signs = false;
    if (t->refused)
        return "a key set of the SKM-S is refused; the last one stays: see the log";
    if (t->denied)
        return "the SKM-S gives us no keys any more; enrol again with a new token: see the log";
    if (t->unsaved)
        return "what the SKM-S says cannot be kept in skms.directory: see the log and the disk";
    if (s->val_service)
        look_at_keys(s, &left, &signs);
    if (s->val_service && signs && left <= s->warn_s)
        return "the keys that are here end soon, and no next one comes from the SKM-S: see "
               "skmc_signs_for_seconds and the log";
    return t->away ? "the SKM-S is away; the keys and key sets that are here go on for as long as "
                     "they are good: see skmc_connected and the log"
                   : NULL;
}

void skmc_judge(skmc *s)
{
    int64_t left = 0;
    bool signs = true;
    const told t = look(s);
    host_health_warn(s->options.health, "skms", warning_of(s, &t));
    if (!s->val_service)
        return;
    look_at_keys(s, &left, &signs);
    host_health_set(s->options.health, "signing", signs,
        signs ? "" : "no key of the SKM-S signs now: nothing new can be signed; see the log");
}

static double connected_now(void *ctx)
{
    return !look(ctx).away;
}

static double signs_for_now(void *ctx)
{
    int64_t left = 0;
    bool signs = false;
    look_at_keys(ctx, &left, &signs);
    return (double)left;
}

/* Of the oldest. */
static double set_age_now(void *ctx)
{
    skmc *s = ctx;
    int64_t oldest = INT64_MAX;
    pthread_mutex_lock(&s->lock);
    for (const skmc__watch *w = s->watches; w; w = w->next)
        if (w->issued_at && w->issued_at < oldest)
            oldest = w->issued_at;
    pthread_mutex_unlock(&s->lock);
    return oldest == INT64_MAX ? -1 : (double)(skmc__now_s(s) - oldest);
}

static void open_metrics(skmc *s)
{
    host_metrics *m = s->options.metrics;
    s->sets_taken = host_metrics_counter(
        m, "skmc_key_sets_taken_total", "Key sets of the SKM-S that were newer and good.", NULL);
    s->sets_refused = host_metrics_counter(m, "skmc_key_sets_refused_total",
        "Key sets of the SKM-S that were not believed, or not used.", NULL);
    host_metrics_gauge(m, "skmc_connected", "1 while every key set is watched at the SKM-S.", NULL,
        connected_now, s);
    host_metrics_gauge(m, "skmc_key_set_age_seconds",
        "Since the oldest key set that is here was signed; -1: there is none.", NULL, set_age_now,
        s);
    if (!s->val_service)
        return;
    s->keys_taken = host_metrics_counter(
        m, "skmc_keys_taken_total", "Private keys that the SKM-S gave us.", NULL);
    s->signed_total = host_metrics_counter(
        m, "skmc_signatures_total", "Signatures that the SKM-S made for us.", NULL);
    s->sign_failed = host_metrics_counter(
        m, "skmc_signatures_failed_total", "Signatures that it did not make.", NULL);
    host_metrics_gauge(m, "skmc_signs_for_seconds",
        "How long the keys that are here go on signing; 0: none does.", NULL, signs_for_now, s);
}

/* ---- life -------------------------------------------------------------------------------------
 */

static bool copy(char **to, const host_values *settings, const char *name)
{
    *to = strdup(host_string(settings, name));
    return *to != NULL;
}

static bool copy_sealing_path(skmc *s, const host_values *settings)
{
    const char *path = host_string(settings, "skms.sealing_key_file");
    const char *folder = host_string(settings, "skms.directory");
    const size_t room = strlen(folder) + sizeof "/sealing.key";
    if (path[0])
        return copy(&s->sealing_key_file, settings, "skms.sealing_key_file");
    s->sealing_key_file = malloc(room);
    if (s->sealing_key_file)
        snprintf(s->sealing_key_file, room, "%s/sealing.key", folder);
    return s->sealing_key_file != NULL;
}

static rpc_code read_settings(skmc *s, const host_values *settings, rpc_status *reterr)
{
    s->timeout_ms = host_int(settings, "skms.timeout_ms");
    s->warn_s = host_int(settings, "skms.warn_s");
    return copy(&s->target, settings, "skms.target") &&
                   copy(&s->server_name, settings, "skms.server_name") &&
                   copy(&s->enrolment_file, settings, "skms.enrolment_file") &&
                   copy(&s->root_file, settings, "skms.root_file") &&
                   copy(&s->root_fingerprint, settings, "skms.root_fingerprint") &&
                   copy_sealing_path(s, settings)
               ? RPC_OK
               : skmc__no_memory(reterr);
}

static rpc_code pin_file(skmc *s, rpc_status *reterr)
{
    char *text = NULL;
    size_t size = 0;
    rpc_status why;
    if (!s->root_file[0] || s->issuer)
        return RPC_OK;
    rpc_code code = read_root(s->root_file, &text, &size, reterr);
    if (code != RPC_OK)
        return code;
    code = skmc__pin(s, text, &why);
    program_file_done(text, size);
    return code == RPC_OK ? code
                          : rpc_status_set(reterr, code, "'skms.root_file': %.300s", why.message);
}

/* Who had enrolled for another service has keys of that. */
static rpc_code judge_kept(const skmc *s, rpc_status *reterr)
{
    const char *before = json_string_value(json_object_get(s->kept, "val_service"));
    return !s->val_service || !before || strcmp(before, s->val_service) == 0
               ? RPC_OK
               : rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
                     "'skms.directory': is of VAL service '%.150s', and this server is '%.150s'; "
                     "give each its own",
                     before, s->val_service);
}

static rpc_code open_kept(skmc *s, const host_values *settings, rpc_status *reterr)
{
    rpc_code code = skmc__folder_open(host_string(settings, "skms.directory"), &s->folder, reterr);
    if (code == RPC_OK)
        code = skmc__kept_read(&s->folder, &s->kept, reterr);
    if (code == RPC_OK)
        code = judge_kept(s, reterr);
    if (code == RPC_OK)
        code = skmc__pins_open(s, reterr);
    if (code == RPC_OK)
        code = pin_file(s, reterr);
    if (code == RPC_OK && s->val_service)
        code = skmc__sealing_open(s->sealing_key_file, true, &s->sealing, reterr);
    return code;
}

static void init_locks(skmc *s)
{
    pthread_condattr_t attr;
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wake, &attr);
    pthread_cond_init(&s->settled, &attr);
    pthread_condattr_destroy(&attr);
}

static rpc_code add_watch(
    skmc *s, const char *val_service, trust_purpose purpose, bool own, rpc_status *reterr)
{
    skmc__watch *w = calloc(1, sizeof *w);
    if (!w)
        return skmc__no_memory(reterr);
    if (!rpc_text_copy(w->service, sizeof w->service, val_service)) {
        free(w);
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "'%.60s…' is longer than the name of a VAL service may be (255)", val_service);
    }
    w->of = s;
    w->purpose = purpose;
    w->own = own;
    w->wait_ms = BACKOFF_MS;
    w->next = s->watches;
    s->watches = w;
    if (own)
        s->own = w;
    return RPC_OK;
}

rpc_code skmc_open(const skmc_options *options, skmc **ret, rpc_status *reterr)
{
    skmc *s = calloc(1, sizeof *s);
    if (!s)
        return skmc__no_memory(reterr);
    s->options = *options;
    s->enrol_wait_ms = s->fetch_wait_ms = BACKOFF_MS;
    init_locks(s);
    rpc_code code = RPC_OK;
    if (options->val_service) {
        s->val_service = strdup(options->val_service);
        code = s->val_service ? add_watch(s, s->val_service, options->purpose, true, reterr)
                              : skmc__no_memory(reterr);
    }
    if (code == RPC_OK)
        code = read_settings(s, options->settings, reterr);
    if (code == RPC_OK)
        code = open_kept(s, options->settings, reterr);
    if (code == RPC_OK)
        code = open_channel(s, options->settings, reterr);
    if (code != RPC_OK) {
        skmc_close(s);
        return code;
    }
    open_metrics(s);
    *ret = s;
    return RPC_OK;
}

rpc_code skmc_watch(skmc *s, const char *val_service, trust_purpose purpose, rpc_status *reterr)
{
    return add_watch(s, val_service, purpose, false, reterr);
}

static void wait_settled(skmc *s)
{
    const int64_t end = skmc__now_us(s) + s->timeout_ms * 1000;
    const struct timespec until = {.tv_sec = end / 1000000, .tv_nsec = end % 1000000 * 1000};
    int rc = 0;
    pthread_mutex_lock(&s->lock);
    while (!s->answered && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&s->settled, &s->lock, &until);
    pthread_mutex_unlock(&s->lock);
}

rpc_code skmc_start(skmc *s, rpc_status *reterr)
{
    skmc__publish_kept(s);
    pthread_mutex_lock(&s->lock);
    s->answered = false; /* what was kept is no answer */
    pthread_mutex_unlock(&s->lock);
    s->running = pthread_create(&s->thread, NULL, skmc__talk, s) == 0;
    if (!s->running)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "skms: no thread");
    wait_settled(s);
    return RPC_OK;
}

rpc_code skmc_reload(skmc *s, const host_values *settings, rpc_status *reterr)
{
    const rpc_tls_options tls = tls_of(s, settings);
    rpc_status why;
    const rpc_code code = rpc_channel_set_tls(s->channel, &tls, &why);
    if (code != RPC_OK)
        return rpc_status_set(reterr, code, "'skms': %.300s", why.message);
    pthread_mutex_lock(&s->lock);
    s->renewed = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
    return RPC_OK;
}

static void free_watches(skmc *s)
{
    for (skmc__watch *w = s->watches, *next; w; w = next) {
        next = w->next;
        rpc_message_release(w->news);
        trust_keyring_unref(w->ring);
        json_decref(w->set);
        free(w);
    }
}

static void free_settings(skmc *s)
{
    free(s->val_service);
    free(s->issuer);
    free(s->target);
    free(s->server_name);
    free(s->enrolment_file);
    free(s->sealing_key_file);
    free(s->root_file);
    free(s->root_fingerprint);
}

void skmc_close(skmc *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_cond_broadcast(&s->wake);
    pthread_cond_broadcast(&s->settled);
    pthread_mutex_unlock(&s->lock);
    if (s->running)
        pthread_join(s->thread, NULL);
    rpc_channel_free(s->channel);
    skmc_keys_unref(s->keys);
    skmc__held_done(s);
    skmc__sealing_done(&s->sealing);
    free_watches(s);
    json_decref(s->kept);
    trust_pins_unsaved_done(&s->pins);
    skmc__folder_close(&s->folder);
    pthread_cond_destroy(&s->wake);
    pthread_cond_destroy(&s->settled);
    pthread_mutex_destroy(&s->lock);
    free_settings(s);
    free(s);
}

/* ---- for those who ask ------------------------------------------------------------------------
 */

skmc_keys *skmc_keys_now(skmc *s)
{
    pthread_mutex_lock(&s->lock);
    skmc_keys *keys = s->keys ? skmc_keys_ref(s->keys) : NULL;
    pthread_mutex_unlock(&s->lock);
    return keys;
}

skmc_keys *skmc_keys_after(skmc *s, const skmc_keys *keys, int64_t timeout_ms)
{
    const int64_t end = skmc__now_us(s) + timeout_ms * 1000;
    const struct timespec until = {.tv_sec = end / 1000000, .tv_nsec = end % 1000000 * 1000};
    int rc = 0;
    pthread_mutex_lock(&s->lock);
    while (s->keys == keys && !s->stopping && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&s->settled, &s->lock, &until);
    skmc_keys *others = s->keys && s->keys != keys ? skmc_keys_ref(s->keys) : NULL;
    pthread_mutex_unlock(&s->lock);
    return others;
}

bool skmc_watches(const skmc *s, const char *val_service)
{
    for (const skmc__watch *w = s->watches; w; w = w->next)
        if (!w->own && strcmp(w->service, val_service) == 0)
            return true;
    return false;
}

trust_keyring *skmc_ring(skmc *s, const char *val_service)
{
    trust_keyring *ring = NULL;
    pthread_mutex_lock(&s->lock);
    for (const skmc__watch *w = s->watches; w; w = w->next)
        if (!w->own && w->ring && strcmp(w->service, val_service) == 0)
            ring = trust_keyring_ref(w->ring);
    pthread_mutex_unlock(&s->lock);
    return ring;
}
