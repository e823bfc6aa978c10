/* SPDX-License-Identifier: Apache-2.0 */
/* Listeners and dialers on nng: both live until rpc_runtime_free(). */
#include "stream_internal.h"

#include "cleanup.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* After an error (no descriptor left, say) accept again this much later: never spin. */
#define ACCEPT_RETRY_MS 100

void rpc__nng_url(const rpc__url *url, char *ret_text)
{
    rpc__url plain = *url;
    if (plain.scheme == RPC__SCHEME_TLS_TCP)
        plain.scheme = RPC__SCHEME_TCP;
    rpc__url_format(&plain, ret_text);
}

/* ---- dialers ------------------------------------------------------------------------------ */

typedef struct dialer {
    rpc__keep keep;
    char url[RPC__URL_MAX];
    nng_stream_dialer *raw;
} dialer;

static void free_dialer(rpc__keep *keep)
{
    dialer *it = (dialer *)keep;
    nng_stream_dialer_close(it->raw);
    nng_stream_dialer_free(it->raw);
    free(it);
}

static bool dialer_matches(rpc__keep *keep, const void *url)
{
    return keep->free == free_dialer && strcmp(((dialer *)keep)->url, url) == 0;
}

rpc_code rpc__dialer_get(
    rpc_runtime *runtime, const rpc__url *url, nng_stream_dialer **ret, rpc_status *reterr)
{
    char text[RPC__URL_MAX];
    rpc__nng_url(url, text);
    rpc__keep *kept = rpc__runtime_find_kept(runtime, dialer_matches, text);
    if (kept) {
        *ret = ((dialer *)kept)->raw;
        return RPC_OK;
    }
    dialer *it = calloc(1, sizeof *it);
    int error = it ? nng_stream_dialer_alloc(&it->raw, text) : NNG_ENOMEM;
    if (error != 0) {
        free(it);
        rpc__nng_status(error, text, reterr);
        return error == NNG_ENOMEM
                   ? RPC_RESOURCE_EXHAUSTED
                   : rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "rpc: cannot connect to '%s': %s",
                         text, nng_strerror(error));
    }
    /* Off by default; without it a call in flight stalls 44 ms on delayed acknowledgements. */
    if (url->scheme != RPC__SCHEME_IPC)
        nng_stream_dialer_set_bool(it->raw, NNG_OPT_TCP_NODELAY, true);
    memcpy(it->url, text, sizeof it->url);
    it->keep.free = free_dialer;
    rpc__runtime_keep(runtime, &it->keep);
    *ret = it->raw;
    return RPC_OK;
}

/* ---- listeners ---------------------------------------------------------------------------- */

struct rpc__stream_listener {
    rpc__keep keep;
    rpc_runtime *runtime;
    rpc__url url;
    rpc__stream_accept_fn *on_accept;
    rpc__stream_trouble_fn *on_trouble;
    void *user;
    nng_stream_listener *raw;
    nng_aio *accept_aio, *retry_aio;
    atomic_bool closed;
};

static void accept_next(rpc__stream_listener *listener)
{
    if (!atomic_load(&listener->closed))
        nng_stream_listener_accept(listener->raw, listener->accept_aio);
}

static void retry(void *arg)
{
    rpc__stream_listener *listener = arg;
    if (nng_aio_result(listener->retry_aio) == 0)
        accept_next(listener);
}

static void trouble(rpc__stream_listener *listener, int error)
{
    rpc_status why;
    rpc__nng_status(error, "cannot take a connection", &why);
    listener->on_trouble(listener->user, &why);
    nng_sleep_aio(ACCEPT_RETRY_MS, listener->retry_aio);
}

static void accepted(void *arg)
{
    rpc__stream_listener *listener = arg;
    int error = nng_aio_result(listener->accept_aio);
    if (error == NNG_ECLOSED || error == NNG_ECANCELED)
        return;
    if (error != 0) {
        trouble(listener, error);
        return;
    }
    nng_stream *raw = nng_aio_get_output(listener->accept_aio, 0);
    rpc__stream *stream = rpc__stream_accepted(listener->runtime, raw);
    if (!stream) {
        trouble(listener, NNG_ENOMEM);
        return;
    }
    accept_next(listener); /* on another thread, while this one goes on with its connection */
    listener->on_accept(listener->user, stream);
}

static void free_listener(rpc__keep *keep)
{
    rpc__stream_listener *listener = (rpc__stream_listener *)keep;
    rpc__stream_listener_close(listener);
    nng_aio_free(listener->accept_aio);
    nng_aio_free(listener->retry_aio);
    nng_stream_listener_free(listener->raw);
    free(listener);
}

