/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"
#include "rpctest_descriptors.h"

#include <sched.h>
#include <stdatomic.h>

void flag_init(flag *f)
{
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    f->count = 0;
}

void flag_raise(flag *f)
{
    pthread_mutex_lock(&f->lock);
    f->count++;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

void flag_wait(flag *f, unsigned count)
{
    pthread_mutex_lock(&f->lock);
    while (f->count < count)
        pthread_cond_wait(&f->changed, &f->lock);
    pthread_mutex_unlock(&f->lock);
}

bool flag_wait_for(flag *f, unsigned count, int64_t ms)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    until.tv_sec += (time_t)(ms / 1000) + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&f->lock);
    while (f->count < count && pthread_cond_timedwait(&f->changed, &f->lock, &until) == 0)
        continue;
    bool raised = f->count >= count;
    pthread_mutex_unlock(&f->lock);
    return raised;
}

unsigned flag_count(flag *f)
{
    pthread_mutex_lock(&f->lock);
    unsigned count = f->count;
    pthread_mutex_unlock(&f->lock);
    return count;
}

static fixture *current; /* one fixture a test */

/* Connections run side by side: what their handlers note is the last of them, whole. */
static pthread_mutex_t notes = PTHREAD_MUTEX_INITIALIZER;

/* call: a reference or NULL. */
static void hold_call(fixture *f, rpc_call *call)
{
    pthread_mutex_lock(&notes);
    rpc_call *last = f->held;
    f->held = call;
    pthread_mutex_unlock(&notes);
    rpc_call_unref(last);
}

void fixture_let_go(fixture *f)
{
    hold_call(f, NULL);
}

static void note_compressed(fixture *f, rpc_call *call)
{
    pthread_mutex_lock(&notes);
    f->request_compressed = rpc_call_message_compressed(call);
    pthread_mutex_unlock(&notes);
}

/* ---- the service -------------------------------------------------------------------------------
 */

typedef struct slow_answer {
    Rpctest__Item_Closure closure;
    void *data;
    char text[64];
} slow_answer;

static void answer_slowly(void *arg)
{
    slow_answer *slow = arg;
    Rpctest__Item reply = RPCTEST__ITEM__INIT;
    reply.text = slow->text;
    slow->closure(&reply, slow->data);
    free(slow);
}

static void on_cancel(rpc_call *call, void *arg)
{
    rpc_call_finish(call, RPC_CANCELLED, NULL); /* the answer that it owes */
    flag_raise(&((fixture *)arg)->cancelled);
}

static void echo_metadata(rpc_call *call)
{
    rpc_bytes value;
    if (rpc_call_metadata(call, "x-echo", &value)) {
        assert_int_equal(rpc_call_add_header(call, "x-echo", value), RPC_OK);
        assert_int_equal(rpc_call_add_trailer(call, "x-tail", value), RPC_OK);
    }
    if (rpc_call_metadata(call, "x-echo-bin", &value)) {
        assert_int_equal(rpc_call_add_header(call, "x-echo-bin", value), RPC_OK);
        assert_int_equal(rpc_call_add_trailer(call, "x-tail-bin", value), RPC_OK);
    }
}

/* grpc-status-details-bin */
static void give_details(rpc_call *call)
{
    rpc_bytes value;
    if (rpc_call_metadata(call, "x-details-bin", &value))
        assert_int_equal(rpc_call_set_status_details(call, value), RPC_OK);
}

static void compress_answer(fixture *f, rpc_call *call)
{
    rpc_bytes value;
    if (!rpc_call_metadata(call, "x-compress", &value))
        return;
    rpc_code code = rpc_call_set_compression(
        call, value.data[0] == 'g' ? RPC_ENCODING_GZIP : RPC_ENCODING_DEFLATE);
    pthread_mutex_lock(&notes);
    f->compression_code = code;
    pthread_mutex_unlock(&notes);
}

