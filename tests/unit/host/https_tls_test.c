/* SPDX-License-Identifier: Apache-2.0 */
/* TLS of the HTTPS server: clients' certificates, and handshakes that come to nothing. */
#include "certs.h"
#include "https_client.h"
#include "test.h"

#include <openssl/pem.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void show_certificate(void *ctx, host_request *request)
{
    const host_certificate *certificate = host_request_certificate(request);
    host_reply reply = {.status = 200, .content_type = "text/plain"};
    char digest[2 * HOST_CERTIFICATE_SHA256_BYTES + 1] = "none";
    (void)ctx;
    if (certificate)
        rpc_hex(rpc_bytes_of(host_certificate_sha256(certificate), HOST_CERTIFICATE_SHA256_BYTES),
            digest);
    int size = asprintf(&reply.body, "sha256 %s\nsubject %s\ndns %d%d%d\nuri %d%d%d\n", digest,
        certificate ? host_certificate_subject(certificate) : "",
        certificate && host_certificate_has_dns(certificate, "Client.example"),
        certificate && host_certificate_has_dns(certificate, "other.example"),
        certificate && host_certificate_has_dns(certificate, "urn:example:val-1"),
        certificate && host_certificate_has_uri(certificate, "urn:example:val-1"),
        certificate && host_certificate_has_uri(certificate, "URN:example:val-1"),
        certificate && host_certificate_has_uri(certificate, "client.example"));
    reply.size = size > 0 ? (size_t)size : 0;
    host_request_answer(request, &reply);
}

static const host_route routes[] = {
    {.path = "/who", .handle = show_certificate},
    {.path = "/who-in-place", .handle = show_certificate, .in_place = true},
};

/* A server, and CAs of clients. */
typedef struct fixture {
    https_files files;
    char client_ca[300], client_crl[300], cert[300], key[300];
    test_cert ca;
    host_https_options options;
    host_https *https;
} fixture;

static void clients_of(fixture *it, const char *name)
{
    it->ca = test_ca(name);
    https_write_file(it->client_ca, it->ca.cert_pem);
}

static void prepare(fixture *it, host_client_auth auth, unsigned request_s)
{
    const char *dir = test_tmpdir();
    snprintf(it->client_crl, sizeof it->client_crl, "%s/clients.crl", dir);
    snprintf(it->client_ca, sizeof it->client_ca, "%s/clients.pem", dir);
    snprintf(it->cert, sizeof it->cert, "%s/client.pem", dir);
    snprintf(it->key, sizeof it->key, "%s/client-key.pem", dir);
    it->files = https_new_files();
    https_issue(&it->files, "server");
    clients_of(it, "clients");
    it->options = (host_https_options){.address = "127.0.0.1",
        .certificate_file = it->files.certificate,
        .key_file = it->files.key,
        .client_ca_file = auth == HOST_CLIENT_NONE ? NULL : it->client_ca,
        .client_auth = auth,
        .routes = routes,
        .route_count = sizeof routes / sizeof *routes,
        .workers = 1,
        .limits = {.connections_per_address = 200, .idle_s = 60, .request_s = request_s}};
}

static void set_up(fixture *it, host_client_auth auth, unsigned request_s)
{
    prepare(it, auth, request_s);
    it->https = https_start(&it->options);
}

static void tear_down(fixture *it)
{
    host_https_stop(it->https);
    test_cert_free(&it->ca);
}

/* A client's certificate with what it is curled with. */
static void become(fixture *it, const test_cert *ca, const char *name, long from, long to)
{
    test_cert cert = test_cert_issue(
        ca, name, "DNS:client.example,URI:urn:example:val-1", from, to);
    https_write_file(it->cert, cert.cert_pem);
    https_write_file(it->key, cert.key_pem);
    test_cert_free(&cert);
}

static const char *curl_with(const fixture *it, bool certificate, const char *more)
{
    char all[1200];
    snprintf(all, sizeof all, "--cacert '%s' %s%s%s%s%s %s", it->files.ca,
        certificate ? "--cert '" : "", certificate ? it->cert : "", certificate ? "' --key '" : "",
        certificate ? it->key : "", certificate ? "'" : "", more);
    return https_curl(it->https, all, "/who");
}