static void drop_listener(rpc__stream_listener *listener)
{
    if (listener->accept_aio)
        nng_aio_free(listener->accept_aio);
    if (listener->retry_aio)
        nng_aio_free(listener->retry_aio);
    if (listener->raw)
        nng_stream_listener_free(listener->raw);
    free(listener);
}

/* A socket file whose server is dead refuses connections. Anything else at that path stays. */
static rpc_code remove_stale_socket(const char *path, rpc_status *reterr)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return RPC_OK; /* absent: listening tells if the folder is wrong */
    if (!S_ISSOCK(st.st_mode))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "rpc: '%s' exists and is no socket; remove it or choose another path", path);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, strlen(path) + 1);
    RPC_AUTOCLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "rpc: cannot look at socket '%s': %s",
            path, strerror(errno));
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 || errno == EAGAIN)
        return rpc_status_set(reterr, RPC_UNAVAILABLE,
            "rpc: another process listens on '%s'; stop it or choose another path", path);
    if (errno == ECONNREFUSED)
        unlink(path);
    return RPC_OK;
}

static rpc_code listen_failed(int error, const char *url, rpc_status *reterr)
{
    switch (error) {
    case NNG_EADDRINUSE:
        return rpc_status_set(reterr, RPC_UNAVAILABLE,
            "rpc: cannot listen on '%s': the address is taken; stop who holds it or choose "
            "another port",
            url);
    case NNG_EADDRINVAL:
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "rpc: cannot listen on '%s': this machine has no such address; give one of its own, "
            "0.0.0.0 or [::] for all",
            url);
    case NNG_ENOENT:
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "rpc: cannot listen on '%s': there is no such folder; make it first", url);
    case NNG_EPERM:
        return rpc_status_set(
            reterr, RPC_PERMISSION_DENIED, "rpc: cannot listen on '%s': permission denied", url);
    case NNG_ENOMEM:
    case NNG_ENOFILES:
        return rpc__nng_status(error, url, reterr);
    default:
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "rpc: cannot listen on '%s': %s", url,
            nng_strerror(error));
    }
}

static int open_listener(rpc__stream_listener *listener, const char *url)
{
    int error = nng_stream_listener_alloc(&listener->raw, url);
    if (error == 0)
        error = nng_aio_alloc(&listener->accept_aio, accepted, listener);
    if (error == 0)
        error = nng_aio_alloc(&listener->retry_aio, retry, listener);
    if (error != 0)
        return error;
    nng_aio_set_timeout(listener->accept_aio, NNG_DURATION_INFINITE);
    if (listener->url.scheme == RPC__SCHEME_IPC)
        error = nng_stream_listener_set_int(listener->raw, NNG_OPT_IPC_PERMISSIONS, 0600);
    else
        error = nng_stream_listener_set_bool(listener->raw, NNG_OPT_TCP_NODELAY, true);
    return error ? error : nng_stream_listener_listen(listener->raw);
}

rpc_code rpc__stream_listen(rpc_runtime *runtime, const rpc__url *url,
    rpc__stream_accept_fn *on_accept, rpc__stream_trouble_fn *on_trouble, void *user,
    rpc__stream_listener **ret, rpc_status *reterr)
{
    if (url->scheme == RPC__SCHEME_IPC) {
        rpc_code code = remove_stale_socket(url->path, reterr);
        if (code != RPC_OK)
            return code;
    }
    rpc__stream_listener *listener = calloc(1, sizeof *listener);
    if (!listener)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "rpc: no memory for a listener");
    listener->runtime = runtime;
    listener->url = *url;
    listener->on_accept = on_accept;
    listener->on_trouble = on_trouble;
    listener->user = user;
    char text[RPC__URL_MAX];
    rpc__nng_url(url, text);
    int error = open_listener(listener, text);
    if (error != 0) {
        drop_listener(listener);
        return listen_failed(error, text, reterr);
    }
    int port = 0;
    if (url->scheme != RPC__SCHEME_IPC &&
        nng_stream_listener_get_int(listener->raw, NNG_OPT_TCP_BOUND_PORT, &port) == 0)
        listener->url.port = (uint16_t)port;
    listener->keep.free = free_listener;
    rpc__runtime_keep(runtime, &listener->keep);
    *ret = listener;
    return RPC_OK;
}

void rpc__stream_listener_start(rpc__stream_listener *listener)
{
    accept_next(listener);
}

const rpc__url *rpc__stream_listener_url(const rpc__stream_listener *listener)
{
    return &listener->url;
}

void rpc__stream_listener_close(rpc__stream_listener *listener)
{
    if (atomic_exchange(&listener->closed, true))
        return;
    nng_stream_listener_close(listener->raw);
    nng_aio_stop(listener->retry_aio);
    nng_aio_stop(listener->accept_aio);
}
