/* SPDX-License-Identifier: Apache-2.0 */
#include "certs.h"
#include "test.h"
#include "tls_internal.h"

#include <openssl/ssl.h>

#define BUFFER (300u << 10)

/* Two ends and what travels between them. */
typedef struct tls_side {
    rpc__tls *tls;
    uint8_t *output;
    rpc_status status;
    rpc__tls_result result;
} tls_side;

typedef struct tls_pair {
    test_cert ca, server_cert, client_cert;
    tls_side server, client;
} tls_pair;

static rpc_tls_options identity(const test_cert *ca, const test_cert *cert)
{
    rpc_tls_options options = {.ca_pem = rpc_bytes_str(ca->cert_pem)};
    if (cert) {
        options.certificate_pem = rpc_bytes_str(cert->cert_pem);
        options.key_pem = rpc_bytes_str(cert->key_pem);
    }
    return options;
}

static void make_certs(tls_pair *pair)
{
    *pair = (struct tls_pair){0};
    pair->ca = test_ca("test CA");
    pair->server_cert = test_cert_issue(
        &pair->ca, "server", "DNS:localhost,IP:127.0.0.1", -60, 3600);
    pair->client_cert = test_cert_issue(
        &pair->ca, "client", "DNS:sims.example,URI:https://sims.example", -60, 3600);
}

static void attach(tls_side *side, rpc__tls_context *context)
{
    rpc_status status;
    assert_int_equal(rpc__tls_new(context, &side->tls, &status), RPC_OK);
    rpc__tls_context_unref(context);
    side->output = malloc(BUFFER);
    rpc__tls_set_output(side->tls, side->output, BUFFER);
    side->result = RPC__TLS_WANT_INPUT;
}

static void open_pair(
    tls_pair *pair, const rpc_tls_options *server, const rpc_tls_options *client, const char *host)
{
    rpc_status status;
    rpc__tls_context *context;
    assert_int_equal(
        rpc__tls_context_new_server(server, rpc_clock_system(), &context, &status), RPC_OK);
    attach(&pair->server, context);
    assert_int_equal(rpc__tls_context_new_client(client, host, &context, &status), RPC_OK);
    attach(&pair->client, context);
}

static void close_pair(tls_pair *pair)
{
    rpc__tls_free(pair->server.tls);
    rpc__tls_free(pair->client.tls);
    free(pair->server.output);
    free(pair->client.output);
    test_cert_free(&pair->ca);
    test_cert_free(&pair->server_cert);
    test_cert_free(&pair->client_cert);
}

/* Takes what one side has put out and gives it to the other in pieces of at most step bytes. */
static bool carry(tls_side *from, tls_side *to, size_t step)
{
    size_t size = rpc__tls_output_size(from->tls);
    if (size == 0)
        return false;
    uint8_t *bytes = malloc(size);
    memcpy(bytes, from->output, size);
    rpc__tls_set_output(from->tls, from->output, BUFFER);
    for (size_t at = 0; at < size; at += step) {
        size_t piece = size - at < step ? size - at : step;
        rpc__tls_input(to->tls, rpc_bytes_of(bytes + at, piece));
        if (to->result != RPC__TLS_FAILED && !rpc__tls_handshake_done(to->tls))
            to->result = rpc__tls_handshake(to->tls, &to->status);
        if (rpc__tls_handshake_done(to->tls) && to->result != RPC__TLS_FAILED) {
            uint8_t plain[64];
            size_t got;
            to->result = rpc__tls_read(to->tls, plain, sizeof plain, &got, &to->status);
        }
        rpc__tls_input(to->tls, rpc_bytes_of(NULL, 0));
    }
    free(bytes);
    return true;
}

static void shake(tls_pair *pair, size_t step)
{
    pair->client.result = rpc__tls_handshake(pair->client.tls, &pair->client.status);
    while (carry(&pair->client, &pair->server, step) || carry(&pair->server, &pair->client, step))
        continue;
}

TEST(tls_handshake_works_with_every_split_of_the_records)
{
    for (size_t step = 1; step < 400; step += step < 20 ? 1 : 37) {
        tls_pair pair;
        make_certs(&pair);
        rpc_tls_options server = identity(&pair.ca, &pair.server_cert);
        rpc_tls_options client = identity(&pair.ca, NULL);
        open_pair(&pair, &server, &client, "localhost");
        shake(&pair, step);
        assert_true(rpc__tls_handshake_done(pair.server.tls));
        assert_true(rpc__tls_handshake_done(pair.client.tls));
        close_pair(&pair);
    }
}

