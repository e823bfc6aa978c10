/* SPDX-License-Identifier: Apache-2.0 */
/** Media adaptation in sandboxed processes: what a server or a command uses instead of media.h, so
 *  that it never parses a hostile file itself. Links no decoder.
 *
 *  media_workers_start() runs the program dacm-media, a single-threaded fork server that inherits
 *  one socket and nothing else. For each job it forks a child, which gets the source and room for
 *  the result as sealed memory files, shuts itself in (resource limits, landlock, seccomp: memory,
 *  writing to its result and its end are all that is left to it) and only then looks at the source.
 *  A child that crashes, loops, bursts or lies costs its own job and nothing else. docs/media.md
 *  and docs/security.md have the whole of it.
 *
 *  In builds with sanitizers a child has no ceiling of memory as a whole (their shadow counts as
 *  address space; a single allocation is limited), standard error, and some more system calls of
 *  which none opens, connects or starts anything. Other builds have none of that.
 *
 *  Threads: every function may be called from any thread. Callbacks come from a thread of the pool,
 *  one at a time, never from inside a function here; they must not block and must not stop the
 *  pool. */
#ifndef DACM_MEDIA_WORKER_H
#define DACM_MEDIA_WORKER_H

#include "media_recipe.h"

/** Limits of the limits. */
#define MEDIA_WORKERS_MAX          64
#define MEDIA_QUEUE_MAX            4096
#define MEDIA_SHARE_BYTES_MAX      255
#define MEDIA_MEMORY_BYTES_MIN     ((uint64_t)128 << 20)
#define MEDIA_MEMORY_BYTES_MAX     ((uint64_t)64 << 30)
#define MEDIA_WORKERS_BYTES_MAX    ((uint64_t)1 << 30) /* of a source, of a result */
#define MEDIA_WORKERS_DEADLINE_MAX 3600000             /* ms */

/** How much of the processors children get beside other work. */
typedef enum media_priority {
    MEDIA_PRIORITY_BATCH = 0, /* nice 10, SCHED_BATCH: a tenth of what a server's thread gets */
    MEDIA_PRIORITY_IDLE = 1,  /* SCHED_IDLE: what nobody else wants */
    MEDIA_PRIORITY_NORMAL = 2 /* as whoever asks: a command that a person waits for */
} media_priority;

/** Set up by media_workers_defaults(). */
typedef struct media_workers_options {
    const char *program;    /* path of dacm-media */
    unsigned workers;       /* children at a time, 1 to MEDIA_WORKERS_MAX; default: half of the
                             * processors, at least 1 */
    unsigned queue_length;  /* jobs that wait, 1 to MEDIA_QUEUE_MAX; default 64 */
    unsigned share_jobs;    /* of one share key, running and waiting, at least 1; default 16 */
    unsigned share_running; /* … of them running; default, and 0: workers - 1, at least 1 */
    uint32_t deadline_ms;   /* wall clock of one job from its start on; default 20,000 */
    uint64_t memory_bytes;  /* address space of a child, its libraries (some 30 MiB) included;
                             * MEDIA_MEMORY_BYTES_MIN to _MAX; default 1 GiB */
    uint64_t source_bytes_max, result_bytes_max; /* default 256 MiB each */
    uint64_t held_bytes_max; /* sources of all that run and wait, which are in memory; at least
                              * source_bytes_max; default 1 GiB */
    media_priority priority;
    /** One line about the pool itself (never about a source's content); NULL: nobody listens. */
    void (*log)(void *ctx, bool warning, const char *line);
    /** A job that was accepted has ended so, after waiting and running so long; NULL. */
    void (*ended)(void *ctx, rpc_code code, int64_t waited_us, int64_t ran_us);
    void *ctx; /* of both */
} media_workers_options;

media_workers_options media_workers_defaults(void);

typedef struct media_workers media_workers;

/** Starts the pool, and the program, and tries the sandbox once.
 *  INVALID_ARGUMENT     an option is out of its range
 *  FAILED_PRECONDITION  the program cannot be run, is of another version, or the kernel has not
 *                       what the sandbox needs: which
 *  RESOURCE_EXHAUSTED   no memory, threads or descriptors */
RPC_MUST_USE rpc_code media_workers_start(
    const media_workers_options *options, media_workers **ret, rpc_status *reterr);
/** Ends all jobs (CANCELLED, told before this returns) and processes. NULL is allowed. Blocks; not
 *  inside a callback. Nobody may call another function on the pool from now on. */
void media_workers_stop(media_workers *workers);

/* ---- sources ------------------------------------------------------------------------------- */

/** An empty memory file to write a source to; close() it. -1, UNAVAILABLE: no memory or
 *  descriptors. */