TEST(https_client_certificate_reaches_the_handler)
{
    fixture it;
    set_up(&it, HOST_CLIENT_REQUEST, 30);
    become(&it, &it.ca, "val, server", -60, 3600);
    char command[700], expected[100] = "";
    snprintf(command, sizeof command,
        "openssl x509 -in '%s' -outform DER | openssl dgst -sha256 -r | cut -c1-64", it.cert);
    FILE *out = popen(command, "r");
    assert_non_null(out);
    assert_non_null(fgets(expected, sizeof expected, out));
    pclose(out);
    static const char *const versions[] = {"--tlsv1.3", "--tls-max 1.2"};
    for (size_t i = 0; i < 2; i++) {
        const char *text = curl_with(&it, true, versions[i]);
        https_has(text, expected);
        https_has(text, "subject CN=val\\, server\n"); /* RFC 4514 */
        https_has(text, "dns 100\nuri 100\n");
        https_has(text, "Strict-Transport-Security: max-age=");
    }
    tear_down(&it);
}

TEST(https_client_without_a_certificate_is_served_where_one_is_only_asked_for)
{
    fixture it;
    set_up(&it, HOST_CLIENT_REQUEST, 30);
    https_has(curl_with(&it, false, ""), "sha256 none\n");
    tear_down(&it);
}

TEST(https_client_without_a_certificate_is_refused_where_one_is_required)
{
    fixture it;
    set_up(&it, HOST_CLIENT_REQUIRE, 30);
    static const char *const versions[] = {"--tlsv1.3", "--tls-max 1.2"};
    for (size_t i = 0; i < 2; i++) {
        const char *text = curl_with(&it, false, versions[i]);
        https_has(text, "curl: ");
        https_lacks(text, "HTTP/1.1");
    }
    become(&it, &it.ca, "client", -60, 3600);
    https_has(curl_with(&it, true, ""), "subject CN=client\n");
    tear_down(&it);
}

TEST(https_client_certificate_of_another_ca_or_time_is_refused)
{
    static const host_client_auth auths[] = {HOST_CLIENT_REQUEST, HOST_CLIENT_REQUIRE};
    static const char *const versions[] = {"--tlsv1.3", "--tls-max 1.2"};
    for (size_t i = 0; i < 4; i++) {
        fixture it;
        set_up(&it, auths[i / 2], 30);
        test_cert other = test_ca("clients"); /* the name alone is the same */
        become(&it, &other, "client", -60, 3600);
        https_lacks(curl_with(&it, true, versions[i % 2]), "HTTP/1.1");
        become(&it, &it.ca, "client", -3600, -60);
        https_lacks(curl_with(&it, true, versions[i % 2]), "HTTP/1.1");
        become(&it, &it.ca, "client", 3600, 7200);
        https_lacks(curl_with(&it, true, versions[i % 2]), "HTTP/1.1");
        test_cert_free(&other);
        tear_down(&it);
    }
}

TEST(https_certificate_is_not_asked_for_unless_wanted)
{
    fixture it;
    set_up(&it, HOST_CLIENT_NONE, 30);
    become(&it, &it.ca, "client", -60, 3600);
    https_has(curl_with(&it, true, ""), "sha256 none\n");
    tear_down(&it);
}

TEST(https_client_certificate_that_expires_ends_its_connection)
{
    fixture it;
    set_up(&it, HOST_CLIENT_REQUEST, 30);
    become(&it, &it.ca, "client", -60, 3);
    char command[2000];
    const char *url = host_https_url(it.https);
    snprintf(command, sizeof command,
        "curl -q -s -i --noproxy '*' --max-time 60 --cacert '%s' --cert '%s' --key '%s' "
        "--rate 10/s '%s/who?[1-60]' 2>&1",
        it.files.ca, it.cert, it.key, url);
    FILE *out = popen(command, "r");
    assert_non_null(out);
    char line[1000];
    unsigned served = 0, refused = 0;
    while (fgets(line, sizeof line, out)) {
        served += strstr(line, "HTTP/1.1 200 ") != NULL;
        refused += strstr(line, "HTTP/1.1 403 ") != NULL;
    }
    pclose(out);
    assert_true(served > 0);
    assert_int_equal(refused, 1); /* and closed: the next handshakes fail */
    tear_down(&it);
}