TEST(tls_mutual_peer_is_visible_with_its_names)
{
    tls_pair pair;
    make_certs(&pair);
    rpc_tls_options server = identity(&pair.ca, &pair.server_cert);
    server.client_auth = RPC_CLIENT_AUTH_REQUIRE;
    rpc_tls_options client = identity(&pair.ca, &pair.client_cert);
    open_pair(&pair, &server, &client, "127.0.0.1");
    shake(&pair, 4096);
    rpc_peer peer = {.address = "there"};
    assert_int_equal(rpc__tls_peer(pair.server.tls, &peer, NULL), RPC_OK);
    assert_true(peer.has_certificate);
    assert_string_equal(peer.dns_names[0], "sims.example");
    assert_null(peer.dns_names[1]);
    assert_string_equal(peer.uri_names[0], "https://sims.example");
    assert_string_equal(peer.address, "there");
    assert_true(peer.certificate_not_after > 0);
    close_pair(&pair);
}

TEST(tls_peer_without_certificate_has_no_fields)
{
    tls_pair pair;
    make_certs(&pair);
    rpc_tls_options server = identity(&pair.ca, &pair.server_cert);
    server.client_auth = RPC_CLIENT_AUTH_REQUEST;
    rpc_tls_options client = identity(&pair.ca, NULL);
    open_pair(&pair, &server, &client, "localhost");
    shake(&pair, 4096);
    rpc_peer peer = {0};
    assert_int_equal(rpc__tls_peer(pair.server.tls, &peer, NULL), RPC_OK);
    assert_false(peer.has_certificate);
    close_pair(&pair);
}

TEST(tls_client_refuses_a_server_of_another_name)
{
    tls_pair pair;
    make_certs(&pair);
    rpc_tls_options server = identity(&pair.ca, &pair.server_cert);
    rpc_tls_options client = identity(&pair.ca, NULL);
    open_pair(&pair, &server, &client, "dacm.example");
    shake(&pair, 4096);
    assert_int_equal(pair.client.result, RPC__TLS_FAILED);
    assert_int_equal(pair.client.status.code, RPC_UNAUTHENTICATED);
    assert_non_null(strstr(pair.client.status.message, "ostname"));
    assert_int_equal(pair.server.result, RPC__TLS_FAILED);
    assert_int_equal(pair.server.status.code, RPC_UNAVAILABLE);
    close_pair(&pair);
}

static void server_cert_is_refused(long from, long to, const char *word)
{
    tls_pair pair;
    make_certs(&pair);
    test_cert_free(&pair.server_cert);
    pair.server_cert = test_cert_issue(&pair.ca, "server", "DNS:localhost", from, to);
    rpc_tls_options server = identity(&pair.ca, &pair.server_cert);
    rpc_tls_options client = identity(&pair.ca, NULL);
    open_pair(&pair, &server, &client, "localhost");
    shake(&pair, 4096);
    assert_int_equal(pair.client.result, RPC__TLS_FAILED);
    assert_int_equal(pair.client.status.code, RPC_UNAUTHENTICATED);
    assert_non_null(strstr(pair.client.status.message, word));
    close_pair(&pair);
}

TEST(tls_client_refuses_an_expired_certificate)
{
    server_cert_is_refused(-7200, -3600, "expired");
}

TEST(tls_client_refuses_a_certificate_that_is_not_yet_valid)
{
    server_cert_is_refused(3600, 7200, "not yet valid");
}

TEST(tls_client_refuses_an_untrusted_ca)
{
    tls_pair pair;
    make_certs(&pair);
    test_cert other = test_ca("other CA");
    rpc_tls_options server = identity(&pair.ca, &pair.server_cert);
    rpc_tls_options client = identity(&other, NULL);
    open_pair(&pair, &server, &client, "localhost");
    shake(&pair, 4096);
    assert_int_equal(pair.client.result, RPC__TLS_FAILED);
    assert_int_equal(pair.client.status.code, RPC_UNAUTHENTICATED);
    assert_non_null(strstr(pair.client.status.message, "is its CA in ca_file?"));
    test_cert_free(&other);
    close_pair(&pair);
}

