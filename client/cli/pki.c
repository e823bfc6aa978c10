/* SPDX-License-Identifier: Apache-2.0 */
/* Authority, certificates and signing keys as files. What is there is kept: a second run changes
 * nothing, and nothing that is in use is ever overwritten. */
#include "pki.h"

#include "cleanup.h"
#include "trust.h"
#include <pki.h> /* trust's: in quotes it would be our own */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define CA_DAYS        3650
#define LEAF_DAYS      825 /* what browsers and phones take at most */
#define FILE_BYTES_MAX TRUST_JWKS_BYTES_MAX

_Static_assert(FILE_BYTES_MAX >= TRUST_CERTIFICATE_PEM_BYTES_MAX, "certificates are read as well");

/** A private and a public file that belong together. */
typedef struct file_pair {
    char *private_path, *public_path;
    bool has_private, has_public;
} file_pair;

static void file_pair_done(file_pair *pair)
{
    free(pair->private_path);
    free(pair->public_path);
}

/* The compiler may not leave this out. */
static void wipe(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

RPC_DEFINE_FREEP(wipep, char *, wipe)
RPC_DEFINE_FREEP(signer_freep, trust_signer *, trust_signer_free)

static dacm_code no_memory(dacm_error *reterr)
{
    return pki_fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for keys and certificates");
}

static dacm_code fail_status(const rpc_status *status, dacm_error *reterr)
{
    return pki_fail(reterr, (dacm_code)status->code, "%s", status->message);
}

/* ---- files -------------------------------------------------------------------------------- */

/* A link that leads nowhere is there as well: nothing is written through it. */
static bool exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

static dacm_code file_pair_init(file_pair *pair, const char *folder, const char *name,
    const char *private_end, const char *public_end, dacm_error *reterr)
{
    pair->private_path = pki_text("%s/%s%s", folder, name, private_end);
    pair->public_path = pki_text("%s/%s%s", folder, name, public_end);
    if (!pair->private_path || !pair->public_path)
        return no_memory(reterr);
    pair->has_private = exists(pair->private_path);
    pair->has_public = exists(pair->public_path);
    return DACM_OK;
}

static dacm_code fail_half(const char *there, const char *missing, dacm_error *reterr)
{
    return pki_fail(reterr, DACM_FAILED_PRECONDITION,
        "'%.200s' is there without '%.200s'; put the other back, or remove it to make both anew",
        there, missing);
}

static dacm_code check_whole(const file_pair *pair, dacm_error *reterr)
{
    if (pair->has_private == pair->has_public)
        return DACM_OK;
    return pair->has_private ? fail_half(pair->private_path, pair->public_path, reterr)
                             : fail_half(pair->public_path, pair->private_path, reterr);
}

static dacm_code fail_read(const char *path, const char *why, dacm_error *reterr)
{
    return pki_fail(reterr, DACM_LOCAL_FILE, "cannot read '%.300s': %s", path, why);
}

/* fread would leave a copy of a key in its buffer. */
static ssize_t read_up_to(int fd, char *data, size_t room)
{
    size_t size = 0;
    while (size < room) {
        const ssize_t got = read(fd, data + size, room - size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        size += (size_t)got;
    }
    return (ssize_t)size;
}

/* *ret is NUL-terminated; wipe() it. */
static dacm_code read_text(const char *path, char **ret, dacm_error *reterr)
{
    RPC_AUTOCLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0)
        return fail_read(path, strerror(errno), reterr);
    if (!S_ISREG(st.st_mode))
        return fail_read(path, "it is no regular file", reterr);
    char *text = calloc(1, FILE_BYTES_MAX + 2);
    if (!text)
        return no_memory(reterr);
    const ssize_t size = read_up_to(fd, text, FILE_BYTES_MAX + 1);
    const char *fault = size < 0                                ? strerror(errno)
                        : size > (ssize_t)FILE_BYTES_MAX        ? "it is larger than 256 KiB"
                        : memchr(text, 0, (size_t)size) != NULL ? "it is no text"
                                                                : NULL;
    if (!fault) {
        *ret = text;
        return DACM_OK;
    }
    const dacm_code code = fail_read(path, fault, reterr);
    explicit_bzero(text, FILE_BYTES_MAX + 2);
    free(text);
    return code;
}

/* The private half first: a public one that is there has its private one. */
static dacm_code write_pair(
    const file_pair *pair, const char *private_text, const char *public_text, dacm_error *reterr)
{
    const dacm_code code = pki_write_file(
        pair->private_path, 0600, private_text, strlen(private_text), reterr);
    return code != DACM_OK
               ? code
               : pki_write_file(pair->public_path, 0644, public_text, strlen(public_text), reterr);
}

/* ---- certificates ---------------------------------------------------------------------------- */

static dacm_code write_certificate(
    const file_pair *pair, const trust_certificate *certificate, dacm_error *reterr)
{
    return write_pair(pair, certificate->key_pem, certificate->certificate_pem, reterr);
}

dacm_code pki_make_ca(const char *folder, const char *name, dacm_error *reterr)
{
    RPC_CLEANUP(file_pair_done) file_pair pair = {.private_path = NULL};
    dacm_code code = file_pair_init(&pair, folder, "ca", ".key", ".crt", reterr);
    if (code == DACM_OK)
        code = check_whole(&pair, reterr);
    if (code != DACM_OK || pair.has_private)
        return code;
    RPC_CLEANUP(trust_certificate_done) trust_certificate ca = {NULL, NULL};
    rpc_status status;
    if (trust_ca_make(name, CA_DAYS, &ca, &status) != RPC_OK)
        return fail_status(&status, reterr);
    return write_certificate(&pair, &ca, reterr);
}

static dacm_code issue(
    const char *folder, const pki_names *names, const file_pair *pair, dacm_error *reterr)
{
    RPC_CLEANUP(file_pair_done) file_pair ca = {.private_path = NULL};
    dacm_code code = file_pair_init(&ca, folder, "ca", ".key", ".crt", reterr);
    RPC_CLEANUP(wipep) char *ca_key = NULL;
    RPC_AUTOFREE char *ca_certificate = NULL;
    if (code == DACM_OK)
        code = read_text(ca.public_path, &ca_certificate, reterr);
    if (code == DACM_OK)
        code = read_text(ca.private_path, &ca_key, reterr);
    if (code != DACM_OK)
        return code;
    const trust_certificate_names leaf_names = {
        names->common_name, names->dns, names->ips, names->uris};
    RPC_CLEANUP(trust_certificate_done) trust_certificate leaf = {NULL, NULL};
    rpc_status status;
    if (trust_certificate_issue(ca_certificate, ca_key, &leaf_names, LEAF_DAYS, &leaf, &status) !=
        RPC_OK)
        return fail_status(&status, reterr);
    return write_certificate(pair, &leaf, reterr);
}

dacm_code pki_issue(
    const char *folder, const char *name, const pki_names *names, dacm_error *reterr)
{
    RPC_CLEANUP(file_pair_done) file_pair pair = {.private_path = NULL};
    dacm_code code = file_pair_init(&pair, folder, name, ".key", ".crt", reterr);
    if (code == DACM_OK)
        code = check_whole(&pair, reterr);
    if (code != DACM_OK || pair.has_private)
        return code;
    return issue(folder, names, &pair, reterr);
}

/* ---- signing keys ------------------------------------------------------------------------------
 */

static dacm_code open_signer(
    const file_pair *pair, trust_purpose purpose, trust_signer **ret, dacm_error *reterr)
{
    rpc_status status;
    if (!pair->has_private)
        return trust_signer_generate(purpose, ret, &status) == RPC_OK
                   ? DACM_OK
                   : fail_status(&status, reterr);
    RPC_CLEANUP(wipep) char *text = NULL;
    const dacm_code code = read_text(pair->private_path, &text, reterr);
    if (code != DACM_OK)
        return code;
    return trust_signer_parse(rpc_bytes_str(text), purpose, ret, &status) == RPC_OK
               ? DACM_OK
               : fail_status(&status, reterr);
}

static dacm_code write_keys(const file_pair *pair, const trust_signer *signer, dacm_error *reterr)
{
    RPC_AUTOFREE char *public_text = trust_signer_public_jwks(signer);
    if (!public_text)
        return no_memory(reterr);
    if (pair->has_private)
        return pki_write_file(pair->public_path, 0644, public_text, strlen(public_text), reterr);
    RPC_CLEANUP(wipep) char *private_text = trust_signer_private_jwks(signer);
    if (!private_text)
        return no_memory(reterr);
    return write_pair(pair, private_text, public_text, reterr);
}

/** Keys that are kept are what the caller wants; a set without `dacm_purpose` may be anything. */
static dacm_code check_purpose(const file_pair *pair, pki_key_purpose purpose, dacm_error *reterr)
{
    static const char *const names[] = {
        [PKI_KEY_TOKEN] = "token", [PKI_KEY_MANIFEST] = "manifest", [PKI_KEY_CLIENT] = "client"};
    RPC_CLEANUP(wipep) char *text = NULL;
    const dacm_code code = read_text(pair->public_path, &text, reterr);
    if (code != DACM_OK)
        return code;
    json_t *set = json_loads(text, 0, NULL);
    const char *other = NULL;
    size_t at;
    const json_t *jwk;
    json_array_foreach(json_object_get(set, "keys"), at, jwk)
    {
        const char *is = json_string_value(json_object_get(jwk, "dacm_purpose"));
        if (is && strcmp(is, names[purpose]) != 0)
            other = is;
    }
    dacm_code verdict = DACM_OK;
    if (other)
        verdict = pki_fail(reterr, DACM_ALREADY_EXISTS,
            "'%.300s' is there already and holds a key for '%.40s', not '%s': take another name",
            pair->public_path, other, names[purpose]);
    json_decref(set);
    return verdict;
}

dacm_code pki_make_keys(
    const char *folder, const char *name, pki_key_purpose purpose, dacm_error *reterr)
{
    RPC_CLEANUP(file_pair_done) file_pair pair = {.private_path = NULL};
    dacm_code code = file_pair_init(&pair, folder, name, ".jwks", ".pub.jwks", reterr);
    if (code != DACM_OK)
        return code;
    if (pair.has_private && pair.has_public)
        return check_purpose(&pair, purpose, reterr);
    /* A public set follows from the private one, but not the other way round. */
    if (pair.has_public)
        return fail_half(pair.public_path, pair.private_path, reterr);
    static const trust_purpose purposes[] = {[PKI_KEY_TOKEN] = TRUST_FOR_TOKENS,
        [PKI_KEY_MANIFEST] = TRUST_FOR_MANIFESTS,
        [PKI_KEY_CLIENT] = TRUST_FOR_CLIENTS,
        [PKI_KEY_AUDIT] = TRUST_FOR_AUDIT};
    RPC_CLEANUP(signer_freep) trust_signer *signer = NULL;
    code = open_signer(&pair, purposes[purpose], &signer, reterr);
    return code == DACM_OK ? write_keys(&pair, signer, reterr) : code;
}