TEST(https_reload_takes_the_clients_ca_too)
{
    fixture it;
    set_up(&it, HOST_CLIENT_REQUIRE, 30);
    test_cert old = it.ca;
    become(&it, &old, "old", -60, 3600);
    https_has(curl_with(&it, true, ""), "subject CN=old\n");
    clients_of(&it, "new clients");
    rpc_status status;
    assert_int_equal(host_https_reload(it.https, &it.options, &status), RPC_OK);
    https_lacks(curl_with(&it, true, ""), "HTTP/1.1");
    become(&it, &it.ca, "new", -60, 3600);
    https_has(curl_with(&it, true, ""), "subject CN=new\n");
    https_write_file(it.client_ca, "none\n");
    assert_int_equal(host_https_reload(it.https, &it.options, &status), RPC_INVALID_ARGUMENT);
    https_has(status.message, it.client_ca);
    https_has(curl_with(&it, true, ""), "subject CN=new\n");
    test_cert_free(&old);
    tear_down(&it);
}

/* ---- revocation --------------------------------------------------------------------------------
 */

/* A list by ca, with the fixture's client in it where it is revoked. */
static void list(const fixture *it, const test_cert *ca, bool revoked, long from, long to)
{
    test_cert cert = {.cert_pem = NULL};
    if (revoked) {
        FILE *file = fopen(it->cert, "r");
        assert_non_null(file);
        cert.cert = PEM_read_X509(file, NULL, NULL, NULL);
        fclose(file);
    }
    char *text = test_crl(ca, revoked ? &cert : NULL, from, to);
    https_write_file(it->client_crl, text);
    free(text);
    X509_free(cert.cert);
}

static void set_up_listed(fixture *it)
{
    prepare(it, HOST_CLIENT_REQUEST, 30);
    become(it, &it->ca, "client", -60, 3600);
    list(it, &it->ca, false, -60, 3600);
    it->options.client_crl_file = it->client_crl;
    it->https = https_start(&it->options);
}

static void reload(fixture *it)
{
    rpc_status status;
    if (host_https_reload(it->https, &it->options, &status) != RPC_OK)
        fail_msg("%s", status.message);
}

TEST(https_client_certificate_that_was_revoked_is_refused)
{
    static const char *const versions[] = {"--tlsv1.3", "--tls-max 1.2"};
    fixture it;
    set_up_listed(&it);
    for (size_t i = 0; i < 2; i++)
        https_has(curl_with(&it, true, versions[i]), "subject CN=client\n");
    list(&it, &it.ca, true, -60, 3600);
    reload(&it);
    for (size_t i = 0; i < 2; i++) {
        const char *text = curl_with(&it, true, versions[i]);
        https_has(text, "HTTP/1.1 403 ");
        https_has(text, "was revoked");
        https_has(curl_with(&it, false, versions[i]), "sha256 none\n");
    }
    become(&it, &it.ca, "another", -60, 3600);
    https_has(curl_with(&it, true, ""), "subject CN=another\n");
    tear_down(&it);
}

TEST(https_client_certificate_of_whom_no_list_says_anything_now_is_refused)
{
    fixture it;
    set_up_listed(&it);
    list(&it, &it.ca, false, -7200, -3600);
    reload(&it);
    https_has(curl_with(&it, true, ""), "there is no revocation list of now");
    list(&it, &it.ca, false, 3600, 7200);
    reload(&it);
    https_has(curl_with(&it, true, ""), "there is no revocation list of now");
    list(&it, &it.ca, false, -60, 3600);
    reload(&it);
    https_has(curl_with(&it, true, ""), "subject CN=client\n");
    /* two authorities, a list of one */
    test_cert other = test_ca("other clients");
    char both[8000];
    snprintf(both, sizeof both, "%s%s", it.ca.cert_pem, other.cert_pem);
    https_write_file(it.client_ca, both);
    reload(&it);
    https_has(curl_with(&it, true, ""), "subject CN=client\n");
    become(&it, &other, "client", -60, 3600);
    https_has(curl_with(&it, true, ""), "there is no revocation list of now");
    test_cert_free(&other);
    tear_down(&it);
}