static void note_peer(fixture *f, rpc_call *call)
{
    const rpc_peer *peer = rpc_call_peer(call);
    pthread_mutex_lock(&notes);
    f->peer_certificate = peer->has_certificate;
    if (peer->has_certificate && peer->uri_names && peer->uri_names[0])
        snprintf(f->peer_uri, sizeof f->peer_uri, "%s", peer->uri_names[0]);
    pthread_mutex_unlock(&notes);
}

static void object_released(void *object)
{
    (void)object;
    flag_raise(&current->released);
}

static bool fails(fixture *f, rpc_call *call)
{
    rpc_bytes previous = {0};
    (void)rpc_call_metadata(call, "grpc-previous-rpc-attempts", &previous);
    pthread_mutex_lock(&f->started.lock);
    snprintf(f->previous_attempts, sizeof f->previous_attempts, "%.*s", (int)previous.size,
        previous.data ? (const char *)previous.data : "");
    bool fail = f->fail_first > 0;
    f->fail_first -= fail;
    pthread_mutex_unlock(&f->started.lock);
    if (!fail)
        return false;
    if (f->pushback_ms != INT64_MIN)
        assert_int_equal(rpc_call_retry_pushback(call, f->pushback_ms), RPC_OK);
    rpc_call_finish(call, f->fail_code, "flaky");
    return true;
}

static void echo_unary(Rpctest__Echo_Service *service, const Rpctest__Item *request,
    Rpctest__Item_Closure closure, void *data)
{
    (void)service;
    fixture *f = current;
    rpc_call *call = data;
    rpc_status status;
    note_peer(f, call);
    echo_metadata(call);
    give_details(call);
    compress_answer(f, call);
    note_compressed(f, call);
    bool never = strcmp(request->text, "never") == 0;
    if (never) {
        hold_call(f, rpc_call_ref(call));
        rpc_call_on_cancel(call, on_cancel, f);
    }
    flag_raise(&f->started);
    if (never || (strcmp(request->text, "flaky") == 0 && fails(f, call)))
        return;
    if (strcmp(request->text, "fail") == 0) {
        rpc_status_set(&status, RPC_NOT_FOUND, "100 %% n\xc3\xb8 such\nthing");
        rpc_call_fail(call, &status);
    } else if (strcmp(request->text, "thread") == 0) {
        slow_answer *slow = calloc(1, sizeof *slow);
        slow->closure = closure;
        slow->data = data;
        snprintf(slow->text, sizeof slow->text, "from a thread");
        assert_int_equal(rpc_pool_submit(f->pool, answer_slowly, slow), RPC_OK);
    } else if (strcmp(request->text, "object") == 0) {
        Rpctest__Item reply = RPCTEST__ITEM__INIT;
        char text[] = "new";
        reply.text = text;
        if (rpc_call_header_object(call, "dacm-token"))
            memcpy(text, "old", 3);
        else
            rpc_call_set_header_object(call, "dacm-token", f, object_released);
        closure(&reply, data);
    } else {
        closure(request, data);
    }
}

/* Streaming methods have handlers instead. */
static Rpctest__Echo_Service echo_service = {
    RPCTEST__ECHO__BASE_INIT, echo_unary, NULL, NULL, NULL};
static Rpctest__Other_Service other_service = {RPCTEST__OTHER__BASE_INIT, NULL};

/* Downloads: size messages whose body is pulled, data.size bytes each. */
typedef struct download {
    fixture *f;
    uint64_t left;
    size_t size;
    uint8_t *bytes;
    bool from_thread;
} download;

static rpc_pull body_pull(void *ctx, size_t offset, size_t max, rpc_bytes *ret)
{
    download *d = ctx;
    if (d->f->body_later > 0) {
        d->f->body_later--;
        flag_raise(&d->f->later);
        return RPC_PULL_LATER;
    }
    *ret = rpc_bytes_of(d->bytes + offset, max < d->size - offset ? max : d->size - offset);
    return RPC_PULL_READY;
}

static void body_pulled(void *ctx)
{
    flag_raise(&((download *)ctx)->f->pulled);
}

