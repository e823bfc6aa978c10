/* SPDX-License-Identifier: Apache-2.0 */
#include "client_internal.h"
#include "cleanup.h"
#include "keyserver.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <string.h>

#define READ_BYTES    (256u << 10)
#define JWS_BYTES_MAX 65536u

typedef EVP_MD_CTX *md;
RPC_DEFINE_FREEP(md_freep, md, EVP_MD_CTX_free)
RPC_DEFINE_FREEP(keys_freep, client_keys *, client__keys_free)

static dacm_code hash_file(
    const char *path, uint64_t *ret_size, uint8_t ret_digest[32], dacm_error *reterr)
{
    RPC_AUTOCLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return client__fail_file(reterr, "cannot open", path);
    RPC_AUTOFREE uint8_t *data = malloc(READ_BYTES);
    RPC_CLEANUP(md_freep) md digest = EVP_MD_CTX_new();
    if (!data || !digest || EVP_DigestInit_ex(digest, EVP_sha256(), NULL) != 1)
        return client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory to read a file");
    uint64_t size = 0;
    for (;;) {
        const ssize_t got = read(fd, data, READ_BYTES);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return client__fail_file(reterr, "cannot read", path);
        if (got == 0)
            break;
        EVP_DigestUpdate(digest, data, (size_t)got);
        size += (uint64_t)got;
    }
    EVP_DigestFinal_ex(digest, ret_digest, NULL);
    *ret_size = size;
    return DACM_OK;
}

/* What is kept counts whether or not something newer can be had; who wants to know is told. */
static void refresh(const dacm_verify_options *options, const char *issuer, dacm_error *ret_failure)
{
    dacm_trust_change change;
    client_speaker speaker;
    *ret_failure = (dacm_error){.code = DACM_OK};
    if (!options->server || client__speaker(options->trust, issuer, &speaker, NULL) != DACM_OK ||
        (!options->server->address && !speaker.address[0]))
        return;
    const dacm_code code = dacm_trust_fetch(
        options->trust, options->server, issuer, DACM_KEYS_FOR_MANIFESTS, &change, ret_failure);
    ret_failure->code = code;
}

/* The keys of a file, or those of whom the manifest says it is of. */
static dacm_code load_keys(const dacm_verify_options *options, rpc_bytes jws, client_keys **ret,
    dacm_verify_result *result, dacm_error *reterr)
{
    char issuer[256];
    if (options->keys_file && options->trust)
        return client__fail(reterr, DACM_INVALID_ARGUMENT,
            "a file of keys and a folder of pinned roots were given; give one of them");
    if (options->keys_file)
        return client__keys_load(options->keys_file, ret, reterr);
    if (!options->trust)
        return DACM_OK;
    const dacm_code code = client__manifest_issuer(jws, issuer, reterr);
    if (code != DACM_OK)
        return code;
    refresh(options, issuer, &result->keys_failure);
    return client__keys_trusted(
        options->trust, issuer, options->take_expired_keys, ret, &result->keys_expired, reterr);
}

static dacm_code read_jws(
    const dacm_verify_options *options, char **ret, size_t *ret_size, dacm_error *reterr)
{
    RPC_AUTOFREE char *beside = client__path(options->file, ".jws");
    if (!beside)
        return client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for a file name");
    const char *jws_file = options->jws_file ? options->jws_file : beside;
    if (access(options->file, F_OK) != 0)
        return client__fail_file(reterr, "cannot open", options->file);
    if (access(jws_file, F_OK) != 0)
        return client__fail(reterr, DACM_LOCAL_FILE,
            "there is no manifest '%.300s'; a download leaves it beside the file, name another "
            "(jws_file, --jws)",
            jws_file);
    return client__read_file(jws_file, JWS_BYTES_MAX, ret, ret_size, reterr);
}

static dacm_code read_manifest(const dacm_verify_options *options, client_manifest *ret,
    dacm_verify_result *result, dacm_error *reterr)
{
    RPC_AUTOFREE char *text = NULL;
    RPC_CLEANUP(keys_freep) client_keys *keys = NULL;
    const rpc_clock *clock = options->clock ? options->clock : rpc_clock_system();
    size_t size = 0;
    dacm_code code = read_jws(options, &text, &size, reterr);
    if (code != DACM_OK)
        return code;
    while (size > 0 && (text[size - 1] == '\n' || text[size - 1] == '\r'))
        size--;
    code = load_keys(options, rpc_bytes_of(text, size), &keys, result, reterr);
    if (code != DACM_OK)
        return code;
    return client__manifest_read(keys, options->issuer, DACM_VERIFY_ALWAYS,
        rpc_bytes_of(text, size), rpc_clock_wall_ms(clock) / 1000, ret, reterr);
}

static dacm_code compare(const char *file, const client_manifest *manifest, dacm_error *reterr)
{
    uint64_t size = 0;
    uint8_t digest[32];
    const dacm_code code = hash_file(file, &size, digest, reterr);
    if (code != DACM_OK)
        return code;
    if (size != manifest->said.size)
        return client__fail(reterr, DACM_BAD_SIGNATURE,
            "'%.300s' has %" PRIu64 " bytes, the manifest signs %" PRIu64, file, size,
            manifest->said.size);
    if (memcmp(digest, manifest->said.sha256, sizeof digest) != 0)
        return client__fail(
            reterr, DACM_BAD_SIGNATURE, "'%.300s' is not the file that the manifest signs", file);
    return DACM_OK;
}

dacm_code dacm_verify_file(
    const dacm_verify_options *options, dacm_verify_result *ret, dacm_error *reterr)
{
    client_manifest manifest = {.jws = NULL};
    dacm_verify_result result = {.keys_expired = false};
    dacm_code code = read_manifest(options, &manifest, &result, reterr);
    if (code != DACM_OK)
        return code;
    code = compare(options->file, &manifest, reterr);
    if (code == DACM_OK && options->fresh && manifest.expired)
        code = client__fail(reterr, DACM_FAILED_PRECONDITION,
            "the signature is valid but the manifest has expired; download it again");
    if (code == DACM_OK) {
        result.manifest = manifest.said;
        result.expired = manifest.expired;
        *ret = result;
    }
    client__manifest_done(&manifest);
    return code;
}
