/* SPDX-License-Identifier: Apache-2.0 */
/* One file with all that is pinned. Who changes it holds the folder's lock from reading to
 * renaming, so that no process loses what another has seen; who reads it needs no lock. */
#include "pins_internal.h"
#include "trust_internal.h"

#include "cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define FILE_NAME      "/trust.json"
#define FORMAT         1
#define FILE_BYTES_MAX (32u << 20)

/* ---- failing ---------------------------------------------------------------------------------
 */

static rpc_code nearest(trust_pins_code code)
{
    switch (code) {
    case TRUST_PINS_INVALID:
        return RPC_INVALID_ARGUMENT;
    case TRUST_PINS_REFUSED:
        return RPC_PERMISSION_DENIED;
    case TRUST_PINS_NO_KEY:
    case TRUST_PINS_NOT_FOUND:
        return RPC_NOT_FOUND;
    case TRUST_PINS_NOT_NOW:
        return RPC_FAILED_PRECONDITION;
    case TRUST_PINS_EXISTS:
        return RPC_ALREADY_EXISTS;
    case TRUST_PINS_FULL:
        return RPC_RESOURCE_EXHAUSTED;
    default:
        return RPC_UNAVAILABLE;
    }
}

trust_pins_code trust__pins_fail(rpc_status *status, trust_pins_code code, const char *format, ...)
{
    if (!status)
        return code;
    char text[sizeof status->message];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    rpc_text_printable(text);
    rpc_status_text(status, nearest(code), text);
    return code;
}

trust_pins_code trust__pins_no_memory(rpc_status *reterr)
{
    return trust__pins_fail(reterr, TRUST_PINS_FULL, "no memory for key sets");
}

static trust_pins_code fail_file(rpc_status *reterr, const char *what, const char *path)
{
    char reason[128];
    const char *text = strerror_r(errno, reason, sizeof reason);
    return trust__pins_fail(reterr, TRUST_PINS_FILE, "%s '%.200s': %s", what, path, text);
}

/* ---- its form --------------------------------------------------------------------------------
 */

static bool all(const json_t *array, size_t count_max, bool (*judge)(const json_t *entry))
{
    if (!json_is_array(array) || json_array_size(array) > count_max)
        return false;
    for (size_t i = 0; i < json_array_size(array); i++)
        if (!judge(json_array_get(array, i)))
            return false;
    return true;
}

static bool has_text(const json_t *object, const char *name)
{
    const json_t *member = json_object_get(object, name);
    return json_is_string(member) && json_string_length(member) > 0;
}

static bool has_number(const json_t *object, const char *name)
{
    const json_t *member = json_object_get(object, name);
    return json_is_integer(member) && json_integer_value(member) >= 0;
}

static bool is_text(const json_t *entry)
{
    return json_is_string(entry);
}

static bool is_key(const json_t *entry)
{
    return has_text(entry, "kid") && has_text(entry, "x");
}

static bool is_statement(const json_t *entry)
{
    return has_number(entry, "sequence") && has_text(entry, "statement") &&
           is_key(json_object_get(entry, "before"));
}

static bool is_set(const json_t *entry)
{
    trust_purpose purpose;
    return has_text(entry, "service") && has_text(entry, "purpose") &&
           trust_keyset_purpose_parse(
               json_string_value(json_object_get(entry, "purpose")), &purpose) &&
           has_number(entry, "version") && has_number(entry, "issued_at") &&
           has_number(entry, "expires_at") &&
           all(json_object_get(entry, "keys"), TRUST_KEYS_MAX, is_key);
}

static bool is_issuer(const json_t *entry)
{
    return has_text(entry, "issuer") && is_key(json_object_get(entry, "root")) &&
           has_number(entry, "sequence") && has_number(entry, "pinned_at") &&
           all(json_object_get(entry, "services"), TRUST_PINS_SETS_MAX, is_text) &&
           all(json_object_get(entry, "followed"), TRUST_PINS_STATEMENTS_MAX, is_statement) &&
           all(json_object_get(entry, "sets"), TRUST_PINS_SETS_MAX, is_set) &&
           (!json_object_get(entry, "address") || has_text(entry, "address"));
}