static void body_release(void *ctx, bool sent)
{
    (void)sent;
    flag_raise(&((download *)ctx)->f->released);
}

static void download_more(rpc_call *call)
{
    download *d = rpc_call_context(call);
    uint8_t head[16] = {3 << 3 | 2};
    size_t head_size = 1;
    for (size_t size = d->size; head_size == 1 || size > 0; size >>= 7)
        head[head_size++] = (uint8_t)((size & 0x7F) | (size > 0x7F ? 0x80 : 0));
    rpc_body body = {d->size, body_pull, body_pulled, body_release, d};
    while (d->left > 0) {
        rpc_sent sent = rpc_call_send(call, rpc_bytes_of(head, head_size), &body);
        if (sent != RPC_SENT_OK)
            return;
        atomic_fetch_add((_Atomic size_t *)&d->f->download_sent, d->size);
        d->left--;
    }
    rpc_call_finish(call, RPC_OK, NULL);
}

static void free_download(void *arg)
{
    download *d = arg;
    free(d->bytes);
    free(d);
}

static void download_message(rpc_call *call, rpc_message *message, void *user)
{
    fixture *f = user;
    ProtobufCMessage *item;
    rpc_status status;
    if (rpc_message_unpack(message, &rpctest__item__descriptor, &item, &status) != RPC_OK) {
        rpc_message_release(message);
        rpc_call_fail(call, &status);
        return;
    }
    const Rpctest__Item *request = (const Rpctest__Item *)item;
    download *d = calloc(1, sizeof *d);
    d->f = f;
    d->left = request->size;
    d->size = request->data.len;
    d->bytes = malloc(d->size + 1);
    memcpy(d->bytes, request->data.data, d->size);
    rpc_call_set_context(call, d, free_download);
    rpc_message_release(message);
    hold_call(f, rpc_call_ref(call));
    flag_raise(&f->started);
    download_more(call);
}

static void download_writable(rpc_call *call, void *user)
{
    (void)user;
    download_more(call);
}

static void server_end(rpc_call *call, const rpc_status *status, void *user)
{
    (void)call;
    fixture *f = user;
    pthread_mutex_lock(&notes);
    f->server_end = status->code;
    pthread_mutex_unlock(&notes);
    if (status->code == RPC_CANCELLED)
        flag_raise(&f->cancelled);
    flag_raise(&f->server_ended);
}

typedef struct kept {
    rpc_message *message;
    struct kept *next;
} kept;

typedef struct upload {
    uint64_t bytes;
    kept *kept;
} upload;

static void free_upload(void *arg)
{
    upload *u = arg;
    while (u->kept) {
        kept *k = u->kept;
        u->kept = k->next;
        rpc_message_release(k->message);
        free(k);
    }
    free(u);
}

static void upload_start(rpc_call *call, void *user)
{
    fixture *f = user;
    rpc_call_set_context(call, calloc(1, sizeof(upload)), free_upload);
    flag_raise(&f->started);
}

static void upload_message(rpc_call *call, rpc_message *message, void *user)
{
    fixture *f = user;
    upload *u = rpc_call_context(call);
    if (f->keep) {
        kept *k = calloc(1, sizeof *k);
        *k = (kept){message, u->kept};
        u->kept = k;
        return;
    }
    ProtobufCMessage *item;
    rpc_status status;
    if (rpc_message_unpack(message, &rpctest__item__descriptor, &item, &status) == RPC_OK)
        u->bytes += ((Rpctest__Item *)item)->data.len;
    else
        rpc_call_fail(call, &status);
    rpc_message_release(message);
}

static void upload_end(rpc_call *call, void *user)
{
    (void)user;
    upload *u = rpc_call_context(call);
    Rpctest__Item reply = RPCTEST__ITEM__INIT;
    reply.size = u->bytes;
    (void)!rpc_call_send_packed(call, &reply.base);
    rpc_call_finish(call, RPC_OK, NULL);
}

static void chat_start(rpc_call *call, void *user)
{
    compress_answer(user, call);
    flag_raise(&((fixture *)user)->started);
}

