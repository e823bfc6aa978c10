/* SPDX-License-Identifier: Apache-2.0 */
/* One file with all that is pinned. Who changes it holds the folder's lock from reading to
 * renaming, so that no process loses what another has seen; who reads it needs no lock. */
#include "client_internal.h"
#include "cleanup.h"
#include "trust.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_NAME      "/trust.json"
#define FORMAT         1
#define FILE_BYTES_MAX (32u << 20)

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
           all(json_object_get(entry, "services"), CLIENT_TRUSTED_SETS_MAX, is_text) &&
           all(json_object_get(entry, "followed"), CLIENT_TRUSTED_KEPT_MAX, is_statement) &&
           all(json_object_get(entry, "sets"), CLIENT_TRUSTED_SETS_MAX, is_set);
}

/* ---- reading ---------------------------------------------------------------------------------
 */

static dacm_code fail_others(const char *path, dacm_error *reterr)
{
    return client__fail(reterr, DACM_LOCAL_FILE,
        "others could have written '%.300s', so nothing in it can be believed; see who did, then "
        "take it from them (chown, chmod go-w)",
        path);
}

/* The superuser could do anything anyway. */
static bool only_ours(const struct stat *found)
{
    return (found->st_uid == geteuid() || found->st_uid == 0) && (found->st_mode & 022) == 0;
}

static dacm_code judge_folder(const char *folder, dacm_error *reterr)
{
    struct stat found;
    if (stat(folder, &found) != 0)
        return errno == ENOENT ? DACM_OK : client__fail_file(reterr, "cannot look at", folder);
    if (!S_ISDIR(found.st_mode))
        return client__fail(reterr, DACM_LOCAL_FILE, "'%.300s' is no folder", folder);
    return only_ours(&found) ? DACM_OK : fail_others(folder, reterr);
}

static dacm_code read_json(const char *path, json_t **ret, dacm_error *reterr)
{
    RPC_AUTOFREE char *text = NULL;
    size_t size = 0;
    struct stat found;
    if (stat(path, &found) != 0 && errno == ENOENT) {
        *ret = json_pack("{s:i, s:[]}", "format", FORMAT, "issuers");
        return *ret ? DACM_OK : client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory");
    }
    dacm_code code = client__read_file(path, FILE_BYTES_MAX, &text, &size, reterr);
    if (code != DACM_OK)
        return code;
    if (stat(path, &found) != 0 || !only_ours(&found))
        return fail_others(path, reterr);
    json_t *json = trust_json_parse(rpc_bytes_of(text, size), FILE_BYTES_MAX, "the file", NULL);
    if (json_integer_value(json_object_get(json, "format")) == FORMAT &&
        all(json_object_get(json, "issuers"), CLIENT_TRUSTED_ISSUERS_MAX, is_issuer)) {
        *ret = json;
        return DACM_OK;
    }
    json_decref(json);
    return client__fail(reterr, DACM_LOCAL_FILE,
        "'%.300s' is damaged, or of another version of this program; without it nobody knows which "
        "key sets were seen. Take a copy of it, or remove it and pin the roots again",
        path);
}

dacm_code client__trusted_open(
    const dacm_trust *trust, bool change, client_trusted *ret, dacm_error *reterr)
{
    if (!trust->folder || !trust->folder[0])
        return client__fail(reterr, DACM_INVALID_ARGUMENT, "no folder of pinned roots was named");
    client_trusted made = {.lock = -1,
        .folder = strdup(trust->folder),
        .path = client__path(trust->folder, FILE_NAME)};
    dacm_code code = made.folder && made.path
                         ? DACM_OK
                         : client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory");
    if (code == DACM_OK && change)
        code = client__lock_folder(made.folder, &made.lock, reterr);
    if (code == DACM_OK)
        code = judge_folder(made.folder, reterr);
    if (code == DACM_OK)
        code = read_json(made.path, &made.json, reterr);
    if (code == DACM_OK)
        *ret = made;
    else
        client__trusted_close(&made);
    return code;
}

void client__trusted_close(client_trusted *trusted)
{
    json_decref(trusted->json);
    free(trusted->folder);
    free(trusted->path);
    if (trusted->lock >= 0)
        close(trusted->lock);
    *trusted = (client_trusted){.lock = -1};
}

/* ---- writing ---------------------------------------------------------------------------------
 */

/* The name is fixed: under the lock nobody else writes, and what a killed process left is
 * overwritten. */
static dacm_code write_beside(client_output *output, rpc_bytes text, dacm_error *reterr)
{
    output->fd = open(
        output->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (output->fd < 0)
        return client__fail_file(reterr, "cannot create", output->temporary);
    return client__output_write(output, 0, text, reterr);
}

/* A rename that the power cut undoes would forget what was seen. */
static dacm_code sync_folder(const char *folder, dacm_error *reterr)
{
    RPC_AUTOCLOSE int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 && fsync(fd) == 0 ? DACM_OK : client__fail_file(reterr, "cannot write", folder);
}

dacm_code client__trusted_save(const client_trusted *trusted, dacm_error *reterr)
{
    RPC_AUTOFREE char *text = json_dumps(trusted->json, JSON_INDENT(1) | JSON_SORT_KEYS);
    client_output output = {
        .fd = -1, .path = strdup(trusted->path), .temporary = client__path(trusted->path, ".new")};
    dacm_code code;
    if (!text || !output.path || !output.temporary)
        code = client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory to keep roots");
    else if (strlen(text) > FILE_BYTES_MAX)
        code = client__fail(reterr, DACM_RESOURCE_EXHAUSTED,
            "'%.300s' would have more than %u bytes; remove an SKM-S", trusted->path,
            FILE_BYTES_MAX);
    else
        code = write_beside(&output, rpc_bytes_str(text), reterr);
    if (code == DACM_OK)
        code = client__output_commit(&output, reterr);
    client__output_done(&output);
    return code == DACM_OK ? sync_folder(trusted->folder, reterr) : code;
}
