/* SPDX-License-Identifier: Apache-2.0 */
/* Load for a token endpoint: the same client for any provider. Prints one JSON object.
 *
 *   grants WORK TOKEN-ENDPOINT CA CLIENT RESOURCE CONNECTIONS COUNT [what WORK needs]
 *
 *   client    KEY-FILE AUDIENCE   client_credentials, each with an assertion of its own
 *                                 (private_key_jwt), signed before the clock starts
 *   refresh   FILE                a refresh token a line; on each connection one family, each
 *                                 request with the token that the last answer brought
 *   exchange  FILE                a URL of the authorization endpoint, a Cookie header of a
 * session, redirect_uri and code_verifier, a line each: a code, then its exchange, on one
 * connection
 *
 * Connections are made before the clock starts, and none may be made while it runs. Any answer but
 * the one that is due ends the program. */
#include "trust.h"
#include "cleanup.h"

#include <curl/curl.h>
#include <jansson.h>
#include <openssl/ssl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define CONNECTIONS_MAX  256u
#define COUNT_MAX        1000000u
#define TOKEN_BYTES_MAX  4096u
#define ANSWER_BYTES_MAX 65536u
#define FORM_BYTES_MAX   16384u
#define WAIT_MS          1000

typedef enum bench_work { WORK_CLIENT, WORK_REFRESH, WORK_EXCHANGE } bench_work;

typedef struct bench_run {
    bench_work work;
    const char *token_url, *ca, *client, *resource;
    unsigned connections, count;
    char **assertions; /* count of them */
    char authorize_url[2048], redirect_uri[512], verifier[256];
    struct curl_slist *cookie;
    unsigned begun, done;
    CURLM *multi;
    char protocol[32], cipher[64];
    long connected;
} bench_run;

