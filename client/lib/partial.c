/* SPDX-License-Identifier: Apache-2.0 */
/* FILE.part and FILE.part.chunks: what an interrupted download has verified, so that the next one
 * goes on from it. Nothing in them is believed; each chunk is hashed again (have.c). */
#include "client_internal.h"
#include "cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

/** Somebody else's file would stay theirs to write after we had judged it. */
static dacm_code judge(const client_partial *partial, dacm_error *reterr)
{
    struct stat found;
    if (fstat(partial->fd, &found) != 0)
        return client__fail_file(reterr, "cannot use", partial->path);
    if (!S_ISREG(found.st_mode) || found.st_uid != geteuid() || found.st_nlink != 1 ||
        (found.st_mode & 077) != 0)
        return client__fail(reterr, DACM_LOCAL_FILE,
            "'%.300s' is no part of an earlier download of yours; remove it, or choose another "
            "file to write",
            partial->path);
    return DACM_OK;
}

/** A file that was renamed or removed since it was opened is not the one of that name. */
static bool still_named(const client_partial *partial)
{
    struct stat by_name, opened;
    return lstat(partial->path, &by_name) == 0 && fstat(partial->fd, &opened) == 0 &&
           by_name.st_dev == opened.st_dev && by_name.st_ino == opened.st_ino;
}

static void let_go(client_partial *partial)
{
    close(partial->fd);
    partial->fd = -1;
}

/** Opens and locks; fd is -1 when another download holds it. */
static dacm_code take(client_partial *partial, int flags, dacm_error *reterr)
{
    partial->fd = open(partial->path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | flags, 0600);
    if (partial->fd < 0)
        return client__fail_file(reterr, "cannot create", partial->path);
    dacm_code code = judge(partial, reterr);
    const int why = code != DACM_OK || flock(partial->fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
    if (why != 0 && why != EWOULDBLOCK)
        code = client__fail_file(reterr, "cannot lock", partial->path);
    if (code != DACM_OK || why != 0 || !still_named(partial))
        let_go(partial);
    return code;
}

dacm_code client__partial_open(client_partial *partial, const char *file, dacm_error *reterr)
{
    client_partial made = {
        .fd = -1, .path = client__path(file, ".part"), .list = client__path(file, ".part.chunks")};
    dacm_code code = DACM_OK;
    if (!made.path || !made.list)
        code = client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for a file name");
    else
        code = take(&made, 0, reterr);
    if (code != DACM_OK || made.fd < 0) {
        client__partial_done(&made);
        return code;
    }
    *partial = made;
    return DACM_OK;
}

dacm_code client__partial_restart(client_partial *partial, rpc_bytes entries, dacm_error *reterr)
{
    if ((unlink(partial->list) != 0 && errno != ENOENT) || unlink(partial->path) != 0)
        return client__fail_file(reterr, "cannot replace", partial->path);
    let_go(partial); /* who reads the old content has opened it for themselves */
    const dacm_code code = take(partial, O_EXCL, reterr);
    if (code != DACM_OK)
        return code;
    if (partial->fd < 0)
        return client__fail(reterr, DACM_LOCAL_FILE,
            "another download took '%.300s'; try again, or choose another file", partial->path);
    return client__write_file(partial->list, entries, reterr);
}

dacm_code client__partial_output(const client_partial *partial, const char *file, uint64_t size,
    client_output *output, dacm_error *reterr)
{
    client_output made = {.fd = fcntl(partial->fd, F_DUPFD_CLOEXEC, 0),
        .path = strdup(file),
        .temporary = strdup(partial->path)};
    dacm_code code = DACM_OK;
    if (!made.path || !made.temporary || size > INT64_MAX)
        code = client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for a file name");
    else if (made.fd < 0 || ftruncate(made.fd, (off_t)size) != 0)
        code = client__fail_file(reterr, "cannot make room for", file);
    if (code != DACM_OK) {
        client__output_done(&made);
        return code;
    }
    *output = made;
    return DACM_OK;
}

void client__partial_remove(const client_partial *partial)
{
    if (partial->fd < 0)
        return;
    unlink(partial->list);
    if (still_named(partial)) /* not so when it became the file */
        unlink(partial->path);
}

void client__partial_done(client_partial *partial)
{
    if (partial->fd >= 0)
        close(partial->fd);
    free(partial->path);
    free(partial->list);
    *partial = (client_partial){.fd = -1};
}
