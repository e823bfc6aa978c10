/* SPDX-License-Identifier: Apache-2.0 */
/* One small file per (issuer, asset) with the highest version seen, named by the digest of both,
 * so that no foreign text becomes a path. A flock on the folder's lock file keeps two processes
 * from losing each other's number. */
#include "client_internal.h"
#include "cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

dacm_code client__lock_folder(const char *folder, int *ret_fd, dacm_error *reterr)
{
    RPC_AUTOFREE char *path = client__path(folder, "/lock");
    if (!path)
        return client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for a file name");
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        return client__fail_file(reterr, "cannot create", folder);
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return client__fail_file(reterr, "cannot open", path);
    while (flock(fd, LOCK_EX) != 0) {
        if (errno == EINTR)
            continue;
        close(fd);
        return client__fail_file(reterr, "cannot lock", path);
    }
    *ret_fd = fd;
    return DACM_OK;
}

static char *state_path(const char *folder, const char *issuer, const char *asset_id)
{
    RPC_AUTOFREE char *name = NULL;
    if (asprintf(&name, "%s\n%s", issuer, asset_id) < 0)
        return NULL;
    uint8_t digest[32];
    char hex[65], *path = NULL;
    client__sha256(rpc_bytes_str(name), digest);
    rpc_hex(rpc_bytes_of(digest, sizeof digest), hex);
    return asprintf(&path, "%s/%s.version", folder, hex) < 0 ? NULL : path;
}

/** 0 when nothing was seen. A damaged file is an error: to go on would forget the version. */
static dacm_code read_version(const char *path, uint64_t *ret, dacm_error *reterr)
{
    RPC_AUTOFREE char *text = NULL;
    size_t size = 0;
    if (access(path, F_OK) != 0 && errno == ENOENT) {
        *ret = 0;
        return DACM_OK;
    }
    const dacm_code code = client__read_file(path, 64, &text, &size, reterr);
    if (code != DACM_OK)
        return code;
    char *end = NULL;
    errno = 0;
    const uint64_t version = strtoull(text, &end, 10);
    if (size < 2 || text[0] < '1' || text[0] > '9' || errno != 0 || strcmp(end, "\n") != 0)
        return client__fail(reterr, DACM_LOCAL_FILE,
            "'%.300s' is damaged; remove it to forget which version was seen", path);
    *ret = version;
    return DACM_OK;
}

static dacm_code advance(
    const char *path, const char *asset_id, uint64_t version, dacm_error *reterr)
{
    uint64_t seen = 0;
    const dacm_code code = read_version(path, &seen, reterr);
    if (code != DACM_OK)
        return code;
    if (version < seen)
        return client__fail(reterr, DACM_BAD_SIGNATURE,
            "the server offers version %" PRIu64 " of '%s', but version %" PRIu64
            " was seen before; ask for a version by number to get an old one",
            version, asset_id, seen);
    if (version == seen)
        return DACM_OK;
    char text[32];
    const int size = snprintf(text, sizeof text, "%" PRIu64 "\n", version);
    return client__write_file(path, rpc_bytes_of(text, (size_t)size), reterr);
}

dacm_code client__state_advance(dacm_client *client, const char *issuer, const char *asset_id,
    uint64_t version, dacm_error *reterr)
{
    if (!client->state_dir)
        return DACM_OK;
    RPC_AUTOFREE char *path = state_path(client->state_dir, issuer, asset_id);
    if (!path)
        return client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for a file name");
    pthread_mutex_lock(&client->state_lock);
    int fd = -1;
    dacm_code code = client__lock_folder(client->state_dir, &fd, reterr);
    if (code == DACM_OK)
        code = advance(path, asset_id, version, reterr);
    if (fd >= 0)
        close(fd);
    pthread_mutex_unlock(&client->state_lock);
    return code;
}
