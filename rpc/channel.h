/* SPDX-License-Identifier: Apache-2.0 */
/** The inside of a channel, shared by channel.c, subchannel.c, balance.c and resolve.c. Private
 *  to rpc/.
 *
 *  A channel has one subchannel for each connection that it wants. Each has a lane of its own
 *  (that of the first is the channel's home and keeps the channel's memory), so that calls on
 *  different connections run on different cores. What belongs to a subchannel is touched on its
 *  lane, but for members marked (lock), which channel->lock guards, and atomics. Nothing is
 *  called and no other lock taken while channel->lock is held.
 *
 *  A call starts on the lane of a ready subchannel, chosen round robin. When none is ready it
 *  waits in the channel's line until one is (or all have failed), and then begins anew. */
#ifndef DACM_RPC_CHANNEL_H
#define DACM_RPC_CHANNEL_H

#include "session.h"

#define RPC__AUTHORITY_MAX 300

/** A name being resolved on a thread that may block. Caller's memory. */
typedef struct rpc__resolution {
    rpc__task done; /* posted to strand when the rest is filled in */
    rpc__strand *strand;
    rpc_resolve_fn *resolve;
    void *ctx;
    char host[256];
    rpc_addresses addresses; /* numeric, valid; count > 0 with RPC_OK */
    rpc_status status;
} rpc__resolution;

/** False (status tells): done will not be posted. */
bool rpc__resolve(rpc_runtime *runtime, rpc__resolution *resolution);

typedef enum rpc__sub_state {
    RPC__SUB_IDLE,
    RPC__SUB_CONNECTING, /* the first attempt since it was ready or idle */
    RPC__SUB_READY,
    RPC__SUB_FAILED, /* in back-off or trying again */
    RPC__SUB_CLOSED,
} rpc__sub_state;

enum { /* asked of a subchannel from any thread */
    RPC__SUB_ASK_CONNECT = 1,
    RPC__SUB_ASK_TIMER = 2,
    RPC__SUB_ASK_CLOSE = 4,
    RPC__SUB_ASK_RENEW = 8, /* the connection was made by other TLS options than those of now */
};

/** One connection to one address of the target, made again when it is needed. */
typedef struct rpc__sub {
    rpc_channel *channel;
    unsigned index;
    unsigned turn; /* which of a name's addresses it tries first */
    rpc__lane *lane;
    rpc__url url; /* as the target has it */
    char authority[RPC__AUTHORITY_MAX];
    rpc__task wake;
    atomic_uint asked;
    rpc__sub_state state; /* (lock) to write */
    rpc__conn *conn;      /* for new calls, or the one being made; NULL: none */
    bool ready;           /* conn takes calls */
    uint64_t tls_turn;    /* of the channel when conn was made */
    rpc__resolution *resolution;
    rpc_addresses addresses;
    unsigned tried; /* of addresses, in this attempt */
    rpc_status error;
    int64_t backoff_ms, attempt_us, ready_us;
    rpc_timer *timer;
    rpc__census_entry entry;
} rpc__sub;

struct rpc_channel {
    rpc_runtime *runtime;
    rpc_limits limits;
    int64_t connect_ms, backoff_initial_ms, backoff_max_ms;
    rpc__census_entry entry;
    rpc__stats *call_stats;
    char target[256]; /* as it was given, cut */
    rpc__interceptors interceptors;
    rpc_encoding encoding;
    unsigned accept;
    rpc_retry_policy retry; /* complete */
    size_t retry_buffer_bytes_max;
    int retry_tokens_max, retry_token_ratio; /* thousandths */
    atomic_int retry_tokens;
    char **idempotent; /* paths, sorted */
    size_t idempotent_count;
    struct {
        atomic_uint_least64_t connections, connections_failed, retries, retries_unseen,
            retries_throttled;
    } stats;
    rpc_resolve_fn *resolve;
    void *resolve_ctx;
    void (*on_state)(void *ctx, rpc_channel_state state);
    void *state_ctx;
    rpc__tls_context *tls; /* (lock) NULL: plain text, for good */
    bool own_name;         /* (lock) tls.server_name was given: not the names of the target */
    uint64_t tls_turn;     /* (lock) one more with each rpc_channel_set_tls() */
    rpc__task state_task;
    rpc_channel_state told;                 /* (home) */
    _Atomic uint64_t ready_subs, idle_subs; /* bits; set and cleared under lock */
    atomic_uint turn;
    atomic_int_least64_t keepalive_ms; /* of new connections */
    atomic_uint calls;
    atomic_bool closing;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    _Atomic rpc_channel_state state;  /* written under lock */
    bool state_queued, shutdown_told; /* (lock) */
    unsigned conns, open_subs;        /* (lock) */
    rpc_call *line, *line_end;        /* (lock) through call->next; a reference each */
    unsigned line_count, line_max;    /* (lock) */
    int64_t asked_us;                 /* (lock) when a call last found nothing ready */
    rpc_status last_error;            /* (lock) why calls fail in TRANSIENT_FAILURE */
    unsigned sub_count;
    rpc__sub subs[];
};

/* channel.c: the channel lives as long as its home lane */
static inline rpc__lane *rpc__channel_home(rpc_channel *channel)
{
    return channel->subs[0].lane;
}
void rpc__channel_conns(rpc_channel *channel, int change);
void rpc__channel_sub_closed(rpc_channel *channel);

/* subchannel.c */
void rpc__sub_init(rpc__sub *sub);
void rpc__sub_ask(rpc__sub *sub, unsigned what);
/** It takes a call now. (strand) */
bool rpc__sub_usable(const rpc__sub *sub);
/** It no longer takes calls: the next call makes a new connection. (strand) */
void rpc__sub_lost(rpc__sub *sub);

/** A fifth more or less. */
int64_t rpc__jitter(int64_t delay_ms);

/* retry.c */
/** Puts the defaults in. */
RPC_MUST_USE rpc_code rpc__retry_policy_check(
    const rpc_retry_policy *policy, rpc_retry_policy *ret, rpc_status *reterr);

/* idempotency.c */
/** The paths of a descriptor set's methods that may run twice, sorted; NULL-terminated, to free
 *  with what they hold by rpc__idempotent_free(). */
RPC_MUST_USE rpc_code rpc__idempotent_read(
    rpc_bytes descriptor_set, char ***ret_paths, size_t *ret_count, rpc_status *reterr);
void rpc__idempotent_free(char **paths, size_t count);
bool rpc__idempotent_has(char *const *paths, size_t count, const char *path);

/* balance.c */
/** The next ready subchannel, or NULL. Any thread. */
rpc__sub *rpc__balance_pick(rpc_channel *channel);
/** A subchannel's new state: tells calls that wait and on_state. (strand) */
void rpc__balance_state(rpc__sub *sub, rpc__sub_state state);
/** Connects what is idle. Any thread. */
void rpc__balance_wake(rpc_channel *channel);
/** All calls that wait begin anew, in a channel that is closing. */
void rpc__balance_close(rpc_channel *channel);
/** A call stands in the line until its retry's time has come (or the channel closes). */
void rpc__balance_rest(rpc_channel *channel, rpc_call *call);
void rpc__balance_leave_line(rpc_channel *channel, rpc_call *call);

#endif