/* Each answer is compressed as its request was, where the call compresses at all. */
static void chat_message(rpc_call *call, rpc_message *message, void *user)
{
    fixture *f = user;
    note_compressed(f, call);
    rpc_call_compress_messages(call, rpc_call_message_compressed(call));
    rpc_sent sent = rpc_call_send(call, rpc_message_bytes(message), NULL);
    if (sent == RPC_SENT_BUSY)
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "chat: read faster");
    rpc_message_release(message);
}

static void chat_end(rpc_call *call, void *user)
{
    (void)user;
    rpc_call_finish(call, RPC_OK, NULL);
}

/* ---- server and channel
 * ---------------------------------------------------------------------------- */

static void on_event(void *ctx, const rpc_event *event)
{
    fixture *f = ctx;
    flag_raise(&f->limits_hit[event->limit]);
    flag_raise(&f->events[event->kind]);
}

static int64_t monotonic_us(void *ctx)
{
    return rpc_clock_monotonic_us(rpc_clock_system()) + atomic_load(&((fixture *)ctx)->skipped_us);
}

static int64_t wall_ms(void *ctx)
{
    return rpc_clock_wall_ms(rpc_clock_system()) +
           atomic_load(&((fixture *)ctx)->skipped_us) / 1000;
}

void fixture_skip(fixture *f, int64_t ms)
{
    atomic_fetch_add(&f->skipped_us, ms * 1000);
}

void fixture_wait_limit(fixture *f, rpc_limit_kind kind, unsigned count)
{
    flag_wait(&f->limits_hit[kind], count);
    rpc_server_stats stats = rpc_server_get_stats(f->server);
    assert_true(stats.limits[kind] >= count);
}

void fixture_wait_nobody(fixture *f)
{
    while (rpc_server_get_stats(f->server).connections > 0)
        sched_yield();
}

void fixture_skip_until_limit(fixture *f, rpc_limit_kind kind, int64_t ms)
{
    do
        fixture_skip(f, ms);
    while (!flag_wait_for(&f->limits_hit[kind], 1, 100));
    fixture_wait_limit(f, kind, 1);
}

void fixture_init(fixture *f)
{
    *f = (fixture){0};
    current = f;
    f->limits = rpc_limits_default();
    f->fail_code = RPC_UNAVAILABLE;
    f->pushback_ms = INT64_MIN;
    f->client_limits = rpc_limits_default_client();
    flag *flags[] = {
        &f->started, &f->cancelled, &f->server_ended, &f->released, &f->pulled, &f->later};
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++)
        flag_init(flags[i]);
    for (size_t i = 0; i < RPC_EVENT_KINDS; i++)
        flag_init(&f->events[i]);
    for (size_t i = 0; i < RPC_LIMIT_KINDS; i++)
        flag_init(&f->limits_hit[i]);
    f->clock = (rpc_clock){monotonic_us, wall_ms, f};
    f->ca = test_ca("test CA");
    f->server_cert = test_cert_issue(&f->ca, "server", "DNS:localhost,IP:127.0.0.1", -60, 3600);
    f->client_cert = test_cert_issue(&f->ca, "client", "URI:https://sims.example", -60, 3600);
    rpc_status status;
    rpc_runtime_options options = {.threads = 2, .clock = &f->clock};
    if (rpc_runtime_new(&options, &f->runtime, &status) != RPC_OK)
        fail_msg("%s", status.message);
    assert_int_equal(rpc_pool_new(f->runtime, "test", 2, 100, &f->pool, &status), RPC_OK);
}

