/* SPDX-License-Identifier: Apache-2.0 */
/* The load generator: the same client against any server of dacm.v1. Prints one JSON object.
 *
 *   dacm-bench --target tls+tcp://HOST:PORT --ca FILE --work unary|download|pairs|idle|sign
 *              [--connections N] [--inflight N] [--seconds S | --count N] [--asset ID]
 *              [--gpsi GPSI] [--token FILE] [--asset-2 ID --token-2 FILE]
 *              [--certificate FILE --key FILE]
 *
 * unary     Authorize, N connections with that many calls in flight each
 * download  whole downloads one after another on each connection; bytes are counted, not checked
 * pairs     refused downloads of two assets by turns: do their answers or times tell them apart?
 * idle      one Authorize on each connection, whatever its answer; then says "idle" and holds them
 *           until its input ends
 * sign      Sign of skms.v1, of a message as large as an access token's signing input
 *
 * Every callback of a connection runs on its strand, so a worker's fields need no lock. */
#include "rpc.h"
#include "cleanup.h"

#include "dacm/v1/digital_asset.pb-c.h"
#include "skms/v1/signing_keys.pb-c.h"

#include <argp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECTIONS_MAX 1024u
#define INFLIGHT_MAX    1024u
#define SAMPLES_MAX     4000000u
#define SIGNED_BYTES    700u

/* What is asked for: one thing, or two by turns. */
typedef struct bench_question {
    const char *asset, *token_file;
    char token[32769];
    rpc_call_options call_options;
    rpc_metadatum token_metadatum;
    uint8_t request[1024];
    size_t request_size;
} bench_question;

typedef enum bench_work { WORK_UNARY, WORK_DOWNLOAD, WORK_PAIRS, WORK_IDLE, WORK_SIGN } bench_work;
static const char *const work_names[] = {"unary", "download", "pairs", "idle", "sign"};
static const char *const work_paths[] = {"/dacm.v1.DigitalAssets/Authorize",
    "/dacm.v1.DigitalAssets/Download", "/dacm.v1.DigitalAssets/Download",
    "/dacm.v1.DigitalAssets/Authorize", "/skms.v1.SigningKeys/Sign"};

typedef struct bench_run {
    const char *target, *ca, *certificate, *key, *gpsi;
    bench_work work;
    unsigned connections, inflight, seconds;
    uint64_t count; /* calls in all; 0 = by time */
    bench_question questions[2];
    rpc_runtime *runtime;
    const rpc_clock *clock;
    atomic_bool stop;
    atomic_uint_fast64_t started;
    pthread_mutex_t lock;
    pthread_cond_t idle;
    unsigned running; /* under lock: calls that have not ended */
} bench_run;

typedef struct bench_worker {
    bench_run *bench;
    rpc_channel *channel;
    uint64_t calls, failures, bytes;
    uint32_t *samples; /* tenths of a microsecond; of pairs: those of either by turns */
    size_t sample_count;
    unsigned turn;
    int64_t begin_ns; /* pairs */
    rpc_status first_failure;
    rpc_status answers[2]; /* pairs: the first of each, without its request ID */
    bool differ;
} bench_worker;

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void start_call(bench_worker *worker);

static void count_running(bench_run *bench, int change)
{
    pthread_mutex_lock(&bench->lock);
    bench->running += (unsigned)change;
    if (bench->running == 0)
        pthread_cond_signal(&bench->idle);
    pthread_mutex_unlock(&bench->lock);
}

static void on_message(rpc_call *call, rpc_message *message, void *user)
{
    (void)call;
    bench_worker *worker = user;
    worker->bytes += rpc_message_size(message);
    rpc_message_release(message);
}

static size_t samples_max(const bench_run *bench)
{
    return bench->count > 0 && bench->count < SAMPLES_MAX ? bench->count : SAMPLES_MAX;
}

static void add_sample(bench_worker *worker, int64_t took_ns)
{
    if (worker->sample_count < samples_max(worker->bench))
        worker->samples[worker->sample_count++] = (uint32_t)(took_ns / 100);
}

/* Of a refusal; the request ID is of fixed length, so it is blanked where it stands. */
static void take_answer(bench_worker *worker, rpc_call *call, const rpc_status *status)
{
    rpc_status answer = *status;
    rpc_bytes id;
    if (rpc_call_trailer(call, "dacm-request-id", &id)) {
        char *at = memmem(answer.message, strlen(answer.message), id.data, id.size);
        if (at)
            memset(at, '-', id.size);
    }
    rpc_status *first = &worker->answers[worker->turn];
    if (first->code == RPC_OK)
        *first = answer;
    const rpc_status *other = &worker->answers[!worker->turn];
    if (answer.code != first->code || strcmp(answer.message, first->message) != 0 ||
        (other->code != RPC_OK &&
            (other->code != answer.code || strcmp(other->message, answer.message) != 0)))
        worker->differ = true;
}

