/* SPDX-License-Identifier: Apache-2.0 */
/* A table of keyed hashes with open addressing: entries are never removed one by one, but all that
 * have expired when it is full, and then it grows if it must. */
#include "replays.h"

#include "cleanup.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sodium.h>
#include <sys/stat.h>

#define NAME_BYTES 10u /* nobody finds two alike: they are keyed */
#define SHARES     4096u
#define ROOM_FIRST 1024u
#define FILE_BYTES 20 /* a number of 19 digits and a newline */

typedef struct used {
    uint8_t name[NAME_BYTES];
    uint16_t share;      /* whose: below SHARES */
    uint32_t expires_at; /* seconds since 1970; 0 = free */
} used;
_Static_assert(sizeof(used) == 16, "a million of them, and half as much room again, are 32 MiB");

struct sim_replays {
    pthread_mutex_t lock; /* guards what follows */
    used *table;
    size_t room, count;      /* room: a power of two */
    uint32_t shares[SHARES]; /* of count, by a hash of the client: few have one together */
    int64_t cleared;         /* when what has expired was forgotten; once a second at most */
    int64_t newest;          /* issued at, of all that were taken */
    int64_t before;          /* issued up to then: may have been taken by who ran before us */
    int file;
    uint8_t key[crypto_generichash_KEYBYTES];
};

/* A file that is not there is one of nobody before us. */
static rpc_code read_newest(int file, const char *path, int64_t *ret, rpc_status *reterr)
{
    char text[FILE_BYTES + 1] = "";
    ssize_t size = pread(file, text, FILE_BYTES, 0);
    if (size < 0)
        return rpc_status_set(
            reterr, RPC_UNAVAILABLE, "assertions: cannot read '%s': %s", path, strerror(errno));
    if (size == 0)
        return RPC_OK;
    if (size != FILE_BYTES || strspn(text, "0123456789") != FILE_BYTES - 1)
        return rpc_status_set(reterr, RPC_DATA_LOSS,
            "assertions: '%s' is not what simsd wrote; wait ten minutes, then remove it", path);
    *ret = strtoll(text, NULL, 10);
    return RPC_OK;
}

rpc_code sim_replays_open(const char *path, sim_replays **ret, rpc_status *reterr)
{
    RPC_AUTOCLOSE int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0)
        return rpc_status_set(
            reterr, RPC_UNAVAILABLE, "assertions: cannot open '%s': %s", path, strerror(errno));
    int64_t before = 0;
    rpc_code code = read_newest(file, path, &before, reterr);
    if (code != RPC_OK)
        return code;
    sim_replays *replays = calloc(1, sizeof *replays);
    used *table = calloc(ROOM_FIRST, sizeof *table);
    if (!replays || !table) {
        free(replays);
        free(table);
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "assertions: no memory");
    }
    pthread_mutex_init(&replays->lock, NULL);
    replays->table = table;
    replays->room = ROOM_FIRST;
    replays->before = replays->newest = before;
    replays->file = rpc_take_fd(&file);
    randombytes_buf(replays->key, sizeof replays->key);
    *ret = replays;
    return RPC_OK;
}

void sim_replays_close(sim_replays *replays)
{
    if (!replays)
        return;
    pthread_mutex_destroy(&replays->lock);
    close(replays->file);
    free(replays->table);
    free(replays);
}

static void name_of(
    const sim_replays *replays, const char *client_id, const char *jti, uint8_t ret[NAME_BYTES])
{
    uint8_t digest[crypto_generichash_BYTES_MIN];
    crypto_generichash_state state;
    crypto_generichash_init(&state, replays->key, sizeof replays->key, sizeof digest);
    crypto_generichash_update(&state, (const uint8_t *)client_id, strlen(client_id) + 1);
    crypto_generichash_update(&state, (const uint8_t *)jti, strlen(jti));
    crypto_generichash_final(&state, digest, sizeof digest);
    memcpy(ret, digest, NAME_BYTES);
}

/* Without a key: IDs are the operator's choice, not a stranger's. */
static uint16_t share_of(const char *client_id)
{
    uint8_t digest[crypto_generichash_BYTES_MIN];
    crypto_generichash(
        digest, sizeof digest, (const uint8_t *)client_id, strlen(client_id), NULL, 0);
    return (uint16_t)((digest[0] << 8 | digest[1]) % SHARES);
}

/* Where it is, or the free place where it belongs: there always is one. */
static used *place_of(used *table, size_t room, const uint8_t name[NAME_BYTES])
{
    uint64_t start;
    memcpy(&start, name, sizeof start);
    for (size_t i = start & (room - 1);; i = (i + 1) & (room - 1))
        if (!table[i].expires_at || memcmp(table[i].name, name, sizeof table[i].name) == 0)
            return &table[i];
}

