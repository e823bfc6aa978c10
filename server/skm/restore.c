/* SPDX-License-Identifier: Apache-2.0 */
#include "restore.h"

#include "cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#define MARK       "copy"
#define MARK_BYTES 64u
#define BEFORE_MS  3600000 /* a clock that was set between the copy and what came after it */

/* ---- the mark -----------------------------------------------------------------------------------
 */

static rpc_code failed(const char *what, const char *path, rpc_status *reterr)
{
    return rpc_status_set(
        reterr, RPC_UNAVAILABLE, "cannot %s '%.200s': %s", what, path, strerror(errno));
}

static rpc_code path_of(const char *directory, char ret[PATH_MAX], rpc_status *reterr)
{
    return snprintf(ret, PATH_MAX, "%s/" MARK, directory) < PATH_MAX
               ? RPC_OK
               : rpc_status_set(
                     reterr, RPC_INVALID_ARGUMENT, "the store's folder has too long a name");
}

static rpc_code sync_directory(const char *directory, rpc_status *reterr)
{
    RPC_AUTOCLOSE int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 && fsync(fd) == 0 ? RPC_OK : failed("sync", directory, reterr);
}

rpc_code skm_copy_mark(const char *directory, int64_t made_ms, rpc_status *reterr)
{
    char path[PATH_MAX], text[MARK_BYTES];
    rpc_code code = path_of(directory, path, reterr);
    if (code != RPC_OK)
        return code;
    const int size = snprintf(text, sizeof text, "%" PRId64 "\n", made_ms);
    RPC_AUTOCLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, text, (size_t)size) != size || fsync(fd) != 0)
        return failed("write", path, reterr);
    return sync_directory(directory, reterr);
}

/* *ret_made_ms stays where there is no mark. An empty one was cut short by a crash: as one of
 * nobody knows when. */
static rpc_code read_mark(
    const char *path, bool *ret_marked, int64_t *ret_made_ms, rpc_status *reterr)
{
    char *text = NULL, *end = NULL;
    size_t size = 0;
    const rpc_code code = program_file_read(path, MARK_BYTES, &text, &size, reterr);
    *ret_marked = code == RPC_OK;
    if (code != RPC_OK)
        return code == RPC_NOT_FOUND ? RPC_OK : code;
    const long long made_ms = strtoll(text, &end, 10);
    const bool good = made_ms >= 0 && (*end == '\n' || *end == '\0');
    program_file_done(text, size);
    if (!good)
        return rpc_status_set(reterr, RPC_DATA_LOSS,
            "'%.200s' is no mark of a copy; where the store is none, remove that file", path);
    *ret_made_ms = made_ms;
    return RPC_OK;
}

static rpc_code remove_mark(const char *directory, const char *path, rpc_status *reterr)
{
    if (unlink(path) != 0 && errno != ENOENT)
        return failed("remove", path, reterr);
    return sync_directory(directory, reterr);
}

/* ---- what the trail knows -----------------------------------------------------------------------
 */

typedef struct replay {
    skm_service *service;
    int64_t from_ms;
    unsigned keys, enrolments; /* revoked again */
    unsigned barred;           /* keys that the copy does not know */
    uint64_t root;             /* the newest of key sets that the trail knows */
    rpc_code code;
    rpc_status status;
} replay;

static const char *text_of(const json_t *record, const char *name)
{
    const char *text = json_string_value(json_object_get(record, name));
    return text ? text : "";
}

/* What the copy does not know any more was made after it, and is gone with the lost store; what no
 * server would have done was refused then as well. */
static unsigned took(replay *r, rpc_code code, const rpc_status *why)
{
    if (code != RPC_OK && code != RPC_NOT_FOUND && code != RPC_INVALID_ARGUMENT) {
        r->code = code;
        r->status = *why;
    }
    return code == RPC_OK;
}

/* A key that was brought after the copy is gone; whoever brought it must not bring it again. */
static void revoke_key(replay *r, const char *kid, const char *reason, int64_t time_ms)
{
    skm_state *state = r->service->state;
    rpc_status why = {0};
    const rpc_code code = skm_key_revoke(state, kid, reason, &why);
    r->keys += took(r, code, &why);
    if (code != RPC_NOT_FOUND)
        return;
    r->barred += took(r, skm_key_bar(state, kid, time_ms / 1000, &why), &why);
}

/* What was asked for was done, or would have been: on the safe side. */
static void replay_admin(replay *r, const json_t *record, int64_t time_ms)
{
    skm_state *state = r->service->state;
    const char *method = text_of(record, "method");
    rpc_status why = {0};
    if (strcmp(method, "RevokeKey") == 0)
        revoke_key(r, text_of(record, "kid"), text_of(record, "reason"), time_ms);
    else if (strcmp(method, "RevokeEnrolment") == 0)
        r->enrolments += took(r,
            skm_enrolment_revoke(state, text_of(record, "val_service"),
                text_of(record, "certificate_san"), time_ms / 1000, &why),
            &why);
}

