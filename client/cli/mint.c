/* SPDX-License-Identifier: Apache-2.0 */
/* Access tokens with a key at hand, by the one mint of the suite (trust/). */
#include "cleanup.h"
#include "cli.h"
#include "trust.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

static dacm_code fail(dacm_error *error, dacm_code code, const char *text, const char *what)
{
    *error = (dacm_error){.code = code};
    snprintf(error->message, sizeof error->message, "the signing key '%.180s': %.300s", what, text);
    return code;
}

static dacm_code load_signer(const char *file, trust_signer **ret, dacm_error *reterr)
{
    rpc_status status;
    RPC_CLEANUP(rpc_cleanup_fclosep) FILE *stream = fopen(file, "re");
    RPC_AUTOFREE char *text = stream ? malloc(TRUST_JWKS_BYTES_MAX) : NULL;
    if (!text)
        return fail(reterr, DACM_LOCAL_FILE, strerror(errno), file);
    setvbuf(stream, NULL, _IONBF, 0); /* no copy of a key in the stream's own buffer */
    size_t size = fread(text, 1, TRUST_JWKS_BYTES_MAX, stream);
    rpc_code code = trust_signer_parse(rpc_bytes_of(text, size), TRUST_FOR_TOKENS, ret, &status);
    sodium_memzero(text, TRUST_JWKS_BYTES_MAX);
    return code == RPC_OK ? DACM_OK : fail(reterr, DACM_INVALID_ARGUMENT, status.message, file);
}

/* A NULL-terminated copy; free() it. NULL where there is none, or memory is short. */
static const char **terminated(const char *const *list, size_t count)
{
    const char **copy = count ? calloc(count + 1, sizeof *copy) : NULL;
    for (size_t i = 0; copy && i < count; i++)
        copy[i] = list[i];
    return copy;
}

/* Splits at single blanks, in place; "" is the empty list. */
static const char **split(char *text)
{
    size_t count = 1, at = 0;
    for (const char *c = text; *c; c++)
        count += *c == ' ';
    const char **list = calloc(count + 1, sizeof *list);
    if (!list || !text[0])
        return list;
    for (char *word = text; word; at++) {
        char *blank = strchr(word, ' ');
        if (blank)
            *blank = '\0';
        list[at] = word;
        word = blank ? blank + 1 : NULL;
    }
    return list;
}

static dacm_code mint(
    const cli_claims *wanted, const trust_signer *signer, char **ret, dacm_error *reterr)
{
    RPC_AUTOFREE const char **gpsis = terminated(wanted->gpsis, wanted->gpsi_count);
    RPC_AUTOFREE const char **users = terminated(wanted->users, wanted->user_count);
    RPC_AUTOFREE const char **actions = terminated(wanted->actions, wanted->action_count);
    RPC_AUTOFREE char *text = wanted->profile ? strdup(wanted->profile) : NULL;
    RPC_AUTOFREE const char **profile = text ? split(text) : NULL;
    rpc_status status;
    const trust_token_claims claims = {
        .issuer = wanted->issuer,
        .subject = wanted->subject,
        .audience = wanted->audience,
        .client_id = wanted->client_id,
        .scope = wanted->scope,
        .issued_at = rpc_clock_wall_ms(rpc_clock_system()) / 1000,
        .lifetime_s = wanted->lifetime_s ? wanted->lifetime_s : 300,
        .asset_id = wanted->asset_id,
        .actions = actions,
        .gpsis = gpsis,
        .users = users,
        .profile = profile,
        .skeyprov = wanted->skeyprov,
    };
    if (trust_token_mint(signer, &claims, ret, &status) == RPC_OK)
        return DACM_OK;
    *reterr = (dacm_error){.code = (dacm_code)status.code};
    snprintf(reterr->message, sizeof reterr->message, "%s", status.message);
    return reterr->code;
}

dacm_code cli_mint(const cli_claims *claims, const char *key_file, char **ret, dacm_error *reterr)
{
    trust_signer *signer = NULL;
    dacm_code code = load_signer(key_file, &signer, reterr);
    if (code != DACM_OK)
        return code;
    code = mint(claims, signer, ret, reterr);
    trust_signer_free(signer);
    return code;
}