RPC_MUST_USE int media_source_open(rpc_status *reterr);
/** Appends. UNAVAILABLE: no memory. */
RPC_MUST_USE rpc_code media_source_write(int source, rpc_bytes bytes, rpc_status *reterr);
/** From now on nobody can change it, which children insist on. */
RPC_MUST_USE rpc_code media_source_seal(int source, rpc_status *reterr);

/* ---- jobs ---- */

/** What a job made. Numbers and texts are a child's word: of a hostile source they may be lies, and
 *  figures.licence need not be JSON. Each text is printable ASCII; why and what prohibits is UTF-8
 *  without control characters. */
typedef struct media_made {
    /* The variant, read-only; inspecting: what media_list_names() gives, if anything. */
    rpc_bytes bytes;
    char media_type[MEDIA_TYPE_ROOM];
    media_figures source, figures; /* inspecting: of the source only */
    uint64_t triangles_asked;      /* as in media_result */
    char why[MEDIA_WHY_ROOM];
    int64_t cpu_us;        /* what it cost */
    uint64_t memory_bytes; /* at its peak */
} media_made;

/** Unmaps and frees; any thread. NULL is allowed. */
void media_made_free(media_made *made);

/** The end of a job, exactly once. made is the callee's; NULL unless status->code is RPC_OK.
 *  What media_adapt() and media_inspect() return, and:
 *  RESOURCE_EXHAUSTED  the source cost more than a limit: which
 *  DEADLINE_EXCEEDED   the caller's own deadline passed
 *  CANCELLED           by media_workers_cancel() or _stop()
 *  INTERNAL            the source crashed its child, or made it try what is forbidden, or its
 *                      answer was none
 *  UNAVAILABLE         not the source's fault: the program ended twice under it or cannot be
 *                      started, or the system has no memory, process or descriptor for it; safe to
 *                      retry */
typedef void media_done_fn(void *ctx, const rpc_status *status, media_made *made);

typedef struct media_job {
    int source;          /* sealed; belongs to the pool once it took the job */
    const char *recipe;  /* canonical JSON of the recipe (media_recipe_write()); NULL: inspect */
    const char *share;   /* whose share it counts for, 1 to MEDIA_SHARE_BYTES_MAX bytes: the user */
    int64_t deadline_us; /* of the caller, monotonic; 0: none */
    media_done_fn *done;
    void *ctx;
} media_job;

/** Would a job be taken now? To be asked before a source of size bytes is loaded.
 *  As media_workers_submit() in this, and so only an opinion. */
RPC_MUST_USE rpc_code media_workers_admit(media_workers *workers, const char *share, uint64_t size,
    uint32_t *ret_retry_ms, rpc_status *reterr);
/** Queues a job. Shares take turns, so that one user's many jobs do not hold up another's.
 *  ret_id        for media_workers_cancel(); NULL is allowed. done may run before this returns.
 *  ret_retry_ms  with RESOURCE_EXHAUSTED for overload: when to try again, by an estimate; else 0.
 *                NULL is allowed.
 *  INVALID_ARGUMENT    the source is empty, not sealed or larger than source_bytes_max, or the
 *                      share or recipe is too long
 *  RESOURCE_EXHAUSTED  the queue or the share is full (with the estimate)
 *  UNAVAILABLE         no memory */
RPC_MUST_USE rpc_code media_workers_submit(media_workers *workers, const media_job *job,
    uint64_t *ret_id, uint32_t *ret_retry_ms, rpc_status *reterr);
/** Another share wants a job as well: it counts for that one from now on where it is served sooner
 *  so, that of the hindmost of a long queue for instance. A job that runs, or is none: nothing. */
void media_workers_lend(media_workers *workers, uint64_t id, const char *share);
/** Ends a job that waits or runs; its callback comes with CANCELLED unless it has ended already. */
void media_workers_cancel(media_workers *workers, uint64_t id);

/** For metrics. */
typedef struct media_workers_stats {
    unsigned running, queued, shares; /* now; shares: of those */
    uint64_t ended[17];               /* jobs, by status code */
    uint64_t held_bytes;              /* now: sources of what runs and waits */
    uint64_t refused_queue, refused_share, refused_bytes;
    uint64_t helper_starts; /* of the program; 1: it never ended */
    bool helper_missing;    /* it cannot be started, again and again: jobs end with UNAVAILABLE */
    int64_t waited_us, ran_us, cpu_us;
    int landlock; /* version of the kernel's; 0: it has none, seccomp is the wall */
} media_workers_stats;
void media_workers_get_stats(media_workers *workers, media_workers_stats *ret);

#endif
