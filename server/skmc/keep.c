/* SPDX-License-Identifier: Apache-2.0 */
/* The folder: what is kept is one file, written beside, synced and renamed, so that a process that
 * is killed leaves the old one or the new one. */
#include "skmc_internal.h"

#include "cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_NAME      "kept.json"
#define FILE_NEW       "kept.json.new"
#define FORMAT         1
#define FILE_BYTES_MAX (16u << 20)

/* ---- the folder -------------------------------------------------------------------------------
 */

/* *ret is open when it is OK. */
static rpc_code open_own(const char *path, int *ret, rpc_status *reterr)
{
    struct stat found;
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
            "'skms.directory': '%.200s' cannot be opened (%s); make it, of mode 0700, for this "
            "user",
            path, strerror(errno));
    if (fstat(fd, &found) != 0 || found.st_uid != geteuid() || (found.st_mode & 077) != 0) {
        close(fd);
        return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
            "'skms.directory': others may look into '%.200s', or own it; chown it to this user and "
            "chmod it to 0700",
            path);
    }
    *ret = fd;
    return RPC_OK;
}

rpc_code skmc__folder_check(const char *path, rpc_status *reterr)
{
    RPC_AUTOCLOSE int fd = -1;
    return open_own(path, &fd, reterr);
}

rpc_code skmc__folder_open(const char *path, skmc__folder *ret, rpc_status *reterr)
{
    int fd = -1;
    rpc_code code = open_own(path, &fd, reterr);
    if (code != RPC_OK)
        return code;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        code = rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
            "'skms.directory': '%.200s' is in use by another server; give each its own", path);
    char *copy = code == RPC_OK ? strdup(path) : NULL;
    if (code == RPC_OK && !copy)
        code = skmc__no_memory(reterr);
    if (code != RPC_OK) {
        close(fd);
        return code;
    }
    *ret = (skmc__folder){.path = copy, .fd = fd};
    return RPC_OK;
}

void skmc__folder_close(skmc__folder *folder)
{
    if (folder->path)
        close(folder->fd);
    free(folder->path);
    folder->path = NULL;
}

/* ---- what is kept -----------------------------------------------------------------------------
 */

static json_t *empty(void)
{
    return json_pack("{s:i, s:[]}", "format", FORMAT, "sealed");
}

static bool has_text(const json_t *object, const char *name)
{
    return json_string_length(json_object_get(object, name)) > 0;
}

static bool is_sealed(const json_t *sealed)
{
    return has_text(sealed, "kid") && has_text(sealed, "jwk");
}

static bool is_kept(const json_t *kept)
{
    const json_t *sealed = json_object_get(kept, "sealed"), *service;
    bool good = json_integer_value(json_object_get(kept, "format")) == FORMAT &&
                json_is_array(sealed);
    for (size_t i = 0; good && i < json_array_size(sealed); i++)
        good = is_sealed(json_array_get(sealed, i));
    service = json_object_get(kept, "val_service");
    return good && (!service || json_is_string(service));
}

rpc_code skmc__kept_read(const skmc__folder *folder, json_t **ret, rpc_status *reterr)
{
    RPC_AUTOCLOSE int fd = openat(folder->fd, FILE_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT) {
        *ret = empty();
        return *ret ? RPC_OK : skmc__no_memory(reterr);
    }
    struct stat found = {0};
    RPC_AUTOFREE char *text = NULL;
    ssize_t size = -1;
    if (fd >= 0 && fstat(fd, &found) == 0 && found.st_size <= (off_t)FILE_BYTES_MAX)
        text = malloc((size_t)found.st_size + 1);
    if (text)
        size = read(fd, text, (size_t)found.st_size);
    json_t *kept = size == found.st_size && size > 0
                       ? trust_json_parse(
                             rpc_bytes_of(text, (size_t)size), FILE_BYTES_MAX, "what is kept", NULL)
                       : NULL;
    if (kept && is_kept(kept)) {
        *ret = kept;
        return RPC_OK;
    }
    json_decref(kept);
    return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
        "'skms.directory': %s/" FILE_NAME
        " cannot be read or is damaged; restore it, or remove it and "
        "enrol again with a new token",
        folder->path);
}

