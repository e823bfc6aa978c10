/* SPDX-License-Identifier: Apache-2.0 */
/* The format of the trail, and those who read it. */
#include "audit_internal.h"

#include "cleanup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#define READ_BYTES   (256u << 10)
#define SEGMENTS_MAX (1u << 20)
#define TIME_MS_MAX  (INT64_C(1) << 53)
#define SPARE_MS     3600000 /* clocks are set right now and then */

static void dir_closep(DIR **directory)
{
    if (*directory)
        closedir(*directory);
}

/* ---- hash, names, headers ----------------------------------------------------------------- */

bool trust__audit_hash_init(audit_hash *hash)
{
    hash->md = EVP_MD_fetch(NULL, "SHA256", NULL);
    hash->ctx = EVP_MD_CTX_new();
    return hash->md && hash->ctx && EVP_DigestInit_ex2(hash->ctx, hash->md, NULL) == 1;
}

void trust__audit_hash_done(audit_hash *hash)
{
    EVP_MD_free(hash->md);
    EVP_MD_CTX_free(hash->ctx);
    *hash = (audit_hash){NULL, NULL};
}

bool trust__audit_link(audit_hash *hash, uint8_t chain[AUDIT_CHAIN_BYTES], rpc_bytes json)
{
    /* Not named again, the digest keeps the memory it has. */
    return EVP_DigestInit_ex2(hash->ctx, NULL, NULL) == 1 &&
           EVP_DigestUpdate(hash->ctx, chain, AUDIT_CHAIN_BYTES) == 1 &&
           EVP_DigestUpdate(hash->ctx, json.data, json.size) == 1 &&
           EVP_DigestFinal_ex(hash->ctx, chain, NULL) == 1;
}

void trust__audit_name(uint64_t first, char ret[AUDIT_NAME_ROOM])
{
    snprintf(ret, AUDIT_NAME_ROOM, "audit-%020" PRIu64 ".log", first);
}

size_t trust__audit_header(uint64_t first, const uint8_t previous[AUDIT_CHAIN_BYTES],
    int64_t time_ms, char ret[AUDIT_HEADER_ROOM])
{
    char digits[AUDIT_CHAIN_DIGITS + 1];
    rpc_hex(rpc_bytes_of(previous, AUDIT_CHAIN_BYTES), digits);
    return (size_t)snprintf(ret, AUDIT_HEADER_ROOM,
        "{\"segment\": %" PRIu64 ", \"previous\": \"%s\", \"time_ms\": %" PRId64 "}", first, digits,
        time_ms);
}

/* What stands behind label; NULL when it is not there. */
static const char *behind(const char *text, const char *label)
{
    const char *at = strstr(text, label);
    return at ? at + strlen(label) : NULL;
}

/* Only what trust__audit_header() writes for this segment is a header of it. */
static bool read_header(rpc_bytes json, audit_segment *segment)
{
    char text[AUDIT_HEADER_ROOM], again[AUDIT_HEADER_ROOM];
    if (json.size >= sizeof text)
        return false;
    memcpy(text, json.data, json.size);
    text[json.size] = '\0';
    const char *previous = behind(text, "\"previous\": \""), *time = behind(text, "\"time_ms\": ");
    if (!previous || !time || strnlen(previous, AUDIT_CHAIN_DIGITS) < AUDIT_CHAIN_DIGITS ||
        !rpc_unhex(
            rpc_bytes_of(previous, AUDIT_CHAIN_DIGITS), segment->previous, AUDIT_CHAIN_BYTES))
        return false;
    segment->time_ms = strtoll(time, NULL, 10);
    if (segment->time_ms > TIME_MS_MAX || segment->time_ms < -TIME_MS_MAX)
        return false;
    const size_t size = trust__audit_header(
        segment->first, segment->previous, segment->time_ms, again);
    return rpc_bytes_equal(json, rpc_bytes_of(again, size));
}

static bool read_name(const char *name, uint64_t *ret)
{
    char again[AUDIT_NAME_ROOM];
    const size_t prefix = strlen("audit-");
    if (strncmp(name, "audit-", prefix) != 0)
        return false;
    errno = 0;
    const uint64_t first = strtoull(name + prefix, NULL, 10);
    if (errno || first == 0)
        return false;
    trust__audit_name(first, again);
    *ret = first;
    return strcmp(name, again) == 0;
}

/* ---- the folder ------------------------------------------------------------------------------ */

typedef struct numbers {
    uint64_t *data;
    size_t count, room;
} numbers;

