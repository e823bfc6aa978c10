/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions taken up again, and certificates that end while they are in use. The client is OpenSSL
 * itself, so that it can do what ours would not. */
#include "raw.h"

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

typedef struct tls_client {
    SSL_CTX *ctx;
    SSL *ssl;
    SSL_SESSION *session; /* the newest that the server gave */
} tls_client;

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    tls_client *c = SSL_get_app_data(ssl);
    SSL_SESSION_free(c->session);
    c->session = session;
    return 1; /* ours now */
}

static void client_init(tls_client *c, const test_cert *identity)
{
    *c = (tls_client){.ctx = SSL_CTX_new(TLS_client_method())};
    SSL_CTX_set_session_cache_mode(c->ctx, SSL_SESS_CACHE_CLIENT);
    SSL_CTX_sess_set_new_cb(c->ctx, keep_session);
    assert_int_equal(SSL_CTX_set_alpn_protos(c->ctx, (const uint8_t *)"\2h2", 3), 0);
    if (!identity)
        return;
    assert_int_equal(SSL_CTX_use_certificate(c->ctx, identity->cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(c->ctx, identity->key), 1);
}

static void client_hang_up(tls_client *c)
{
    int fd = c->ssl ? SSL_get_fd(c->ssl) : -1;
    if (c->ssl) /* else OpenSSL takes the session for a broken one */
        SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(c->ssl);
    c->ssl = NULL;
    if (fd >= 0)
        close(fd);
}

static void client_close(tls_client *c)
{
    client_hang_up(c);
    SSL_SESSION_free(c->session);
    SSL_CTX_free(c->ctx);
}

/* Connects, with session unless that is NULL. False: the server refused. */
static bool client_connect(tls_client *c, fixture *f, SSL_SESSION *session)
{
    int fd = raw_dial(f);
    c->ssl = SSL_new(c->ctx);
    SSL_set_app_data(c->ssl, c);
    SSL_set_fd(c->ssl, fd);
    if (session)
        assert_int_equal(SSL_set_session(c->ssl, session), 1);
    return SSL_connect(c->ssl) == 1;
}

/* One unary call; false when the connection ends before its answer. */
static bool client_calls(tls_client *c)
{
    raw_bytes *w = calloc(1, sizeof *w);
    static const uint8_t message[] = {10, 1, 'x'};
    raw_preface(w);
    raw_request(w, 1, "/rpctest.Echo/Unary", "application/grpc", 0);
    raw_message(w, 1, 1, 0, message, sizeof message);
    bool sent = SSL_write(c->ssl, w->data, (int)w->size) == (int)w->size;
    free(w);
    uint8_t answer[16384];
    int size = 0, got = 0;
    bool ended = false;
    while (sent && !ended && size < (int)sizeof answer &&
           (got = SSL_read(c->ssl, answer + size, (int)sizeof answer - size)) > 0) {
        size += got;
        for (int at = 0; at + 9 <= size && !ended;) {
            int length = answer[at] << 16 | answer[at + 1] << 8 | answer[at + 2];
            ended = answer[at + 3] == 1 && answer[at + 4] & 1; /* HEADERS, END_STREAM */
            at += 9 + length;
        }
    }
    return ended;
}

static bool is_resumed(const tls_client *c)
{
    return SSL_session_reused(c->ssl) == 1;
}

/* A first connection with a call, which has brought a ticket. */
static void first_time(tls_client *c, fixture *f, const test_cert *identity)
{
    client_init(c, identity);
    assert_true(client_connect(c, f, NULL));
    assert_true(client_calls(c));
    assert_false(is_resumed(c));
    assert_non_null(c->session);
    client_hang_up(c);
}

TEST(a_session_is_resumed_with_the_identity_of_its_certificate)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    tls_client c;
    first_time(&c, &f, &f.client_cert);
    f.peer_certificate = false;
    f.peer_uri[0] = '\0';
    assert_true(client_connect(&c, &f, c.session));
    assert_true(is_resumed(&c));
    assert_true(client_calls(&c));
    assert_true(f.peer_certificate);
    assert_string_equal(f.peer_uri, "https://sims.example");
    rpc_server_stats stats = rpc_server_get_stats(f.server);
    assert_int_equal(stats.handshakes, 2);
    assert_int_equal(stats.resumed, 1);
    client_close(&c);
    fixture_stop(&f);
}