typedef struct slot {
    bench_run *bench;
    CURL *curl;
    bool warming, asks_code; /* exchange: GET of a code, not POST of it */
    char refresh[TOKEN_BYTES_MAX];
    char form[FORM_BYTES_MAX];
    char answer[ANSWER_BYTES_MAX + 1];
    size_t size;
} slot;

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *format, ...)
{
    va_list args;
    fputs("grants: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double cpu_seconds(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

/* ---- requests ----------------------------------------------------------------------------------
 */

/* What was negotiated can be asked for only while a transfer has its connection. */
static void note_tls(bench_run *bench, CURL *curl)
{
    struct curl_tlssessioninfo *info = NULL;
    if (curl_easy_getinfo(curl, CURLINFO_TLS_SSL_PTR, &info) != CURLE_OK || !info ||
        info->backend != CURLSSLBACKEND_OPENSSL || !info->internals)
        die("libcurl does not tell what TLS it speaks");
    const SSL *ssl = info->internals;
    snprintf(bench->protocol, sizeof bench->protocol, "%s", SSL_get_version(ssl));
    snprintf(bench->cipher, sizeof bench->cipher, "%s", SSL_get_cipher_name(ssl));
}

static size_t on_body(char *data, size_t one, size_t size, void *arg)
{
    slot *s = arg;
    (void)one;
    if (s->warming)
        note_tls(s->bench, s->curl);
    if (s->size + size > ANSWER_BYTES_MAX)
        return 0;
    memcpy(s->answer + s->size, data, size);
    s->size += size;
    s->answer[s->size] = '\0';
    return size;
}

static void set(CURL *curl, CURLoption option, const void *value)
{
    if (curl_easy_setopt(curl, option, value) != CURLE_OK)
        die("libcurl does not know option %d", (int)option);
}

static void set_number(CURL *curl, CURLoption option, long value)
{
    if (curl_easy_setopt(curl, option, value) != CURLE_OK)
        die("libcurl does not know option %d", (int)option);
}

static void add_escaped(slot *s, const char *name, const char *value)
{
    char *escaped = curl_easy_escape(s->curl, value, 0);
    const size_t size = strlen(s->form);
    int written = snprintf(
        s->form + size, sizeof s->form - size, "&%s=%s", name, escaped ? escaped : "");
    if (!escaped || written < 0 || (size_t)written >= sizeof s->form - size)
        die("a form is too long");
    curl_free(escaped);
}

static void post(slot *s)
{
    set(s->curl, CURLOPT_URL, s->bench->token_url);
    set_number(s->curl, CURLOPT_POST, 1);
    set_number(s->curl, CURLOPT_POSTFIELDSIZE, (long)strlen(s->form));
    set(s->curl, CURLOPT_POSTFIELDS, s->form);
    set(s->curl, CURLOPT_HTTPHEADER, NULL);
}

static void ask_client(slot *s, unsigned number)
{
    snprintf(s->form, sizeof s->form,
        "grant_type=client_credentials&client_assertion_type="
        "urn%%3Aietf%%3Aparams%%3Aoauth%%3Aclient-assertion-type%%3Ajwt-bearer"
        "&scope=seal.da&client_assertion=%s",
        s->bench->assertions[number]);
    add_escaped(s, "resource", s->bench->resource);
    post(s);
}

static void ask_refresh(slot *s)
{
    snprintf(s->form, sizeof s->form, "grant_type=refresh_token");
    add_escaped(s, "client_id", s->bench->client);
    add_escaped(s, "refresh_token", s->refresh);
    add_escaped(s, "resource", s->bench->resource);
    post(s);
}

static void ask_for_code(slot *s)
{
    s->asks_code = true;
    set_number(s->curl, CURLOPT_HTTPGET, 1);
    set(s->curl, CURLOPT_URL, s->bench->authorize_url);
    set(s->curl, CURLOPT_HTTPHEADER, s->bench->cookie);
}

static void ask_exchange(slot *s)
{
    char *location = NULL;
    if (curl_easy_getinfo(s->curl, CURLINFO_REDIRECT_URL, &location) != CURLE_OK || !location)
        die("the authorization endpoint answered: %.400s", s->answer);
    const char *code = strstr(location, "code=");
    if (!code || (code[-1] != '?' && code[-1] != '&'))
        die("the authorization endpoint sends to %.400s", location);
    code += 5;
    snprintf(s->form, sizeof s->form, "grant_type=authorization_code&code=%.*s",
        (int)strcspn(code, "&"), code);
    s->asks_code = false;
    add_escaped(s, "client_id", s->bench->client);
    add_escaped(s, "redirect_uri", s->bench->redirect_uri);
    add_escaped(s, "code_verifier", s->bench->verifier);
    add_escaped(s, "resource", s->bench->resource);
    post(s);
}

static void send_request(slot *s)
{
    s->size = 0;
    s->answer[0] = '\0';
    if (curl_multi_add_handle(s->bench->multi, s->curl) != CURLM_OK)
        die("no memory for a request");
}

/* The next grant, if there is one to begin. */
static void begin(slot *s)
{
    bench_run *bench = s->bench;
    if (bench->begun == bench->count)
        return;
    unsigned number = bench->begun++;
    if (bench->work == WORK_CLIENT)
        ask_client(s, number);
    else if (bench->work == WORK_REFRESH)
        ask_refresh(s);
    else
        ask_for_code(s);
    send_request(s);
}

static void take_tokens(slot *s, long status)
{
    json_error_t error;
    json_t *json = json_loadb(s->answer, s->size, 0, &error);
    const char *refresh = json_string_value(json_object_get(json, "refresh_token"));
    if (status != 200 || !json_string_value(json_object_get(json, "access_token")))
        die("%ld: %.400s", status, s->answer);
    if (s->bench->work == WORK_REFRESH &&
        (!refresh || !rpc_text_copy(s->refresh, sizeof s->refresh, refresh)))
        die("no refresh token of less than %u bytes came: %.400s", TOKEN_BYTES_MAX, s->answer);
    json_decref(json);
    s->bench->done++;
}

static void ended(slot *s, CURLcode result)
{
    long status = 0, made = 0;
    if (result != CURLE_OK)
        die("%s: %s", s->bench->token_url, curl_easy_strerror(result));
    curl_easy_getinfo(s->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(s->curl, CURLINFO_NUM_CONNECTS, &made);
    s->bench->connected += made;
    curl_multi_remove_handle(s->bench->multi, s->curl);
    if (s->warming) {
        s->warming = false;
        return;
    }
    if (s->asks_code) {
        ask_exchange(s);
        send_request(s);
        return;
    }
    take_tokens(s, status);
    begin(s);
}

static void run_all(bench_run *bench)
{
    int running = 1;
    while (running > 0) {
        CURLMsg *message;
        int left = 0;
        bool more = false; /* what has ended may have begun another, which runs from then on */
        if (curl_multi_perform(bench->multi, &running) != CURLM_OK)
            die("libcurl failed");
        while ((message = curl_multi_info_read(bench->multi, &left)) != NULL) {
            slot *s = NULL;
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &s);
            ended(s, message->data.result);
            more = true;
        }
        if (more)
            running = 1;
        else if (running > 0 && curl_multi_poll(bench->multi, NULL, 0, WAIT_MS, NULL) != CURLM_OK)
            die("libcurl failed");
    }
}

/* ---- what is needed before ---------------------------------------------------------------------
 */

static FILE *open_file(const char *path)
{
    FILE *file = fopen(path, "re");
    if (!file)
        die("cannot read '%s'", path);
    return file;
}

static void read_line(FILE *file, char *ret, size_t room)
{
    if (!fgets(ret, (int)room, file) || !strchr(ret, '\n'))
        die("a file is too short, or a line of it too long");
    ret[strcspn(ret, "\n")] = '\0';
}

static void sign_assertions(bench_run *bench, const char *key_file, const char *audience)
{
    char jwk[4096];
    trust_signer *signer = NULL;
    rpc_status status;
    RPC_CLEANUP(rpc_cleanup_fclosep) FILE *file = open_file(key_file);
    size_t size = fread(jwk, 1, sizeof jwk, file);
    if (trust_signer_parse(rpc_bytes_of(jwk, size), TRUST_FOR_CLIENTS, &signer, &status) != RPC_OK)
        die("%s", status.message);
    bench->assertions = calloc(bench->count, sizeof *bench->assertions);
    for (unsigned i = 0; bench->assertions && i < bench->count; i++)
        if (trust_assertion_mint(signer, bench->client, audience, time(NULL), &bench->assertions[i],
                &status) != RPC_OK)
            die("%s", status.message);
    if (!bench->assertions)
        die("no memory for assertions");
    trust_signer_free(signer);
}

static void read_tokens(bench_run *bench, slot *slots, const char *path)
{
    RPC_CLEANUP(rpc_cleanup_fclosep) FILE *file = open_file(path);
    for (unsigned i = 0; i < bench->connections; i++)
        read_line(file, slots[i].refresh, sizeof slots[i].refresh);
}

static void read_session(bench_run *bench, const char *path)
{
    char cookie[8192];
    RPC_CLEANUP(rpc_cleanup_fclosep) FILE *file = open_file(path);
    read_line(file, bench->authorize_url, sizeof bench->authorize_url);
    read_line(file, cookie, sizeof cookie);
    read_line(file, bench->redirect_uri, sizeof bench->redirect_uri);
    read_line(file, bench->verifier, sizeof bench->verifier);
    bench->cookie = curl_slist_append(NULL, cookie);
}

static void open_slot(bench_run *bench, slot *s)
{
    s->bench = bench;
    s->curl = curl_easy_init();
    if (!s->curl)
        die("no memory for a connection");
    set(s->curl, CURLOPT_PRIVATE, s);
    set(s->curl, CURLOPT_CAINFO, bench->ca);
    set(s->curl, CURLOPT_WRITEDATA, s);
    if (curl_easy_setopt(s->curl, CURLOPT_WRITEFUNCTION, on_body) != CURLE_OK)
        die("libcurl takes no function");
    set_number(s->curl, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_3);
    set_number(s->curl, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    set_number(s->curl, CURLOPT_TCP_NODELAY, 1);
    set_number(s->curl, CURLOPT_NOSIGNAL, 1);
    set_number(s->curl, CURLOPT_TIMEOUT, 60);
}

/* A request that is refused is enough to have a connection. */
static void warm_up(bench_run *bench, slot *slots)
{
    for (unsigned i = 0; i < bench->connections; i++) {
        slots[i].warming = true;
        snprintf(slots[i].form, sizeof slots[i].form, "grant_type=none");
        post(&slots[i]);
        send_request(&slots[i]);
    }
    run_all(bench);
    if (bench->connected != (long)bench->connections)
        die("%ld connections were made instead of %u", bench->connected, bench->connections);
    bench->connected = 0;
}

static unsigned number(const char *text, unsigned max)
{
    unsigned long value = strtoul(text, NULL, 10);
    if (value < 1 || value > max)
        die("'%s' is not 1 to %u", text, max);
    return (unsigned)value;
}

static bool is_work(int argc, char **argv, const char *name, int arguments)
{
    return argc == 8 + arguments && strcmp(argv[1], name) == 0;
}

static void prepare(bench_run *bench, slot *slots, int argc, char **argv)
{
    if (is_work(argc, argv, "client", 2)) {
        bench->work = WORK_CLIENT;
        sign_assertions(bench, argv[8], argv[9]);
    } else if (is_work(argc, argv, "refresh", 1)) {
        bench->work = WORK_REFRESH;
        read_tokens(bench, slots, argv[8]);
    } else if (is_work(argc, argv, "exchange", 1)) {
        bench->work = WORK_EXCHANGE;
        read_session(bench, argv[8]);
    } else {
        die("client, refresh or exchange, and what it needs");
    }
}

int main(int argc, char **argv)
{
    static bench_run bench;
    if (argc < 8)
        die("WORK TOKEN-ENDPOINT CA CLIENT RESOURCE CONNECTIONS COUNT …");
    bench.token_url = argv[2];
    bench.ca = argv[3];
    bench.client = argv[4];
    bench.resource = argv[5];
    bench.connections = number(argv[6], CONNECTIONS_MAX);
    bench.count = number(argv[7], COUNT_MAX);
    slot *slots = calloc(bench.connections, sizeof *slots);
    if (!slots || curl_global_init(CURL_GLOBAL_ALL) != 0 || !(bench.multi = curl_multi_init()))
        die("no memory");
    curl_multi_setopt(bench.multi, CURLMOPT_MAXCONNECTS, (long)bench.connections);
    for (unsigned i = 0; i < bench.connections; i++)
        open_slot(&bench, &slots[i]);
    warm_up(&bench, slots);
    prepare(&bench, slots, argc, argv);

    const double cpu = cpu_seconds(), from = seconds_now();
    for (unsigned i = 0; i < bench.connections; i++)
        begin(&slots[i]);
    run_all(&bench);
    const double seconds = seconds_now() - from, used = cpu_seconds() - cpu;
    if (bench.connected > 0)
        die("%ld connections ended under way", bench.connected);
    printf("{\"grants\": %u, \"seconds\": %.6f, \"grants_per_s\": %.1f, \"client_cpu_seconds\": "
           "%.6f, \"protocol\": \"%s\", \"cipher\": \"%s\"}\n",
        bench.done, seconds, bench.done / seconds, used, bench.protocol, bench.cipher);
    for (unsigned i = 0; i < bench.connections; i++)
        curl_easy_cleanup(slots[i].curl);
    curl_multi_cleanup(bench.multi);
    curl_slist_free_all(bench.cookie);
    for (unsigned i = 0; bench.assertions && i < bench.count; i++)
        free(bench.assertions[i]);
    free(bench.assertions);
    free(slots);
    return 0;
}
