/* SPDX-License-Identifier: Apache-2.0 */
#include "client_internal.h"
#include "cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

char *client__path(const char *path, const char *suffix)
{
    char *joined = NULL;
    return asprintf(&joined, "%s%s", path, suffix) < 0 ? NULL : joined;
}

static dacm_code read_all(
    int fd, const char *path, size_t max, char **ret, size_t *ret_size, dacm_error *reterr)
{
    size_t size = 0, room = 4096;
    RPC_AUTOFREE char *text = malloc(room + 1);
    while (text) {
        const ssize_t got = read(fd, text + size, room - size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return client__fail_file(reterr, "cannot read", path);
        size += (size_t)got;
        if (size > max)
            return client__fail(reterr, DACM_LOCAL_FILE,
                "'%.300s' has more than %zu bytes; is it the right file?", path, max);
        if (got == 0) {
            text[size] = 0;
            *ret = RPC_TAKE(text);
            *ret_size = size;
            return DACM_OK;
        }
        if (size == room) {
            room *= 2;
            char *more = realloc(text, room + 1);
            if (!more)
                break;
            text = more;
        }
    }
    return client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory to read '%.300s'", path);
}

dacm_code client__read_file(
    const char *path, size_t max, char **ret, size_t *ret_size, dacm_error *reterr)
{
    RPC_AUTOCLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return client__fail_file(reterr, "cannot open", path);
    return read_all(fd, path, max, ret, ret_size, reterr);
}

dacm_code client__output_open(
    client_output *output, const char *path, uint64_t size, dacm_error *reterr)
{
    if (size > INT64_MAX)
        return client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "the object is too large");
    client_output made = {
        .fd = -1, .path = strdup(path), .temporary = client__path(path, ".part-XXXXXX")};
    if (!made.path || !made.temporary) {
        client__output_done(&made);
        return client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for a file name");
    }
    made.fd = mkostemp(made.temporary, O_CLOEXEC); /* mode 0600 */
    dacm_code code = DACM_OK;
    if (made.fd < 0) {
        code = client__fail_file(reterr, "cannot create a file beside", path);
        free(made.temporary); /* not ours to remove */
        made.temporary = NULL;
    } else if (ftruncate(made.fd, (off_t)size) != 0) {
        code = client__fail_file(reterr, "cannot make room for", path);
    }
    if (code != DACM_OK) {
        client__output_done(&made);
        return code;
    }
    *output = made;
    return DACM_OK;
}

dacm_code client__output_write(
    client_output *output, uint64_t offset, rpc_bytes data, dacm_error *reterr)
{
    while (data.size > 0) {
        const ssize_t put = pwrite(output->fd, data.data, data.size, (off_t)offset);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return client__fail_file(reterr, "cannot write", output->path);
        data = rpc_bytes_of(data.data + put, data.size - (size_t)put);
        offset += (uint64_t)put;
    }
    return DACM_OK;
}

dacm_code client__output_commit(client_output *output, dacm_error *reterr)
{
    if (fsync(output->fd) != 0 || rename(output->temporary, output->path) != 0)
        return client__fail_file(reterr, "cannot finish", output->path);
    free(output->temporary);
    output->temporary = NULL;
    return DACM_OK;
}

void client__output_leave(client_output *output)
{
    free(output->temporary);
    output->temporary = NULL;
}

void client__output_done(client_output *output)
{
    if (output->fd >= 0)
        close(output->fd);
    if (output->temporary)
        unlink(output->temporary);
    free(output->temporary);
    free(output->path);
    *output = (client_output){.fd = -1};
}

dacm_code client__write_file(const char *path, rpc_bytes content, dacm_error *reterr)
{
    client_output output = {.fd = -1};
    dacm_code code = client__output_open(&output, path, 0, reterr);
    if (code == DACM_OK)
        code = client__output_write(&output, 0, content, reterr);
    if (code == DACM_OK)
        code = client__output_commit(&output, reterr);
    client__output_done(&output);
    return code;
}