static void on_end(rpc_call *call, const rpc_status *status, void *user)
{
    bench_worker *worker = user;
    bench_run *bench = worker->bench;
    if (bench->work == WORK_PAIRS && status->code == RPC_PERMISSION_DENIED) {
        worker->calls++;
        add_sample(worker, now_ns() - worker->begin_ns);
        take_answer(worker, call, status);
        worker->turn ^= 1;
    } else if (status->code == RPC_OK || bench->work == WORK_IDLE) {
        worker->calls++;
        add_sample(
            worker, (rpc_clock_monotonic_us(bench->clock) - rpc_call_started_us(call)) * 1000);
    } else {
        if (worker->failures++ == 0)
            worker->first_failure = *status;
        atomic_store(&bench->stop, true);
    }
    start_call(worker);
    count_running(bench, -1);
}

static const rpc_handler handler = {.on_message = on_message, .on_end = on_end};

static bool may_start(bench_run *bench)
{
    if (atomic_load_explicit(&bench->stop, memory_order_relaxed))
        return false;
    uint64_t before = atomic_fetch_add_explicit(&bench->started, 1, memory_order_relaxed);
    return bench->count == 0 || before < bench->count;
}

static bool asks_authorize(const bench_run *bench)
{
    return bench->work == WORK_UNARY || bench->work == WORK_IDLE;
}

static void start_call(bench_worker *worker)
{
    bench_run *bench = worker->bench;
    if (!may_start(bench))
        return;
    const char *path = work_paths[bench->work];
    const bench_question *question = &bench->questions[worker->turn];
    rpc_call *call = NULL;
    rpc_status status;
    count_running(bench, 1);
    worker->begin_ns = bench->work == WORK_PAIRS ? now_ns() : 0;
    if (rpc_channel_start(worker->channel, path, &question->call_options, &handler, worker, &call,
            &status) != RPC_OK) {
        fprintf(stderr, "dacm-bench: %s\n", status.message);
        exit(1);
    }
    if (rpc_call_send(call, rpc_bytes_of(question->request, question->request_size), NULL) ==
        RPC_SENT_BUSY) {
        fprintf(stderr, "dacm-bench: a first message was refused as busy\n");
        exit(1);
    }
    rpc_call_half_close(call);
    rpc_call_unref(call);
}

static void pack_request(const bench_run *bench, bench_question *question)
{
    static uint8_t signing_input[SIGNED_BYTES];
    ProtobufCMessage *message;
    Skms__V1__SignRequest sign = SKMS__V1__SIGN_REQUEST__INIT;
    Dacm__V1__AuthorizeRequest authorize = DACM__V1__AUTHORIZE_REQUEST__INIT;
    Dacm__V1__DownloadRequest download = DACM__V1__DOWNLOAD_REQUEST__INIT;
    char *asset = (char *)(uintptr_t)question->asset;
    char *gpsi = (char *)(uintptr_t)bench->gpsi;
    if (bench->work == WORK_SIGN) {
        memset(signing_input, 'x', sizeof signing_input);
        sign.purpose = SKMS__V1__PURPOSE__PURPOSE_TOKENS;
        sign.message = (ProtobufCBinaryData){sizeof signing_input, signing_input};
        message = &sign.base;
    } else if (asks_authorize(bench)) {
        authorize.asset_id = asset;
        authorize.user_case = DACM__V1__AUTHORIZE_REQUEST__USER_GPSI;
        authorize.gpsi = gpsi;
        authorize.operation = DACM__V1__OPERATION__OPERATION_GET;
        message = &authorize.base;
    } else {
        download.asset_id = asset;
        download.user_case = DACM__V1__DOWNLOAD_REQUEST__USER_GPSI;
        download.gpsi = gpsi;
        message = &download.base;
    }
    if (protobuf_c_message_get_packed_size(message) > sizeof question->request) {
        fprintf(stderr, "dacm-bench: --asset and --gpsi are too long\n");
        exit(2);
    }
    question->request_size = protobuf_c_message_pack(message, question->request);
}