static bool lives(const used *place, int64_t now)
{
    return place->expires_at && place->expires_at >= now;
}

static rpc_code full(rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
        "assertions: %u are good at a time, %u of one client; let clients use shorter ones",
        SIM_REPLAYS_MAX, SIM_REPLAYS_CLIENT_MAX);
}

/* Forgets what has expired; twice the room when more than a quarter of it is still taken. */
static rpc_code make_room(sim_replays *replays, int64_t now, rpc_status *reterr)
{
    size_t alive = 0;
    replays->cleared = now;
    for (size_t i = 0; i < replays->room; i++)
        alive += lives(&replays->table[i], now);
    if (alive >= SIM_REPLAYS_MAX)
        return full(reterr);
    size_t room = alive > replays->room / 4 ? replays->room * 2 : replays->room;
    assert(room >= ROOM_FIRST);
    used *table = calloc(room, sizeof *table);
    if (!table)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "assertions: no memory");
    memset(replays->shares, 0, sizeof replays->shares);
    for (size_t i = 0; i < replays->room; i++) {
        if (!lives(&replays->table[i], now))
            continue;
        *place_of(table, room, replays->table[i].name) = replays->table[i];
        replays->shares[replays->table[i].share]++;
    }
    free(replays->table);
    replays->table = table;
    replays->room = room;
    replays->count = alive;
    return RPC_OK;
}

/* Going through all of a table that is full is nothing that each request of a flood brings about.
 */
static rpc_code find_room(sim_replays *replays, uint16_t share, int64_t now, rpc_status *reterr)
{
    const bool all = replays->count >= SIM_REPLAYS_MAX,
               own = replays->shares[share] >= SIM_REPLAYS_CLIENT_MAX;
    rpc_code code = RPC_OK;
    if ((all || own) && replays->cleared == now)
        return full(reterr);
    if (all || own || (replays->count + 1) * 2 > replays->room)
        code = make_room(replays, now, reterr);
    return code == RPC_OK && replays->shares[share] >= SIM_REPLAYS_CLIENT_MAX ? full(reterr) : code;
}

static rpc_code note_newest(sim_replays *replays, int64_t issued_at, rpc_status *reterr)
{
    char text[32];
    snprintf(text, sizeof text, "%019" PRId64 "\n", issued_at);
    if (pwrite(replays->file, text, FILE_BYTES, 0) != FILE_BYTES)
        return rpc_status_set(reterr, RPC_UNAVAILABLE,
            "assertions: the newest's time cannot be written: %s", strerror(errno));
    replays->newest = issued_at;
    return RPC_OK;
}

static rpc_code take(sim_replays *replays, const uint8_t name[NAME_BYTES], uint16_t share,
    int64_t issued_at, int64_t expires_at, int64_t now, rpc_status *reterr)
{
    if (issued_at <= replays->before)
        return rpc_status_set(reterr, RPC_ALREADY_EXISTS,
            "assertions: it was issued before this start of simsd and may have been used then");
    used *place = place_of(replays->table, replays->room, name);
    if (place->expires_at)
        return rpc_status_set(reterr, RPC_ALREADY_EXISTS, "assertions: it was used before");
    rpc_code code = find_room(replays, share, now, reterr);
    if (code == RPC_OK && issued_at > replays->newest)
        code = note_newest(replays, issued_at, reterr);
    if (code != RPC_OK)
        return code;
    place = place_of(replays->table, replays->room, name);
    memcpy(place->name, name, sizeof place->name);
    place->share = share;
    place->expires_at = (uint32_t)expires_at;
    replays->count++;
    replays->shares[share]++;
    return RPC_OK;
}

rpc_code sim_replays_take(sim_replays *replays, const char *client_id, const char *jti,
    int64_t issued_at, int64_t expires_at, int64_t now, rpc_status *reterr)
{
    uint8_t name[NAME_BYTES];
    const uint16_t share = share_of(client_id);
    name_of(replays, client_id, jti, name);
    pthread_mutex_lock(&replays->lock);
    rpc_code code = take(replays, name, share, issued_at, expires_at, now, reterr);
    pthread_mutex_unlock(&replays->lock);
    return code;
}

size_t sim_replays_count(sim_replays *replays)
{
    pthread_mutex_lock(&replays->lock);
    size_t count = replays->count;
    pthread_mutex_unlock(&replays->lock);
    return count;
}