TEST(https_revocation_lists_that_are_none_or_of_strangers_are_not_taken)
{
    fixture it;
    rpc_status status;
    set_up_listed(&it);
    test_cert stranger = test_ca("clients"); /* the name alone is the same */
    list(&it, &stranger, false, -60, 3600);
    assert_int_equal(host_https_reload(it.https, &it.options, &status), RPC_INVALID_ARGUMENT);
    https_has(status.message, it.client_crl);
    static const char *const wrong[] = {"", "none\n", "-----BEGIN X509 CRL-----\nAAAA\n"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        https_write_file(it.client_crl, wrong[i]);
        assert_int_equal(host_https_reload(it.https, &it.options, &status), RPC_INVALID_ARGUMENT);
        https_has(status.message, it.client_crl);
    }
    https_has(curl_with(&it, true, ""), "subject CN=client\n"); /* by the list of before */
    test_cert_free(&stranger);
    tear_down(&it);
}

/* A connection that is kept open, by somebody who has a certificate. */
typedef struct kept {
    FILE *in, *out;
    pid_t pid;
} kept;

static kept keep_open(const fixture *it)
{
    int to[2], from[2];
    char address[40];
    kept made;
    snprintf(address, sizeof address, "127.0.0.1:%u", https_port(it->https));
    assert_int_equal(pipe(to), 0);
    assert_int_equal(pipe(from), 0);
    made.pid = fork();
    assert_true(made.pid >= 0);
    if (made.pid == 0) {
        dup2(to[0], 0);
        dup2(from[1], 1);
        close(to[1]);
        close(from[0]);
        execlp("openssl", "openssl", "s_client", "-quiet", "-connect", address, "-CAfile",
            it->files.ca, "-cert", it->cert, "-key", it->key, (char *)NULL);
        _exit(127);
    }
    close(to[0]);
    close(from[1]);
    made.in = fdopen(to[1], "w");
    made.out = fdopen(from[0], "r");
    return made;
}

/* The first line of the answer; reads what it is told is the last line. */
static void ask(kept *k, const char *last, char ret[100])
{
    char line[1000];
    fputs("GET /who HTTP/1.1\r\nHost: x\r\n\r\n", k->in);
    assert_int_equal(fflush(k->in), 0);
    assert_non_null(fgets(ret, 100, k->out));
    do
        assert_non_null(fgets(line, sizeof line, k->out));
    while (!strstr(line, last));
}

TEST(https_client_certificate_that_is_revoked_while_connected_ends_its_connection)
{
    for (unsigned i = 0; i < 2; i++) {
        fixture it;
        char line[100];
        set_up_listed(&it);
        kept k = keep_open(&it);
        ask(&k, "uri ", line);
        https_has(line, "HTTP/1.1 200 ");
        reload(&it);
        ask(&k, "uri ", line);
        https_has(line, "HTTP/1.1 200 ");
        if (i == 0) {
            list(&it, &it.ca, true, -60, 3600);
        } else { /* the authority is trusted no more */
            test_cert_free(&it.ca);
            clients_of(&it, "new clients");
            list(&it, &it.ca, false, -60, 3600);
        }
        reload(&it);
        ask(&k, i == 0 ? "was revoked" : "no authority that is trusted", line);
        https_has(line, "HTTP/1.1 403 ");
        assert_null(fgets(line, sizeof line, k.out)); /* the end */
        fclose(k.in);
        fclose(k.out);
        assert_int_equal(waitpid(k.pid, NULL, 0), k.pid);
        tear_down(&it);
    }
}