static void replay_root(replay *r, const json_t *record)
{
    const uint64_t sequence = (uint64_t)json_integer_value(json_object_get(record, "sequence"));
    const char *outcome = text_of(record, "outcome");
    if (strcmp(outcome, "asked") == 0)
        r->root = sequence;
    else if (strcmp(outcome, "OK") != 0 && r->root == sequence) /* it was not replaced after all */
        r->root = sequence - 1;
}

static void take_root(void *ctx, uint64_t sequence, const char *jwk, const char *const *statements,
    size_t statement_count)
{
    (void)jwk;
    (void)statements;
    (void)statement_count;
    *(uint64_t *)ctx = sequence;
}

static bool root_is_lost(const replay *r)
{
    uint64_t here = 0;
    skm_root_get(r->service->state, take_root, &here);
    return here < r->root;
}

static bool replay_record(void *ctx, rpc_bytes json)
{
    replay *r = ctx;
    json_t *record = json_loadb((const char *)json.data, json.size, 0, NULL);
    const int64_t time_ms = json_integer_value(json_object_get(record, "time_ms"));
    const char *event = text_of(record, "event");
    if (time_ms >= r->from_ms && strcmp(event, "admin") == 0 &&
        strcmp(text_of(record, "outcome"), "asked") == 0)
        replay_admin(r, record, time_ms);
    else if (time_ms >= r->from_ms && strcmp(event, "root") == 0)
        replay_root(r, record);
    json_decref(record);
    return r->code == RPC_OK;
}

/* A trail that cannot be read whole is no reason to serve nobody, but for the operator to look. */
static rpc_code replay_trail(replay *r, const char *directory, rpc_status *reterr)
{
    rpc_status why = {0};
    const rpc_code code = trust_audit_scan(
        directory, r->from_ms, INT64_MAX, replay_record, r, &why);
    if (r->code != RPC_OK)
        return rpc_status_text(reterr, r->code, r->status.message);
    if (code != RPC_OK)
        HOST_LOG(r->service->log, HOST_ERROR,
            "restored store: the audit trail cannot be read to its end; revoke again what was "
            "revoked since the copy was made",
            host_text("why", why.message));
    if (root_is_lost(r))
        HOST_LOG(r->service->log, HOST_ERROR,
            "restored store: the root of key sets was replaced after the copy was made, and the "
            "new one is lost; verifiers must pin the old one anew (dacm trust)");
    return RPC_OK;
}

/* ---- all ----------------------------------------------------------------------------------------
 */

static rpc_code audit(const replay *r, const char *outcome, rpc_status *reterr)
{
    char id[HOST_REQUEST_ID_CHARS + 1];
    host_request_id(r->service->clock, id);
    return SKM_AUDIT(r->service, id, "restored", reterr, host_text("outcome", outcome),
        host_number("from_ms", r->from_ms), host_number("keys_revoked_again", r->keys),
        host_number("keys_barred", r->barred),
        host_number("enrolments_revoked_again", r->enrolments));
}

static rpc_code make_good(replay *r, const host_values *values, rpc_status *reterr)
{
    rpc_code code = audit(r, "begun", reterr);
    if (code == RPC_OK)
        code = replay_trail(r, host_string(values, "audit.directory"), reterr);
    if (code == RPC_OK)
        code = skm_state_restored(r->service->state, reterr);
    return code == RPC_OK ? audit(r, "OK", reterr) : code;
}

rpc_code skm_restore(skm_service *service, const host_values *values, rpc_status *reterr)
{
    const char *directory = host_string(values, "store.directory");
    char path[PATH_MAX];
    bool marked = false;
    int64_t made_ms = 0;
    rpc_code code = path_of(directory, path, reterr);
    if (code == RPC_OK)
        code = read_mark(path, &marked, &made_ms, reterr);
    if (code != RPC_OK || !marked)
        return code;
    replay r = {.service = service, .from_ms = made_ms > BEFORE_MS ? made_ms - BEFORE_MS : 0};
    code = make_good(&r, values, reterr);
    if (code == RPC_OK)
        code = remove_mark(directory, path, reterr);
    if (code == RPC_OK)
        HOST_LOG(service->log, HOST_WARNING,
            "this store was restored from a copy: key sets have versions above all that were "
            "published, tokens of enrolments are void, and what the audit trail knows to be "
            "revoked is revoked again",
            host_number("copy_made_ms", made_ms), host_number("keys_revoked_again", r.keys),
            host_number("keys_barred", r.barred),
            host_number("enrolments_revoked_again", r.enrolments));
    return code;
}
