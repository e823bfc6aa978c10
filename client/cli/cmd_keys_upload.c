/* SPDX-License-Identifier: Apache-2.0 */
/* dacm keys upload: a VAL server brings a key of its own (TS 33.434 5.8). */
#include "cleanup.h"
#include "keys.h"
#include "skms.h"
#include "trust.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <string.h>
#include <time.h>

#define CALL_MS         30000
#define JWK_BYTES_MAX   4096u
#define TOKEN_BYTES_MAX 32768u
#define ARENA_BYTES     (64u << 10)

enum { OPTION_PURPOSE = 512, OPTION_TOKEN_FILE, OPTION_FROM, OPTION_UNTIL };

typedef struct upload {
    skms s;
    char *service;
    const char *file, *token_file;
    Skms__V1__Purpose purpose;
    int64_t signs_from, signs_until;
} upload;

/** "2026-12-01T00:00:00Z", or seconds since 1970. */
static int64_t time_of(const char *text, const char *option, struct argp_state *state)
{
    struct tm parts = {.tm_isdst = 0};
    char *end = NULL;
    errno = 0;
    const long long seconds = text[0] >= '0' && text[0] <= '9' ? strtoll(text, &end, 10) : 0;
    if (end && !*end && errno == 0 && seconds > 0)
        return seconds;
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    const time_t at = rest && !*rest ? timegm(&parts) : -1;
    if (at <= 0)
        argp_error(state,
            "--%s takes a time such as 2026-12-01T00:00:00Z, or seconds since 1970, not '%s'",
            option, text);
    return at;
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    upload *u = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &u->s;
        return 0;
    case OPTION_PURPOSE:
        u->purpose = keys_purpose_parse(argument, state);
        return 0;
    case OPTION_TOKEN_FILE:
        u->token_file = argument;
        return 0;
    case OPTION_FROM:
        u->signs_from = time_of(argument, "signs-from", state);
        return 0;
    case OPTION_UNTIL:
        u->signs_until = time_of(argument, "signs-until", state);
        return 0;
    case ARGP_KEY_ARG:
        if (u->file)
            argp_error(state, "what is '%s'?", argument);
        if (u->service)
            u->file = argument;
        else
            u->service = argument;
        return 0;
    case ARGP_KEY_END:
        if (!u->service)
            argp_error(state, "which VAL service?");
        if (!u->file)
            argp_error(state, "which key? Give a file with the private JWK");
        if (!u->purpose)
            argp_error(state, "what does it sign? Give --purpose manifests or --purpose tokens");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- secrets -----------------------------------------------------------------------------------
 */

static void wiping_free(void *memory)
{
    if (memory)
        explicit_bzero(memory, malloc_usable_size(memory));
    free(memory);
}

static void wiped_freep(char **text)
{
    wiping_free(*text);
}

/** A whole small file without a buffer between. Exit code. */
static int read_secret(
    const cli_context *cli, const char *what, const char *path, size_t max, char **ret)
{
    RPC_AUTOCLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    RPC_CLEANUP(wiped_freep) char *text = malloc(max + 2);
    size_t size = 0;
    ssize_t got = fd < 0 || !text ? -1 : 1;
    while (got > 0 && size <= max) {
        got = read(fd, text + size, max + 1 - size);
        size += got > 0 ? (size_t)got : 0;
    }
    if (got < 0)
        return cli_fail_text(cli, DACM_LOCAL_FILE, "cannot read the %s in '%.200s': %s", what, path,
            strerror(errno));
    if (size > max)
        return cli_fail_text(cli, DACM_INVALID_ARGUMENT,
            "'%.200s' has more than %zu bytes: it is no %s", path, max, what);
    text[size] = 0;
    *ret = RPC_TAKE(text);
    return CLI_EXIT_OK;
}

/** A JWK, or the only one of a set (what dacm pki keys writes). Nothing of it is in a message. */
static int read_jwk(const upload *u, char **ret)
{
    const cli_context *cli = u->s.cli;
    RPC_CLEANUP(wiped_freep) char *text = NULL;
    rpc_status why;
    const int code = read_secret(cli, "private key", u->file, JWK_BYTES_MAX, &text);
    if (code != CLI_EXIT_OK)
        return code;
    json_set_alloc_funcs(malloc, wiping_free);
    json_t *json = trust_json_parse(rpc_bytes_str(text), JWK_BYTES_MAX, "the private key", &why);
    if (!json)
        return cli_fail_text(cli, DACM_INVALID_ARGUMENT, "'%.200s': %s", u->file, why.message);
    const json_t *keys = json_object_get(json, "keys");
    const json_t *jwk = keys ? json_array_get(keys, 0) : json;
    if (json_array_size(keys) <= 1 && json_is_string(json_object_get(jwk, "d")))
        *ret = json_dumps(jwk, JSON_COMPACT);
    json_decref(json);
    return *ret ? CLI_EXIT_OK
                : cli_fail_text(cli, DACM_INVALID_ARGUMENT,
                      "'%.200s' is no private JWK, and no set of one; dacm pki keys makes one",
                      u->file);
}

/** "Bearer …" of --token-file, DACM_TOKEN_FILE. */
static int read_bearer(const upload *u, char **ret)
{
    const cli_context *cli = u->s.cli;
    RPC_CLEANUP(wiped_freep) char *token = NULL;
    const char *path = u->token_file ? u->token_file : cli->token_file;
    if (!path)
        return cli_fail_text(cli, DACM_INVALID_ARGUMENT,
            "the SKM-S wants an access token with scope seal.kp whose SKeyProv names the VAL "
            "service: give --token-file (the SIM-S issues it to a client of that certificate: dacm "
            "client add --scope seal.kp --key-service)");
    const int code = read_secret(cli, "token", path, TOKEN_BYTES_MAX, &token);
    if (code != CLI_EXIT_OK)
        return code;
    token[strcspn(token, "\r\n")] = 0;
    return asprintf(ret, "Bearer %s", token) < 0
               ? cli_fail_text(cli, DACM_RESOURCE_EXHAUSTED, "no memory")
               : CLI_EXIT_OK;
}

/* ---- the call ----------------------------------------------------------------------------------
 */

static void print_key(const upload *u, Skms__V1__ProvisionKeyResponse *reply)
{
    char from[32], until[32];
    if (u->s.cli->json) {
        cli_print_json(json_pack("{s:s, s:s, s:s, s:s, s:I, s:I}", "kid", reply->kid, "service",
            u->service, "purpose", keys_purpose_name(u->purpose), "state",
            keys_state_name(reply->state), "signs_from", (json_int_t)reply->signs_from,
            "signs_until", (json_int_t)reply->signs_until));
        return;
    }
    operator_print_line("key", reply->kid);
    operator_print_word("of", u->service);
    operator_print_word("for", keys_purpose_name(u->purpose));
    operator_print_word("state", keys_state_name(reply->state));
    cli_time_text(reply->signs_from, from);
    cli_time_text(reply->signs_until, until);
    printf("%-10s%s to %s\n", "signs", from, until);
}

RPC_DEFINE_FREEP(arena_freep, rpc_arena *, rpc_arena_free)

static int provision(upload *u, const char *jwk, const char *bearer)
{
    RPC_CLEANUP(arena_freep) rpc_arena *arena = rpc_arena_new(ARENA_BYTES);
    const rpc_metadatum authorization = {
        .name = "authorization", .value = rpc_bytes_str(bearer), .sensitive = true};
    const rpc_call_options options = {
        .timeout_ms = CALL_MS, .metadata = &authorization, .metadata_count = 1};
    Skms__V1__ProvisionKeyRequest request = SKMS__V1__PROVISION_KEY_REQUEST__INIT;
    ProtobufCMessage *reply = NULL;
    rpc_status status;
    dacm_error error;
    if (!arena)
        return cli_fail_text(u->s.cli, DACM_RESOURCE_EXHAUSTED, "no memory");
    request.val_service = u->service;
    request.purpose = u->purpose;
    request.jwk = (ProtobufCBinaryData){strlen(jwk), (uint8_t *)(uintptr_t)jwk};
    request.signs_from = u->signs_from;
    request.signs_until = u->signs_until;
    if (rpc_channel_unary(u->s.channel, "/skms.v1.SigningKeys/ProvisionKey", &options,
            &request.base, &skms__v1__provision_key_response__descriptor, arena, &reply,
            &status) != RPC_OK) {
        cli_fail_status(&error, &status);
        return cli_fail(u->s.cli, &error);
    }
    print_key(u, (Skms__V1__ProvisionKeyResponse *)reply);
    return CLI_EXIT_OK;
}

static int run(upload *u)
{
    RPC_CLEANUP(wiped_freep) char *jwk = NULL;
    RPC_CLEANUP(wiped_freep) char *bearer = NULL;
    dacm_error error;
    int code = read_bearer(u, &bearer);
    if (code == CLI_EXIT_OK)
        code = read_jwk(u, &jwk);
    if (code != CLI_EXIT_OK)
        return code;
    if (skms_connect(&u->s, &error) != DACM_OK)
        return cli_fail(u->s.cli, &error);
    return provision(u, jwk, bearer);
}

int cli_keys_upload(cli_context *cli, int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"purpose", OPTION_PURPOSE, "manifests|tokens", 0, "what it signs; needed", 1},
        {"token-file", OPTION_TOKEN_FILE, "FILE", 0,
            "access token with scope seal.kp and SKeyProv, bound to the certificate "
            "(DACM_TOKEN_FILE)",
            1},
        {"signs-from", OPTION_FROM, "TIME", 0,
            "2026-12-01T00:00:00Z, or seconds since 1970; default: as soon as it has been "
            "published "
            "for long enough, the first key at once",
            1},
        {"signs-until", OPTION_UNTIL, "TIME", 0, "default: as the service's policy says", 1}, {0}};
    static const struct argp_child children[] = {{&skms_argp, 0, NULL, 10}, {0}};
    static const struct argp argp = {options, parse, "SERVICE FILE",
        "A VAL server brings the private key in FILE, an Ed25519 JWK, to the SKM-S, which "
        "publishes "
        "its public half.\vThe server is known by --cert and --key, with which the operator "
        "enrolled it (dacm keys enrol --client), and by its token. The same key again gives the "
        "same answer.",
        children, NULL, NULL};
    upload u = {.s = {.cli = cli}};
    int code = cli_parse(&argp, "dacm keys upload", argc, argv, &u);
    if (code >= 0)
        return code;
    code = run(&u);
    skms_done(&u.s);
    return code;
}