/* ---- reading ---------------------------------------------------------------------------------
 */

static trust_pins_code fail_others(const char *path, rpc_status *reterr)
{
    return trust__pins_fail(reterr, TRUST_PINS_FILE,
        "others could have written '%.200s', so nothing in it can be believed; see who did, then "
        "take it from them (chown, chmod go-w)",
        path);
}

/* The superuser could do anything anyway. */
static bool only_ours(const struct stat *found)
{
    return (found->st_uid == geteuid() || found->st_uid == 0) && (found->st_mode & 022) == 0;
}

static trust_pins_code judge_folder(const char *folder, rpc_status *reterr)
{
    struct stat found;
    if (stat(folder, &found) != 0)
        return errno == ENOENT ? TRUST_PINS_OK : fail_file(reterr, "cannot look at", folder);
    if (!S_ISDIR(found.st_mode))
        return trust__pins_fail(reterr, TRUST_PINS_FILE, "'%.200s' is no folder", folder);
    return only_ours(&found) ? TRUST_PINS_OK : fail_others(folder, reterr);
}

/* At most FILE_BYTES_MAX of it; malloc'd. */
static trust_pins_code read_all(
    int fd, const char *path, char **ret, size_t *ret_size, rpc_status *reterr)
{
    size_t size = 0, room = 4096;
    RPC_AUTOFREE char *text = malloc(room);
    while (text) {
        const ssize_t got = read(fd, text + size, room - size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail_file(reterr, "cannot read", path);
        size += (size_t)got;
        if (got == 0) {
            *ret = RPC_TAKE(text);
            *ret_size = size;
            return TRUST_PINS_OK;
        }
        if (size > FILE_BYTES_MAX)
            return trust__pins_fail(reterr, TRUST_PINS_FILE,
                "'%.200s' has more than %u bytes; is it the right file?", path, FILE_BYTES_MAX);
        if (size == room) {
            room *= 2;
            char *more = realloc(text, room);
            if (!more)
                break;
            text = more;
        }
    }
    return trust__pins_no_memory(reterr);
}

static trust_pins_code read_json(const char *path, json_t **ret, rpc_status *reterr)
{
    RPC_AUTOFREE char *text = NULL;
    size_t size = 0;
    struct stat found;
    RPC_AUTOCLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 && errno == ENOENT) {
        *ret = json_pack("{s:i, s:[]}", "format", FORMAT, "issuers");
        return *ret ? TRUST_PINS_OK : trust__pins_no_memory(reterr);
    }
    if (fd < 0 || fstat(fd, &found) != 0)
        return fail_file(reterr, "cannot open", path);
    if (!only_ours(&found))
        return fail_others(path, reterr);
    const trust_pins_code code = read_all(fd, path, &text, &size, reterr);
    if (code != TRUST_PINS_OK)
        return code;
    json_t *json = trust_json_parse(rpc_bytes_of(text, size), FILE_BYTES_MAX, "the file", NULL);
    if (json_integer_value(json_object_get(json, "format")) == FORMAT &&
        all(json_object_get(json, "issuers"), TRUST_PINS_ISSUERS_MAX, is_issuer)) {
        *ret = json;
        return TRUST_PINS_OK;
    }
    json_decref(json);
    return trust__pins_fail(reterr, TRUST_PINS_FILE,
        "'%.120s' is damaged, or of another version of this program; without it nobody knows which "
        "key sets were seen. Take a copy of it, or remove it and pin the roots again",
        path);
}

/* ---- the folder --------------------------------------------------------------------------------
 */

static char *joined(const char *path, const char *suffix)
{
    char *text = NULL;
    return asprintf(&text, "%s%s", path, suffix) < 0 ? NULL : text;
}

