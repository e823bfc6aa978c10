/* SPDX-License-Identifier: Apache-2.0 */
/* JSON lines. A line is made in the caller's memory and leaves in one write(2), so that lines
 * never mix; access lines are made there too, but wait in a ring for the log's own thread, so
 * that a slow disk costs lines and not calls.
 *
 * log->lock guards the ring and the file descriptor's life; log->key_lock the pseudonym key. */
#include "host.h"

#include "cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#define LINE_MAX_BYTES  8192u
#define FIELD_MAX_BYTES 1024u
#define RING_LINES      4096u
#define KEY_LIFE_MS     (24 * 60 * 60 * 1000LL)

typedef struct log_line {
    char text[LINE_MAX_BYTES];
    size_t size;
    bool cut;
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
    char *ring[RING_LINES]; /* malloc'd lines, oldest at head */
    size_t head, waiting;
    bool stopping;
    pthread_t thread;
    pthread_mutex_t key_lock;
    uint8_t key[crypto_generichash_KEYBYTES];
    int64_t key_made_ms;
};

/* ---- making a line ------------------------------------------------------------------------- */

/* Room for what closes the line is always kept. */
static void put(log_line *line, const char *text, size_t size)
{
    if (size > sizeof line->text - 16 - line->size) {
        line->cut = true;
        return;
    }
    memcpy(line->text + line->size, text, size);
    line->size += size;
}

static void put_str(log_line *line, const char *text)
{
    put(line, text, strlen(text));
}

/* A JSON string; bytes that are not UTF-8 appear as \ufffd. */
static void put_quoted(log_line *line, rpc_bytes text)
{
    size_t size = text.size < FIELD_MAX_BYTES ? text.size : FIELD_MAX_BYTES;
    while (size < text.size && size > 0 && (text.data[size] & 0xC0) == 0x80)
        size--; /* not in the middle of a character */
    bool valid = rpc_utf8_valid(rpc_bytes_of(text.data, size));
    put_str(line, "\"");
    for (size_t i = 0; i < size; i++) {
        uint8_t c = text.data[i];
        char escaped[8];
        if (c == '"' || c == '\\') {
            escaped[0] = '\\';
            escaped[1] = (char)c;
            put(line, escaped, 2);
        } else if (c < 0x20 || c == 0x7f || (c >= 0x80 && !valid)) {
            snprintf(escaped, sizeof escaped, "\\u%04x", c < 0x80 ? c : 0xfffd);
            put(line, escaped, 6);
        } else {
            escaped[0] = (char)c;
            put(line, escaped, 1);
        }
    }
    put_str(line, "\"");
}

static void put_field(host_log *log, log_line *line, const host_field *field)
{
    char number[24], pseudonym[HOST_PSEUDONYM_CHARS + 1];
    size_t before = line->size;
    line->cut = false;
    put_str(line, before > 1 ? ", " : "");
    put_quoted(line, rpc_bytes_str(field->name));
    put_str(line, ": ");
    switch (field->kind) {
    case HOST_FIELD_NUMBER:
        snprintf(number, sizeof number, "%lld", (long long)field->number);
        put_str(line, number);
        break;
    case HOST_FIELD_PSEUDONYM:
        host_pseudonym(log, field->text, pseudonym);
        put_quoted(line, rpc_bytes_str(pseudonym));
        break;
    case HOST_FIELD_TEXT:
        put_quoted(line, field->text);
        break;
    }
    if (line->cut)
        line->size = before; /* a field is there whole or not at all */
}

size_t host_fields_json(
    host_log *log, const host_field *fields, size_t count, char *ret, size_t room)
{
    log_line line = {.size = 0};
    put_str(&line, "{");
    for (size_t i = 0; i < count; i++)
        put_field(log, &line, &fields[i]);
    line.text[line.size++] = '}';
    if (line.size > room)
        return 0;
    memcpy(ret, line.text, line.size);
    return line.size;
}

static const char *const level_names[] = {"error", "warning", "info", "debug"};

static void make_line(host_log *log, log_line *line, const char *level, const char *message,
    const host_field *fields, size_t count)
{
    int64_t ms = rpc_clock_wall_ms(log->clock);
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    char time_text[80];
    gmtime_r(&seconds, &tm);
    snprintf(time_text, sizeof time_text, "{\"time\": \"%04d-%02d-%02dT%02d:%02d:%02d.%03dZ\"",
        tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
        (int)(ms % 1000));
    line->size = 0;
    line->cut = false;
    put_str(line, time_text);
    const host_field heads[] = {host_text("level", level), host_text("program", log->program),
        host_text("message", message)};
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++)
        put_field(log, line, &heads[i]);
    for (size_t i = 0; i < count; i++)
        put_field(log, line, &fields[i]);
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

void host_log_write(host_log *log, host_level level, const char *message,
    const host_field *fields, size_t count)
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
    line.text[line.size] = '\0';
    char *copy = strdup(line.text);
    pthread_mutex_lock(&log->lock);
    bool room = copy && log->waiting < RING_LINES;
    if (room) {
        log->ring[(log->head + log->waiting++) % RING_LINES] = copy;
        pthread_cond_signal(&log->work);
    }
    pthread_mutex_unlock(&log->lock);
    if (!room) {
        free(copy);
        atomic_fetch_add(&log->dropped, 1);
    }
}

static void *write_ring(void *arg)
{
    host_log *log = arg;
    pthread_mutex_lock(&log->lock);
    for (;;) {
        while (log->waiting == 0 && !log->stopping)
            pthread_cond_wait(&log->work, &log->lock);
        if (log->waiting == 0)
            break;
        char *text = log->ring[log->head];
        log->head = (log->head + 1) % RING_LINES;
        log->waiting--;
        int fd = log->fd;
        pthread_mutex_unlock(&log->lock);
        /* Outside the lock: callers must not wait for the disk. The descriptor is replaced in
         * place by reopen (dup2), never closed under us. */
        size_t size = strlen(text);
        if (write(fd, text, size) != (ssize_t)size)
            atomic_fetch_add(&log->dropped, 1);
        free(text);
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

void host_pseudonym(host_log *log, rpc_bytes who, char ret[HOST_PSEUDONYM_CHARS + 1])
{
    uint8_t key[crypto_generichash_KEYBYTES], mac[crypto_generichash_BYTES];
    int64_t now = rpc_clock_monotonic_us(log->clock) / 1000;
    pthread_mutex_lock(&log->key_lock);
    if (now - log->key_made_ms >= KEY_LIFE_MS) {
        rpc_random(log->key, sizeof log->key);
        log->key_made_ms = now;
    }
    memcpy(key, log->key, sizeof key);
    pthread_mutex_unlock(&log->key_lock);
    crypto_generichash(mac, sizeof mac, who.data, who.size, key, sizeof key);
    sodium_memzero(key, sizeof key);
    rpc_hex(rpc_bytes_of(mac, HOST_PSEUDONYM_CHARS / 2), ret);
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
    int error = pthread_create(&log->thread, NULL, write_ring, log);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return error;
}

static void free_log(host_log *log)
{
    if (log->fd >= 0)
        close(log->fd);
    sodium_memzero(log->key, sizeof log->key);
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
    rpc_random(log->key, sizeof log->key);
    log->key_made_ms = rpc_clock_monotonic_us(clock) / 1000;
    int error = log->fd < 0 ? errno : log->path ? start_thread(log) : ENOMEM;
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
