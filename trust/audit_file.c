/* SPDX-License-Identifier: Apache-2.0 */
/* The segment under the pen. Whatever fails, it ends with a whole record, or is cut back to one
 * before anything else is written. */
#include "audit_internal.h"

#include "cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define JSON_AT     (AUDIT_CHAIN_DIGITS + 1) /* in a line */
#define WRITE_FLAGS (O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW)

void trust__audit_push(audit_list *list, audit_entry *entry)
{
    entry->next = NULL;
    if (list->tail)
        list->tail->next = entry;
    else
        list->head = entry;
    list->tail = entry;
}

void trust__audit_append(audit_list *to, audit_list *from)
{
    if (!from->head)
        return;
    if (to->tail)
        to->tail->next = from->head;
    else
        to->head = from->head;
    to->tail = from->tail;
    *from = (audit_list){NULL, NULL};
}

rpc_code trust__audit_refused(const audit_file *file, const char *what, rpc_status *reterr)
{
    const char *next = errno == ENOSPC || errno == EDQUOT ? "free space on that disk"
                       : errno == EFBIG ? "raise the limit of file sizes (ulimit -f)"
                                        : "see to that disk";
    return rpc_status_set(reterr, RPC_UNAVAILABLE,
        "audit: cannot %s '%.120s': %s; %s, it is tried again with the next record", what,
        file->directory, strerror(errno), next);
}

rpc_code trust__audit_not_synced(const audit_file *file, rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_UNAVAILABLE,
        "audit: cannot sync '%.120s': %s; the disk may have lost records: see to it, verify the "
        "trail and start again",
        file->directory, strerror(errno));
}

/* ---- bytes ---------------------------------------------------------------------------------- */

/* Returns how many were written; fewer than size: errno says why. */
static size_t write_all(int fd, const char *data, size_t size)
{
    size_t put = 0;
    while (put < size) {
        const ssize_t now = write(fd, data + put, size - put);
        if (now < 0 && errno == EINTR)
            continue;
        if (now == 0)
            errno = ENOSPC;
        if (now <= 0)
            break;
        put += (size_t)now;
    }
    return put;
}

/* Keeps errno; what cannot be cut off now is cut off before the next write. */
static bool cut(audit_file *file)
{
    const int why = errno;
    int result;
    do
        result = ftruncate(file->fd, (off_t)file->size);
    while (result != 0 && errno == EINTR);
    file->ragged = result != 0;
    if (!file->ragged)
        errno = why;
    return !file->ragged;
}

/* Around the JSON at line + JSON_AT; the chain goes on. False when OpenSSL fails. */
static bool end_line(
    audit_hash *hash, uint8_t chain[AUDIT_CHAIN_BYTES], char *line, size_t json_size)
{
    if (!trust__audit_link(hash, chain, rpc_bytes_of(line + JSON_AT, json_size)))
        return false;
    rpc_hex(rpc_bytes_of(chain, AUDIT_CHAIN_BYTES), line);
    line[JSON_AT - 1] = ' ';
    line[JSON_AT + json_size] = '\n';
    return true;
}

/* ---- segments ---------------------------------------------------------------------------------
 */

/* The header under a name that no reader looks at, then renamed. */
static int make_segment(audit_file *file, const char *line, size_t size)
{
    char name[AUDIT_NAME_ROOM], beside[AUDIT_NAME_ROOM + 4];
    trust__audit_name(file->next, name);
    snprintf(beside, sizeof beside, "%s.new", name);
    unlinkat(file->directory_fd, beside, 0); /* of one who was killed here */
    const int fd = openat(file->directory_fd, beside, WRITE_FLAGS | O_CREAT | O_EXCL, 0600);
    if (fd < 0)
        return -1;
    if (write_all(fd, line, size) == size && (!file->power || fsync(fd) == 0) &&
        renameat(file->directory_fd, beside, file->directory_fd, name) == 0)
        return fd;
    const int why = errno;
    close(fd);
    unlinkat(file->directory_fd, beside, 0);
    errno = why;
    return -1;
}

/* Nothing of the new segment may reach the disk for good while the old one could still lose its
 * end: with power we wait here, otherwise the audit thread syncs in this order. */
static bool leave_segment(audit_file *file)
{
    return file->fd < 0 || !file->power || fdatasync(file->fd) == 0;
}

static void retire(audit_file *file)
{
    if (file->fd >= 0)
        file->retired[file->retired_count++] = file->fd;
    file->fd = -1;
}

static rpc_code begin_segment(audit_file *file, rpc_status *reterr)
{
    char line[JSON_AT + AUDIT_HEADER_ROOM + 1];
    uint8_t chain[AUDIT_CHAIN_BYTES];
    memcpy(chain, file->chain, sizeof chain);
    const size_t header_size = trust__audit_header(
        file->next, chain, rpc_clock_wall_ms(file->clock), line + JSON_AT);
    const size_t size = JSON_AT + header_size + 1;
    if (!end_line(&file->hash, chain, line, header_size))
        return rpc_status_set(
            reterr, RPC_INTERNAL, "audit: OpenSSL cannot hash; see its configuration");
    if (!leave_segment(file)) {
        file->sync_failed = true;
        return trust__audit_not_synced(file, reterr);
    }
    const int fd = make_segment(file, line, size);
    if (fd < 0)
        return trust__audit_refused(file, "begin a segment in", reterr);
    retire(file);
    file->fd = fd;
    file->segment = file->next;
    file->size = size;
    memcpy(file->chain, chain, sizeof chain);
    file->directory_dirty = true;
    if (file->power && fsync(file->directory_fd) != 0) {
        file->sync_failed = true;
        return trust__audit_not_synced(file, reterr);
    }
    return RPC_OK;
}

