/* SPDX-License-Identifier: Apache-2.0 */
/* The one secret of the state, in a file of its own beside the store: a stolen copy of the store
 * holds no code, refresh token or cookie that anybody could use. */
#include "state_internal.h"

#include "cleanup.h"
#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define CONTEXT   "simstate"
#define RAW_BYTES (SIM__ID_BYTES + 4u + SIM__MAC_BYTES)

static const char *const prefixes[SIM__USES] = {
    [SIM__CODE] = "dc_", [SIM__REFRESH] = "dr_", [SIM__COOKIE] = "ds_"};
#define PREFIX_CHARS 3u
_Static_assert(PREFIX_CHARS + (RAW_BYTES * 4 + 2) / 3 < SIM_CODE_MAX, "a token fits");

/* ---- the file ----------------------------------------------------------------------------------
 */

static rpc_code cannot(const char *what, const char *path, rpc_status *reterr)
{
    return rpc_status_set(reterr, errno == ENOSPC ? RPC_RESOURCE_EXHAUSTED : RPC_UNAVAILABLE,
        "cannot %s '%.200s': %s", what, path, strerror(errno));
}

/* A crash leaves no half of a secret: the file gets its name when all of it is on the disk. */
static rpc_code write_secret(
    const char *directory, const char *path, const uint8_t *secret, rpc_status *reterr)
{
    char next[1100];
    snprintf(next, sizeof next, "%s.new", path);
    if (unlink(next) != 0 && errno != ENOENT)
        return cannot("remove", next, reterr);
    RPC_AUTOCLOSE int fd = open(next, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return cannot("make", next, reterr);
    if (write(fd, secret, crypto_kdf_KEYBYTES) != crypto_kdf_KEYBYTES || fsync(fd) != 0)
        return cannot("write", next, reterr);
    RPC_AUTOCLOSE int folder = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return cannot("open", directory, reterr);
    if (rename(next, path) != 0 || fsync(folder) != 0)
        return cannot("make", path, reterr);
    return RPC_OK;
}

static rpc_code load(const char *directory, uint8_t *ret_secret, rpc_status *reterr)
{
    char path[1024], *content = NULL;
    size_t size = 0;
    if ((size_t)snprintf(path, sizeof path, "%s/secret", directory) >= sizeof path)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "state: the directory's name is longer "
            "than 1,000 bytes");
    rpc_code code = program_key_file_read("secret", path, 4096, &content, &size, reterr);
    if (code == RPC_NOT_FOUND) {
        crypto_kdf_keygen(ret_secret);
        return write_secret(directory, path, ret_secret, reterr);
    }
    if (code == RPC_OK && size != crypto_kdf_KEYBYTES)
        code = rpc_status_set(reterr, RPC_DATA_LOSS,
            "'%.200s' has %zu bytes instead of %u; restore it, or remove it: then everybody must "
            "log in again",
            path, size, (unsigned)crypto_kdf_KEYBYTES);
    if (code == RPC_OK)
        memcpy(ret_secret, content, crypto_kdf_KEYBYTES);
    program_file_done(content, size);
    return code;
}

rpc_code sim__keys_open(const char *directory, sim__keys **ret, rpc_status *reterr)
{
    sim__keys *keys = sodium_malloc(sizeof *keys);
    if (!keys)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
            "state: no locked memory for keys; raise the limit of locked memory");
    rpc_code code = load(directory, keys->secret, reterr);
    if (code != RPC_OK) {
        sodium_free(keys);
        return code;
    }
    for (uint64_t use = 0; use < SIM__USES; use++)
        crypto_kdf_derive_from_key(
            keys->use[use], sizeof keys->use[use], use + 1, CONTEXT, keys->secret);
    crypto_kdf_derive_from_key(keys->id, sizeof keys->id, SIM__USES + 2, CONTEXT, keys->secret);
    crypto_kdf_derive_from_key(keys->form, sizeof keys->form, SIM__USES + 1, CONTEXT, keys->secret);
    *ret = keys;
    return RPC_OK;
}

void sim__keys_close(sim__keys *keys)
{
    sodium_free(keys);
}

/* ---- codes, refresh tokens, cookies
 * -------------------------------------------------------------- */

static void put_u32(uint8_t *out, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(value >> (24 - 8 * i));
}

static void mac_of(
    const sim__keys *keys, sim__use use, const uint8_t *raw, uint8_t ret[SIM__MAC_BYTES])
{
    crypto_generichash(ret, SIM__MAC_BYTES, raw, RAW_BYTES - SIM__MAC_BYTES, keys->use[use],
        sizeof keys->use[use]);
}

void sim__token_make(const sim__keys *keys, sim__use use, const uint8_t id[SIM__ID_BYTES],
    uint32_t generation, char ret[SIM_CODE_MAX])
{
    uint8_t raw[RAW_BYTES];
    memcpy(raw, id, SIM__ID_BYTES);
    put_u32(raw + SIM__ID_BYTES, generation);
    mac_of(keys, use, raw, raw + RAW_BYTES - SIM__MAC_BYTES);
    memcpy(ret, prefixes[use], PREFIX_CHARS);
    sodium_bin2base64(ret + PREFIX_CHARS, SIM_CODE_MAX - PREFIX_CHARS, raw, sizeof raw,
        sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    sodium_memzero(raw, sizeof raw);
}

bool sim__token_read(const sim__keys *keys, sim__use use, const char *text,
    uint8_t ret_id[SIM__ID_BYTES], uint32_t *ret_generation)
{
    uint8_t raw[RAW_BYTES], mac[SIM__MAC_BYTES];
    size_t chars = strnlen(text, SIM_CODE_MAX), size = 0;
    const char *end = NULL;
    if (chars == SIM_CODE_MAX || strncmp(text, prefixes[use], PREFIX_CHARS) != 0)
        return false;
    if (rpc_printable_run(rpc_bytes_of(text, chars)) != chars) /* libsodium takes DF for '_' */
        return false;
    if (sodium_base642bin(raw, sizeof raw, text + PREFIX_CHARS, chars - PREFIX_CHARS, NULL, &size,
            &end, sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
        size != sizeof raw || end != text + chars)
        return false;
    mac_of(keys, use, raw, mac);
    bool ours = sodium_memcmp(mac, raw + RAW_BYTES - SIM__MAC_BYTES, SIM__MAC_BYTES) == 0;
    if (ours) {
        memcpy(ret_id, raw, SIM__ID_BYTES);
        const uint8_t *g = raw + SIM__ID_BYTES;
        *ret_generation = (uint32_t)g[0] << 24 | (uint32_t)g[1] << 16 | (uint32_t)g[2] << 8 | g[3];
    }
    sodium_memzero(raw, sizeof raw);
    sodium_memzero(mac, sizeof mac);
    return ours;
}

void sim__mac(const sim__keys *keys, const char *use, rpc_bytes text, uint8_t ret[SIM__MAC_BYTES])
{
    uint8_t key[crypto_generichash_KEYBYTES];
    crypto_generichash(
        key, sizeof key, (const uint8_t *)use, strlen(use), keys->form, sizeof keys->form);
    crypto_generichash(ret, SIM__MAC_BYTES, text.data, text.size, key, sizeof key);
    sodium_memzero(key, sizeof key);
}

void sim_state_mac(sim_state *state, const char *use, rpc_bytes text, char ret[44])
{
    uint8_t mac[SIM__MAC_BYTES];
    sim__mac(state->keys, use, text, mac);
    sodium_bin2base64(ret, 44, mac, sizeof mac, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}