static void read_token(bench_question *question)
{
    if (!question->token_file)
        return;
    RPC_CLEANUP(rpc_cleanup_fclosep) FILE *file = fopen(question->token_file, "re");
    if (!file || !fgets(question->token, sizeof question->token, file)) {
        fprintf(stderr, "dacm-bench: cannot read the token in '%s'\n", question->token_file);
        exit(2);
    }
    question->token[strcspn(question->token, "\r\n")] = '\0';
    question->token_metadatum = (rpc_metadatum){
        .name = "dacm-token", .value = rpc_bytes_str(question->token)};
    question->call_options.metadata = &question->token_metadatum;
    question->call_options.metadata_count = 1;
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Samples of one connection, by turns; those of the second begin at 1. */
static double median_us(const bench_worker *worker, size_t from, size_t step)
{
    size_t count = 0;
    RPC_AUTOFREE uint32_t *own = malloc((worker->sample_count + 1) * sizeof *own);
    if (!own)
        exit(1);
    for (size_t i = from; i < worker->sample_count; i += step)
        own[count++] = worker->samples[i];
    qsort(own, count, sizeof *own, by_value);
    const size_t middle = count / 2;
    return count ? own[middle] / 10.0 : 0;
}

static void report_pairs(const bench_worker *worker)
{
    printf("{\"calls\": %llu, \"failures\": %llu, \"first_p50_us\": %.1f, "
           "\"second_p50_us\": %.1f, \"same_answers\": %s, \"code\": \"%s\"}\n",
        (unsigned long long)worker->calls, (unsigned long long)worker->failures,
        median_us(worker, 0, 2), median_us(worker, 1, 2), worker->differ ? "false" : "true",
        rpc_code_name(worker->answers[0].code));
}

static void report(const bench_run *bench, bench_worker *workers, double seconds)
{
    uint64_t calls = 0, failures = 0, bytes = 0;
    size_t samples = 0;
    for (unsigned i = 0; i < bench->connections; i++) {
        calls += workers[i].calls;
        failures += workers[i].failures;
        bytes += workers[i].bytes;
        samples += workers[i].sample_count;
    }
    RPC_AUTOFREE uint32_t *all = malloc((samples + 1) * sizeof *all);
    if (!all)
        exit(1);
    size_t at = 0;
    for (unsigned i = 0; i < bench->connections; i++) {
        memcpy(all + at, workers[i].samples, workers[i].sample_count * sizeof *all);
        at += workers[i].sample_count;
        if (workers[i].failures)
            fprintf(stderr, "dacm-bench: %s: %s\n", rpc_code_name(workers[i].first_failure.code),
                workers[i].first_failure.message);
    }
    if (bench->work == WORK_PAIRS) {
        report_pairs(&workers[0]);
        return;
    }
    qsort(all, samples, sizeof *all, by_value);
    printf("{\"calls\": %llu, \"failures\": %llu, \"seconds\": %.6f, \"calls_per_s\": %.1f, "
           "\"mb_per_s\": %.2f, \"p50_us\": %u, \"p99_us\": %u}\n",
        (unsigned long long)calls, (unsigned long long)failures, seconds, (double)calls / seconds,
        (double)bytes / seconds / 1e6, samples ? all[samples / 2] / 10 : 0,
        samples ? all[samples - 1 - samples / 100] / 10 : 0);
}

static bench_work parse_work(const char *text, struct argp_state *state)
{
    for (unsigned i = 0; i < sizeof work_names / sizeof *work_names; i++)
        if (strcmp(text, work_names[i]) == 0)
            return (bench_work)i;
    argp_error(state, "--work is unary, download, pairs, idle or sign");
    return WORK_UNARY;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    bench_run *bench = state->input;
    switch (key) {
    case 't':
        bench->target = arg;
        return 0;
    case 'a':
        bench->ca = arg;
        return 0;
    case 'C':
        bench->certificate = arg;
        return 0;
    case 'K':
        bench->key = arg;
        return 0;
    case 'w':
        bench->work = parse_work(arg, state);
        return 0;
    case 'c':
        bench->connections = (unsigned)strtoul(arg, NULL, 10);
        return 0;
    case 'i':
        bench->inflight = (unsigned)strtoul(arg, NULL, 10);
        return 0;
    case 's':
        bench->seconds = (unsigned)strtoul(arg, NULL, 10);
        return 0;
    case 'n':
        bench->count = strtoull(arg, NULL, 10);
        return 0;
    case 'A':
        bench->questions[0].asset = arg;
        return 0;
    case 'B':
        bench->questions[1].asset = arg;
        return 0;
    case 'g':
        bench->gpsi = arg;
        return 0;
    case 'T':
        bench->questions[0].token_file = arg;
        return 0;
    case 'U':
        bench->questions[1].token_file = arg;
        return 0;
    case ARGP_KEY_END:
        if (!bench->target || !bench->ca)
            argp_error(state, "--target and --ca are needed");
        if (bench->work == WORK_PAIRS && (bench->connections != 1 || bench->inflight != 1))
            argp_error(state, "pairs are measured on one connection, one call at a time");
        if (bench->work == WORK_IDLE)
            bench->count = (uint64_t)bench->connections * bench->inflight;
        if (bench->connections < 1 || bench->connections > CONNECTIONS_MAX)
            argp_error(state, "--connections is 1 to %u", CONNECTIONS_MAX);
        if (bench->inflight < 1 || bench->inflight > INFLIGHT_MAX)
            argp_error(state, "--inflight is 1 to %u", INFLIGHT_MAX);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    {"target", 't', "URL", 0, "server, tls+tcp://HOST:PORT", 0},
    {"ca", 'a', "FILE", 0, "who signed its certificate", 0},
    {"certificate", 'C', "FILE", 0, "the client's certificate", 0},
    {"key", 'K', "FILE", 0, "its private key", 0},
    {"work", 'w', "WORK", 0, "unary (Authorize), download, pairs, idle or sign", 0},
    {"connections", 'c', "N", 0, "connections (1)", 0},
    {"inflight", 'i', "N", 0, "calls in flight on each (1)", 0},
    {"seconds", 's', "S", 0, "how long (3)", 0},
    {"count", 'n', "N", 0, "calls in all, instead of a time", 0},
    {"asset", 'A', "ID", 0, "asset ID (bench)", 0},
    {"gpsi", 'g', "GPSI", 0, "user (msisdn-4917000001)", 0},
    {"token", 'T', "FILE", 0, "access token, sent as dacm-token", 0},
    {"asset-2", 'B', "ID", 0, "pairs: the other asset", 0},
    {"token-2", 'U', "FILE", 0, "pairs: the token for it", 0},
    {0},
};

static void open_channels(bench_run *bench, bench_worker *workers)
{
    rpc_channel_options channel_options = {
        .target = bench->target,
        .tls = {.ca_file = bench->ca,
            .certificate_file = bench->certificate,
            .key_file = bench->key},
        .limits = rpc_limits_default_client(),
    };
    rpc_status status;
    for (unsigned i = 0; i < bench->connections; i++) {
        workers[i].bench = bench;
        workers[i].samples = malloc(samples_max(bench) * sizeof(uint32_t));
        if (!workers[i].samples || rpc_channel_new(bench->runtime, &channel_options,
                                       &workers[i].channel, &status) != RPC_OK) {
            fprintf(stderr, "dacm-bench: %s\n", status.message);
            exit(1);
        }
    }
}

static void hold(void)
{
    puts("idle");
    fflush(stdout);
    while (getchar() != EOF)
        continue;
}

int main(int argc, char **argv)
{
    static bench_run bench = {.work = WORK_UNARY,
        .connections = 1,
        .inflight = 1,
        .seconds = 3,
        .questions = {{.asset = "bench"}, {.asset = "bench"}},
        .gpsi = "msisdn-4917000001",
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .idle = PTHREAD_COND_INITIALIZER};
    static bench_worker workers[CONNECTIONS_MAX];
    const struct argp argp = {
        .options = options, .parser = parse_option, .doc = "Load for the bench of dacm."};
    argp_parse(&argp, argc, argv, 0, NULL, &bench);
    rpc_status status;
    if (rpc_runtime_new(NULL, &bench.runtime, &status) != RPC_OK) {
        fprintf(stderr, "dacm-bench: %s\n", status.message);
        return 1;
    }
    bench.clock = rpc_clock_system();
    for (int i = 0; i < 2; i++) {
        read_token(&bench.questions[i]);
        pack_request(&bench, &bench.questions[i]);
    }
    open_channels(&bench, workers);

    int64_t begin = rpc_clock_monotonic_us(bench.clock);
    count_running(&bench, 1); /* so that it cannot fall to 0 before all are started */
    for (unsigned i = 0; i < bench.connections; i++)
        for (unsigned k = 0; k < bench.inflight; k++)
            start_call(&workers[i]);
    count_running(&bench, -1);
    pthread_mutex_lock(&bench.lock);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += bench.seconds;
    while (bench.running > 0) {
        if (bench.count > 0 || atomic_load(&bench.stop))
            pthread_cond_wait(&bench.idle, &bench.lock);
        else if (pthread_cond_timedwait(&bench.idle, &bench.lock, &until) != 0)
            atomic_store(&bench.stop, true);
    }
    pthread_mutex_unlock(&bench.lock);
    if (bench.work == WORK_IDLE)
        hold();
    double seconds = (double)(rpc_clock_monotonic_us(bench.clock) - begin) / 1e6;
    uint64_t failures = 0;
    for (unsigned i = 0; i < bench.connections; i++) {
        rpc_channel_free(workers[i].channel);
        failures += workers[i].failures;
    }
    report(&bench, workers, seconds);
    rpc_runtime_free(bench.runtime);
    return failures ? 1 : 0;
}