TEST(a_session_without_a_certificate_is_resumed_without_one)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    tls_client c;
    first_time(&c, &f, NULL);
    assert_true(client_connect(&c, &f, c.session));
    assert_true(is_resumed(&c));
    assert_true(client_calls(&c));
    assert_false(f.peer_certificate);
    client_close(&c);
    fixture_stop(&f);
}

TEST(a_ticket_lives_an_hour_at_most_and_allows_no_early_data)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    tls_client c;
    first_time(&c, &f, NULL);
    assert_true(SSL_SESSION_get_ticket_lifetime_hint(c.session) <= 3600);
    assert_int_equal(SSL_SESSION_get_max_early_data(c.session), 0);
    client_close(&c);
    fixture_stop(&f);
}

static bool resumes_after(int64_t skip_ms)
{
    fixture f;
    fixture_init(&f);
    f.server_cert = (test_cert_free(&f.server_cert),
        test_cert_issue(&f.ca, "server", "DNS:localhost,IP:127.0.0.1", -60, 86400));
    fixture_start(&f);
    tls_client c;
    first_time(&c, &f, NULL);
    fixture_skip(&f, skip_ms);
    assert_true(client_connect(&c, &f, c.session));
    bool resumed = is_resumed(&c);
    assert_true(client_calls(&c));
    client_close(&c);
    fixture_stop(&f);
    return resumed;
}

TEST(ticket_keys_rotate_and_those_before_are_still_read)
{
    assert_true(resumes_after(35 * 60000));
}

TEST(a_ticket_of_a_key_that_is_too_old_means_a_full_handshake)
{
    assert_false(resumes_after(95 * 60000));
}

TEST(a_ticket_of_one_listener_is_useless_on_another)
{
    fixture users;
    fixture_init(&users);
    fixture_start(&users);
    tls_client c;
    first_time(&c, &users, &users.client_cert);
    /* The peers' listener of the same server: same certificate, same trust. */
    rpc_listener_options options = {.name = "peers",
        .url = "tls+tcp://127.0.0.1:0",
        .tls = {.certificate_pem = rpc_bytes_str(users.server_cert.cert_pem),
            .key_pem = rpc_bytes_str(users.server_cert.key_pem),
            .ca_pem = rpc_bytes_str(users.ca.cert_pem),
            .client_auth = RPC_CLIENT_AUTH_REQUIRE}};
    rpc_status status = {0};
    rpc_listener *first = users.listener;
    assert_int_equal(rpc_server_listen(users.server, &options, &users.listener, &status), RPC_OK);
    assert_true(client_connect(&c, &users, c.session));
    assert_false(is_resumed(&c));
    assert_true(client_calls(&c));
    client_close(&c);
    /* Nor does a ticket without identity open what requires one. */
    users.listener = first;
    first_time(&c, &users, NULL);
    assert_int_equal(rpc_server_listen(users.server, &options, &users.listener, &status), RPC_OK);
    bool connected = client_connect(&c, &users, c.session); /* TLS 1.3: told by the next read */
    assert_false(connected && client_calls(&c));
    client_close(&c);
    users.listener = first;
    fixture_stop(&users);
}

static rpc_tls_options tls_of(const fixture *f, const char *crl_pem)
{
    return (rpc_tls_options){.certificate_pem = rpc_bytes_str(f->server_cert.cert_pem),
        .key_pem = rpc_bytes_str(f->server_cert.key_pem),
        .ca_pem = rpc_bytes_str(f->ca.cert_pem),
        .crl_pem = rpc_bytes_str(crl_pem ? crl_pem : ""),
        .client_auth = RPC_CLIENT_AUTH_REQUEST};
}

TEST(new_trust_drops_the_tickets_made_under_the_old)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    tls_client c;
    first_time(&c, &f, &f.client_cert);
    rpc_tls_options tls = tls_of(&f, NULL);
    rpc_status status = {0};
    assert_int_equal(rpc_listener_set_tls(f.listener, &tls, &status), RPC_OK);
    assert_true(client_connect(&c, &f, c.session));
    assert_false(is_resumed(&c));
    assert_true(client_calls(&c));
    client_close(&c);
    fixture_stop(&f);
}

TEST(a_listener_may_do_without_resumption)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    rpc_tls_options tls = tls_of(&f, NULL);
    tls.no_resumption = true;
    rpc_status status = {0};
    assert_int_equal(rpc_listener_set_tls(f.listener, &tls, &status), RPC_OK);
    tls_client c;
    client_init(&c, NULL);
    assert_true(client_connect(&c, &f, NULL));
    assert_true(client_calls(&c));
    assert_null(c.session);
    client_close(&c);
    fixture_stop(&f);
}

