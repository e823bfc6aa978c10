/* SPDX-License-Identifier: Apache-2.0 */
#include "cleanup.h"
#include "pki.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

dacm_code pki_fail(dacm_error *error, dacm_code code, const char *format, ...)
{
    va_list arguments;
    *error = (dacm_error){.code = code};
    va_start(arguments, format);
    vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    return code;
}

char *pki_text(const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    const int size = vasprintf(&text, format, arguments);
    va_end(arguments);
    return size < 0 ? NULL : text;
}

/* In /tmp anybody may have made it first. */
static dacm_code check_own(const char *folder, dacm_error *reterr)
{
    struct stat st;
    if (stat(folder, &st) != 0)
        return pki_fail(reterr, DACM_LOCAL_FILE, "cannot look at the folder '%.300s': %s", folder,
            strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return pki_fail(reterr, DACM_LOCAL_FILE, "'%.300s' is no folder", folder);
    if (st.st_uid == geteuid() && !(st.st_mode & S_IWOTH))
        return DACM_OK;
    return pki_fail(reterr, DACM_LOCAL_FILE,
        "'%.300s' belongs to somebody else or can be written by everybody, and keys would lie in "
        "it; name a folder of your own",
        folder);
}

dacm_code pki_make_folder(const char *folder, dacm_error *reterr)
{
    RPC_AUTOFREE char *path = strdup(folder);
    if (!path || !path[0])
        return pki_fail(reterr, DACM_INVALID_ARGUMENT, "no folder was named");
    for (char *at = path + 1;; at++) {
        const char saved = *at;
        if (saved != '/' && saved)
            continue;
        *at = 0;
        if (mkdir(path, 0700) != 0 && errno != EEXIST)
            return pki_fail(reterr, DACM_LOCAL_FILE, "cannot create the folder '%.300s': %s", path,
                strerror(errno));
        *at = saved;
        if (!saved)
            return check_own(path, reterr);
    }
}

static bool write_all(int fd, const uint8_t *data, size_t size)
{
    while (size > 0) {
        const ssize_t put = write(fd, data, size);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return false;
        data += put;
        size -= (size_t)put;
    }
    return true;
}

dacm_code pki_check_output(const char *path, dacm_error *reterr)
{
    struct stat st;
    if (stat(path, &st) != 0 || S_ISREG(st.st_mode))
        return DACM_OK;
    return pki_fail(reterr, DACM_LOCAL_FILE,
        "'%.300s' is %s, and what is written takes the place of what is there; name another", path,
        S_ISDIR(st.st_mode) ? "a folder" : "not a regular file");
}

dacm_code pki_write_file(
    const char *path, unsigned mode, const void *data, size_t size, dacm_error *reterr)
{
    const dacm_code code = pki_check_output(path, reterr);
    if (code != DACM_OK)
        return code;
    RPC_AUTOFREE char *beside = pki_text("%s.XXXXXX", path);
    if (!beside)
        return pki_fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for a file name");
    RPC_AUTOCLOSE int fd = mkostemp(beside, O_CLOEXEC);
    if (fd < 0)
        return pki_fail(
            reterr, DACM_LOCAL_FILE, "cannot create '%.300s': %s", path, strerror(errno));
    if (fchmod(fd, (mode_t)mode) == 0 && write_all(fd, data, size) && fsync(fd) == 0 &&
        rename(beside, path) == 0)
        return DACM_OK;
    const int why = errno;
    unlink(beside);
    return pki_fail(reterr, DACM_LOCAL_FILE, "cannot write '%.300s': %s", path, strerror(why));
}