static void numbers_done(numbers *list)
{
    free(list->data);
}

static bool numbers_add(numbers *list, uint64_t number)
{
    if (list->count == SEGMENTS_MAX)
        return false;
    if (list->count == list->room) {
        const size_t room = list->room ? 2 * list->room : 64;
        uint64_t *data = reallocarray(list->data, room, sizeof *data);
        if (!data)
            return false;
        list->data = data;
        list->room = room;
    }
    list->data[list->count++] = number;
    return true;
}

static int by_number(const void *a, const void *b)
{
    const uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static rpc_code unreadable(const char *what, rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_UNAVAILABLE,
        "audit: cannot read '%.100s': %s; see its owner and mode", what, strerror(errno));
}

static rpc_code no_memory(rpc_status *reterr)
{
    return rpc_status_set(
        reterr, RPC_RESOURCE_EXHAUSTED, "audit: no memory to read the trail; free some");
}

/* A handle of its own: the position in a folder belongs to who reads it. */
static DIR *open_listing(int directory_fd)
{
    const int fd = openat(directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (!directory && fd >= 0)
        close(fd);
    return directory;
}

rpc_code trust__audit_list(int directory_fd, uint64_t **ret, size_t *ret_count, rpc_status *reterr)
{
    RPC_CLEANUP(dir_closep) DIR *directory = open_listing(directory_fd);
    RPC_CLEANUP(numbers_done) numbers list = {NULL, 0, 0};
    if (!directory)
        return unreadable("the folder", reterr);
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(directory);
        if (!entry && errno)
            return unreadable("the folder", reterr);
        if (!entry)
            break;
        uint64_t number;
        if (read_name(entry->d_name, &number) && !numbers_add(&list, number))
            return no_memory(reterr);
    }
    if (list.count > 0)
        qsort(list.data, list.count, sizeof *list.data, by_number);
    *ret_count = list.count;
    *ret = RPC_TAKE(list.data);
    return RPC_OK;
}

/* ---- one segment ------------------------------------------------------------------------------
 */

typedef struct walker {
    int fd;
    uint64_t end;    /* the size when we came; what is added meanwhile is left out */
    uint64_t offset; /* of the file, behind what is in the buffer */
    char *buffer;
    size_t at, used;
    bool skipping; /* the rest of a line that is too long */
    audit_hash hash;
    trust_audit_record_fn *fn;
    void *ctx;
    audit_segment *segment;
} walker;

static void walker_done(walker *w)
{
    if (w->fd >= 0)
        close(w->fd);
    free(w->buffer);
    trust__audit_hash_done(&w->hash);
}