TEST(tls_server_that_requires_a_certificate_refuses_a_client_without)
{
    tls_pair pair;
    make_certs(&pair);
    rpc_tls_options server = identity(&pair.ca, &pair.server_cert);
    server.client_auth = RPC_CLIENT_AUTH_REQUIRE;
    rpc_tls_options client = identity(&pair.ca, NULL);
    open_pair(&pair, &server, &client, "localhost");
    shake(&pair, 4096);
    assert_false(rpc__tls_handshake_done(pair.server.tls));
    assert_int_equal(pair.server.status.code, RPC_UNAUTHENTICATED);
    assert_int_equal(pair.client.result, RPC__TLS_FAILED);
    assert_int_equal(pair.client.status.code, RPC_UNAVAILABLE);
    close_pair(&pair);
}

TEST(tls_server_refuses_a_client_of_another_ca_even_where_it_only_asks)
{
    tls_pair pair;
    make_certs(&pair);
    test_cert other = test_ca("other CA");
    test_cert stranger = test_cert_issue(&other, "stranger", "DNS:sims.example", -60, 3600);
    rpc_tls_options server = identity(&pair.ca, &pair.server_cert);
    server.client_auth = RPC_CLIENT_AUTH_REQUEST;
    rpc_tls_options client = identity(&pair.ca, &stranger);
    open_pair(&pair, &server, &client, "localhost");
    shake(&pair, 4096);
    assert_false(rpc__tls_handshake_done(pair.server.tls));
    assert_int_equal(pair.server.status.code, RPC_UNAUTHENTICATED);
    assert_non_null(strstr(pair.server.status.message, "is its CA in ca_file?"));
    test_cert_free(&stranger);
    test_cert_free(&other);
    close_pair(&pair);
}

/* A server whose certificate an intermediate has signed, and a client that knows the root alone.
 * file: what is in the certificate's file; ca: what is in the server's ca_file. */
static void server_with_intermediate(bool in_file, bool in_ca, rpc__tls_result expected)
{
    tls_pair pair;
    make_certs(&pair);
    test_cert between = test_intermediate(&pair.ca, "between");
    test_cert_free(&pair.server_cert);
    pair.server_cert = test_cert_issue(&between, "server", "DNS:localhost", -60, 3600);
    char file[8192], ca[8192];
    snprintf(file, sizeof file, "%s%s", pair.server_cert.cert_pem, in_file ? between.cert_pem : "");
    snprintf(ca, sizeof ca, "%s%s", pair.ca.cert_pem, in_ca ? between.cert_pem : "");
    rpc_tls_options server = identity(&pair.ca, &pair.server_cert);
    server.certificate_pem = rpc_bytes_str(file);
    server.ca_pem = rpc_bytes_str(ca);
    rpc_tls_options client = identity(&pair.ca, NULL);
    open_pair(&pair, &server, &client, "localhost");
    shake(&pair, 4096);
    assert_int_equal(pair.client.result, expected);
    if (expected != RPC__TLS_FAILED) /* the leaf and what it needs; the root is known or useless */
        assert_int_equal(sk_X509_num(SSL_get_peer_cert_chain(rpc__tls_ssl(pair.client.tls))), 2);
    test_cert_free(&between);
    close_pair(&pair);
}

TEST(tls_intermediates_are_sent_from_the_certificates_file)
{
    server_with_intermediate(true, false, RPC__TLS_WANT_INPUT);
    server_with_intermediate(true, true, RPC__TLS_WANT_INPUT);
}

TEST(tls_intermediates_are_sent_from_the_ca_file_where_the_leaf_stands_alone)
{
    server_with_intermediate(false, true, RPC__TLS_WANT_INPUT);
    server_with_intermediate(false, false, RPC__TLS_FAILED);
}

TEST(tls_client_sends_its_intermediates_too)
{
    tls_pair pair;
    make_certs(&pair);
    test_cert between = test_intermediate(&pair.ca, "between");
    test_cert_free(&pair.client_cert);
    pair.client_cert = test_cert_issue(&between, "client", "DNS:sims.example", -60, 3600);
    char ca[8192];
    snprintf(ca, sizeof ca, "%s%s", pair.ca.cert_pem, between.cert_pem);
    rpc_tls_options server = identity(&pair.ca, &pair.server_cert);
    server.client_auth = RPC_CLIENT_AUTH_REQUIRE;
    rpc_tls_options client = identity(&pair.ca, &pair.client_cert);
    client.ca_pem = rpc_bytes_str(ca);
    open_pair(&pair, &server, &client, "localhost");
    shake(&pair, 4096);
    rpc_peer peer = {0};
    assert_int_equal(rpc__tls_peer(pair.server.tls, &peer, NULL), RPC_OK);
    assert_true(peer.has_certificate);
    test_cert_free(&between);
    close_pair(&pair);
}

