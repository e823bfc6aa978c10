/* SPDX-License-Identifier: Apache-2.0 */
/* JSON lines. A line is made in the caller's memory and leaves in one write(2), so that lines
 * never mix; access lines are made there too, but wait in a buffer for the log's own thread,
 * which writes many at once: a slow disk costs lines and not calls.
 *
 * log->lock guards the buffer and the file descriptor's life; log->key_lock the pseudonym key. */
#include "host.h"

#include "cleanup.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#define LINE_MAX_BYTES  8192u
#define LINE_ROOM       (LINE_MAX_BYTES - 16u) /* what closes a line comes behind it */
#define FIELD_MAX_BYTES 1024u
#define WAITING_MAX     (1u << 20) /* bytes of access lines */
#define GATHER_US       2000       /* lines are gathered for so long before they are written */
#define PSEUDONYMS      16u        /* remembered by a thread */
#define NAME_MAX_BYTES  256u
#define KEY_LIFE_MS     (24 * 60 * 60 * 1000LL)

/* A line in the caller's memory; text is not cleared, only size counts. */
typedef struct log_line {
    size_t size;
    bool cut;
    char text[LINE_MAX_BYTES];
} log_line;

struct host_log {
    const rpc_clock *clock;
    const char *program;
    char *path;
    _Atomic int level;
    atomic_uint_fast64_t dropped;
    pthread_mutex_t lock;
    pthread_cond_t work;
    int fd;
    char *filling, *writing; /* WAITING_MAX bytes each */
    size_t filled;
    bool asleep, stopping;
    pthread_t thread;
    pthread_mutex_t key_lock;
    uint8_t key[crypto_generichash_KEYBYTES];
    _Atomic int64_t key_made_ms;
    atomic_uint_fast64_t key_version; /* of the process: no two keys share one */
};

/* ---- making a line ------------------------------------------------------------------------- */

/* Room for what closes the line is always kept. */
static void put(log_line *line, const char *text, size_t size)
{
    if (size > LINE_ROOM - line->size) {
        line->cut = true;
        return;
    }
    memcpy(line->text + line->size, text, size);
    line->size += size;
}

static bool is_plain(uint8_t c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* In a line; valid: the text that it is of is UTF-8. */
static size_t escaped_size(uint8_t c, bool valid)
{
    if (is_plain(c) || (c >= 0x80 && valid))
        return 1;
    return c == '"' || c == '\\' ? 2 : 6;
}

static void put_escaped(log_line *line, uint8_t c)
{
    char escaped[8];
    if (c == '"' || c == '\\') {
        escaped[0] = '\\';
        escaped[1] = (char)c;
        put(line, escaped, 2);
        return;
    }
    snprintf(escaped, sizeof escaped, "\\u%04x", c < 0x80 ? c : 0xfffd);
    put(line, escaped, 6);
}

/* What put_quoted() does where something must be escaped; valid: it is UTF-8. */
static void put_escaped_text(log_line *line, rpc_bytes text, bool valid)
{
    size_t from = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (escaped_size(text.data[i], valid) == 1)
            continue;
        put(line, (const char *)text.data + from, i - from);
        put_escaped(line, text.data[i]);
        from = i + 1;
    }
    put(line, (const char *)text.data + from, text.size - from);
}

/* At most max of its bytes, no character of it in pieces. */
static rpc_bytes beginning(rpc_bytes text, size_t max)
{
    size_t size = text.size < max ? text.size : max;
    while (size < text.size && size > 0 && (text.data[size] & 0xC0) == 0x80)
        size--;
    return rpc_bytes_of(text.data, size);
}

static bool goes_as_it_is(rpc_bytes text)
{
    return text.size == 0 ||
           (rpc_printable_run(text) == text.size && !memchr(text.data, '"', text.size) &&
               !memchr(text.data, '\\', text.size));
}

/* What of a text goes into a line, and how large it is there, without its quotes. */
typedef struct shown {
    rpc_bytes text;
    bool plain, valid;
    size_t size;
} shown;

/* max: of its size in the line. */
static shown shown_of(rpc_bytes text, size_t max)
{
    shown s = {.text = beginning(text, FIELD_MAX_BYTES)};
    s.plain = goes_as_it_is(s.text);
    s.valid = s.plain || rpc_utf8_valid(s.text);
    if (s.plain) {
        s.text = beginning(s.text, max);
        s.size = s.text.size;
        return s;
    }
    size_t i = 0;
    for (; i < s.text.size; i++) {
        const size_t more = escaped_size(s.text.data[i], s.valid);
        if (more > max - s.size)
            break;
        s.size += more;
    }
    const rpc_bytes whole = s.valid ? beginning(s.text, i) : rpc_bytes_of(s.text.data, i);
    s.size -= i - whole.size; /* bytes of a character, none of which is escaped */
    s.text = whole;
    return s;
}

