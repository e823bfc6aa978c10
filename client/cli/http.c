/* SPDX-License-Identifier: Apache-2.0 */
#include "http.h"

#include "cleanup.h"
#include "pki.h"

#include <curl/curl.h>
#include <sodium.h>
#include <string.h>

#define CONNECT_MS 10000L
#define REQUEST_MS 30000L

RPC_DEFINE_FREEP(curl_freep, CURL *, curl_easy_cleanup)
RPC_DEFINE_FREEP(list_freep, struct curl_slist *, curl_slist_free_all)

void http_done(http_reply *reply)
{
    if (reply->body)
        sodium_memzero(reply->body, reply->size);
    free(reply->body);
    *reply = (http_reply){.status = 0};
}

static size_t take(char *data, size_t one, size_t count, void *user)
{
    http_reply *reply = user;
    const size_t size = one * count;
    if (size > HTTP_REPLY_BYTES_MAX - reply->size)
        return 0;
    char *body = malloc(reply->size + size + 1); /* realloc would leave a copy behind */
    if (!body)
        return 0;
    if (reply->body) {
        memcpy(body, reply->body, reply->size);
        sodium_memzero(reply->body, reply->size);
    }
    memcpy(body + reply->size, data, size);
    free(reply->body);
    reply->body = body;
    reply->size += size;
    body[reply->size] = '\0';
    return size;
}

static bool set_up(CURL *curl, const http_peer *peer, const char *url, http_reply *reply)
{
    static const char *const agent = "dacm/" DACM_VERSION;
    bool good = curl_easy_setopt(curl, CURLOPT_URL, url) == CURLE_OK &&
                curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https") == CURLE_OK &&
                curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
                curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) == CURLE_OK &&
                curl_easy_setopt(curl, CURLOPT_USERAGENT, agent) == CURLE_OK &&
                curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS) == CURLE_OK &&
                curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, REQUEST_MS) == CURLE_OK &&
                curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take) == CURLE_OK &&
                curl_easy_setopt(curl, CURLOPT_WRITEDATA, reply) == CURLE_OK;
    if (peer->ca_file)
        good = good && curl_easy_setopt(curl, CURLOPT_CAINFO, peer->ca_file) == CURLE_OK &&
               curl_easy_setopt(curl, CURLOPT_CAPATH, NULL) == CURLE_OK;
    if (peer->certificate_file && peer->key_file)
        good = good &&
               curl_easy_setopt(curl, CURLOPT_SSLCERT, peer->certificate_file) == CURLE_OK &&
               curl_easy_setopt(curl, CURLOPT_SSLKEY, peer->key_file) == CURLE_OK;
    return good;
}

static dacm_code tell(
    CURLcode why, const char *url, const char *text, const http_reply *reply, dacm_error *reterr)
{
    if (why == CURLE_WRITE_ERROR)
        return pki_fail(reterr, DACM_RESOURCE_EXHAUSTED,
            "the answer of '%.200s' has more than %u bytes, or memory is short (at %zu)", url,
            HTTP_REPLY_BYTES_MAX, reply->size);
    if (why == CURLE_URL_MALFORMAT || why == CURLE_UNSUPPORTED_PROTOCOL)
        return pki_fail(reterr, DACM_INVALID_ARGUMENT, "'%.300s' is no https URL", url);
    return pki_fail(reterr, DACM_UNAVAILABLE, "'%.200s' cannot be reached: %.200s", url,
        text[0] ? text : curl_easy_strerror(why));
}

static dacm_code perform(
    CURL *curl, const http_peer *peer, const char *url, http_reply *ret, dacm_error *reterr)
{
    char text[CURL_ERROR_SIZE] = "";
    http_reply reply = {.status = 0};
    if (!set_up(curl, peer, url, &reply) ||
        curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, text) != CURLE_OK)
        return pki_fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for a request");
    const CURLcode why = curl_easy_perform(curl);
    if (why == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply.status);
    if (why == CURLE_OK && !reply.body)
        reply.body = strdup("");
    if (why == CURLE_OK && reply.body) {
        *ret = reply;
        return DACM_OK;
    }
    tell(why == CURLE_OK ? CURLE_WRITE_ERROR : why, url, text, &reply, reterr);
    http_done(&reply);
    return reterr->code;
}

