/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_peer.h"

#include "certs.h"
#include "proto_descriptors.h"
#include "test.h"

#include <time.h>

/* ---- the world --------------------------------------------------------------------------------
 */

static void write_file(char path[512], const char *folder, const char *name, const char *text)
{
    snprintf(path, 512, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void write_pair(const test_cert *ca, const char *folder, const char *name, const char *san,
    char certificate[512], char key[512])
{
    char file[64];
    test_cert cert = test_cert_issue(ca, name, san, -60, 3600);
    snprintf(file, sizeof file, "%s.crt", name);
    write_file(certificate, folder, file, cert.cert_pem);
    snprintf(file, sizeof file, "%s.key", name);
    write_file(key, folder, file, cert.key_pem);
    test_cert_free(&cert);
}

void fake_world_make(fake_world *world)
{
    *world = (fake_world){.port = test_port()};
    const char *folder = test_tmpdir();
    test_cert ca = test_ca("test"), other = test_ca("other");
    write_file(world->ca, folder, "ca.crt", ca.cert_pem);
    write_pair(&ca, folder, "dacmd", "IP:127.0.0.1", world->server_certificate, world->server_key);
    write_pair(&ca, folder, "simsd", "DNS:sims.test", world->certificate, world->key);
    write_pair(&other, folder, "stranger", "DNS:sims.test", world->stranger, world->stranger_key);
    test_cert_free(&ca);
    test_cert_free(&other);
    snprintf(world->target, sizeof world->target, "tls+tcp://127.0.0.1:%u", world->port);
    assert_int_equal(rpc_runtime_new(NULL, &world->runtime, NULL), RPC_OK);
    assert_int_equal(
        host_log_open("/dev/null", HOST_INFO, "test", rpc_clock_system(), &world->log, NULL),
        RPC_OK);
    world->metrics = host_metrics_new();
    assert_non_null(world->metrics);
}

void fake_world_free(fake_world *world)
{
    rpc_runtime_free(world->runtime);
    host_metrics_free(world->metrics);
    host_log_close(world->log);
}

double fake_metric(const fake_world *world, const char *series)
{
    size_t size = 0;
    char *text = host_metrics_text(world->metrics, &size);
    assert_non_null(text);
    char *at = strstr(text, series);
    while (at && at != text && at[-1] != '\n')
        at = strstr(at + 1, series);
    const double value = at ? strtod(at + strlen(series), NULL) : 0;
    free(text);
    return value;
}

void fake_await_metric(const fake_world *world, const char *series, double value)
{
    const struct timespec moment = {.tv_nsec = 2000000};
    for (int i = 0; i < 15000; i++) {
        const double now = fake_metric(world, series);
        if (now >= value && now <= value)
            return;
        nanosleep(&moment, NULL);
    }
    fail_msg("%s does not become %f", series, value);
}

/* ---- GetConsumerList --------------------------------------------------------------------------
 */

static void answer(const fake_peer *peer, char **users, size_t count,
    Dacm__V1__GetConsumerListResponse_Closure closure, void *data)
{
    Dacm__V1__GetConsumerListResponse response = DACM__V1__GET_CONSUMER_LIST_RESPONSE__INIT;
    response.allowed_users = peer->allowed ? (char **)(uintptr_t)peer->allowed : users;
    response.n_allowed_users = peer->allowed ? peer->allowed_count : count;
    response.count = peer->count ? peer->count : response.n_allowed_users;
    if (peer->code != RPC_OK)
        rpc_call_finish(data, peer->code, "as the test wants it");
    else
        closure(&response, data);
}

static void get_list(Dacm__V1__ConsumerLists_Service *self,
    const Dacm__V1__GetConsumerListRequest *request,
    Dacm__V1__GetConsumerListResponse_Closure closure, void *data)
{
    fake_peer *peer = (fake_peer *)(void *)((char *)self - offsetof(fake_peer, lists));
    pthread_mutex_lock(&peer->lock);
    peer->asked++;
    snprintf(peer->asset_id, sizeof peer->asset_id, "%s", request->asset_id);
    const bool hold = peer->hold;
    if (hold) {
        const unsigned at = peer->held_count++;
        if (at >= FAKE_HELD_MAX)
            abort();
        peer->held[at].closure = closure;
        peer->held[at].data = rpc_call_ref(data);
        peer->held[at].count = request->n_users;
        for (size_t i = 0; i < request->n_users; i++)
            peer->held[at].users[i] = strdup(request->users[i]);
    }
    pthread_mutex_unlock(&peer->lock);
    if (!hold)
        answer(peer, request->users, request->n_users, closure, data);
    sem_post(&peer->arrived);
}

void fake_peer_release(fake_peer *peer)
{
    pthread_mutex_lock(&peer->lock);
    peer->hold = false;
    for (; peer->held_count > 0; peer->held_count--) {
        const unsigned at = peer->held_count - 1;
        rpc_call *call = peer->held[at].data;
        answer(peer, peer->held[at].users, peer->held[at].count, peer->held[at].closure, call);
        for (size_t i = 0; i < peer->held[at].count; i++)
            free(peer->held[at].users[i]);
        rpc_call_unref(call);
    }
    pthread_mutex_unlock(&peer->lock);
}

/* ---- ListConsumers ----------------------------------------------------------------------------
 */

static void send_pages(rpc_call *call, fake_peer *peer)
{
    size_t at = (size_t)(uintptr_t)rpc_call_context(call);
    while (at < peer->list_count) {
        Dacm__V1__ListConsumersResponse page = DACM__V1__LIST_CONSUMERS_RESPONSE__INIT;
        page.allowed_users = (char **)(uintptr_t)(peer->list + at);
        page.n_allowed_users = peer->list_count - at < peer->page ? peer->list_count - at
                                                                  : peer->page;
        if (rpc_call_send_packed(call, &page.base) != RPC_SENT_OK)
            break;
        at += page.n_allowed_users;
        peer->pages_sent++;
    }
    rpc_call_set_context(call, (void *)(uintptr_t)at, NULL);
    if (at == peer->list_count)
        rpc_call_finish(call, peer->list_code, NULL);
}

static void list_message(rpc_call *call, rpc_message *message, void *user)
{
    fake_peer *peer = user;
    rpc_message_release(message);
    pthread_mutex_lock(&peer->lock);
    peer->listed++;
    const bool aborts = peer->listed <= peer->aborts;
    if (aborts)
        rpc_call_finish(call, RPC_ABORTED, "the list was changed");
    else
        send_pages(call, peer);
    pthread_mutex_unlock(&peer->lock);
}

static void list_writable(rpc_call *call, void *user)
{
    fake_peer *peer = user;
    pthread_mutex_lock(&peer->lock);
    send_pages(call, peer);
    pthread_mutex_unlock(&peer->lock);
}

/* ---- life -------------------------------------------------------------------------------------
 */

static void add_services(fake_peer *peer)
{
    static const rpc_handler list = {.on_message = list_message, .on_writable = list_writable};
    static const rpc_handler none = {.on_message = NULL};
    const rpc_service_options options = {
        .descriptor_set = {proto_descriptors, proto_descriptors_size}};
    peer->lists = (Dacm__V1__ConsumerLists_Service){
        .base = DACM__V1__CONSUMER_LISTS__BASE_INIT, .get_consumer_list = get_list};
    peer->status = (Dacm__V1__TokenStatus_Service){.base = DACM__V1__TOKEN_STATUS__BASE_INIT};
    assert_int_equal(
        rpc_server_add_service(peer->server, &peer->lists.base, &options, NULL), RPC_OK);
    assert_int_equal(
        rpc_server_add_service(peer->server, &peer->status.base, &options, NULL), RPC_OK);
    assert_int_equal(rpc_server_set_handler(peer->server, "/dacm.v1.ConsumerLists/ListConsumers",
                         &list, peer, NULL, NULL),
        RPC_OK);
    assert_int_equal(rpc_server_set_handler(peer->server, "/dacm.v1.TokenStatus/Report",
                         peer->report ? peer->report : &none, peer->report_ctx, NULL, NULL),
        RPC_OK);
}

void fake_peer_start(fake_peer *peer, const fake_world *world)
{
    const rpc_server_options server = {.limits = rpc_limits_default()};
    const rpc_listener_options listener = {.name = "peers",
        .url = world->target,
        .tls = {.certificate_file = world->server_certificate,
            .key_file = world->server_key,
            .ca_file = world->ca,
            .client_auth = RPC_CLIENT_AUTH_REQUIRE}};
    rpc_status status = {0};
    pthread_mutex_init(&peer->lock, NULL);
    sem_init(&peer->arrived, 0, 0);
    if (peer->page == 0)
        peer->page = 100;
    assert_int_equal(rpc_server_new(world->runtime, &server, &peer->server, NULL), RPC_OK);
    add_services(peer);
    if (rpc_server_listen(peer->server, &listener, NULL, &status) != RPC_OK)
        fail_msg("%s", status.message);
    assert_int_equal(rpc_server_start(peer->server, NULL), RPC_OK);
}

void fake_peer_stop(fake_peer *peer)
{
    fake_peer_release(peer);
    rpc_server_stop(peer->server, 0);
    rpc_server_free(peer->server);
    peer->server = NULL;
    sem_destroy(&peer->arrived);
    pthread_mutex_destroy(&peer->lock);
}