/* A JSON string; bytes that are not UTF-8 appear as \ufffd. */
static void put_quoted(log_line *line, rpc_bytes text, size_t max)
{
    const shown s = shown_of(text, max);
    put(line, "\"", 1);
    if (!s.plain)
        put_escaped_text(line, s.text, s.valid);
    else if (s.size > 0)
        put(line, (const char *)s.text.data, s.size);
    put(line, "\"", 1);
}

static void put_number(log_line *line, int64_t number)
{
    char digits[20];
    size_t at = sizeof digits;
    uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    do
        digits[--at] = (char)('0' + left % 10);
    while (left /= 10);
    if (number < 0)
        put(line, "-", 1);
    put(line, digits + at, sizeof digits - at);
}

/* text_max: of the size in the line of a text. */
static void put_field(host_log *log, log_line *line, const host_field *field, size_t text_max)
{
    char pseudonym[HOST_PSEUDONYM_CHARS + 1];
    size_t before = line->size;
    line->cut = false;
    const char *start = before > 1 ? ", \"" : "\"";
    put(line, start, before > 1 ? 3 : 1);
    put(line, field->name, field->name_size);
    put(line, "\": ", 3);
    switch (field->kind) {
    case HOST_FIELD_NUMBER:
        put_number(line, field->number);
        break;
    case HOST_FIELD_PSEUDONYM:
        host_pseudonym(log, field->text, pseudonym);
        put_quoted(line, rpc_bytes_of(pseudonym, HOST_PSEUDONYM_CHARS), HOST_PSEUDONYM_CHARS);
        break;
    case HOST_FIELD_TEXT:
        put_quoted(line, field->text, text_max);
        break;
    }
    if (line->cut)
        line->size = before; /* a field is there whole or not at all */
}

/* False: not all found room. room: the line's size is not above it then. */
static bool put_fields(host_log *log, log_line *line, const host_field *fields, size_t count,
    size_t text_max, size_t room)
{
    bool all = true;
    for (size_t i = 0; i < count; i++) {
        size_t before = line->size;
        put_field(log, line, &fields[i], text_max);
        if (line->size > room)
            line->size = before;
        all = all && line->size > before;
    }
    return all;
}

/* How large each text may be for all fields to find room: those that are small are whole, and the
 * others share what these leave. 0: there is no room for all of them, whatever is cut. */
static size_t fair_share(
    host_log *log, const log_line *line, const host_field *fields, size_t count, size_t room)
{
    log_line bare = {.size = 0};
    size_t sizes[HOST_FIELDS_MAX], texts = 0;
    assert(count <= HOST_FIELDS_MAX);
    put(&bare, "{}", line->size < 2 ? line->size : 2); /* what stands before decides on the comma */
    const size_t head = bare.size;
    if (!put_fields(log, &bare, fields, count, 0, LINE_ROOM) ||
        bare.size - head > room - line->size)
        return 0;
    size_t left = room - line->size - (bare.size - head);
    for (size_t i = 0; i < count; i++)
        if (fields[i].kind == HOST_FIELD_TEXT)
            sizes[texts++] = shown_of(fields[i].text, SIZE_MAX).size;
    size_t share = 0;
    for (size_t whole = SIZE_MAX; texts > 0 && whole > 0;) {
        share = left / texts;
        whole = 0;
        for (size_t i = 0; i < texts;)
            if (sizes[i] <= share) {
                left -= sizes[i];
                sizes[i] = sizes[--texts];
                whole++;
            } else
                i++;
    }
    return share;
}

/* Cuts what is too large, rather than to leave a field out. */
static void put_all_fields(
    host_log *log, log_line *line, const host_field *fields, size_t count, size_t room)
{
    const size_t before = line->size;
    if (put_fields(log, line, fields, count, SIZE_MAX, room))
        return;
    line->size = before;
    const size_t share = fair_share(log, line, fields, count, room);
    (void)put_fields(log, line, fields, count, share, room);
}

size_t host_fields_json(
    host_log *log, const host_field *fields, size_t count, char *ret, size_t room)
{
    log_line line;
    line.size = 0;
    if (room < 2)
        return 0;
    put(&line, "{", 1);
    put_all_fields(log, &line, fields, count, (room < LINE_ROOM ? room : LINE_ROOM) - 1);
    line.text[line.size++] = '}';
    memcpy(ret, line.text, line.size);
    return line.size;
}

static const char *const level_names[] = {"error", "warning", "info", "debug"};

#define SECOND_CHARS 19u

