/* SPDX-License-Identifier: Apache-2.0 */
/** What every module stands on: status, bytes, clock, random, arena, hex.
 *
 *  Argument order in all our headers: object, inputs (a length right after its pointer),
 *  outputs ret_*, error reterr_* or reterr. Outputs stay untouched on failure. */
#ifndef DACM_RPC_BASE_H
#define DACM_RPC_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/** On declarations: exported; a warning when the result is dropped; format is checked. */
#define RPC_API          __attribute__((visibility("default")))
#define RPC_MUST_USE     __attribute__((warn_unused_result))
#define RPC_PRINTF(f, a) __attribute__((format(printf, f, a)))

/* ---- status ------------------------------------------------------------------------------ */

/** The 17 status codes of gRPC. Who retries: UNAVAILABLE, the same call; ABORTED, the larger
 *  operation; FAILED_PRECONDITION, only after the state was mended. */
typedef enum rpc_code {
    RPC_OK = 0,
    RPC_CANCELLED = 1,
    RPC_UNKNOWN = 2,
    RPC_INVALID_ARGUMENT = 3,
    RPC_DEADLINE_EXCEEDED = 4,
    RPC_NOT_FOUND = 5,
    RPC_ALREADY_EXISTS = 6,
    RPC_PERMISSION_DENIED = 7,
    RPC_RESOURCE_EXHAUSTED = 8,
    RPC_FAILED_PRECONDITION = 9,
    RPC_ABORTED = 10,
    RPC_OUT_OF_RANGE = 11,
    RPC_UNIMPLEMENTED = 12,
    RPC_INTERNAL = 13,
    RPC_UNAVAILABLE = 14,
    RPC_DATA_LOSS = 15,
    RPC_UNAUTHENTICATED = 16,
} rpc_code;

/** "PERMISSION_DENIED" and so on; "UNKNOWN" for a number that is none of the codes. */
RPC_API const char *rpc_code_name(rpc_code code);

/** A code and a sentence that a person can act on. Fixed size: reporting "out of memory"
 *  allocates nothing. */
typedef struct rpc_status {
    rpc_code code;
    char message[384];
} rpc_status;

/** Fills status (which may be NULL) and returns code, so that a failing function ends with
 *  `return rpc_status_set(reterr, RPC_…, "part: what, on what, why; what to do", …)`.
 *  The message is cut at the buffer's end, on a UTF-8 boundary. */
RPC_API rpc_code rpc_status_set(rpc_status *status, rpc_code code, const char *format, ...)
    RPC_PRINTF(3, 4);
/** Like rpc_status_set() with "%s", without the cost of formatting. text may be in status. */
RPC_API rpc_code rpc_status_text(rpc_status *status, rpc_code code, const char *text);

/* ---- bytes and text ---------------------------------------------------------------------- */

/** Bytes that somebody else owns; the function that takes or gives them says for how long. */
typedef struct rpc_bytes {
    const uint8_t *data;
    size_t size;
} rpc_bytes;

/** What these point to must outlive the result. rpc_bytes_str(): without the NUL. */
static inline rpc_bytes rpc_bytes_of(const void *data, size_t size)
{
    rpc_bytes bytes = {(const uint8_t *)data, size};
    return bytes;
}
static inline rpc_bytes rpc_bytes_str(const char *string)
{
    return rpc_bytes_of(string, strlen(string));
}
/** Not for secrets: takes longer the more is equal. */
static inline bool rpc_bytes_equal(rpc_bytes a, rpc_bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}
/** How many bytes from the start are printable ASCII (0x20 to 0x7e), found many at a time. */
RPC_API size_t rpc_printable_run(rpc_bytes bytes);
/** Copies text and its NUL into an array of room bytes. False when it does not fit: ret_text is
 *  then empty. */
