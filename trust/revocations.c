/* SPDX-License-Identifier: Apache-2.0 */
/* Revocations in a hash table. What is stored of a name is a keyed 128-bit hash: the key is drawn
 * at start, so that nobody can make names that collide. */
#include "trust_internal.h"

#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <string.h>

#define NAME_MAX 255

struct entry {
    uint8_t name[16];
    int64_t issued_until; /* INT64_MAX for one token */
    int64_t expires_at;   /* 0 = free */
};

struct trust_revocations {
    pthread_rwlock_t lock;
    uint8_t key[crypto_shorthash_siphashx24_KEYBYTES];
    struct entry *entries;
    size_t room, used, max; /* room is a power of two, at most half used */
    atomic_size_t count;
    atomic_uint_fast64_t epoch;
};

trust_revocations *trust_revocations_new(size_t entries_max)
{
    enum { ROOM_FIRST = 64 };
    trust_revocations *table = calloc(1, sizeof *table);
    if (!table)
        return NULL;
    table->entries = calloc(ROOM_FIRST, sizeof *table->entries);
    if (!table->entries) {
        free(table);
        return NULL;
    }
    table->room = ROOM_FIRST;
    table->max = entries_max;
    rpc_random(table->key, sizeof table->key);
    pthread_rwlock_init(&table->lock, NULL);
    return table;
}

void trust_revocations_free(trust_revocations *table)
{
    if (!table)
        return;
    pthread_rwlock_destroy(&table->lock);
    free(table->entries);
    free(table);
}

/* kind 'j' or 's', issuer, zero, name: the zero keeps ("ab", "c") and ("a", "bc") apart. */
static void name_of(const trust_revocations *table, char kind, const char *issuer, const char *name,
    uint8_t ret[16])
{
    uint8_t text[2 * (1024 + 1) + 1];
    size_t issuer_size = strnlen(issuer, 1024), name_size = strnlen(name, 1024);
    text[0] = (uint8_t)kind;
    memcpy(text + 1, issuer, issuer_size);
    text[1 + issuer_size] = 0;
    memcpy(text + 2 + issuer_size, name, name_size);
    crypto_shorthash_siphashx24(ret, text, 2 + issuer_size + name_size, table->key);
}

/* The entry of that name, or the free one where it belongs. */
static struct entry *find(struct entry *entries, size_t room, const uint8_t name[16])
{
    uint64_t bits;
    memcpy(&bits, name, sizeof bits);
    size_t at = bits & (room - 1);
    while (entries[at].expires_at != 0 && memcmp(entries[at].name, name, 16) != 0)
        at = (at + 1) & (room - 1);
    return &entries[at];
}

/* Into a table of new_room entries, without those that have expired. */
static bool rebuild(trust_revocations *table, size_t new_room, int64_t now)
{
    struct entry *entries = calloc(new_room, sizeof *entries);
    if (!entries)
        return false;
    size_t used = 0;
    for (size_t i = 0; i < table->room; i++)
        if (table->entries[i].expires_at >= now && table->entries[i].expires_at != 0) {
            *find(entries, new_room, table->entries[i].name) = table->entries[i];
            used++;
        }
    free(table->entries);
    table->entries = entries;
    table->room = new_room;
    table->used = used;
    atomic_store(&table->count, used);
    return true;
}

static bool make_room(trust_revocations *table, int64_t now)
{
    if (table->used < table->max && 2 * (table->used + 1) <= table->room)
        return true;
    if (!rebuild(table, table->room, now))
        return false;
    if (table->used >= table->max)
        return false;
    return 2 * (table->used + 1) <= table->room || rebuild(table, 2 * table->room, now);
}

static rpc_code add(trust_revocations *table, const uint8_t name[16],
    const trust_revocation *revocation, int64_t now, rpc_status *reterr)
{
    struct entry *entry = find(table->entries, table->room, name);
    if (entry->expires_at == 0) {
        if (!make_room(table, now))
            return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
                "revocations: %zu are in force and no more fit; take the issuer's key out of its "
                "set instead",
                table->used);
        entry = find(table->entries, table->room, name);
        memcpy(entry->name, name, sizeof entry->name);
        table->used++;
        atomic_store(&table->count, table->used);
    }
    if (entry->expires_at < now) /* forgotten, though it still has its place */
        entry->issued_until = 0;
    int64_t until = revocation->jti ? INT64_MAX : revocation->issued_until;
    if (until > entry->issued_until)
        entry->issued_until = until;
    if (revocation->expires_at > entry->expires_at)
        entry->expires_at = revocation->expires_at;
    atomic_fetch_add(&table->epoch, 1);
    return RPC_OK;
}

rpc_code trust_revocations_add(
    trust_revocations *table, const trust_revocation *revocation, int64_t now, rpc_status *reterr)
{
    const char *name = revocation->jti ? revocation->jti : revocation->subject;
    if (!revocation->jti == !revocation->subject)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "revocation: name either a token (jti) or a subject");
    if (!revocation->issuer || !revocation->issuer[0] || strlen(revocation->issuer) > 1024 ||
        !name[0] || strlen(name) > NAME_MAX)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "revocation: issuer and name must have 1 to 1,024 and 1 to 255 bytes");
    if (revocation->expires_at < now)
        return RPC_OK; /* what it refuses has expired by itself */
    uint8_t hash[16];
    name_of(table, revocation->jti ? 'j' : 's', revocation->issuer, name, hash);
    pthread_rwlock_wrlock(&table->lock);
    rpc_code code = add(table, hash, revocation, now, reterr);
    pthread_rwlock_unlock(&table->lock);
    return code;
}

bool trust_revocations_has(trust_revocations *table, const trust_token *token)
{
    if (atomic_load_explicit(&table->count, memory_order_acquire) == 0)
        return false;
    uint8_t jti[16], subject[16];
    name_of(table, 'j', token->issuer, token->jti, jti);
    name_of(table, 's', token->issuer, token->subject, subject);
    pthread_rwlock_rdlock(&table->lock);
    const struct entry *one = find(table->entries, table->room, jti);
    const struct entry *all = find(table->entries, table->room, subject);
    bool has = one->expires_at != 0 ||
               (all->expires_at != 0 && token->issued_at <= all->issued_until);
    pthread_rwlock_unlock(&table->lock);
    return has;
}

uint64_t trust_revocations_epoch(const trust_revocations *table)
{
    return atomic_load(&table->epoch);
}

void trust_revocations_touch(trust_revocations *table)
{
    atomic_fetch_add(&table->epoch, 1);
}

size_t trust_revocations_count(trust_revocations *table, int64_t now)
{
    size_t count = 0;
    pthread_rwlock_rdlock(&table->lock);
    for (size_t i = 0; i < table->room; i++)
        count += table->entries[i].expires_at != 0 && table->entries[i].expires_at >= now;
    pthread_rwlock_unlock(&table->lock);
    return count;
}