TEST(https_handshakes_that_are_never_finished_are_ended_and_keep_nobody_out)
{
    fixture it;
    set_up(&it, HOST_CLIENT_REQUEST, 1);
    int fds[40];
    for (unsigned i = 0; i < 40; i++) {
        fds[i] = https_connect(it.https);
        /* the first bytes of a handshake, and no more */
        assert_int_equal(send(fds[i], "\x16\x03\x01\x02\x00\x01", i % 7, MSG_NOSIGNAL), i % 7);
    }
    https_has(curl_with(&it, false, ""), "HTTP/1.1 200 ");
    char byte;
    for (unsigned i = 0; i < 40; i++) {
        assert_true(recv(fds[i], &byte, 1, 0) <= 0);
        close(fds[i]);
    }
    tear_down(&it);
}

static int64_t cpu_ms(void)
{
    struct timespec used;
    assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used), 0);
    return (int64_t)used.tv_sec * 1000 + used.tv_nsec / 1000000;
}

/* A polling thread that runs in circles takes the whole second until the server ends it. */
TEST(https_half_a_handshake_costs_no_cpu)
{
    fixture it;
    set_up(&it, HOST_CLIENT_NONE, 1);
    int fd = https_connect(it.https);
    int64_t before = cpu_ms();
    assert_int_equal(send(fd, "\x16\x03\x01\x02", 4, MSG_NOSIGNAL), 4);
    char byte;
    assert_true(recv(fd, &byte, 1, 0) <= 0);
    assert_true(cpu_ms() - before < 500);
    close(fd);
    tear_down(&it);
}

TEST(https_many_connections_at_once_are_all_served)
{
    fixture it;
    set_up(&it, HOST_CLIENT_NONE, 60);
    static const char *const paths[] = {"/who", "/who-in-place"};
    for (unsigned i = 0; i < 2; i++) {
        char command[500], line[300], done[300] = "";
        snprintf(command, sizeof command, "h2load --h1 -c 128 -n 1000 '%s%s' 2>&1",
            host_https_url(it.https), paths[i]);
        FILE *out = popen(command, "r");
        assert_non_null(out);
        while (fgets(line, sizeof line, out))
            if (strstr(line, "requests: 1000 total"))
                memcpy(done, line, sizeof done);
        pclose(out);
        https_has(done, " 1000 succeeded, 0 failed, 0 errored, 0 timeout");
    }
    tear_down(&it);
}

TEST(https_options_of_clients_that_contradict_each_other_are_refused)
{
    https_files files = https_new_files();
    https_issue(&files, "server");
    host_https *https = NULL;
    rpc_status status;
    host_https_options options = {.address = "127.0.0.1",
        .routes = routes,
        .route_count = 2,
        .workers = 1,
        .client_auth = HOST_CLIENT_REQUEST,
        .client_ca_file = files.ca};
    assert_int_equal(host_https_start(&options, &https, &status), RPC_INVALID_ARGUMENT);
    options.certificate_file = files.certificate;
    options.key_file = files.key;
    options.client_ca_file = NULL;
    assert_int_equal(host_https_start(&options, &https, &status), RPC_INVALID_ARGUMENT);
    https_has(status.message, "client_ca_file");
    options.client_ca_file = "/no/such.pem";
    assert_int_equal(host_https_start(&options, &https, &status), RPC_NOT_FOUND);
    https_has(status.message, "/no/such.pem");
    options.client_ca_file = files.key;
    assert_int_equal(host_https_start(&options, &https, &status), RPC_INVALID_ARGUMENT);
    options.client_ca_file = files.ca;
    options.workers = 0;
    assert_int_equal(host_https_start(&options, &https, &status), RPC_INVALID_ARGUMENT);
    https_has(status.message, "there are no workers");
    options.workers = 1;
    options.limits.idle_s = 3601;
    assert_int_equal(host_https_start(&options, &https, &status), RPC_INVALID_ARGUMENT);
    https_has(status.message, "idle_s is 3601; give 1..3600");
    assert_null(https);
}
