/* SPDX-License-Identifier: Apache-2.0 */
#include "cleanup.h"
#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static rpc_code file_failed(const char *path, int why, rpc_status *reterr)
{
    rpc_code code = why == ENOENT || why == ENOTDIR ? RPC_NOT_FOUND
                    : why == EACCES || why == EPERM ? RPC_PERMISSION_DENIED
                                                    : RPC_UNAVAILABLE;
    return rpc_status_set(reterr, code, "cannot read '%s': %s", path, strerror(why));
}

rpc_code program_file_read(
    const char *path, size_t max, char **ret, size_t *ret_size, rpc_status *reterr)
{
    RPC_AUTOCLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return file_failed(path, errno, reterr);
    char *content = malloc(max + 1);
    if (!content)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "no memory to read '%s'", path);
    size_t size = 0;
    ssize_t got = 1;
    while (size <= max && got > 0) {
        got = read(fd, content + size, max + 1 - size);
        if (got > 0)
            size += (size_t)got;
        else if (got < 0 && errno == EINTR)
            got = 1;
    }
    if (got < 0 || size > max) {
        int why = errno;
        program_file_done(content, size);
        return got < 0 ? file_failed(path, why, reterr)
                       : rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
                             "'%s' has more than the %zu bytes that are read", path, max);
    }
    content[size] = '\0';
    *ret = content;
    *ret_size = size;
    return RPC_OK;
}

void program_file_done(char *content, size_t size)
{
    if (content)
        sodium_memzero(content, size);
    free(content);
}

rpc_code program_key_file_read(const char *setting, const char *path, size_t max, char **ret,
    size_t *ret_size, rpc_status *reterr)
{
    struct stat found;
    if (stat(path, &found) == 0 && (found.st_mode & 027) != 0)
        return rpc_status_set(reterr, RPC_PERMISSION_DENIED,
            "'%s' (%.200s): others can read or change it (mode %04o); chmod 600 it", setting, path,
            found.st_mode & 07777);
    rpc_status why;
    const rpc_code code = program_file_read(path, max, ret, ret_size, &why);
    return code == RPC_OK ? code
                          : rpc_status_set(reterr, code, "'%s': %.360s", setting, why.message);
}