/* While no further segment can be begun (no descriptor left, a disk too slow to take the full
 * ones) the last one grows on: records matter more than the size of files. */
static rpc_code rotate(audit_file *file, rpc_status *reterr)
{
    if (file->retired_count == AUDIT_RETIRED_MAX)
        return RPC_OK;
    const int before = file->fd;
    rpc_status status;
    const rpc_code code = begin_segment(file, &status);
    if (code == RPC_OK || (file->fd == before && !file->sync_failed))
        return RPC_OK;
    return rpc_status_set(reterr, code, "%s", status.message);
}

static rpc_code take_up(
    audit_file *file, const audit_segment *segment, uint64_t *ret_torn, rpc_status *reterr)
{
    char name[AUDIT_NAME_ROOM];
    trust__audit_name(segment->first, name);
    file->fd = openat(file->directory_fd, name, WRITE_FLAGS);
    if (file->fd < 0)
        return trust__audit_refused(file, "open the newest segment of", reterr);
    file->segment = segment->first;
    file->size = segment->size;
    file->next = segment->first + segment->records;
    memcpy(file->chain, segment->chain, AUDIT_CHAIN_BYTES);
    if (segment->torn && (!cut(file) || fdatasync(file->fd) != 0))
        return trust__audit_refused(file, "cut off a torn record in", reterr);
    *ret_torn += segment->torn;
    return RPC_OK;
}

rpc_code trust__audit_file_open(audit_file *file, uint64_t *ret_torn, rpc_status *reterr)
{
    RPC_AUTOFREE uint64_t *segments = NULL;
    size_t count = 0;
    rpc_code code = trust__audit_list(file->directory_fd, &segments, &count, reterr);
    *ret_torn = 0;
    for (; code == RPC_OK && count > 0; count--) {
        audit_segment newest;
        code = trust__audit_walk(
            file->directory_fd, segments[count - 1], NULL, NULL, &newest, reterr);
        if (code == RPC_OK && newest.bad_line)
            return trust__audit_damage(&newest, reterr);
        if (code == RPC_OK && newest.lines > 0)
            return take_up(file, &newest, ret_torn, reterr);
        /* The power went while it was begun: there is nothing in it. */
        char name[AUDIT_NAME_ROOM];
        trust__audit_name(segments[count - 1], name);
        if (code == RPC_OK && unlinkat(file->directory_fd, name, 0) != 0)
            return trust__audit_refused(file, "remove a torn segment of", reterr);
        *ret_torn += newest.torn;
    }
    file->next = 1;
    return code == RPC_OK ? begin_segment(file, reterr) : code;
}

void trust__audit_file_done(audit_file *file)
{
    while (file->retired_count > 0)
        close(file->retired[--file->retired_count]);
    if (file->fd >= 0)
        close(file->fd);
    if (file->directory_fd >= 0)
        close(file->directory_fd);
    trust__audit_hash_done(&file->hash);
    free(file->batch);
}

/* ---- records ------------------------------------------------------------------------------------
 */

static const char AS[] = ", \"as\": \"", NEXT[] = ", ";

/* Does the segment hold, before this record, what it has in common with others? */
static bool is_short(const audit_file *file, const audit_entry *entry)
{
    return entry->common && entry->common->segment == file->segment;
}

static size_t json_size(const audit_file *file, const audit_entry *entry)
{
    if (!entry->common)
        return entry->size;
    if (is_short(file, entry))
        return entry->size + sizeof AS - 1 + entry->common->name_size + sizeof "\"}" - 1;
    return entry->size + sizeof NEXT - 1 + entry->common->size - 1;
}

static size_t line_size(const audit_file *file, const audit_entry *entry)
{
    return JSON_AT + json_size(file, entry) + 1;
}

static char *add(char *to, const void *data, size_t size)
{
    memcpy(to, data, size);
    return to + size;
}

/* From now on the others name this record. */
static void name_full(const audit_file *file, audit_entry *entry)
{
    trust_audit_common *common = entry->common;
    common->segment = file->segment;
    common->name_size = entry->name_size;
    memcpy(common->name, entry->json + entry->name_at, entry->name_size);
    entry->full = true;
}

static void add_json(const audit_file *file, audit_entry *entry, char *to)
{
    const trust_audit_common *common = entry->common;
    to = add(to, entry->json, entry->size);
    if (!common)
        return;
    if (is_short(file, entry)) {
        to = add(to, AS, sizeof AS - 1);
        to = add(to, common->name, common->name_size);
        add(to, "\"}", 2);
        return;
    }
    to = add(to, NEXT, sizeof NEXT - 1);
    add(to, common->json + 1, common->size - 1);
    name_full(file, entry);
}