/* ---- certificates that end ----------------------------------------------------------------------
 */

TEST(a_session_whose_certificate_has_expired_is_not_resumed)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    tls_client c;
    first_time(&c, &f, &f.client_cert); /* good for an hour */
    fixture_skip(&f, 3601 * 1000);
    bool connected = client_connect(&c, &f, c.session);
    /* OpenSSL has its own clock, which has not moved: the full handshake succeeds. */
    assert_true(connected && client_calls(&c));
    assert_false(is_resumed(&c));
    client_close(&c);
    fixture_stop(&f);
}

TEST(a_connection_ends_when_its_certificate_expires)
{
    fixture f;
    fixture_init(&f);
    f.limits.idle_ms = f.client_limits.idle_ms = RPC_NO_TIMEOUT;
    f.limits.stream_receive_ms = RPC_NO_TIMEOUT;
    f.limits.write_progress_ms = f.client_limits.write_progress_ms = 3600000;
    fixture_start(&f);
    client_call call = {0};
    client_start(&call, &f, "/rpctest.Echo/Chat", NULL);
    flag_wait(&f.started, 1);
    fixture_skip(&f, 3000 * 1000); /* not yet */
    Rpctest__Item item = RPCTEST__ITEM__INIT;
    assert_int_equal(client_send(&call, &item), RPC_SENT_OK);
    flag_wait(&call.messages, 1);
    do
        fixture_skip(&f, 700 * 1000);
    while (!flag_wait_for(&f.events[RPC_EVENT_CERTIFICATE_ENDED], 1, 100));
    flag_wait(&call.ended, 1);
    assert_int_equal(call.status.code, RPC_UNAVAILABLE);
    flag_wait(&f.server_ended, 1);
    client_done(&call);
    fixture_stop(&f);
}

TEST(a_revoked_certificate_is_refused_and_one_that_is_not_is_taken)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    test_cert other = test_cert_issue(&f.ca, "other", "URI:https://other.example", -60, 3600);
    char *crl = test_crl(&f.ca, &other, -60, 86400);
    rpc_tls_options tls = tls_of(&f, crl);
    rpc_status status = {0};
    if (rpc_listener_set_tls(f.listener, &tls, &status) != RPC_OK)
        fail_msg("%s", status.message);
    tls_client c;
    client_init(&c, &other);
    bool connected = client_connect(&c, &f, NULL);
    assert_false(connected && client_calls(&c));
    flag_wait(&f.events[RPC_EVENT_HANDSHAKE_FAILED], 1);
    client_close(&c);
    client_init(&c, &f.client_cert);
    assert_true(client_connect(&c, &f, NULL));
    assert_true(client_calls(&c));
    client_close(&c);
    free(crl);
    test_cert_free(&other);
    fixture_stop(&f);
}

TEST(a_running_connection_ends_when_its_certificate_is_revoked)
{
    fixture f;
    fixture_init(&f);
    f.limits.write_progress_ms = f.client_limits.write_progress_ms = 3600000;
    fixture_start(&f);
    client_call call = {0};
    client_start(&call, &f, "/rpctest.Echo/Chat", NULL);
    flag_wait(&f.started, 1);
    char *crl = test_crl(&f.ca, &f.client_cert, -60, 86400);
    rpc_tls_options tls = tls_of(&f, crl);
    rpc_status status = {0};
    assert_int_equal(rpc_listener_set_tls(f.listener, &tls, &status), RPC_OK);
    fixture_skip(&f, 61 * 1000);
    flag_wait(&f.events[RPC_EVENT_CERTIFICATE_ENDED], 1);
    flag_wait(&call.ended, 1);
    assert_int_equal(call.status.code, RPC_UNAVAILABLE);
    client_done(&call);
    free(crl);
    fixture_stop(&f);
}

static void refuse_crl(const char *crl, const char *word)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    rpc_tls_options tls = tls_of(&f, crl);
    rpc_status status = {0};
    assert_int_equal(rpc_listener_set_tls(f.listener, &tls, &status), RPC_INVALID_ARGUMENT);
    if (!strstr(status.message, word))
        fail_msg("'%s' does not say '%s'", status.message, word);
    assert_int_equal(fixture_unary(&f, NULL, "x", NULL, &status), RPC_OK); /* the old one stays */
    fixture_stop(&f);
}

TEST(a_revocation_list_of_another_ca_is_refused)
{
    test_cert stranger = test_ca("test CA"); /* its name is the same, its key is not */
    char *crl = test_crl(&stranger, NULL, -60, 86400);
    refuse_crl(crl, "not signed by a CA of the ca_file");
    free(crl);
    test_cert_free(&stranger);
}

