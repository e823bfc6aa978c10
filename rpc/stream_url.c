/* SPDX-License-Identifier: Apache-2.0 */
/* The urls that streams are dialled and listened on. */
#include "stream.h"

#include <arpa/inet.h>
#include <string.h>
#include <stdio.h>

static const struct {
    const char *prefix;
    rpc__scheme scheme;
} schemes[] = {
    {"tls+tcp://", RPC__SCHEME_TLS_TCP},
    {"tcp://", RPC__SCHEME_TCP},
    {"ipc://", RPC__SCHEME_IPC},
};

static bool printable(const char *text)
{
    for (; *text; text++)
        if (*text <= ' ' || *text > '~')
            return false;
    return true;
}

static bool is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    if (inet_pton(AF_INET6, host, &v6) == 1)
        return IN6_IS_ADDR_LOOPBACK(&v6);
    return strcmp(host, "localhost") == 0;
}

/* 0..65535 in decimal digits and nothing else. */
static bool parse_port(const char *text, uint16_t *ret)
{
    unsigned long port = 0;
    size_t digits = strspn(text, "0123456789");
    if (digits < 1 || digits > 5 || text[digits])
        return false;
    for (; *text; text++)
        port = port * 10 + (unsigned long)(*text - '0');
    if (port > 65535)
        return false;
    *ret = (uint16_t)port;
    return true;
}

static bool valid_host(const char *host, bool bracketed)
{
    struct in6_addr v6;
    if (bracketed)
        return inet_pton(AF_INET6, host, &v6) == 1;
    return host[0] &&
           host[strspn(
               host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_")] == 0;
}

static rpc_code parse_tcp(const char *text, const char *rest, rpc__url *url, rpc_status *reterr)
{
    bool bracketed = *rest == '[';
    const char *host = bracketed ? rest + 1 : rest;
    const char *end = bracketed ? strstr(host, "]:") : strrchr(host, ':');
    if (!end)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "rpc: url '%s' has no port; expected tls+tcp://host:port", text);
    size_t length = (size_t)(end - host);
    if (length >= sizeof url->host)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "rpc: host of url '%.64s…' is longer than %zu bytes", text, sizeof url->host - 1);
    memcpy(url->host, host, length);
    if (!valid_host(url->host, bracketed))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "rpc: host of url '%.256s' is no name or address; write IPv6 as [::1]", text);
    if (!parse_port(end + (bracketed ? 2 : 1), &url->port))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "rpc: port of url '%.256s' is not a number of 0..65535", text);
    url->loopback = is_loopback(url->host);
    return RPC_OK;
}

static rpc_code parse_ipc(const char *text, const char *path, rpc__url *url, rpc_status *reterr)
{
    if (path[0] != '/' || !path[1])
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "rpc: path of url '%.256s' is not absolute; expected ipc:///path", text);
    if (strlen(path) >= sizeof url->path)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "rpc: path of url '%.128s…' is longer than the %zu bytes of a socket's address; "
            "choose a shorter one",
            text, sizeof url->path - 1);
    rpc_text_copy(url->path, sizeof url->path, path);
    url->loopback = true;
    return RPC_OK;
}

rpc_code rpc__url_parse(const char *text, rpc__url *ret, rpc_status *reterr)
{
    if (strnlen(text, RPC__URL_MAX) == RPC__URL_MAX)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "rpc: url is longer than %d bytes", RPC__URL_MAX - 1);
    if (!printable(text))
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "rpc: url holds white space or bytes that are not ASCII");
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        size_t length = strlen(schemes[i].prefix);
        if (strncmp(text, schemes[i].prefix, length) != 0)
            continue;
        rpc__url url = {.scheme = schemes[i].scheme};
        rpc_code code = url.scheme == RPC__SCHEME_IPC
                            ? parse_ipc(text, text + length, &url, reterr)
                            : parse_tcp(text, text + length, &url, reterr);
        if (code == RPC_OK)
            *ret = url;
        return code;
    }
    return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
        "rpc: scheme of url '%.64s' is not known; expected tls+tcp://, tcp:// or ipc://", text);
}

bool rpc__url_numeric(const rpc__url *url)
{
    struct in_addr v4;
    struct in6_addr v6;
    return inet_pton(AF_INET, url->host, &v4) == 1 || inet_pton(AF_INET6, url->host, &v6) == 1;
}

void rpc__url_format(const rpc__url *url, char *ret_text)
{
    if (url->scheme == RPC__SCHEME_IPC) {
        snprintf(ret_text, RPC__URL_MAX, "ipc://%s", url->path);
        return;
    }
    bool v6 = strchr(url->host, ':') != NULL;
    snprintf(ret_text, RPC__URL_MAX, "%s://%s%s%s:%u",
        url->scheme == RPC__SCHEME_TCP ? "tcp" : "tls+tcp", v6 ? "[" : "", url->host, v6 ? "]" : "",
        (unsigned)url->port);
}
