/* SPDX-License-Identifier: Apache-2.0 */
/* An application with libdacm that lives on: one client, told what to do by lines on standard
 * input, each answered by one line of JSON. keys_client_test.py has what it is for.
 *
 *     keys-client NAME=VALUE…      target, ca, issuer, trust, state; offline=1; keys_ca,
 *                                  keys_address; unknown_ms, refresh_ms, timeout_ms
 *     wait MS                      dacm_client_keys_wait()
 *     keys                         dacm_client_keys()
 *     get ASSET USER TOKEN FILE    one download
 *     storm N ASSET USER TOKEN     N downloads at once: how many ended with which code
 *     hold ASSET USER TOKEN        a download that stands still after its first chunk …
 *     go                           … goes on; its end */
#include "dacm.h"

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_BYTES  65536
#define WORDS_MAX   8
#define THREADS_MAX 64

static void say(json_t *object)
{
    json_dumpf(object, stdout, JSON_COMPACT);
    putchar('\n');
    fflush(stdout);
    json_decref(object);
}

static json_t *outcome(dacm_code code, const dacm_error *error)
{
    return json_pack("{s:s, s:s}", "code", dacm_code_name(code), "message",
        code == DACM_OK ? "" : error->message);
}

/* Clients have one token, and a download its own: it is handed over by the thread that calls. */
static _Thread_local const char *token_of_thread;

static dacm_code give_token(
    void *ctx, const dacm_token_request *request, char **ret, dacm_error *reterr)
{
    (void)ctx;
    (void)request;
    (void)reterr;
    *ret = strdup(token_of_thread);
    return *ret ? DACM_OK : DACM_RESOURCE_EXHAUSTED;
}

/* ---- the client --------------------------------------------------------------------------------
 */

static dacm_client *open_client(int argc, char **argv)
{
    dacm_client_options options = {.token_fn = give_token, .attempts = 3};
    const struct {
        const char *name;
        const char **text;
        int64_t *number;
    } named[] = {{"target", &options.target, NULL}, {"ca", &options.ca_file, NULL},
        {"issuer", &options.issuer, NULL}, {"trust", &options.trust_dir, NULL},
        {"state", &options.state_dir, NULL}, {"keys_ca", &options.keys_ca_file, NULL},
        {"keys_address", &options.keys_address, NULL},
        {"unknown_ms", NULL, &options.keys_unknown_ms},
        {"refresh_ms", NULL, &options.keys_refresh_ms},
        {"timeout_ms", NULL, &options.keys_timeout_ms}};
    for (int i = 1; i < argc; i++) {
        const size_t size = strcspn(argv[i], "=");
        const char *value = argv[i] + size + 1;
        options.keys_offline |= strcmp(argv[i], "offline=1") == 0;
        for (size_t j = 0; j < sizeof named / sizeof *named; j++) {
            if (strlen(named[j].name) != size || strncmp(argv[i], named[j].name, size) != 0)
                continue;
            if (named[j].text)
                *named[j].text = value;
            else
                *named[j].number = strtoll(value, NULL, 10);
        }
    }
    dacm_client *client = NULL;
    dacm_error error;
    if (dacm_client_new(&options, &client, &error) != DACM_OK) {
        fprintf(stderr, "%s\n", error.message);
        exit(1);
    }
    return client;
}

static void say_keys(dacm_client *client)
{
    dacm_keys_state state;
    if (!dacm_client_keys(client, &state)) {
        say(json_pack("{s:b}", "asks", 0));
        return;
    }
    say(json_pack("{s:b, s:b, s:I, s:I, s:I, s:s, s:s}", "asks", 1, "watching", state.watching,
        "answers", (json_int_t)state.answers, "failures", (json_int_t)state.failures, "answered_at",
        (json_int_t)state.answered_at, "failure", dacm_code_name(state.failure.code), "message",
        state.failure.code == DACM_OK ? "" : state.failure.message));
}

/* ---- downloads ---------------------------------------------------------------------------------
 */

typedef struct job {
    dacm_client *client;
    const char *asset, *user, *token, *file;
    dacm_sink_fn *sink;
    pthread_t thread;
    dacm_code code;
    dacm_error error;
    dacm_download_result result;
} job;

static bool swallow(void *ctx, uint64_t offset, rpc_bytes data)
{
    (void)ctx;
    (void)offset;
    (void)data;
    return true;
}

static void *download(void *ctx)
{
    job *j = ctx;
    const dacm_download_options options = {
        .asset_id = j->asset, .user = j->user, .file = j->file, .sink = j->file ? NULL : j->sink};
    token_of_thread = j->token;
    j->code = dacm_download(j->client, &options, &j->result, &j->error);
    return NULL;
}