/* What the server and a client that prefers these, in this order, agree upon. */
static void agree(const char *offered, const char *expected)
{
    tls_pair pair;
    make_certs(&pair);
    rpc_tls_options server = identity(&pair.ca, &pair.server_cert);
    rpc_tls_options client = identity(&pair.ca, NULL);
    open_pair(&pair, &server, &client, "localhost");
    assert_int_equal(SSL_set_ciphersuites(rpc__tls_ssl(pair.client.tls), offered), 1);
    shake(&pair, 4096);
    assert_true(rpc__tls_handshake_done(pair.server.tls));
    assert_string_equal(rpc__tls_cipher(pair.server.tls), expected);
    close_pair(&pair);
}

TEST(tls_server_chooses_the_cipher_unless_the_client_has_no_aes_in_hardware)
{
    agree("TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256",
        "TLS_AES_128_GCM_SHA256");
    agree("TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_256_GCM_SHA384");
    agree("TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256");
}

/* A client of plain OpenSSL says hello; the server's verdict. */
static void foreign_client(int version, const char *alpn, size_t alpn_size, const char *word)
{
    tls_pair pair;
    make_certs(&pair);
    rpc_tls_options server = identity(&pair.ca, &pair.server_cert);
    rpc_tls_options client = identity(&pair.ca, NULL);
    open_pair(&pair, &server, &client, "localhost");
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_max_proto_version(ctx, version);
    SSL *ssl = SSL_new(ctx);
    if (alpn)
        SSL_set_alpn_protos(ssl, (const unsigned char *)alpn, (unsigned)alpn_size);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl, in, out);
    SSL_set_connect_state(ssl);
    for (int round = 0; round < 4 && pair.server.result != RPC__TLS_FAILED; round++) {
        SSL_do_handshake(ssl);
        char *bytes;
        long size = BIO_get_mem_data(out, &bytes);
        rpc__tls_input(pair.server.tls, rpc_bytes_of(bytes, (size_t)size));
        pair.server.result = rpc__tls_handshake(pair.server.tls, &pair.server.status);
        (void)BIO_reset(out);
        BIO_write(in, pair.server.output, (int)rpc__tls_output_size(pair.server.tls));
        rpc__tls_set_output(pair.server.tls, pair.server.output, BUFFER);
    }
    assert_int_equal(pair.server.result, RPC__TLS_FAILED);
    assert_int_equal(pair.server.status.code, RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(pair.server.status.message, word));
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    close_pair(&pair);
}

TEST(tls_server_refuses_tls_1_2)
{
    foreign_client(TLS1_2_VERSION, "\x02h2", 3, "protocol");
}

TEST(tls_server_refuses_a_client_that_speaks_only_http_1_1)
{
    foreign_client(TLS1_3_VERSION, "\x08http/1.1", 9, "application protocol");
}

TEST(tls_server_refuses_a_client_without_alpn)
{
    foreign_client(TLS1_3_VERSION, NULL, 0, "HTTP/2");
}

TEST(tls_garbage_instead_of_a_handshake_fails)
{
    const char *inputs[] = {"GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\xff\xff", "PRI * HTTP/2.0\r\n"};
    for (size_t i = 0; i < 3; i++) {
        tls_pair pair;
        make_certs(&pair);
        rpc_tls_options server = identity(&pair.ca, &pair.server_cert);
        rpc_tls_options client = identity(&pair.ca, NULL);
        open_pair(&pair, &server, &client, "localhost");
        rpc__tls_input(pair.server.tls, rpc_bytes_str(inputs[i]));
        assert_int_equal(rpc__tls_handshake(pair.server.tls, &pair.server.status), RPC__TLS_FAILED);
        assert_int_equal(pair.server.status.code, RPC_INVALID_ARGUMENT);
        close_pair(&pair);
    }
}

