/* SPDX-License-Identifier: Apache-2.0 */
#include "login.h"

#include "cleanup.h"
#include "pki.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define FILE_BYTES_MAX (1u << 20)

static char *folder(void)
{
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (config && config[0] == '/')
        return pki_text("%s/dacm", config);
    return home && home[0] ? pki_text("%s/.config/dacm", home) : NULL;
}

static dacm_code take_lock(login_file *login, const char *in, dacm_error *reterr)
{
    RPC_AUTOFREE char *path = pki_text("%s/login.lock", in);
    login->lock = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
    while (login->lock >= 0 && flock(login->lock, LOCK_EX) != 0)
        if (errno != EINTR)
            return pki_fail(
                reterr, DACM_LOCAL_FILE, "cannot lock '%.300s': %s", path, strerror(errno));
    return login->lock >= 0 ? DACM_OK
                            : pki_fail(reterr, DACM_LOCAL_FILE, "cannot open '%.300s': %s",
                                  path ? path : "login.lock", strerror(errno));
}

/* NULL with *reterr when it cannot be read; NULL without when it is not there. */
static json_t *read_file(const char *path, dacm_error *reterr)
{
    RPC_AUTOCLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat found;
    reterr->code = DACM_OK;
    if (fd < 0 && errno == ENOENT)
        return NULL;
    if (fd < 0 || fstat(fd, &found) != 0 || !S_ISREG(found.st_mode) ||
        found.st_size > (off_t)FILE_BYTES_MAX) {
        pki_fail(reterr, DACM_LOCAL_FILE, "cannot read '%.300s': %s", path,
            fd < 0 ? strerror(errno) : "it is no file of ours");
        return NULL;
    }
    if ((found.st_mode & 077) != 0 || found.st_uid != geteuid()) {
        pki_fail(reterr, DACM_LOCAL_FILE,
            "others can read the tokens in '%.300s', or it is somebody else's; remove it and log "
            "in again",
            path);
        return NULL;
    }
    json_error_t why;
    json_t *json = json_loadfd(fd, JSON_REJECT_DUPLICATES, &why);
    if (!json_is_object(json)) {
        json_decref(json);
        pki_fail(reterr, DACM_LOCAL_FILE, "'%.300s' is damaged: %.100s; remove it and log in again",
            path, why.text);
        return NULL;
    }
    return json;
}

dacm_code login_open(bool lock, bool create, login_file *ret, dacm_error *reterr)
{
    login_file login = {.lock = -1};
    dacm_error why = {.code = DACM_OK};
    RPC_AUTOFREE char *in = folder();
    login.path = in ? pki_text("%s/login.json", in) : NULL;
    if (!login.path)
        return pki_fail(reterr, DACM_UNAUTHENTICATED,
            "there is no home to keep a login in (HOME, XDG_CONFIG_HOME); give a token");
    if (lock || create)
        pki_make_folder(in, &why);
    if (lock && why.code == DACM_OK)
        take_lock(&login, in, &why);
    if (why.code == DACM_OK)
        login.json = read_file(login.path, &why);
    if (why.code == DACM_OK && !login.json && !create)
        pki_fail(&why, DACM_UNAUTHENTICATED, "nobody is logged in: dacm login");
    if (why.code == DACM_OK) {
        *ret = login;
        return DACM_OK;
    }
    login_close(&login);
    *reterr = why;
    return why.code;
}

dacm_code login_save(const login_file *login, dacm_error *reterr)
{
    char *text = json_dumps(login->json, JSON_INDENT(1));
    if (!text)
        return pki_fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory to keep the login");
    const dacm_code code = pki_write_file(login->path, 0600, text, strlen(text), reterr);
    sodium_memzero(text, strlen(text));
    free(text);
    return code;
}

dacm_code login_remove(const login_file *login, dacm_error *reterr)
{
    if (unlink(login->path) == 0 || errno == ENOENT)
        return DACM_OK;
    return pki_fail(
        reterr, DACM_LOCAL_FILE, "cannot remove '%.300s': %s", login->path, strerror(errno));
}

void login_close(login_file *login)
{
    json_decref(login->json);
    free(login->path);
    if (login->lock >= 0)
        close(login->lock);
    *login = (login_file){.lock = -1};
}

const char *login_text(const login_file *login, const char *name)
{
    const char *text = json_string_value(json_object_get(login->json, name));
    return text && text[0] ? text : NULL;
}

http_peer login_peer(const login_file *login)
{
    return (http_peer){.ca_file = login_text(login, "ca_file"),
        .certificate_file = login_text(login, "certificate_file"),
        .key_file = login_text(login, "key_file")};
}
