/* SPDX-License-Identifier: Apache-2.0 */
#include "stats.h"

#include "session.h"

#include <stdlib.h>
#include <string.h>

#define PARTS         8
#define SUB_BITS      3 /* of a doubling: 8 cells, each 1/8 to 1/16 of its values wide */
#define SUB_CELLS     (1u << SUB_BITS)
#define BINARY_CELLS  280
#define CACHE_LINE    64
#define COUNT(member) atomic_uint_least64_t member

/* By which people judge latencies: what lies at or below one can be told from what lies above. */
static const int64_t bounds_us[] = {100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000,
    250000, 500000, 1000000, 2500000, 5000000, 10000000};
#define BOUNDS ((unsigned)(sizeof bounds_us / sizeof *bounds_us))
_Static_assert(BINARY_CELLS + sizeof bounds_us / sizeof *bounds_us == RPC_LATENCY_CELLS,
    "each bound makes a cell");

typedef struct part {
    _Alignas(CACHE_LINE) COUNT(started);
    COUNT(ended)[RPC_CODES];
    COUNT(messages_received);
    COUNT(messages_sent);
    COUNT(bytes_received);
    COUNT(bytes_sent);
    COUNT(latency_sum_us);
    _Atomic int64_t last_started_us;
    COUNT(latency)[RPC_LATENCY_CELLS];
} part;

struct rpc__stats {
    part parts[PARTS];
};

rpc__stats *rpc__stats_new(void)
{
    rpc__stats *stats = aligned_alloc(CACHE_LINE, sizeof *stats);
    if (stats)
        memset(stats, 0, sizeof *stats);
    return stats;
}

void rpc__stats_free(rpc__stats *stats)
{
    free(stats);
}

static part *mine(rpc__stats *stats)
{
    static atomic_uint threads;
    static _Thread_local unsigned number; /* 0: none yet */
    if (number == 0)
        number = 1 + atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) % PARTS;
    return &stats->parts[number - 1];
}

static void add(atomic_uint_least64_t *counter, uint64_t count)
{
    atomic_fetch_add_explicit(counter, count, memory_order_relaxed);
}

static uint64_t read_count(const atomic_uint_least64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* As HdrHistogram: values below 8 have a cell each, each doubling above has 8. */
static unsigned binary_cell(uint64_t us)
{
    if (us < SUB_CELLS)
        return (unsigned)us;
    unsigned exponent = 63 - (unsigned)__builtin_clzll(us);
    unsigned cell = (exponent - SUB_BITS + 1) * SUB_CELLS +
                    (unsigned)(us >> (exponent - SUB_BITS) & (SUB_CELLS - 1));
    return cell < BINARY_CELLS ? cell : BINARY_CELLS - 1;
}

static int64_t binary_cell_us(unsigned cell)
{
    if (cell < SUB_CELLS)
        return cell;
    unsigned shift = cell / SUB_CELLS - 1;
    return (int64_t)(SUB_CELLS + cell % SUB_CELLS) << shift;
}

/* A bound lies within a binary cell and cuts it in two: each one passed is a cell more. The loop is
 * short where it matters, for calls that are. */
unsigned rpc_latency_cell(int64_t us)
{
    unsigned passed = 0;
    while (passed < BOUNDS && us > bounds_us[passed])
        passed++;
    return binary_cell(us > 0 ? (uint64_t)us : 0) + passed;
}

int64_t rpc_latency_cell_us(unsigned cell)
{
    for (unsigned passed = 0; passed < BOUNDS; passed++) {
        unsigned behind = rpc_latency_cell(bounds_us[passed] + 1);
        if (cell == behind)
            return bounds_us[passed] + 1;
        if (cell < behind)
            return binary_cell_us(cell - passed);
    }
    return binary_cell_us(cell - BOUNDS);
}

uint64_t rpc_latency_at_most(const rpc_call_stats *stats, int64_t us)
{
    uint64_t count = 0;
    if (us >= 0)
        for (unsigned cell = 0, last = rpc_latency_cell(us); cell <= last; cell++)
            count += stats->latency[cell];
    return count;
}

int64_t rpc_latency_quantile_us(const rpc_call_stats *stats, double quantile)
{
    uint64_t total = 0, below = 0;
    for (unsigned i = 0; i < RPC_LATENCY_CELLS; i++)
        total += stats->latency[i];
    if (total == 0)
        return 0;
    double rank = quantile * (double)total;
    for (unsigned i = 0; i < RPC_LATENCY_CELLS; i++) {
        below += stats->latency[i];
        if (below > 0 && (double)below >= rank)
            return rpc_latency_cell_us(i + 1) - 1;
    }
    return rpc_latency_cell_us(RPC_LATENCY_CELLS) - 1;
}

void rpc__stats_started(rpc__stats *stats, int64_t now_us)
{
    part *of = mine(stats);
    add(&of->started, 1);
    atomic_store_explicit(&of->last_started_us, now_us, memory_order_relaxed);
}

void rpc__stats_ended(rpc__stats *stats, const rpc_call *call, rpc_code code, int64_t us)
{
    part *of = mine(stats);
    uint64_t received = 0, sent = 0;
    rpc_call_counts(call, &received, &sent);
    add(&of->ended[(unsigned)code < RPC_CODES ? code : RPC_UNKNOWN], 1);
    add(&of->messages_received, call->messages_received);
    add(&of->messages_sent, call->messages_sent);
    add(&of->bytes_received, received);
    add(&of->bytes_sent, sent);
    add(&of->latency_sum_us, us > 0 ? (uint64_t)us : 0);
    add(&of->latency[rpc_latency_cell(us)], 1);
}

void rpc__stats_add_to(const rpc__stats *stats, rpc_call_stats *sum)
{
    for (size_t i = 0; i < PARTS; i++) {
        const part *of = &stats->parts[i];
        int64_t last = atomic_load_explicit(&of->last_started_us, memory_order_relaxed);
        /* Ends first: who reads never sees more of them than starts. */
        for (size_t code = 0; code < RPC_CODES; code++)
            sum->ended[code] += read_count(&of->ended[code]);
        for (size_t cell = 0; cell < RPC_LATENCY_CELLS; cell++)
            sum->latency[cell] += read_count(&of->latency[cell]);
        sum->started += read_count(&of->started);
        sum->messages_received += read_count(&of->messages_received);
        sum->messages_sent += read_count(&of->messages_sent);
        sum->bytes_received += read_count(&of->bytes_received);
        sum->bytes_sent += read_count(&of->bytes_sent);
        sum->latency_sum_us += read_count(&of->latency_sum_us);
        if (last > sum->last_started_us)
            sum->last_started_us = last;
    }
}