static void add_services(fixture *f)
{
    static const rpc_handler downloads = {
        .on_message = download_message, .on_writable = download_writable, .on_end = server_end};
    static const rpc_handler uploads = {.on_start = upload_start,
        .on_message = upload_message,
        .on_half_close = upload_end,
        .on_end = server_end};
    static const rpc_handler chats = {.on_start = chat_start,
        .on_message = chat_message,
        .on_half_close = chat_end,
        .on_end = server_end};
    rpc_status status = {0};
    rpc_service_options options = {
        .descriptor_set = rpc_bytes_of(rpctest_descriptors, rpctest_descriptors_size)};
    rpc_code code = rpc_server_add_service(f->server, &echo_service.base, &options, &status);
    if (code == RPC_OK && f->with_channelz)
        code = rpc_server_add_channelz(f->server, NULL, &status);
    if (code == RPC_OK && f->with_health)
        code = rpc_server_add_health(f->server, &status);
    if (code == RPC_OK && f->with_other)
        code = rpc_server_add_service(f->server, &other_service.base, &options, &status);
    if (code == RPC_OK)
        code = rpc_server_set_handler(
            f->server, "/rpctest.Echo/Download", &downloads, f, NULL, &status);
    if (code == RPC_OK)
        code = rpc_server_set_handler(
            f->server, "/rpctest.Echo/Upload", &uploads, f, NULL, &status);
    if (code == RPC_OK)
        code = rpc_server_set_handler(
            f->server, "/rpctest.Echo/Chat", &chats, f, &f->chat_options, &status);
    if (code == RPC_OK)
        code = rpc_server_set_method(f->server, "/rpctest.Echo/Unary", &f->unary_options, &status);
    if (code != RPC_OK)
        fail_msg("%s", status.message);
}

void fixture_listen(fixture *f, const char *url)
{
    rpc_status status;
    char own[64];
    const char *any = strstr(url, ":0");
    if (any && any[2] == '\0') { /* a test may start its server there again */
        snprintf(own, sizeof own, "%.*s:%u", (int)(any - url), url, test_port());
        url = own;
    }
    rpc_server_options options = {.limits = f->limits,
        .on_event = on_event,
        .event_ctx = f,
        .interceptors = f->interceptors,
        .interceptor_count = f->interceptor_count,
        .accept_encodings = f->accept_encodings};
    rpc_listener_options listen = {.name = "users",
        .url = url,
        .allow_plain_text = true,
        .tls = {.certificate_pem = rpc_bytes_str(f->server_cert.cert_pem),
            .key_pem = rpc_bytes_str(f->server_cert.key_pem),
            .ca_pem = rpc_bytes_str(f->ca.cert_pem),
            .client_auth = RPC_CLIENT_AUTH_REQUEST}};
    assert_int_equal(rpc_server_new(f->runtime, &options, &f->server, &status), RPC_OK);
    add_services(f);
    if (rpc_server_listen(f->server, &listen, &f->listener, &status) != RPC_OK ||
        rpc_server_start(f->server, &status) != RPC_OK)
        fail_msg("%s", status.message);
}

rpc_channel *fixture_channel(fixture *f)
{
    rpc_status status;
    rpc_channel *channel;
    rpc_channel_options options = {.target = rpc_listener_url(f->listener),
        .allow_plain_text = true,
        .limits = f->client_limits,
        .encoding = f->client_encoding,
        .interceptors = f->client_interceptors,
        .interceptor_count = f->client_interceptor_count,
        .accept_encodings = f->client_accept_encodings,
        .tls = {.ca_pem = rpc_bytes_str(f->ca.cert_pem)}};
    if (!f->no_client_cert) {
        options.tls.certificate_pem = rpc_bytes_str(f->client_cert.cert_pem);
        options.tls.key_pem = rpc_bytes_str(f->client_cert.key_pem);
    }
    if (rpc_channel_new(f->runtime, &options, &channel, &status) != RPC_OK)
        fail_msg("%s", status.message);
    return channel;
}

void fixture_start(fixture *f)
{
    fixture_listen(f, f->plain ? "tcp://127.0.0.1:0" : "tls+tcp://127.0.0.1:0");
    f->channel = fixture_channel(f);
}

void fixture_stop(fixture *f)
{
    rpc_channel_free(f->channel);
    fixture_let_go(f);
    rpc_server_free(f->server);
    rpc_pool_free(f->pool);
    rpc_runtime_free(f->runtime);
    test_cert_free(&f->ca);
    test_cert_free(&f->server_cert);
    test_cert_free(&f->client_cert);
}

