/* SPDX-License-Identifier: Apache-2.0 */
#include "census.h"

#include "session.h"

#include <stdio.h>

void rpc__census_init(rpc__census *census)
{
    *census = (rpc__census){0};
    pthread_mutex_init(&census->lock, NULL);
}

void rpc__census_done(rpc__census *census)
{
    pthread_mutex_destroy(&census->lock);
}

void rpc__census_enter(rpc__census *census, rpc__census_entry *entry, rpc__census_kind kind,
    void *object, const void *owner)
{
    pthread_mutex_lock(&census->lock);
    *entry = (rpc__census_entry){.prev = census->last[kind],
        .id = ++census->last_id,
        .kind = kind,
        .object = object,
        .owner = owner};
    *(entry->prev ? &entry->prev->next : &census->first[kind]) = entry;
    census->last[kind] = entry;
    pthread_mutex_unlock(&census->lock);
}

void rpc__census_leave(rpc__census *census, rpc__census_entry *entry)
{
    if (entry->id == 0)
        return;
    pthread_mutex_lock(&census->lock);
    *(entry->prev ? &entry->prev->next : &census->first[entry->kind]) = entry->next;
    *(entry->next ? &entry->next->prev : &census->last[entry->kind]) = entry->prev;
    entry->id = 0;
    pthread_mutex_unlock(&census->lock);
}

static rpc__census_entry *seek(rpc__census_entry *entry, const void *owner, uint64_t id)
{
    while (entry && (entry->id < id || (owner && entry->owner != owner)))
        entry = entry->next;
    return entry;
}

rpc__census_entry *rpc__census_from(
    const rpc__census *census, rpc__census_kind kind, const void *owner, uint64_t id)
{
    return seek(census->first[kind], owner, id);
}

rpc__census_entry *rpc__census_next(const rpc__census_entry *entry, const void *owner)
{
    return seek(entry->next, owner, 0);
}

/* ---- connections, for users --------------------------------------------------------------------
 */

static uint64_t read_count(const atomic_uint_least64_t *count)
{
    return atomic_load_explicit(count, memory_order_relaxed);
}

static int64_t read_time(const _Atomic int64_t *time)
{
    return atomic_load_explicit(time, memory_order_relaxed);
}

void rpc__conn_stats(const rpc__conn *conn, rpc_connection_stats *ret)
{
    const rpc__tally *tally = &conn->tally;
    *ret = (rpc_connection_stats){
        .id = conn->entry.id,
        .listener = conn->listener ? conn->listener : "",
        .tls = conn->tls != NULL,
        .opened_us = conn->opened_us,
        .streams_started = read_count(&tally->streams_started),
        .streams_succeeded = read_count(&tally->streams_succeeded),
        .streams_failed = read_count(&tally->streams_failed),
        .messages_received = read_count(&tally->messages_received),
        .messages_sent = read_count(&tally->messages_sent),
        .bytes_received = read_count(&tally->bytes_received),
        .bytes_sent = read_count(&tally->bytes_sent),
        .keepalives_sent = read_count(&tally->keepalives_sent),
        .last_stream_us = read_time(&tally->last_stream_us),
        .last_received_us = read_time(&tally->last_received_us),
        .last_sent_us = read_time(&tally->last_sent_us),
    };
    snprintf(ret->address, sizeof ret->address, "%s", conn->address);
}