/* "2026-11-24T04:46:10"; a thread makes it once a second. */
static const char *second_text(int64_t second)
{
    static _Thread_local struct {
        int64_t second;
        char text[80];
    } known = {-1, ""};
    if (known.second == second)
        return known.text;
    time_t time = (time_t)second;
    struct tm tm;
    gmtime_r(&time, &tm);
    snprintf(known.text, sizeof known.text, "%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year + 1900,
        tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
    known.second = second;
    return known.text;
}

static void make_line(host_log *log, log_line *line, const char *level, const char *message,
    const host_field *fields, size_t count)
{
    int64_t ms = rpc_clock_wall_ms(log->clock);
    char rest[] = ".000Z\"";
    rest[1] = (char)('0' + ms / 100 % 10);
    rest[2] = (char)('0' + ms / 10 % 10);
    rest[3] = (char)('0' + ms % 10);
    line->size = 0;
    line->cut = false;
    put(line, "{\"time\": \"", 10);
    put(line, second_text(ms / 1000), SECOND_CHARS);
    put(line, rest, sizeof rest - 1);
    const host_field heads[] = {host_text("level", level), host_text("program", log->program),
        host_text("message", message)};
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++)
        put_field(log, line, &heads[i], SIZE_MAX);
    put_all_fields(log, line, fields, count, LINE_ROOM);
    memcpy(line->text + line->size, "}\n", 2);
    line->size += 2;
}

/* Nothing can be told of a log that cannot be written; a counter is kept. Under lock. */
static void write_line(host_log *log, const char *text, size_t size)
{
    while (size > 0) {
        ssize_t done = write(log->fd, text, size);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0) {
            atomic_fetch_add(&log->dropped, 1);
            return;
        }
        text += done;
        size -= (size_t)done;
    }
}

void host_log_write(
    host_log *log, host_level level, const char *message, const host_field *fields, size_t count)
{
    if ((int)level > atomic_load_explicit(&log->level, memory_order_relaxed))
        return;
    log_line line;
    make_line(log, &line, level_names[level], message, fields, count);
    pthread_mutex_lock(&log->lock);
    write_line(log, line.text, line.size);
    pthread_mutex_unlock(&log->lock);
}

/* ---- access lines -------------------------------------------------------------------------- */

void host_log_access(host_log *log, const host_field *fields, size_t count)
{
    log_line line;
    make_line(log, &line, "access", "call", fields, count);
    pthread_mutex_lock(&log->lock);
    bool room = line.size <= WAITING_MAX - log->filled;
    if (room) {
        memcpy(log->filling + log->filled, line.text, line.size);
        log->filled += line.size;
    }
    bool wake = room && log->asleep;
    pthread_mutex_unlock(&log->lock);
    if (wake)
        pthread_cond_signal(&log->work);
    if (!room)
        atomic_fetch_add(&log->dropped, 1);
}

/* Lines that cannot be written are dropped and counted. */
static void write_lines(host_log *log, int fd, const char *text, size_t size)
{
    while (size > 0) {
        ssize_t done = write(fd, text, size);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            break;
        text += done;
        size -= (size_t)done;
    }
    for (; size > 0; size--)
        if (*text++ == '\n')
            atomic_fetch_add(&log->dropped, 1);
}

static void *write_waiting(void *arg)
{
    host_log *log = arg;
    pthread_mutex_lock(&log->lock);
    for (;;) {
        log->asleep = true;
        while (log->filled == 0 && !log->stopping)
            pthread_cond_wait(&log->work, &log->lock);
        log->asleep = false;
        if (log->filled == 0)
            break;
        char *text = log->filling;
        size_t size = log->filled;
        int fd = log->fd;
        log->filling = log->writing;
        log->writing = text;
        log->filled = 0;
        pthread_mutex_unlock(&log->lock);
        /* Outside the lock: callers must not wait for the disk. The descriptor is replaced in
         * place by reopen (dup2), never closed under us. */
        write_lines(log, fd, text, size);
        usleep(GATHER_US);
        pthread_mutex_lock(&log->lock);
    }
    pthread_mutex_unlock(&log->lock);
    return NULL;
}

uint64_t host_log_dropped(const host_log *log)
{
    return atomic_load(&((host_log *)(uintptr_t)log)->dropped);
}

/* ---- pseudonyms ---------------------------------------------------------------------------- */

/* What a thread computed last: the same few users call again and again. */
struct remembered {
    uint64_t key_version; /* 0 = free */
    size_t size;
    uint8_t who[NAME_MAX_BYTES];
    char pseudonym[HOST_PSEUDONYM_CHARS + 1];
};

static struct remembered *place_of(rpc_bytes who)
{
    static _Thread_local struct remembered places[PSEUDONYMS];
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < who.size; i++)
        hash = (hash ^ who.data[i]) * 16777619u;
    return &places[hash % PSEUDONYMS];
}

static uint64_t next_key_version(void)
{
    static atomic_uint_fast64_t last;
    return atomic_fetch_add(&last, 1) + 1;
}