static rpc_code walker_init(walker *w, int directory_fd, rpc_status *reterr)
{
    char name[AUDIT_NAME_ROOM];
    struct stat st;
    trust__audit_name(w->segment->first, name);
    w->fd = openat(directory_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (w->fd < 0 || fstat(w->fd, &st) != 0)
        return unreadable(name, reterr);
    if (!S_ISREG(st.st_mode))
        return rpc_status_set(reterr, RPC_UNAVAILABLE,
            "audit: '%s' is no regular file; move it out of the trail's folder", name);
    w->end = (uint64_t)st.st_size;
    w->buffer = malloc(READ_BYTES);
    if (!w->buffer || !trust__audit_hash_init(&w->hash))
        return no_memory(reterr);
    return RPC_OK;
}

/* 1: there is more in the buffer; 0: end of file; -1: errno. */
static int fill(walker *w)
{
    memmove(w->buffer, w->buffer + w->at, w->used - w->at);
    w->used -= w->at;
    w->at = 0;
    size_t room = READ_BYTES - w->used;
    if (room > w->end - w->offset)
        room = (size_t)(w->end - w->offset);
    ssize_t got;
    do
        got = room ? pread(w->fd, w->buffer + w->used, room, (off_t)w->offset) : 0;
    while (got < 0 && errno == EINTR);
    if (got <= 0)
        return (int)got;
    w->used += (size_t)got;
    w->offset += (uint64_t)got;
    return 1;
}

static void mark(audit_segment *segment, uint64_t line, const char *fault)
{
    if (segment->bad_line)
        return;
    segment->bad_line = line;
    segment->fault = fault;
}

/* As fill(); *ret is the next whole line without its newline, valid until the next call. A line
 * that is too long is marked and left out. */
static int next_line(walker *w, rpc_bytes *ret)
{
    for (;;) {
        const char *start = w->buffer + w->at;
        const char *newline = memchr(start, '\n', w->used - w->at);
        if (newline) {
            *ret = rpc_bytes_of(start, (size_t)(newline - start));
            w->at += ret->size + 1;
            w->segment->lines++;
            w->segment->size = w->offset - (w->used - w->at);
            if (!w->skipping)
                return 1;
            w->skipping = false;
            continue;
        }
        if (w->used - w->at > AUDIT_LINE_BYTES_MAX) {
            mark(w->segment, w->segment->lines + 1, "it is longer than a record can be");
            w->skipping = true;
        }
        if (w->skipping)
            w->at = w->used;
        const int more = fill(w);
        if (more <= 0)
            return more;
    }
}

/* NULL, or what is wrong with the line; the chain goes on from what the line says of itself, so
 * that one fault does not hide all that follows. */
static const char *judge(walker *w, rpc_bytes line, rpc_bytes *ret_json)
{
    audit_segment *segment = w->segment;
    uint8_t stated[AUDIT_CHAIN_BYTES];
    char digits[AUDIT_CHAIN_DIGITS + 1];
    if (line.size <= AUDIT_CHAIN_DIGITS + 1 || line.size >= AUDIT_LINE_BYTES_MAX ||
        line.data[AUDIT_CHAIN_DIGITS] != ' ' ||
        !rpc_unhex(rpc_bytes_of(line.data, AUDIT_CHAIN_DIGITS), stated, sizeof stated))
        return "it is no record";
    *ret_json = rpc_bytes_of(
        line.data + AUDIT_CHAIN_DIGITS + 1, line.size - AUDIT_CHAIN_DIGITS - 1);
    const bool header = segment->lines == 1;
    const bool header_good = header && read_header(*ret_json, segment);
    if (header)
        memcpy(segment->chain, segment->previous, AUDIT_CHAIN_BYTES);
    if (!trust__audit_link(&w->hash, segment->chain, *ret_json))
        return "OpenSSL cannot hash it";
    rpc_hex(rpc_bytes_of(segment->chain, AUDIT_CHAIN_BYTES), digits);
    const bool follows = memcmp(digits, line.data, AUDIT_CHAIN_DIGITS) == 0;
    memcpy(segment->chain, stated, sizeof stated);
    if (header && !header_good)
        return "it is not the header of this segment";
    return follows ? NULL : "it does not follow from the line before";
}

static void take_line(walker *w, rpc_bytes line)
{
    rpc_bytes json = {NULL, 0};
    const char *fault = judge(w, line, &json);
    if (w->segment->lines > 1)
        w->segment->records++;
    if (fault)
        mark(w->segment, w->segment->lines, fault);
    else if (w->segment->lines > 1 && w->fn)
        w->segment->stopped = !w->fn(w->ctx, json);
}

static rpc_code walk_lines(walker *w, rpc_status *reterr)
{
    rpc_bytes line;
    int more;
    while ((more = next_line(w, &line)) > 0) {
        take_line(w, line);
        if (w->segment->stopped)
            return RPC_OK;
    }
    if (more == 0) {
        w->segment->torn = w->used - w->at;
        return RPC_OK;
    }
    char name[AUDIT_NAME_ROOM];
    trust__audit_name(w->segment->first, name);
    return unreadable(name, reterr);
}

rpc_code trust__audit_walk(int directory_fd, uint64_t first, trust_audit_record_fn *fn, void *ctx,
    audit_segment *ret, rpc_status *reterr)
{
    *ret = (audit_segment){.first = first};
    RPC_CLEANUP(walker_done) walker w = {.fd = -1, .fn = fn, .ctx = ctx, .segment = ret};
    const rpc_code code = walker_init(&w, directory_fd, reterr);
    return code == RPC_OK ? walk_lines(&w, reterr) : code;
}

/* Reads no further than the header. */
static rpc_code peek(int directory_fd, uint64_t first, audit_segment *ret, rpc_status *reterr)
{
    *ret = (audit_segment){.first = first};
    RPC_CLEANUP(walker_done) walker w = {.fd = -1, .segment = ret};
    const rpc_code code = walker_init(&w, directory_fd, reterr);
    if (code != RPC_OK)
        return code;
    if (w.end > AUDIT_LINE_BYTES_MAX)
        w.end = AUDIT_LINE_BYTES_MAX;
    rpc_bytes line;
    if (next_line(&w, &line) == 1)
        take_line(&w, line);
    else
        mark(ret, 1, "there is no header");
    return RPC_OK;
}

rpc_code trust__audit_damage(const audit_segment *segment, rpc_status *reterr)
{
    char name[AUDIT_NAME_ROOM];
    trust__audit_name(segment->first, name);
    return rpc_status_set(reterr, RPC_DATA_LOSS,
        "audit: '%s' line %" PRIu64 ": %s; the trail was changed or damaged: keep a copy of the "
        "folder and compare it with the backup",
        name, segment->bad_line, segment->fault);
}

/* ---- scan and verify ------------------------------------------------------------------------- */

static rpc_code open_trail(const char *directory, int *ret, rpc_status *reterr)
{
    *ret = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*ret >= 0)
        return RPC_OK;
    if (errno == ENOENT)
        return rpc_status_set(reterr, RPC_NOT_FOUND,
            "audit: there is no folder '%.200s'; see audit.directory", directory);
    return unreadable(directory, reterr);
}