RPC_API bool rpc_text_copy(char *ret_text, size_t room, const char *text);
/** Lower-case hex; ret_text holds 2 × size + 1 bytes. */
RPC_API void rpc_hex(rpc_bytes bytes, char *ret_text);
/** Reads lower- or upper-case hex of exactly 2 × size digits; false if text is anything else. */
RPC_API bool rpc_unhex(rpc_bytes text, uint8_t *ret_data, size_t size);
/** True when bytes are valid UTF-8 (no overlong forms, no surrogates) without NUL. */
RPC_API bool rpc_utf8_valid(rpc_bytes bytes);
/** Foreign text that may end up on a terminal: '?' in place of each byte of a control character
 *  (C0, DEL and, as UTF-8, C1), and nothing from the first byte on that is no UTF-8. */
RPC_API void rpc_text_printable(char *text);

/* ---- clock and random -------------------------------------------------------------------- */

/** Time is passed in, so that any module runs in a test with time under control. */
typedef struct rpc_clock {
    int64_t (*monotonic_us)(void *ctx); /* never goes back; for deadlines and durations */
    int64_t (*wall_ms)(void *ctx);      /* milliseconds since 1970-01-01 UTC; may jump */
    void *ctx;
} rpc_clock;

/** CLOCK_MONOTONIC and CLOCK_REALTIME; a constant. */
RPC_API const rpc_clock *rpc_clock_system(void);
/** What the clock says. */
static inline int64_t rpc_clock_monotonic_us(const rpc_clock *clock)
{
    return clock->monotonic_us(clock->ctx);
}
static inline int64_t rpc_clock_wall_ms(const rpc_clock *clock)
{
    return clock->wall_ms(clock->ctx);
}

/** Fills with bytes from the kernel's generator; stops the process if there are none, since
 *  nothing safe can follow. Any thread. */
RPC_API void rpc_random(void *data, size_t size);

/* ---- arena ------------------------------------------------------------------------------- */

/** Memory that is given back all at once, within a budget.
 *  Not for more than one thread at a time. */
typedef struct rpc_arena rpc_arena;

/** budget  the most bytes that the arena will ever hold, its own bookkeeping included.
 *  Returns NULL when memory is short. */
RPC_API RPC_MUST_USE rpc_arena *rpc_arena_new(size_t budget);
/** What many arenas have together: asked before one grows, told when it shrinks. Any thread that
 *  uses the arena. */
typedef struct rpc_arena_meter {
    bool (*take)(void *ctx, size_t bytes); /* false: the arena does not grow */
    void (*give)(void *ctx, size_t bytes);
    void *ctx; /* outlives the arena */
} rpc_arena_meter;
/** The meter (copied) is asked from now on. Before the first allocation. */
RPC_API void rpc_arena_set_meter(rpc_arena *arena, const rpc_arena_meter *meter);
/** Gives all memory back. NULL is allowed. */
RPC_API void rpc_arena_free(rpc_arena *arena);
/** Memory aligned for any type, not zeroed; NULL when the budget or the machine's memory is
 *  used up (rpc_arena_exhausted() tells which). Lives until reset or free. */
RPC_API RPC_MUST_USE void *rpc_arena_alloc(rpc_arena *arena, size_t size);
/** A copy of size bytes with a NUL behind it; NULL as rpc_arena_alloc(). */
RPC_API RPC_MUST_USE char *rpc_arena_strndup(rpc_arena *arena, const char *text, size_t size);
/** Gives all memory back but the first block; what was allocated is gone. */
RPC_API void rpc_arena_reset(rpc_arena *arena);
/** Overwrites all that was allocated: for an arena that held a secret, before it is reset or
 *  freed. */
RPC_API void rpc_arena_overwrite(rpc_arena *arena);
/** True when an allocation failed for the sake of budget or meter since the last reset. */
RPC_API bool rpc_arena_exhausted(const rpc_arena *arena);
/** Bytes allocated since the last reset. */
RPC_API size_t rpc_arena_used(const rpc_arena *arena);

#ifdef __cplusplus
}
#endif
#endif