rpc_code fixture_unary(fixture *f, const rpc_call_options *options, const char *text,
    char **ret_text, rpc_status *reterr)
{
    Rpctest__Item item = RPCTEST__ITEM__INIT;
    char *copy = strdup(text);
    item.text = copy;
    rpc_arena *arena = rpc_arena_new(1 << 20);
    ProtobufCMessage *reply = NULL;
    rpc_code code = rpc_channel_unary(f->channel, "/rpctest.Echo/Unary", options, &item.base,
        &rpctest__item__descriptor, arena, &reply, reterr);
    if (code == RPC_OK && ret_text)
        *ret_text = strdup(((Rpctest__Item *)reply)->text);
    rpc_arena_free(arena);
    free(copy);
    return code;
}

/* ---- streaming calls of the client
 * -------------------------------------------------------------------- */

static void copy_value(char *text, size_t room, rpc_bytes value)
{
    size_t size = value.size < room - 1 ? value.size : room - 1;
    memcpy(text, value.data, size);
    text[size] = '\0';
}

static void client_headers(rpc_call *call, void *user)
{
    client_call *c = user;
    rpc_bytes value;
    if (rpc_call_metadata(call, "x-echo", &value))
        copy_value(c->header, sizeof c->header, value);
    flag_raise(&c->headers);
}

static void client_message(rpc_call *call, rpc_message *message, void *user)
{
    client_call *c = user;
    c->compressed = rpc_call_message_compressed(call);
    c->bytes += rpc_message_size(message);
    pthread_mutex_lock(&c->messages.lock);
    bool keep = c->hold && c->held_count < 64;
    if (keep)
        c->held[c->held_count++] = message;
    pthread_mutex_unlock(&c->messages.lock);
    if (!keep)
        rpc_message_release(message);
    flag_raise(&c->messages);
}

static void client_writable(rpc_call *call, void *user)
{
    (void)call;
    flag_raise(&((client_call *)user)->writable);
}

static void client_end(rpc_call *call, const rpc_status *status, void *user)
{
    client_call *c = user;
    rpc_bytes value;
    if (rpc_call_trailer(call, c->trailer_name ? c->trailer_name : "x-tail", &value))
        copy_value(c->trailer, sizeof c->trailer, value);
    c->status = *status;
    c->details_size = SIZE_MAX;
    if (rpc_call_status_details(call, &value)) {
        c->details_size = value.size < sizeof c->details ? value.size : sizeof c->details;
        memcpy(c->details, value.data, c->details_size);
    }
    flag_raise(&c->ended);
}

void client_start(client_call *c, fixture *f, const char *path, const rpc_call_options *options)
{
    static const rpc_handler handler = {.on_headers = client_headers,
        .on_message = client_message,
        .on_writable = client_writable,
        .on_end = client_end};
    rpc_status status;
    c->f = f;
    flag_init(&c->headers);
    flag_init(&c->messages);
    flag_init(&c->writable);
    flag_init(&c->ended);
    if (rpc_channel_start(f->channel, path, options, &handler, c, &c->call, &status) != RPC_OK)
        fail_msg("%s", status.message);
}

rpc_sent client_send(client_call *c, const Rpctest__Item *item)
{
    while (true) {
        unsigned before = flag_count(&c->writable);
        rpc_sent sent = rpc_call_send_packed(c->call, &item->base);
        if (sent != RPC_SENT_BUSY)
            return sent;
        flag_wait(&c->writable, before + 1);
    }
}

void client_release(client_call *c)
{
    rpc_message *held[64];
    pthread_mutex_lock(&c->messages.lock);
    unsigned count = c->held_count;
    memcpy(held, c->held, sizeof held);
    c->held_count = 0;
    c->hold = false;
    pthread_mutex_unlock(&c->messages.lock);
    for (unsigned i = 0; i < count; i++)
        rpc_message_release(held[i]);
}

void client_done(client_call *c)
{
    rpc_call_unref(c->call);
}