typedef struct scan {
    int directory_fd;
    const uint64_t *segments;
    size_t count;
    int64_t from_ms, to_ms;
    trust_audit_record_fn *fn;
    void *ctx;
    rpc_status damage; /* the first */
} scan;

/* Is there surely no record of that time? */
static bool may_skip(const scan *s, size_t i)
{
    audit_segment begun, next;
    if (i + 1 == s->count || peek(s->directory_fd, s->segments[i], &begun, NULL) != RPC_OK ||
        peek(s->directory_fd, s->segments[i + 1], &next, NULL) != RPC_OK || begun.bad_line ||
        next.bad_line || begun.time_ms > next.time_ms)
        return false;
    return next.time_ms + SPARE_MS < s->from_ms || begun.time_ms - SPARE_MS > s->to_ms;
}

static rpc_code scan_segment(scan *s, size_t i, bool *ret_stopped, rpc_status *reterr)
{
    audit_segment segment;
    const rpc_code code = trust__audit_walk(
        s->directory_fd, s->segments[i], s->fn, s->ctx, &segment, reterr);
    if (code != RPC_OK)
        return code;
    *ret_stopped = segment.stopped;
    if (i + 1 < s->count && segment.torn && !segment.stopped)
        mark(&segment, segment.lines + 1, "it has no end");
    if (segment.bad_line && s->damage.code == RPC_OK)
        trust__audit_damage(&segment, &s->damage);
    return RPC_OK;
}

rpc_code trust_audit_scan(const char *directory, int64_t from_ms, int64_t to_ms,
    trust_audit_record_fn *fn, void *ctx, rpc_status *reterr)
{
    if (from_ms > to_ms)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "audit: the time to read from is after the time to read to; exchange them");
    RPC_AUTOCLOSE int directory_fd = -1;
    RPC_AUTOFREE uint64_t *segments = NULL;
    scan s = {.from_ms = from_ms, .to_ms = to_ms, .fn = fn, .ctx = ctx, .damage.code = RPC_OK};
    rpc_code code = open_trail(directory, &directory_fd, reterr);
    if (code == RPC_OK)
        code = trust__audit_list(directory_fd, &segments, &s.count, reterr);
    s.directory_fd = directory_fd;
    s.segments = segments;
    bool stopped = false;
    for (size_t i = 0; code == RPC_OK && !stopped && i < s.count; i++)
        if (!may_skip(&s, i))
            code = scan_segment(&s, i, &stopped, reterr);
    if (code != RPC_OK || s.damage.code == RPC_OK)
        return code;
    return rpc_status_set(reterr, s.damage.code, "%s", s.damage.message);
}

/* Where the chain stands. */
typedef struct chain_end {
    uint64_t next; /* record; 0 = not begun */
    uint8_t chain[AUDIT_CHAIN_BYTES];
} chain_end;

/* Does the segment follow from what came before? */
static void judge_segment(audit_segment *segment, chain_end *end, bool last)
{
    if (end->next == 0) { /* the oldest one there: what it follows from is not */
        end->next = segment->first;
        memcpy(end->chain, segment->previous, AUDIT_CHAIN_BYTES);
    }
    if (segment->first != end->next) {
        segment->bad_line = 0; /* this comes before all else */
        mark(segment, 1, "records or segments before it were removed or added");
    } else if (segment->lines == 0 && !last) {
        mark(segment, 1, "there is no header");
    } else if (segment->lines > 0 &&
               memcmp(segment->previous, end->chain, AUDIT_CHAIN_BYTES) != 0) {
        mark(segment, 1, "it does not follow from the segment before");
    }
    if (segment->torn && !last)
        mark(segment, segment->lines + 1, "it has no end");
}

