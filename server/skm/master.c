/* SPDX-License-Identifier: Apache-2.0 */
#include "master.h"

#include "program.h"
#include "seal.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <unistd.h>

const char *const skm_master_sources[] = {"file", "descriptor", "credential", NULL};

static rpc_code read_descriptor(int fd, char **ret, size_t *ret_size, rpc_status *reterr)
{
    char *content = malloc(SKM_SECRET_BYTES_MAX + 2);
    size_t size = 0;
    ssize_t got = 1;
    if (!content)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "no memory for the master secret");
    while (size <= SKM_SECRET_BYTES_MAX && (got > 0 || (got < 0 && errno == EINTR))) {
        got = read(fd, content + size, SKM_SECRET_BYTES_MAX + 1 - size);
        size += got > 0 ? (size_t)got : 0;
    }
    const int why = errno;
    close(fd);
    if (got < 0) {
        program_file_done(content, size);
        return rpc_status_set(reterr, RPC_UNAVAILABLE,
            "'master.descriptor': cannot read descriptor %d: %s", fd, strerror(why));
    }
    *ret = content;
    *ret_size = size;
    return RPC_OK;
}

static rpc_code read_credential(const char *name, char **ret, size_t *ret_size, rpc_status *reterr)
{
    char path[4096];
    const char *directory = getenv("CREDENTIALS_DIRECTORY");
    if (!directory || !directory[0])
        return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
            "'master.credential': there is no CREDENTIALS_DIRECTORY; start skmsd by a unit with "
            "LoadCredential=%.100s:PATH or LoadCredentialEncrypted=",
            name);
    if ((size_t)snprintf(path, sizeof path, "%s/%s", directory, name) >= sizeof path)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "'master.credential': its path is too long");
    return program_key_file_read(
        "master.credential", path, SKM_SECRET_BYTES_MAX + 1, ret, ret_size, reterr);
}

static rpc_code read_source(
    const host_values *values, char **ret, size_t *ret_size, rpc_status *reterr)
{
    switch (host_enum(values, "master.source")) {
    case SKM_MASTER_DESCRIPTOR:
        return read_descriptor((int)host_int(values, "master.descriptor"), ret, ret_size, reterr);
    case SKM_MASTER_CREDENTIAL:
        return read_credential(host_string(values, "master.credential"), ret, ret_size, reterr);
    default:
        return program_key_file_read("master.file", host_string(values, "master.file"),
            SKM_SECRET_BYTES_MAX + 1, ret, ret_size, reterr);
    }
}

/* Without the newline at the end; wiped where it does not fit. */
static rpc_code judge(const char *setting, char *content, size_t size, char **ret, size_t *ret_size,
    rpc_status *reterr)
{
    const size_t kept = size > 0 && content[size - 1] == '\n' ? size - 1 : size;
    if (kept < SKM_SECRET_BYTES_MIN || kept > SKM_SECRET_BYTES_MAX) {
        program_file_done(content, size);
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "'%s': the secret has %zu bytes; %u to %u are taken (`openssl rand -base64 "
            "32` makes a good one)",
            setting, kept, SKM_SECRET_BYTES_MIN, SKM_SECRET_BYTES_MAX);
    }
    *ret = content;
    *ret_size = kept;
    return RPC_OK;
}

rpc_code skm_master_read(
    const host_values *values, char **ret, size_t *ret_size, rpc_status *reterr)
{
    char *content = NULL;
    size_t size = 0;
    const rpc_code code = read_source(values, &content, &size, reterr);
    return code == RPC_OK ? judge("master.source", content, size, ret, ret_size, reterr) : code;
}

rpc_code skm_master_read_file(
    const char *setting, const char *path, char **ret, size_t *ret_size, rpc_status *reterr)
{
    char *content = NULL;
    size_t size = 0;
    const rpc_code code = program_key_file_read(
        setting, path, SKM_SECRET_BYTES_MAX + 1, &content, &size, reterr);
    return code == RPC_OK ? judge(setting, content, size, ret, ret_size, reterr) : code;
}

void skm_master_done(char *secret, size_t size)
{
    program_file_done(secret, size);
}

rpc_code skm_master_check(const host_values *values, rpc_status *reterr)
{
    char *secret = NULL;
    size_t size = 0;
    if (host_enum(values, "master.source") == SKM_MASTER_DESCRIPTOR)
        return RPC_OK;
    const rpc_code code = skm_master_read(values, &secret, &size, reterr);
    skm_master_done(secret, size);
    return code;
}