dacm_code http_get(
    const http_peer *peer, const char *url, const char *bearer, http_reply *ret, dacm_error *reterr)
{
    RPC_CLEANUP(curl_freep) CURL *curl = curl_easy_init();
    if (!curl)
        return pki_fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for a request");
    if (bearer && (curl_easy_setopt(curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER) != CURLE_OK ||
                      curl_easy_setopt(curl, CURLOPT_XOAUTH2_BEARER, bearer) != CURLE_OK))
        return pki_fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for a request");
    return perform(curl, peer, url, ret, reterr);
}

dacm_code http_post(
    const http_peer *peer, const char *url, const char *form, http_reply *ret, dacm_error *reterr)
{
    RPC_CLEANUP(curl_freep) CURL *curl = curl_easy_init();
    if (!curl || !form || curl_easy_setopt(curl, CURLOPT_POST, 1L) != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, form) != CURLE_OK)
        return pki_fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for a request");
    RPC_CLEANUP(list_freep)
    struct curl_slist *headers = curl_slist_append(NULL, "Accept: application/json");
    if (!headers || curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers) != CURLE_OK)
        return pki_fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for a request");
    return perform(curl, peer, url, ret, reterr);
}

/* ---- forms ------------------------------------------------------------------------------------
 */

static bool append(http_form *form, const char *text, size_t size)
{
    char *grown = malloc(form->size + size + 1);
    if (!grown)
        return false;
    if (form->text) {
        memcpy(grown, form->text, form->size);
        sodium_memzero(form->text, form->size);
    }
    memcpy(grown + form->size, text, size);
    free(form->text);
    form->text = grown;
    form->size += size;
    grown[form->size] = '\0';
    return true;
}

void http_form_add(http_form *form, const char *name, const char *value)
{
    static const char digits[] = "0123456789ABCDEF";
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    if (!value || form->failed)
        return;
    const size_t size = strlen(value);
    char *escaped = malloc(3 * size + 1);
    size_t at = 0;
    for (size_t i = 0; escaped && i < size; i++) {
        const unsigned char c = (unsigned char)value[i];
        if (strchr(plain, c)) {
            escaped[at++] = (char)c;
            continue;
        }
        escaped[at++] = '%';
        escaped[at++] = digits[c >> 4];
        escaped[at++] = digits[c & 15];
    }
    form->failed = !escaped || (form->text && !append(form, "&", 1)) ||
                   !append(form, name, strlen(name)) || !append(form, "=", 1) ||
                   !append(form, escaped, at);
    if (escaped)
        sodium_memzero(escaped, at);
    free(escaped);
}

void http_form_done(http_form *form)
{
    if (form->text)
        sodium_memzero(form->text, form->size);
    free(form->text);
    *form = (http_form){.text = NULL};
}

/* In place; false: something that no form holds. */
static bool unescape(char *text)
{
    char *to = text;
    for (const char *at = text; *at; at++) {
        uint8_t byte = (uint8_t)(*at == '+' ? ' ' : *at);
        if (*at == '%') {
            if (!at[1] || !at[2] || !rpc_unhex(rpc_bytes_of(at + 1, 2), &byte, 1) || byte == 0)
                return false;
            at += 2;
        }
        *to++ = (char)byte;
    }
    *to = '\0';
    return rpc_utf8_valid(rpc_bytes_str(text));
}

char *http_query_value(const char *query, const char *name)
{
    const size_t name_size = strlen(name);
    char *value = NULL;
    for (const char *at = query; *at;) {
        const size_t size = strcspn(at, "&");
        if (size > name_size && at[name_size] == '=' && memcmp(at, name, name_size) == 0) {
            if (value) { /* twice: which of them would others believe? */
                free(value);
                return NULL;
            }
            value = strndup(at + name_size + 1, size - name_size - 1);
            if (!value || !unescape(value)) {
                free(value);
                return NULL;
            }
        }
        at += size + (at[size] == '&');
    }
    return value;
}
