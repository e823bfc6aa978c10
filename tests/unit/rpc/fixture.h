/* SPDX-License-Identifier: Apache-2.0 */
/** A server of rpctest.Echo and a channel to it, for the tests of rpc. */
#ifndef DACM_RPC_FIXTURE_H
#define DACM_RPC_FIXTURE_H

#include "certs.h"
#include "rpc.h"
#include "test.h"
#include "test.pb-c.h"

#include <pthread.h>

/** Events to wait for; all members under lock. */
typedef struct flag {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned count;
} flag;
void flag_init(flag *f);
void flag_raise(flag *f);
/** Until it was raised count times in all. */
void flag_wait(flag *f, unsigned count);
unsigned flag_count(flag *f);
/** The same for at most ms of real time; false: it was not raised so often. */
bool flag_wait_for(flag *f, unsigned count, int64_t ms);

typedef struct fixture {
    rpc_runtime *runtime;
    rpc_clock clock; /* the kernel's, and what fixture_skip() has added */
    _Atomic int64_t skipped_us;
    rpc_server *server;
    rpc_listener *listener;
    rpc_channel *channel;
    test_cert ca, server_cert, client_cert;
    rpc_limits limits, client_limits;
    bool plain, no_client_cert;
    bool with_channelz, with_health;
    bool with_other; /* rpctest.Other is served, its method's function NULL */
    unsigned accept_encodings, client_accept_encodings;
    rpc_encoding client_encoding;
    const rpc_interceptor *interceptors, *client_interceptors;
    size_t interceptor_count, client_interceptor_count;
    rpc_method_options unary_options, chat_options;
    rpc_pool *pool;
    flag events[RPC_EVENT_KINDS];
    flag limits_hit[RPC_LIMIT_KINDS];
    char event_detail[256];
    /* what the handlers saw */
    flag started, cancelled, server_ended, released, pulled;
    rpc_code server_end;
    rpc_call *held; /* of "never": a reference */
    bool peer_certificate;
    char peer_uri[128];
    unsigned body_later; /* answers LATER this often */
    flag later;
    bool request_compressed;   /* of Unary and Chat */
    rpc_code compression_code; /* what x-compress (gzip, deflate) of a request got */
    /* "flaky" fails so often with this code, with push-back unless INT64_MIN (under started's
     * lock) */
    unsigned fail_first;
    rpc_code fail_code;
    int64_t pushback_ms;
    char previous_attempts[16]; /* as the last "flaky" said */
    size_t download_sent;       /* bytes taken by rpc_call_send, atomic */
    bool keep;                  /* Upload holds its messages until its call has ended */
} fixture;

/** Limits may be changed between init and start. */
void fixture_init(fixture *f);
void fixture_start(fixture *f);
void fixture_listen(fixture *f, const char *url);
rpc_channel *fixture_channel(fixture *f);
void fixture_stop(fixture *f);
/** Of the call held: it keeps its connection's memory. */
void fixture_let_go(fixture *f);
/** Moves the time of servers and channels on. */
void fixture_skip(fixture *f, int64_t ms);
/** Waits for an event of that limit, then asserts that its counter in the stats says the same. */
void fixture_wait_limit(fixture *f, rpc_limit_kind kind, unsigned count);
/** Until the server counts no connection any more: RPC_EVENT_CLOSED comes just before that. */
void fixture_wait_nobody(fixture *f);
/** Skips ms again and again until that limit has been reached: for those that what is under way
 *  may start anew. */
void fixture_skip_until_limit(fixture *f, rpc_limit_kind kind, int64_t ms);

/** A unary call with text; *ret_text is a copy to free. */
rpc_code fixture_unary(fixture *f, const rpc_call_options *options, const char *text,
    char **ret_text, rpc_status *reterr);

/** What a streaming call of the client saw. */
typedef struct client_call {
    fixture *f;
    rpc_call *call;
    flag headers, messages, writable, ended;
    uint64_t bytes;
    bool hold; /* keep messages until client_release() */
    rpc_message *held[64];
    unsigned held_count;
    rpc_status status;
    bool compressed; /* the last message */
    uint8_t details[64];
    size_t details_size; /* SIZE_MAX: none */
    char header[128], trailer[128];
    const char *trailer_name; /* which to keep; NULL: "x-tail" */
} client_call;
void client_start(client_call *c, fixture *f, const char *path, const rpc_call_options *options);
/** Sends item, waiting while the call is busy. */
rpc_sent client_send(client_call *c, const Rpctest__Item *item);
void client_release(client_call *c);
void client_done(client_call *c);

#endif