static trust_pins_code lock_folder(const char *folder, int *ret_fd, rpc_status *reterr)
{
    RPC_AUTOFREE char *path = joined(folder, "/lock");
    if (!path)
        return trust__pins_no_memory(reterr);
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        return fail_file(reterr, "cannot create", folder);
    RPC_AUTOCLOSE int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail_file(reterr, "cannot open", path);
    while (flock(fd, LOCK_EX) != 0)
        if (errno != EINTR)
            return fail_file(reterr, "cannot lock", path);
    *ret_fd = rpc_take_fd(&fd);
    return TRUST_PINS_OK;
}

trust_pins_code trust__pins_open(
    const char *folder, bool change, trust__pins *ret, rpc_status *reterr)
{
    if (!folder || !folder[0])
        return trust__pins_fail(reterr, TRUST_PINS_INVALID, "no folder of pinned roots was named");
    trust__pins made = {.lock = -1, .folder = strdup(folder), .path = joined(folder, FILE_NAME)};
    trust_pins_code code = made.folder && made.path ? TRUST_PINS_OK : trust__pins_no_memory(reterr);
    if (code == TRUST_PINS_OK && change)
        code = lock_folder(made.folder, &made.lock, reterr);
    if (code == TRUST_PINS_OK)
        code = judge_folder(made.folder, reterr);
    if (code == TRUST_PINS_OK)
        code = read_json(made.path, &made.json, reterr);
    if (code == TRUST_PINS_OK)
        *ret = made;
    else
        trust__pins_close(&made);
    return code;
}

void trust__pins_close(trust__pins *pins)
{
    json_decref(pins->json);
    free(pins->folder);
    free(pins->path);
    if (pins->lock >= 0)
        close(pins->lock);
    *pins = (trust__pins){.lock = -1};
}

/* ---- writing ---------------------------------------------------------------------------------
 */

static trust_pins_code write_all(int fd, const char *path, rpc_bytes text, rpc_status *reterr)
{
    while (text.size > 0) {
        const ssize_t put = write(fd, text.data, text.size);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return fail_file(reterr, "cannot write", path);
        text = rpc_bytes_of(text.data + put, text.size - (size_t)put);
    }
    return TRUST_PINS_OK;
}

/* The name is fixed: under the lock nobody else writes, and what a killed process left is
 * overwritten. A rename that the power cut undoes would forget what was seen. */
static trust_pins_code replace(const trust__pins *pins, rpc_bytes text, rpc_status *reterr)
{
    RPC_AUTOFREE char *beside = joined(pins->path, ".new");
    if (!beside)
        return trust__pins_no_memory(reterr);
    RPC_AUTOCLOSE int fd = open(
        beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return fail_file(reterr, "cannot create", beside);
    trust_pins_code code = write_all(fd, beside, text, reterr);
    if (code == TRUST_PINS_OK && (fsync(fd) != 0 || rename(beside, pins->path) != 0))
        code = fail_file(reterr, "cannot finish", pins->path);
    if (code != TRUST_PINS_OK) {
        unlink(beside);
        return code;
    }
    RPC_AUTOCLOSE int folder = open(pins->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return folder >= 0 && fsync(folder) == 0 ? TRUST_PINS_OK
                                             : fail_file(reterr, "cannot write", pins->folder);
}

trust_pins_code trust__pins_save(const trust__pins *pins, rpc_status *reterr)
{
    RPC_AUTOFREE char *text = json_dumps(pins->json, JSON_INDENT(1) | JSON_SORT_KEYS);
    if (!text)
        return trust__pins_no_memory(reterr);
    if (strlen(text) > FILE_BYTES_MAX)
        return trust__pins_fail(reterr, TRUST_PINS_FULL,
            "'%.200s' would have more than %u bytes; remove an SKM-S", pins->path, FILE_BYTES_MAX);
    return replace(pins, rpc_bytes_str(text), reterr);
}
