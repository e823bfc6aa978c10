/* SPDX-License-Identifier: Apache-2.0 */
/* HTTPS GET by libcurl: small documents of parties that the configuration names. */
#include "host.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef struct body {
    char *data;
    size_t size, max;
    bool too_large, no_memory;
} body;

static pthread_once_t started = PTHREAD_ONCE_INIT;

static void start_curl(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* ---- what may be fetched ---- */

static bool is_loopback(const char *host)
{
    return strcmp(host, "127.0.0.1") == 0 || strcmp(host, "[::1]") == 0 ||
           strcmp(host, "localhost") == 0;
}

static bool has_part(CURLU *url, CURLUPart part)
{
    char *text = NULL;
    const bool has = curl_url_get(url, part, &text, 0) == CURLUE_OK;
    curl_free(text);
    return has;
}

/* NULL, or what is wrong. */
static const char *fault_of(CURLU *url, const host_fetch *fetch)
{
    char *scheme = NULL, *host = NULL;
    const char *fault = NULL;
    if (curl_url_set(url, CURLUPART_URL, fetch->url, 0) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK || !host[0])
        fault = "is no URL";
    else if (has_part(url, CURLUPART_USER) || has_part(url, CURLUPART_PASSWORD) ||
             has_part(url, CURLUPART_FRAGMENT))
        fault = "has a user name, a password or a fragment";
    else if (strcmp(scheme, "https") == 0)
        fault = NULL;
    else if (strcmp(scheme, "http") != 0)
        fault = "is not https://";
    else if (!fetch->allow_http)
        fault = "is http://, whose answer anybody on the way can write; use https://";
    else if (!is_loopback(host))
        fault = "is http:// beyond loopback; use https://";
    curl_free(scheme);
    curl_free(host);
    return fault;
}

rpc_code host_fetch_check(const host_fetch *fetch, rpc_status *reterr)
{
    pthread_once(&started, start_curl);
    CURLU *url = curl_url();
    if (!url)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "fetch: no memory");
    const char *fault = fault_of(url, fetch);
    curl_url_cleanup(url);
    return fault ? rpc_status_set(
                       reterr, RPC_INVALID_ARGUMENT, "fetch: '%.200s' %s", fetch->url, fault)
                 : RPC_OK;
}

/* ---- the transfer ---- */

static size_t on_body(char *data, size_t one, size_t size, void *user)
{
    (void)one;
    body *b = user;
    if (size > b->max - b->size) {
        b->too_large = true;
        return 0;
    }
    char *grown = realloc(b->data, b->size + size + 1);
    if (!grown) {
        b->no_memory = true;
        return 0;
    }
    b->data = grown;
    memcpy(b->data + b->size, data, size);
    b->size += size;
    b->data[b->size] = '\0';
    return size;
}

static int on_progress(
    void *user, curl_off_t total, curl_off_t now, curl_off_t up_total, curl_off_t up)
{
    (void)total;
    (void)now;
    (void)up_total;
    (void)up;
    const atomic_bool *cancel = user;
    return cancel && atomic_load(cancel);
}

static bool prepare(CURL *curl, const host_fetch *fetch, body *b, char error[CURL_ERROR_SIZE])
{
    CURLcode bad = CURLE_OK;
#define SET(option, value) (bad = bad ? bad : curl_easy_setopt(curl, option, value))
    SET(CURLOPT_URL, fetch->url);
    SET(CURLOPT_PROTOCOLS_STR, fetch->allow_http ? "https,http" : "https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)fetch->connect_ms);
    SET(CURLOPT_TIMEOUT_MS, (long)fetch->total_ms);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_ERRORBUFFER, error);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, b);
    SET(CURLOPT_XFERINFOFUNCTION, on_progress);
    SET(CURLOPT_XFERINFODATA, (void *)(uintptr_t)fetch->cancel);
    SET(CURLOPT_NOPROGRESS, 0L);
    SET(CURLOPT_USERAGENT, "dacm");
    if (fetch->ca_file && fetch->ca_file[0]) { /* that one, and none of the system's */
        SET(CURLOPT_CAINFO, fetch->ca_file);
        SET(CURLOPT_CAPATH, NULL);
    }
#undef SET
    return bad == CURLE_OK;
}

static rpc_code judge(const host_fetch *fetch, const body *b, CURLcode done, long status,
    const char *error, rpc_status *reterr)
{
    if (b->too_large)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
            "fetch: '%.200s' has more than the %zu bytes that are read", fetch->url,
            fetch->bytes_max);
    if (b->no_memory)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "fetch: no memory");
    if (done == CURLE_ABORTED_BY_CALLBACK)
        return rpc_status_set(reterr, RPC_CANCELLED, "fetch: cancelled");
    if (done != CURLE_OK)
        return rpc_status_set(reterr, RPC_UNAVAILABLE, "fetch: '%.200s': %.200s", fetch->url,
            error[0] ? error : curl_easy_strerror(done));
    if (status >= 300 && status < 400)
        return rpc_status_set(reterr, RPC_UNAVAILABLE,
            "fetch: '%.200s' answers with a redirect (%ld), which is not followed; configure where "
            "it leads",
            fetch->url, status);
    if (status != 200)
        return rpc_status_set(
            reterr, RPC_UNAVAILABLE, "fetch: '%.200s' answers %ld", fetch->url, status);
    return RPC_OK;
}

rpc_code host_fetch_get(const host_fetch *fetch, char **ret, size_t *ret_size, rpc_status *reterr)
{
    char error[CURL_ERROR_SIZE] = "";
    body b = {.data = calloc(1, 1), .max = fetch->bytes_max};
    rpc_code code = host_fetch_check(fetch, reterr);
    CURL *curl = code == RPC_OK ? curl_easy_init() : NULL;
    if (code == RPC_OK && (!curl || !b.data || !prepare(curl, fetch, &b, error)))
        code = rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "fetch: no memory");
    if (code == RPC_OK) {
        long status = 0;
        const CURLcode done = curl_easy_perform(curl);
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
        code = judge(fetch, &b, done, status, error, reterr);
    }
    curl_easy_cleanup(curl);
    if (code != RPC_OK) {
        free(b.data);
        return code;
    }
    *ret = b.data;
    *ret_size = b.size;
    return RPC_OK;
}