/* Under key_lock. */
static void renew_key(host_log *log, int64_t now)
{
    rpc_random(log->key, sizeof log->key);
    log->key_made_ms = now;
    atomic_store(&log->key_version, next_key_version());
}

static void compute_pseudonym(
    host_log *log, rpc_bytes who, uint64_t *ret_version, char ret[HOST_PSEUDONYM_CHARS + 1])
{
    uint8_t key[crypto_generichash_KEYBYTES], mac[crypto_generichash_BYTES];
    int64_t now = rpc_clock_monotonic_us(log->clock) / 1000;
    pthread_mutex_lock(&log->key_lock);
    if (now - log->key_made_ms >= KEY_LIFE_MS)
        renew_key(log, now);
    memcpy(key, log->key, sizeof key);
    *ret_version = atomic_load(&log->key_version);
    pthread_mutex_unlock(&log->key_lock);
    crypto_generichash(mac, sizeof mac, who.data, who.size, key, sizeof key);
    sodium_memzero(key, sizeof key);
    rpc_hex(rpc_bytes_of(mac, HOST_PSEUDONYM_CHARS / 2), ret);
}

/* 0: it is time for another key. */
uint64_t host_pseudonym_version(host_log *log)
{
    bool fresh = rpc_clock_monotonic_us(log->clock) / 1000 - log->key_made_ms < KEY_LIFE_MS;
    return fresh ? atomic_load(&log->key_version) : 0;
}

void host_pseudonym(host_log *log, rpc_bytes who, char ret[HOST_PSEUDONYM_CHARS + 1])
{
    struct remembered *place = place_of(who);
    uint64_t version = host_pseudonym_version(log);
    if (version != 0 && place->key_version == version && place->size == who.size &&
        memcmp(place->who, who.data, who.size) == 0) {
        memcpy(ret, place->pseudonym, sizeof place->pseudonym);
        return;
    }
    compute_pseudonym(log, who, &version, ret);
    if (who.size == 0 || who.size > sizeof place->who)
        return;
    place->key_version = version;
    place->size = who.size;
    memcpy(place->who, who.data, who.size);
    memcpy(place->pseudonym, ret, sizeof place->pseudonym);
}

/* ---- life ------------------------------------------------------------------------------------ */

static int open_file(const char *path)
{
    if (!*path)
        return dup(STDERR_FILENO);
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0640);
}

static int start_thread(host_log *log)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int error = pthread_create(&log->thread, NULL, write_waiting, log);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return error;
}

static void free_log(host_log *log)
{
    if (log->fd >= 0)
        close(log->fd);
    sodium_memzero(log->key, sizeof log->key);
    free(log->filling);
    free(log->writing);
    free(log->path);
    free(log);
}

rpc_code host_log_open(const char *path, host_level level, const char *program,
    const rpc_clock *clock, host_log **ret, rpc_status *reterr)
{
    host_log *log = sodium_init() >= 0 ? calloc(1, sizeof *log) : NULL;
    if (!log)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "log: no memory");
    log->clock = clock;
    log->program = program;
    log->path = strdup(path);
    log->fd = open_file(path);
    atomic_init(&log->level, (int)level);
    pthread_mutex_init(&log->lock, NULL);
    pthread_mutex_init(&log->key_lock, NULL);
    pthread_cond_init(&log->work, NULL);
    renew_key(log, rpc_clock_monotonic_us(clock) / 1000);
    log->filling = malloc(WAITING_MAX);
    log->writing = malloc(WAITING_MAX);
    bool memory = log->path && log->filling && log->writing;
    int error = log->fd < 0 ? errno : memory ? start_thread(log) : ENOMEM;
    if (error) {
        free_log(log);
        return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
            "log: cannot write '%s': %s; change log.file", *path ? path : "standard error",
            strerror(error));
    }
    *ret = log;
    return RPC_OK;
}

void host_log_close(host_log *log)
{
    if (!log)
        return;
    pthread_mutex_lock(&log->lock);
    log->stopping = true;
    pthread_cond_signal(&log->work);
    pthread_mutex_unlock(&log->lock);
    pthread_join(log->thread, NULL);
    free_log(log);
}

void host_log_set_level(host_log *log, host_level level)
{
    atomic_store(&log->level, (int)level);
}

rpc_code host_log_reopen(host_log *log, rpc_status *reterr)
{
    RPC_AUTOCLOSE int fd = open_file(log->path);
    if (fd < 0)
        return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
            "log: cannot open '%s' again: %s; lines go to the old file", log->path,
            strerror(errno));
    pthread_mutex_lock(&log->lock);
    int done = dup3(fd, log->fd, O_CLOEXEC);
    pthread_mutex_unlock(&log->lock);
    return done >= 0 ? RPC_OK
                     : rpc_status_set(reterr, RPC_INTERNAL, "log: dup3: %s", strerror(errno));
}