typedef struct judged_refs {
    audit_refs refs;
    audit_ref last;
    const audit_segment *segment; /* as far as it was read */
    audit_seals *seals;
    rpc_status unsealed; /* the first seal that does not hold */
} judged_refs;

static void judged_refs_done(judged_refs *judged)
{
    trust__audit_refs_done(&judged->refs);
}

static bool judge_ref(void *ctx, rpc_bytes json)
{
    judged_refs *judged = ctx;
    const audit_segment *segment = judged->segment;
    judged->last = trust__audit_refs_judge(&judged->refs, json);
    if (judged->last == AUDIT_REF_GOOD)
        judged->unsealed.code = trust__audit_seals_judge(judged->seals,
            segment->first + segment->records - 1, segment->chain, &judged->unsealed);
    return judged->last == AUDIT_REF_GOOD && judged->unsealed.code == RPC_OK;
}

static rpc_code follow(int directory_fd, uint64_t first, bool last, chain_end *end,
    audit_seals *seals, rpc_status *reterr)
{
    audit_segment segment;
    RPC_CLEANUP(judged_refs_done)
    judged_refs judged = {.last = AUDIT_REF_GOOD, .segment = &segment, .seals = seals};
    const rpc_code code = trust__audit_walk(
        directory_fd, first, judge_ref, &judged, &segment, reterr);
    if (code != RPC_OK)
        return code;
    if (judged.last == AUDIT_REF_NO_MEMORY)
        return no_memory(reterr);
    if (judged.last == AUDIT_REF_BROKEN)
        mark(&segment, segment.lines, "it names a record that does not stand before it");
    judge_segment(&segment, end, last);
    if (segment.bad_line)
        return trust__audit_damage(&segment, reterr);
    if (judged.unsealed.code != RPC_OK)
        return rpc_status_text(reterr, judged.unsealed.code, judged.unsealed.message);
    if (segment.lines > 0)
        memcpy(end->chain, segment.chain, AUDIT_CHAIN_BYTES);
    end->next += segment.records;
    return RPC_OK;
}

rpc_code trust_audit_verify(const char *directory, uint64_t *ret_first, uint64_t *ret_records,
    char ret_head[65], rpc_status *reterr)
{
    trust_audit_sealed sealed;
    return trust_audit_verify_sealed(
        directory, NULL, ret_first, ret_records, ret_head, &sealed, reterr);
}

RPC_DEFINE_FREEP(sealsp_done, audit_seals *, trust__audit_seals_done)

/* Of segments that are no longer there seals say nothing. */
static rpc_code skip_seals(audit_seals *seals, uint64_t first, rpc_status *reterr)
{
    rpc_code code = trust__audit_seals_next(seals, reterr);
    while (code == RPC_OK && seals->there && seals->record < first)
        code = trust__audit_seals_next(seals, reterr);
    return code;
}

rpc_code trust_audit_verify_sealed(const char *directory, const trust_keyring *ring,
    uint64_t *ret_first, uint64_t *ret_records, char ret_head[65], trust_audit_sealed *ret_sealed,
    rpc_status *reterr)
{
    RPC_AUTOCLOSE int directory_fd = -1;
    RPC_AUTOFREE uint64_t *segments = NULL;
    size_t count = 0;
    chain_end end = {.next = 0};
    audit_seals seals = {.file = NULL};
    RPC_CLEANUP(sealsp_done) audit_seals *closed = &seals;
    rpc_code code = open_trail(directory, &directory_fd, reterr);
    /* first: what is sealed by then is read afterwards */
    if (code == RPC_OK)
        code = trust__audit_seals_open(directory_fd, ring, closed, reterr);
    if (code == RPC_OK)
        code = trust__audit_list(directory_fd, &segments, &count, reterr);
    if (code == RPC_OK && count > 0)
        code = skip_seals(&seals, segments[0], reterr);
    for (size_t i = 0; code == RPC_OK && i < count; i++)
        code = follow(directory_fd, segments[i], i + 1 == count, &end, &seals, reterr);
    if (code == RPC_OK)
        code = trust__audit_seals_end(&seals, reterr);
    if (code != RPC_OK)
        return code;
    *ret_first = count > 0 ? segments[0] : 1;
    *ret_records = count > 0 ? end.next - segments[0] : 0;
    rpc_hex(rpc_bytes_of(end.chain, sizeof end.chain), ret_head);
    *ret_sealed = seals.found;
    return RPC_OK;
}