/* The lines of the first records. */
typedef struct batch {
    size_t size, count;
    uint8_t chain[AUDIT_CHAIN_BYTES]; /* of the last */
} batch;

/* As many as fit; one at least. False when OpenSSL fails. */
static bool fill_batch(audit_file *file, const audit_list *waiting, batch *ret)
{
    *ret = (batch){.size = 0};
    memcpy(ret->chain, file->chain, sizeof ret->chain);
    for (audit_entry *entry = waiting->head; entry; entry = entry->next) {
        const size_t json = json_size(file, entry), after = ret->size + JSON_AT + json + 1;
        if (ret->count > 0 &&
            (after > AUDIT_BATCH_BYTES || file->size + after > file->segment_bytes_max))
            break;
        char *line = file->batch + ret->size;
        ret->count++;
        add_json(file, entry, line + JSON_AT);
        if (!end_line(&file->hash, ret->chain, line, json))
            return false;
        ret->size = entry->line_end = after;
    }
    return true;
}

/* Takes the whole lines of what was written into account; returns how many they are. */
static size_t advance(audit_file *file, const audit_list *waiting, const batch *lines, size_t put)
{
    size_t count = 0, end = 0, last = 0;
    if (put == lines->size) {
        count = lines->count;
        end = put;
        memcpy(file->chain, lines->chain, AUDIT_CHAIN_BYTES);
    } else {
        for (const audit_entry *entry = waiting->head; entry && entry->line_end <= put;
             entry = entry->next, count++) {
            last = end;
            end = entry->line_end;
            if (count + 1 == lines->count)
                break;
        }
        if (count > 0)
            rpc_unhex(rpc_bytes_of(file->batch + last, AUDIT_CHAIN_DIGITS), file->chain,
                AUDIT_CHAIN_BYTES);
    }
    file->size += end;
    file->next += count;
    return count;
}

/* Of the batch, all but the first `written` are not in the segment: nobody may name them. */
static void unname(const audit_list *waiting, size_t written, const batch *lines)
{
    size_t i = 0;
    for (audit_entry *entry = waiting->head; i < lines->count; entry = entry->next, i++)
        if (i >= written && entry->full) {
            entry->common->segment = 0;
            entry->full = false;
        }
}

static bool somebody_waits(const audit_list *list, size_t count)
{
    for (const audit_entry *entry = list->head; entry && count > 0; entry = entry->next, count--)
        if (entry->durable)
            return true;
    return false;
}

static void finish(audit_list *waiting, size_t count, audit_list *done)
{
    for (; count > 0; count--) {
        audit_entry *entry = waiting->head;
        waiting->head = entry->next;
        if (!waiting->head)
            waiting->tail = NULL;
        entry->written = true;
        trust__audit_push(done, entry);
    }
}

static rpc_code write_batch(
    audit_file *file, audit_list *waiting, audit_list *done, rpc_status *reterr)
{
    const audit_file before = *file;
    batch lines;
    if (!fill_batch(file, waiting, &lines)) {
        unname(waiting, 0, &lines);
        return rpc_status_set(
            reterr, RPC_INTERNAL, "audit: OpenSSL cannot hash; see its configuration");
    }
    const size_t put = write_all(file->fd, file->batch, lines.size);
    const size_t count = advance(file, waiting, &lines, put);
    rpc_code code = RPC_OK;
    if (put < lines.size) {
        cut(file);
        code = trust__audit_refused(file, "write to", reterr);
        unname(waiting, count, &lines);
    }
    if (file->power && somebody_waits(waiting, count) && fdatasync(file->fd) != 0) {
        code = trust__audit_not_synced(file, reterr);
        file->sync_failed = true;
        file->size = before.size;
        file->next = before.next;
        memcpy(file->chain, before.chain, AUDIT_CHAIN_BYTES);
        cut(file);
        unname(waiting, 0, &lines);
        return code;
    }
    finish(waiting, count, done);
    return code;
}

rpc_code trust__audit_file_write(
    audit_file *file, audit_list *waiting, audit_list *done, rpc_status *reterr)
{
    rpc_code code = RPC_OK;
    while (code == RPC_OK && waiting->head) {
        if (file->ragged && !cut(file))
            return trust__audit_refused(file, "cut off a torn record in", reterr);
        if (file->size + line_size(file, waiting->head) > file->segment_bytes_max)
            code = rotate(file, reterr);
        if (code == RPC_OK)
            code = write_batch(file, waiting, done, reterr);
    }
    return code;
}

rpc_code trust__audit_file_probe(audit_file *file, rpc_status *reterr)
{
    if (file->ragged && !cut(file))
        return trust__audit_refused(file, "cut off a torn record in", reterr);
    if (fallocate(file->fd, FALLOC_FL_KEEP_SIZE, (off_t)file->size, AUDIT_LINE_BYTES_MAX) == 0 ||
        errno == EOPNOTSUPP || errno == EINTR)
        return RPC_OK;
    return trust__audit_refused(file, "write to", reterr);
}