TEST(a_file_without_a_revocation_list_is_refused)
{
    refuse_crl("-----BEGIN NOTHING-----\n", "expected certificate revocation lists");
}

/* ---- s_client and a reload under load
 * ------------------------------------------------------------
 */

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* It ends when the server closes: after the handshake, which came with a ticket, no request came
 * within first_request_ms. */
static void run_s_client(fixture *f, const char *dir, const char *arguments, char *ret, size_t room)
{
    unsigned port = 0;
    sscanf(rpc_listener_url(f->listener), "tls+tcp://127.0.0.1:%u", &port);
    char command[1024];
    snprintf(command, sizeof command,
        "openssl s_client -connect 127.0.0.1:%u -tls1_3 -alpn h2 -CAfile %s/ca -cert %s/cert "
        "-key %s/key -ign_eof %s </dev/null 2>&1",
        port, dir, dir, dir, arguments);
    uint64_t before = rpc_server_get_stats(f->server).handshakes;
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    while (rpc_server_get_stats(f->server).handshakes == before)
        sched_yield();
    fixture_skip(f, f->limits.first_request_ms + 1);
    ret[fread(ret, 1, room - 1, pipe)] = '\0';
    (void)pclose(pipe);
}

TEST(openssl_s_client_resumes_with_the_session_that_it_saved)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    char dir[300], path[512], out[32768], arguments[600];
    snprintf(dir, sizeof dir, "%s", test_tmpdir());
    const struct {
        const char *name, *text;
    } files[] = {
        {"ca", f.ca.cert_pem}, {"cert", f.client_cert.cert_pem}, {"key", f.client_cert.key_pem}};
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, files[i].name);
        write_file(path, files[i].text);
    }
    snprintf(arguments, sizeof arguments, "-sess_out %s/session", dir);
    run_s_client(&f, dir, arguments, out, sizeof out);
    if (!strstr(out, "New, TLSv1.3"))
        fail_msg("%s", out);
    snprintf(arguments, sizeof arguments, "-sess_in %s/session", dir);
    run_s_client(&f, dir, arguments, out, sizeof out);
    if (!strstr(out, "Reused, TLSv1.3"))
        fail_msg("%s", out);
    fixture_stop(&f);
}

typedef struct load {
    fixture *f;
    _Atomic bool stop;
    atomic_uint calls;
    unsigned failures;
} load;

static void *call_on(void *arg)
{
    load *l = arg;
    while (!atomic_load(&l->stop)) {
        rpc_status status = {0};
        if (fixture_unary(l->f, NULL, "x", NULL, &status) != RPC_OK)
            l->failures++;
        atomic_fetch_add(&l->calls, 1);
    }
    return NULL;
}

static void name_of_server(tls_client *c, char *ret, size_t room)
{
    X509 *certificate = SSL_get0_peer_certificate(c->ssl);
    X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, ret, (int)room);
}

TEST(a_reload_under_load_drops_nobody_and_newcomers_see_the_new_certificate)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    load l = {.f = &f};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, call_on, &l), 0);
    rpc_status status = {0};
    for (int i = 0; i < 20; i++) {
        char name[32], seen[32] = "";
        snprintf(name, sizeof name, "server %d", i);
        test_cert cert = test_cert_issue(&f.ca, name, "DNS:localhost,IP:127.0.0.1", -60, 3600);
        rpc_tls_options tls = tls_of(&f, NULL);
        tls.certificate_pem = rpc_bytes_str(cert.cert_pem);
        tls.key_pem = rpc_bytes_str(cert.key_pem);
        assert_int_equal(rpc_listener_set_tls(f.listener, &tls, &status), RPC_OK);
        unsigned before = atomic_load(&l.calls);
        tls_client c;
        client_init(&c, NULL);
        assert_true(client_connect(&c, &f, NULL));
        name_of_server(&c, seen, sizeof seen);
        assert_string_equal(seen, name);
        assert_true(client_calls(&c));
        client_close(&c);
        while (atomic_load(&l.calls) < before + 2)
            sched_yield();
        test_cert_free(&cert);
    }
    atomic_store(&l.stop, true);
    pthread_join(thread, NULL);
    assert_int_equal(l.failures, 0);
    assert_int_equal(flag_count(&f.events[RPC_EVENT_ACCEPTED]), 21); /* the caller's, once */
    fixture_stop(&f);
}