TEST(tls_bulk_arrives_as_it_was_sent_and_output_is_never_overrun)
{
    tls_pair pair;
    make_certs(&pair);
    rpc_tls_options server = identity(&pair.ca, &pair.server_cert);
    rpc_tls_options client = identity(&pair.ca, NULL);
    open_pair(&pair, &server, &client, "localhost");
    shake(&pair, 4096);
    enum { SIZE = 1 << 20, ROOM = 40000 };
    uint8_t *sent = malloc(SIZE), *got = malloc(SIZE), *small = malloc(ROOM + 8);
    for (size_t i = 0; i < SIZE; i++)
        sent[i] = (uint8_t)(i * 31 + (i >> 11));
    size_t at = 0, read = 0;
    while (read < SIZE) {
        memset(small + ROOM, 0xA5, 8);
        rpc__tls_set_output(pair.server.tls, small, ROOM);
        size_t taken;
        assert_int_equal(rpc__tls_write(pair.server.tls, rpc_bytes_of(sent + at, SIZE - at), &taken,
                             &pair.server.status),
            RPC__TLS_OK);
        at += taken;
        assert_memory_equal(small + ROOM, "\xA5\xA5\xA5\xA5\xA5\xA5\xA5\xA5", 8);
        rpc__tls_input(pair.client.tls, rpc_bytes_of(small, rpc__tls_output_size(pair.server.tls)));
        size_t n;
        while (rpc__tls_read(pair.client.tls, got + read, SIZE - read, &n, NULL) == RPC__TLS_OK &&
               (read += n) < SIZE)
            continue;
    }
    assert_memory_equal(sent, got, SIZE);
    free(sent);
    free(got);
    free(small);
    close_pair(&pair);
}

TEST(tls_changed_record_fails_and_close_notify_closes)
{
    for (int change = 0; change < 2; change++) {
        tls_pair pair;
        make_certs(&pair);
        rpc_tls_options server = identity(&pair.ca, &pair.server_cert);
        rpc_tls_options client = identity(&pair.ca, NULL);
        open_pair(&pair, &server, &client, "localhost");
        shake(&pair, 4096);
        size_t taken, got;
        uint8_t plain[64];
        if (change)
            assert_int_equal(
                rpc__tls_write(pair.server.tls, rpc_bytes_str("hello"), &taken, NULL), RPC__TLS_OK);
        else
            rpc__tls_shutdown(pair.server.tls);
        if (change)
            pair.server.output[10] ^= 1;
        rpc__tls_input(pair.client.tls,
            rpc_bytes_of(pair.server.output, rpc__tls_output_size(pair.server.tls)));
        assert_int_equal(
            rpc__tls_read(pair.client.tls, plain, sizeof plain, &got, &pair.client.status),
            change ? RPC__TLS_FAILED : RPC__TLS_CLOSED);
        close_pair(&pair);
    }
}

TEST(tls_context_says_what_is_wrong_with_its_files)
{
    tls_pair pair;
    make_certs(&pair);
    rpc_status status;
    rpc__tls_context *context;
    rpc_tls_options options = identity(&pair.ca, &pair.server_cert);
    options.key_pem = rpc_bytes_str(pair.client_cert.key_pem);
    assert_int_equal(rpc__tls_context_new_server(&options, rpc_clock_system(), &context, &status),
        RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(status.message, "does not belong"));
    options.key_pem = rpc_bytes_str("nonsense");
    assert_int_equal(rpc__tls_context_new_server(&options, rpc_clock_system(), &context, &status),
        RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(status.message, "unencrypted PEM private key"));
    options.key_pem = rpc_bytes_of(NULL, 0);
    assert_int_equal(rpc__tls_context_new_server(&options, rpc_clock_system(), &context, &status),
        RPC_INVALID_ARGUMENT);
    options.key_file = "/no/such/file";
    assert_int_equal(rpc__tls_context_new_server(&options, rpc_clock_system(), &context, &status),
        RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(status.message, "/no/such/file"));
    options = identity(&pair.ca, &pair.server_cert);
    options.ca_pem = rpc_bytes_of(NULL, 0);
    options.client_auth = RPC_CLIENT_AUTH_REQUIRE;
    assert_int_equal(rpc__tls_context_new_server(&options, rpc_clock_system(), &context, &status),
        RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(status.message, "no CA"));
    test_cert_free(&pair.ca);
    test_cert_free(&pair.server_cert);
    test_cert_free(&pair.client_cert);
}