static bool write_all(int fd, const char *text, size_t size)
{
    while (size > 0) {
        const ssize_t written = write(fd, text, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        text += written;
        size -= (size_t)written;
    }
    return fsync(fd) == 0;
}

static bool write_file(int folder, const char *name, const char *text, size_t size)
{
    RPC_AUTOCLOSE int fd = openat(
        folder, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    return fd >= 0 && write_all(fd, text, size);
}

rpc_code skmc__kept_write(const skmc__folder *folder, const json_t *kept, rpc_status *reterr)
{
    RPC_AUTOFREE char *text = json_dumps(kept, JSON_INDENT(1) | JSON_SORT_KEYS);
    if (!text)
        return skmc__no_memory(reterr);
    if (write_file(folder->fd, FILE_NEW, text, strlen(text)) &&
        renameat(folder->fd, FILE_NEW, folder->fd, FILE_NAME) == 0 && fsync(folder->fd) == 0)
        return RPC_OK;
    return rpc_status_set(reterr, RPC_UNAVAILABLE, "%s/" FILE_NAME " cannot be written: %s",
        folder->path, strerror(errno));
}

/* ---- the sealing key --------------------------------------------------------------------------
 */

static rpc_code read_sealing(const char *path, skmc__sealing *sealing, rpc_status *reterr)
{
    char *text = NULL;
    size_t size = 0, decoded = 0;
    rpc_code code = program_key_file_read(
        "skms.sealing_key_file", path, SKMC__TOKEN_BYTES_MAX, &text, &size, reterr);
    if (code != RPC_OK)
        return code;
    if (sodium_base642bin(sealing->secret_key, crypto_box_SECRETKEYBYTES, text, size, "\r\n \t",
            &decoded, NULL, sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
        decoded != crypto_box_SECRETKEYBYTES ||
        crypto_scalarmult_base(sealing->public_key, sealing->secret_key) != 0)
        code = rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
            "'skms.sealing_key_file': '%.200s' is no sealing key (43 characters of base64url); "
            "restore it, or remove it and enrol again with a new token",
            path);
    program_file_done(text, size);
    return code;
}

/* Durable before anything is sealed to it. O_EXCL: none is ever written over. */
static rpc_code make_sealing(const char *path, skmc__sealing *sealing, rpc_status *reterr)
{
    char text[64];
    crypto_box_keypair(sealing->public_key, sealing->secret_key);
    sodium_bin2base64(text, sizeof text, sealing->secret_key, crypto_box_SECRETKEYBYTES,
        sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    RPC_AUTOCLOSE int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    const bool ok = fd >= 0 && write_all(fd, text, strlen(text));
    const int why = errno;
    sodium_memzero(text, sizeof text);
    if (!ok && fd >= 0)
        unlink(path);
    return ok ? RPC_OK
              : rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
                    "'skms.sealing_key_file': '%.200s' cannot be written: %s", path, strerror(why));
}

rpc_code skmc__sealing_open(const char *path, bool make, skmc__sealing *ret, rpc_status *reterr)
{
    skmc__sealing sealing = {.secret_key = NULL};
    if (sodium_init() < 0 || !(sealing.secret_key = sodium_malloc(crypto_box_SECRETKEYBYTES)))
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
            "no locked memory for the sealing key; raise the limit (ulimit -l)");
    rpc_code code = access(path, F_OK) != 0 && errno == ENOENT
                        ? make
                              ? make_sealing(path, &sealing, reterr)
                              : rpc_status_set(reterr, RPC_NOT_FOUND, "'%.200s' is not there", path)
                        : read_sealing(path, &sealing, reterr);
    if (code == RPC_OK)
        *ret = sealing;
    else
        skmc__sealing_done(&sealing);
    return code;
}

void skmc__sealing_done(skmc__sealing *sealing)
{
    sodium_free(sealing->secret_key);
    sealing->secret_key = NULL;
}

/* ---- opening ----------------------------------------------------------------------------------
 */

/* The value of the string member `name` of a flat JSON object without escapes, which is what the
 * SKM-S seals: a JSON library would leave copies of the secret in memory that is not ours. */
static rpc_bytes find_member(rpc_bytes text, const char *name)
{
    const size_t length = strlen(name);
    bool key = true; /* the string that comes next is a name */
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '\\')
            return (rpc_bytes){NULL, 0};
        if (text.data[i] == ',' || text.data[i] == ':')
            key = text.data[i] == ',';
        if (text.data[i] != '"')
            continue;
        const uint8_t *from = text.data + i + 1;
        const uint8_t *to = memchr(from, '"', text.size - i - 1);
        if (!to)
            break;
        const bool found = key && (size_t)(to - from) == length && memcmp(from, name, length) == 0;
        i = (size_t)(to - text.data);
        if (!found)
            continue;
        if (i + 3 >= text.size || text.data[i + 1] != ':' || text.data[i + 2] != '"')
            break;
        from = text.data + i + 3;
        to = memchr(from, '"', text.size - i - 3);
        return to ? rpc_bytes_of(from, (size_t)(to - from)) : (rpc_bytes){NULL, 0};
    }
    return (rpc_bytes){NULL, 0};
}

rpc_code skmc__unseal(
    const skmc__sealing *sealing, rpc_bytes sealed, uint8_t **ret, rpc_status *reterr)
{
    if (sealed.size <= crypto_box_SEALBYTES || sealed.size > SKMC__SEALED_BYTES)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "a sealed key of %zu bytes", sealed.size);
    const size_t size = sealed.size - crypto_box_SEALBYTES;
    uint8_t *jwk = sodium_malloc(size), *seed = sodium_malloc(SKMC__SEED_BYTES);
    size_t decoded = 0;
    rpc_code code = RPC_OK;
    if (!jwk || !seed)
        code = rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
            "no locked memory for a private key; raise the limit (ulimit -l)");
    else if (crypto_box_seal_open(
                 jwk, sealed.data, sealed.size, sealing->public_key, sealing->secret_key) != 0)
        code = rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "the key is not sealed to the sealing key that is here");
    else {
        const rpc_bytes d = find_member(rpc_bytes_of(jwk, size), "d");
        if (sodium_base642bin(seed, SKMC__SEED_BYTES, (const char *)d.data, d.size, NULL, &decoded,
                NULL, sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
            decoded != SKMC__SEED_BYTES)
            code = rpc_status_set(
                reterr, RPC_INVALID_ARGUMENT, "what was sealed is no private JWK");
    }
    sodium_free(jwk);
    if (code == RPC_OK)
        *ret = seed;
    else
        sodium_free(seed);
    return code;
}