static json_t *ended(const job *j)
{
    json_t *object = outcome(j->code, &j->error);
    if (j->code == DACM_OK) {
        json_object_set_new(object, "kid", json_string(j->result.manifest.kid));
        json_object_set_new(
            object, "version", json_integer((json_int_t)j->result.manifest.version));
        json_object_set_new(object, "valid", json_boolean(j->result.signature_valid));
    }
    return object;
}

static void storm(const job *each, size_t count)
{
    static job jobs[THREADS_MAX];
    json_t *codes = json_object();
    count = count < THREADS_MAX ? count : THREADS_MAX;
    for (size_t i = 0; i < count; i++) {
        jobs[i] = *each;
        pthread_create(&jobs[i].thread, NULL, download, &jobs[i]);
    }
    for (size_t i = 0; i < count; i++) {
        pthread_join(jobs[i].thread, NULL);
        const char *name = dacm_code_name(jobs[i].code);
        json_object_set_new(
            codes, name, json_integer(json_integer_value(json_object_get(codes, name)) + 1));
    }
    say(codes);
}

/* ---- one that stands still ---------------------------------------------------------------------
 */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool held, go;
    job job;
    char asset[256], user[256], token[LINE_BYTES];
} held = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static bool stand_still(void *ctx, uint64_t offset, rpc_bytes data)
{
    (void)ctx;
    (void)offset;
    (void)data;
    pthread_mutex_lock(&held.lock);
    held.held = true;
    pthread_cond_broadcast(&held.changed);
    while (!held.go)
        pthread_cond_wait(&held.changed, &held.lock);
    pthread_mutex_unlock(&held.lock);
    return true;
}

static void *download_held(void *ctx)
{
    download(ctx);
    pthread_mutex_lock(&held.lock);
    held.held = true; /* or it ended before its first chunk */
    pthread_cond_broadcast(&held.changed);
    pthread_mutex_unlock(&held.lock);
    return NULL;
}

static void hold(dacm_client *client, char **words)
{
    snprintf(held.asset, sizeof held.asset, "%s", words[1]);
    snprintf(held.user, sizeof held.user, "%s", words[2]);
    snprintf(held.token, sizeof held.token, "%s", words[3]);
    held.held = held.go = false;
    held.job = (job){.client = client,
        .asset = held.asset,
        .user = held.user,
        .token = held.token,
        .sink = stand_still};
    pthread_create(&held.job.thread, NULL, download_held, &held.job);
    pthread_mutex_lock(&held.lock);
    while (!held.held)
        pthread_cond_wait(&held.changed, &held.lock);
    pthread_mutex_unlock(&held.lock);
    say(json_pack("{s:b}", "held", 1));
}

static void go(void)
{
    pthread_mutex_lock(&held.lock);
    held.go = true;
    pthread_cond_broadcast(&held.changed);
    pthread_mutex_unlock(&held.lock);
    pthread_join(held.job.thread, NULL);
    say(ended(&held.job));
}

/* ---- lines -------------------------------------------------------------------------------------
 */

static void obey(dacm_client *client, char **words, size_t count)
{
    dacm_error error;
    if (strcmp(words[0], "wait") == 0 && count == 2) {
        const dacm_code code = dacm_client_keys_wait(client, strtoll(words[1], NULL, 10), &error);
        say(outcome(code, &error));
    } else if (strcmp(words[0], "keys") == 0) {
        say_keys(client);
    } else if (strcmp(words[0], "get") == 0 && count == 5) {
        job j = {.client = client,
            .asset = words[1],
            .user = words[2],
            .token = words[3],
            .file = words[4]};
        download(&j);
        say(ended(&j));
    } else if (strcmp(words[0], "storm") == 0 && count == 5) {
        const job each = {.client = client,
            .asset = words[2],
            .user = words[3],
            .token = words[4],
            .sink = swallow};
        storm(&each, strtoul(words[1], NULL, 10));
    } else if (strcmp(words[0], "hold") == 0 && count == 4) {
        hold(client, words);
    } else if (strcmp(words[0], "go") == 0) {
        go();
    } else {
        fprintf(stderr, "what is '%s'?\n", words[0]);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    static char line[LINE_BYTES];
    dacm_client *client = open_client(argc, argv);
    while (fgets(line, sizeof line, stdin)) {
        char *words[WORDS_MAX];
        size_t count = 0;
        for (char *word = strtok(line, " \n"); word && count < WORDS_MAX;
             word = strtok(NULL, " \n"))
            words[count++] = word;
        if (count > 0)
            obey(client, words, count);
    }
    dacm_client_free(client);
    return 0;
}
