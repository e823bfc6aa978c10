/* SPDX-License-Identifier: Apache-2.0 */
/* Every allocation fails once, one run after the other: the 1st, the 2nd, … until a run needs no
 * more. No crash, no leak (the sanitizer looks), no hang, a status that says so, and the server
 * serves the next call as if nothing had been.
 *
 * Between runs only every stride-th is tried, from a random start that is printed
 * (DACM_SEED=N repeats it); DACM_TEST_FULL=1 tries all. */
#include "certs.h"
#include "rpc.h"
#include "test.h"
#include "test.pb-c.h"

#include "rpctest_descriptors.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <stdatomic.h>

/* ---- allocations that fail --------------------------------------------------------------------
 */

static atomic_long left;  /* allocations until those that fail; 0: none fails */
static atomic_long burst; /* how many fail then */
static atomic_bool fired;
static _Thread_local unsigned excused;

static bool fails(void)
{
    if (excused || atomic_load_explicit(&left, memory_order_relaxed) <= 0)
        return false;
    long before = atomic_fetch_sub(&left, 1);
    if (before > 1)
        return false;
    if (before < 1)
        return false;
    atomic_store(&fired, true);
    if (atomic_fetch_sub(&burst, 1) > 1)
        atomic_store(&left, 1); /* the next one as well */
    return true;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_reallocarray(void *memory, size_t count, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_reallocarray(void *memory, size_t count, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return fails() ? NULL : __real_realloc(memory, size);
}

void *__wrap_reallocarray(void *memory, size_t count, size_t size)
{
    return fails() ? NULL : __real_reallocarray(memory, count, size);
}

char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t size)
{
    return fails() ? NULL : __real_strndup(text, size);
}

void *__wrap_aligned_alloc(size_t align, size_t size)
{
    return fails() ? NULL : __real_aligned_alloc(align, size);
}

static void *ssl_malloc(size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return fails() ? NULL : __real_malloc(size);
}

static void *ssl_realloc(void *memory, size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return fails() ? NULL : __real_realloc(memory, size);
}

static void ssl_free(void *memory, const char *file, int line)
{
    (void)file, (void)line;
    free(memory);
}

/* Before OpenSSL allocates anything. */
__attribute__((constructor(101))) static void take_openssl_over(void)
{
    if (CRYPTO_set_mem_functions(ssl_malloc, ssl_realloc, ssl_free) != 1)
        abort();
}

static void arm(long nth, long many)
{
    atomic_store(&burst, many);
    atomic_store(&fired, false);
    atomic_store(&left, nth);
}

/* True: something has failed. */
static bool disarm(void)
{
    atomic_store(&left, 0);
    return atomic_load(&fired);
}

/* ---- a server, without allocations of its own --------------------------------------------------
 */

typedef struct world {
    rpc_runtime *runtime;
    rpc_server *server;
    rpc_listener *listener;
    test_cert ca, server_cert, client_cert;
} world;

static void echo(Rpctest__Echo_Service *service, const Rpctest__Item *request,
    Rpctest__Item_Closure closure, void *call)
{
    (void)service;
    closure(request, call);
}

static Rpctest__Echo_Service service = {RPCTEST__ECHO__BASE_INIT, echo, NULL, NULL, NULL};

static uint8_t body[100000];

static rpc_pull body_pull(void *ctx, size_t offset, size_t max, rpc_bytes *ret)
{
    (void)ctx;
    *ret = rpc_bytes_of(body + offset, max < sizeof body - offset ? max : sizeof body - offset);
    return RPC_PULL_READY;
}

static void body_release(void *ctx, bool sent)
{
    (void)ctx, (void)sent;
}

static void finish_posted(void *call)
{
    rpc_call_finish(call, RPC_OK, NULL);
}

/* A body, and the end by way of a post, which must come whatever memory does. */
static void download_message(rpc_call *call, rpc_message *message, void *user)
{
    (void)user;
    static const uint8_t head[] = {3 << 3 | 2, 0xA0, 0x8D, 6};
    rpc_body object = {sizeof body, body_pull, NULL, body_release, NULL};
    rpc_message_release(message);
    if (rpc_call_send(call, rpc_bytes_of(head, sizeof head), &object) == RPC_SENT_OK)
        rpc_call_post(call, finish_posted, call);
}

static void chat_message(rpc_call *call, rpc_message *message, void *user)
{
    (void)user;
    (void)!rpc_call_send(call, rpc_message_bytes(message), NULL);
    rpc_message_release(message);
}

static void chat_end(rpc_call *call, void *user)
{
    (void)user;
    rpc_call_finish(call, RPC_OK, NULL);
}

static rpc_code open_server(world *w, rpc_status *reterr)
{
    static const rpc_handler download = {.on_message = download_message};
    static const rpc_handler chat = {.on_message = chat_message, .on_half_close = chat_end};
    const rpc_service_options with = {
        .descriptor_set = rpc_bytes_of(rpctest_descriptors, rpctest_descriptors_size)};
    const rpc_listener_options listen = {.name = "users",
        .url = "tls+tcp://127.0.0.1:0",
        .tls = {.certificate_pem = rpc_bytes_str(w->server_cert.cert_pem),
            .key_pem = rpc_bytes_str(w->server_cert.key_pem),
            .ca_pem = rpc_bytes_str(w->ca.cert_pem),
            .client_auth = RPC_CLIENT_AUTH_REQUEST}};
    const rpc_server_options options = {.limits = rpc_limits_default()};
    rpc_code code = rpc_runtime_new(NULL, &w->runtime, reterr);
    if (code == RPC_OK)
        code = rpc_server_new(w->runtime, &options, &w->server, reterr);
    if (code == RPC_OK)
        code = rpc_server_add_service(w->server, &service.base, &with, reterr);
    if (code == RPC_OK)
        code = rpc_server_set_handler(
            w->server, "/rpctest.Echo/Download", &download, NULL, NULL, reterr);
    if (code == RPC_OK)
        code = rpc_server_set_handler(w->server, "/rpctest.Echo/Upload", &chat, NULL, NULL, reterr);
    if (code == RPC_OK)
        code = rpc_server_set_handler(w->server, "/rpctest.Echo/Chat", &chat, NULL, NULL, reterr);
    if (code == RPC_OK)
        code = rpc_server_add_health(w->server, reterr);
    if (code == RPC_OK)
        code = rpc_server_add_reflection(w->server, reterr);
    if (code == RPC_OK)
        code = rpc_server_listen(w->server, &listen, &w->listener, reterr);
    if (code == RPC_OK)
        code = rpc_server_start(w->server, reterr);
    return code;
}

static void close_server(world *w)
{
    rpc_server_free(w->server);
    rpc_runtime_free(w->runtime);
    w->server = NULL;
    w->runtime = NULL;
}

static void init_world(world *w)
{
    *w = (world){0};
    w->ca = test_ca("test CA");
    w->server_cert = test_cert_issue(&w->ca, "server", "DNS:localhost,IP:127.0.0.1", -60, 86400);
    w->client_cert = test_cert_issue(&w->ca, "client", "URI:https://x.example", -60, 86400);
}

static void free_world(world *w)
{
    test_cert_free(&w->ca);
    test_cert_free(&w->server_cert);
    test_cert_free(&w->client_cert);
}

/* ---- a client
 * ------------------------------------------------------------------------------------
 */

static rpc_code open_channel(world *w, rpc_channel **ret, rpc_status *reterr)
{
    const rpc_channel_options options = {.target = rpc_listener_url(w->listener),
        .limits = rpc_limits_default_client(),
        .tls = {.ca_pem = rpc_bytes_str(w->ca.cert_pem),
            .certificate_pem = rpc_bytes_str(w->client_cert.cert_pem),
            .key_pem = rpc_bytes_str(w->client_cert.key_pem)}};
    return rpc_channel_new(w->runtime, &options, ret, reterr);
}

/* Not DEADLINE_EXCEEDED: nobody may be left waiting. */
static const rpc_call_options patient = {.timeout_ms = 60000};

static rpc_code run_unary(rpc_channel *channel, rpc_status *reterr)
{
    Rpctest__Item item = RPCTEST__ITEM__INIT;
    static char text[] = "hello";
    item.text = text;
    excused++;
    rpc_arena *arena = rpc_arena_new(1 << 20);
    excused--;
    ProtobufCMessage *reply = NULL;
    rpc_code code = rpc_channel_unary(channel, "/rpctest.Echo/Unary", &patient, &item.base,
        &rpctest__item__descriptor, arena, &reply, reterr);
    rpc_arena_free(arena);
    return code;
}

typedef struct stream {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool ended;
    rpc_status status;
} stream;

static void stream_message(rpc_call *call, rpc_message *message, void *user)
{
    (void)call, (void)user;
    rpc_message_release(message);
}

static void stream_end(rpc_call *call, const rpc_status *status, void *user)
{
    (void)call;
    stream *s = user;
    pthread_mutex_lock(&s->lock);
    s->ended = true;
    s->status = *status;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static rpc_code run_stream(rpc_channel *channel, const char *path, rpc_status *reterr)
{
    static const rpc_handler handler = {.on_message = stream_message, .on_end = stream_end};
    stream s = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    rpc_call *call = NULL;
    rpc_code code = rpc_channel_start(channel, path, &patient, &handler, &s, &call, reterr);
    if (code != RPC_OK)
        return code;
    static const uint8_t item[] = {10, 1, 'x'};
    (void)!rpc_call_send(call, rpc_bytes_of(item, sizeof item), NULL);
    rpc_call_half_close(call);
    pthread_mutex_lock(&s.lock);
    while (!s.ended)
        pthread_cond_wait(&s.changed, &s.lock);
    pthread_mutex_unlock(&s.lock);
    rpc_call_unref(call);
    return rpc_status_set(reterr, s.status.code, "%s", s.status.message);
}

static rpc_code run_download(rpc_channel *channel, rpc_status *reterr)
{
    return run_stream(channel, "/rpctest.Echo/Download", reterr);
}

static rpc_code run_chat(rpc_channel *channel, rpc_status *reterr)
{
    return run_stream(channel, "/rpctest.Echo/Chat", reterr);
}

/* ---- sweeps
 * --------------------------------------------------------------------------------------
 */

static bool full(void)
{
    const char *text = getenv("DACM_TEST_FULL");
    return text && strcmp(text, "1") == 0;
}

/* The thread sanitizer looks for races on the ways out, of which many allocations share each. */
#ifdef __SANITIZE_THREAD__
#define SPARSE 4
#else
#define SPARSE 1
#endif

static long first_of(long stride)
{
    uint32_t seed = 0;
    const char *text = getenv("DACM_SEED");
    if (text)
        seed = (uint32_t)strtoul(text, NULL, 10);
    else
        rpc_random(&seed, sizeof seed);
    print_message("DACM_SEED=%u\n", seed);
    return 1 + (long)(seed % (unsigned long)stride);
}

/* OpenSSL does not always say that it was memory that failed: "ee key too small", "init fail". */
static bool openssls_word(rpc_code code, const rpc_status *status)
{
    return (code == RPC_INVALID_ARGUMENT || code == RPC_UNAUTHENTICATED) &&
           strstr(status->message, "rpc: ");
}

static void expect_refusal(rpc_code code, const rpc_status *status, long nth)
{
    bool sound = code == RPC_OK || code == RPC_RESOURCE_EXHAUSTED || code == RPC_UNAVAILABLE ||
                 code == RPC_INTERNAL || code == RPC_CANCELLED || openssls_word(code, status);
    if (!sound)
        fail_msg("allocation %ld failed: %s: %s", nth, rpc_code_name(code), status->message);
}

static void sweep_start(long many)
{
    world w;
    init_world(&w);
    rpc_status status = {0};
    assert_int_equal(open_server(&w, &status), RPC_OK); /* what is made once for the process */
    close_server(&w);
    const long stride = full() ? 1 : 5 * SPARSE;
    bool failed = true;
    unsigned refused = 0;
    for (long nth = first_of(stride); failed; nth += stride) {
        arm(nth, many);
        rpc_code code = open_server(&w, &status);
        failed = disarm();
        if (code != RPC_OK && code != RPC_RESOURCE_EXHAUSTED && !openssls_word(code, &status))
            fail_msg("allocation %ld failed: %s: %s", nth, rpc_code_name(code), status.message);
        refused += code != RPC_OK;
        close_server(&w);
    }
    assert_true(refused > 10);
    free_world(&w);
}

TEST(a_server_that_cannot_start_for_want_of_memory_says_so)
{
    sweep_start(1);
}

TEST(a_server_that_cannot_start_for_want_of_much_memory_says_so)
{
    sweep_start(25);
}

static void sweep_calls(rpc_code (*run)(rpc_channel *, rpc_status *), bool connected, long many)
{
    world w;
    init_world(&w);
    rpc_status status = {0};
    if (open_server(&w, &status) != RPC_OK)
        fail_msg("%s", status.message);
    rpc_channel *channel = NULL;
    const long stride = full() ? 1 : (connected ? 2 : 13) * SPARSE;
    bool failed = true;
    for (long nth = first_of(stride); failed; nth += stride) {
        if (connected) {
            assert_int_equal(open_channel(&w, &channel, &status), RPC_OK);
            if (run(channel, &status) != RPC_OK)
                fail_msg("before allocation %ld: %s", nth, status.message);
        }
        arm(nth, many);
        rpc_code code = connected ? RPC_OK : open_channel(&w, &channel, &status);
        if (code == RPC_OK)
            code = run(channel, &status);
        failed = disarm();
        expect_refusal(code, &status, nth);
        rpc_channel_free(channel);
        channel = NULL;
    }
    assert_int_equal(open_channel(&w, &channel, &status), RPC_OK);
    if (run(channel, &status) != RPC_OK)
        fail_msg("afterwards: %s", status.message);
    rpc_channel_free(channel);
    close_server(&w);
    free_world(&w);
}

TEST(a_handshake_without_memory_ends_and_the_next_succeeds)
{
    sweep_calls(run_unary, false, 1);
}

TEST(a_handshake_without_much_memory_ends_and_the_next_succeeds)
{
    sweep_calls(run_chat, false, 25);
}

TEST(a_unary_call_without_memory_ends_with_a_status)
{
    sweep_calls(run_unary, true, 1);
}

TEST(a_download_without_memory_ends_with_a_status)
{
    sweep_calls(run_download, true, 1);
}

TEST(a_stream_both_ways_without_memory_ends_with_a_status)
{
    sweep_calls(run_chat, true, 1);
}

TEST(a_download_without_much_memory_ends_with_a_status)
{
    sweep_calls(run_download, true, 10);
}
