/* SPDX-License-Identifier: Apache-2.0 */
/* put, get, authorize, verify. */
#include "cli.h"
#include "cleanup.h"
#include "media_work.h"
#include "recipe_options.h"

#include <inttypes.h>
#include <string.h>

#define ALLOW_MAX 1000

RPC_DEFINE_FREEP(client_freep, dacm_client *, dacm_client_free)

enum {
    OPTION_ALLOW = 512,
    OPTION_MEDIA_TYPE,
    OPTION_ID,
    OPTION_IF_MATCH,
    OPTION_VERSION,
    OPTION_STREAMS,
    OPTION_OPERATION,
    OPTION_JWS,
    OPTION_FRESH,
    OPTION_EXPIRED_KEYS,
    OPTION_HAVE
};

static const struct argp_child children[] = {{&cli_connection_argp, 0, NULL, 10}, {0}};

/* Of an adapted copy. */
static void add_adapted(json_t *object, const dacm_manifest *manifest)
{
    static const char *const names[] = {"recipe", "figures", "licence"};
    const char *const texts[] = {manifest->recipe, manifest->figures, manifest->licence};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (texts[i][0])
            json_object_set_new(object, names[i], json_loads(texts[i], 0, NULL));
    if (manifest->has_source)
        json_object_set_new(object, "source_sha256", cli_hex_json(manifest->source_sha256, 32));
}

static json_t *manifest_json(const dacm_manifest *manifest)
{
    json_t *object = json_pack("{s:s, s:I, s:s, s:I, s:o, s:s, s:s, s:I, s:I}", "asset_id",
        manifest->asset_id, "version", (json_int_t)manifest->version, "media_type",
        manifest->media_type, "size", (json_int_t)manifest->size, "sha256",
        cli_hex_json(manifest->sha256, 32), "issuer", manifest->issuer, "kid", manifest->kid,
        "issued_at", (json_int_t)manifest->issued_at, "expires_at",
        (json_int_t)manifest->expires_at);
    add_adapted(object, manifest);
    return object;
}

/* ---- put ------------------------------------------------------------------------------------ */

typedef struct put_arguments {
    cli_context *cli;
    dacm_upload_options upload;
    dacm_acl_entry allow[ALLOW_MAX];
} put_arguments;

static const struct argp_option put_options[] = {
    {"allow", OPTION_ALLOW, "GPSI", 0, "who may get it; again, or with commas, for more", 1},
    {"media-type", OPTION_MEDIA_TYPE, "TYPE", 0, "default: by the file's name", 1},
    {"id", OPTION_ID, "ID", 0, "store a new version of this asset", 1},
    {"if-match", OPTION_IF_MATCH, "VERSION", 0, "only if this is the newest version", 1},
    {0},
};

static void add_allowed(put_arguments *put, char *list, struct argp_state *state)
{
    for (char *save = NULL, *user = strtok_r(list, ",", &save); user;
         user = strtok_r(NULL, ",", &save)) {
        if (put->upload.allow_count == ALLOW_MAX)
            argp_error(state, "more than %d users; add the rest with dacm allow", ALLOW_MAX);
        put->allow[put->upload.allow_count++].user = user;
    }
}

static error_t parse_put(int key, char *argument, struct argp_state *state)
{
    put_arguments *put = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = put->cli;
        return 0;
    case OPTION_ALLOW:
        add_allowed(put, argument, state);
        return 0;
    case OPTION_MEDIA_TYPE:
        put->upload.media_type = argument;
        return 0;
    case OPTION_ID:
        put->upload.asset_id = argument;
        return 0;
    case OPTION_IF_MATCH:
        put->upload.if_match = cli_number(state, argument);
        return 0;
    case ARGP_KEY_ARG:
        if (put->upload.file) /* as in: --allow A B C */
            add_allowed(put, argument, state);
        else
            put->upload.file = argument;
        return 0;
    case ARGP_KEY_END:
        if (!put->upload.file)
            argp_error(state, "which file?");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const char *media_type_of(const char *file)
{
    static const struct {
        const char *ending, *type;
    } types[] = {{".glb", "model/gltf-binary"}, {".vrm", "model/gltf-binary"},
        {".gltf", "model/gltf+json"}, {".png", "image/png"}, {".jpg", "image/jpeg"},
        {".jpeg", "image/jpeg"}, {".webp", "image/webp"}, {".json", "application/json"}};
    const char *dot = strrchr(file, '.');
    for (size_t i = 0; dot && i < sizeof types / sizeof *types; i++)
        if (strcasecmp(dot, types[i].ending) == 0)
            return types[i].type;
    return "application/octet-stream";
}

static void print_put(const cli_context *cli, const dacm_upload_result *result)
{
    const char *id = result->asset_id;
    if (cli->json) {
        cli_print_json(json_pack(
            "{s:s, s:I}", "asset_id", result->asset_id, "version", (json_int_t)result->version));
        return;
    }
    printf("%s\n", id);
    const char *option = cli->as ? " --as " : "", *as = cli->as ? cli->as : "";
    fprintf(stderr,
        "stored as version %" PRIu64 "; next: dacm get %s%s%s, dacm allow %s GPSI%s%s\n",
        result->version, id, option, as, id, option, as);
}

int cli_put(cli_context *cli, int argc, char **argv)
{
    static const struct argp argp = {put_options, parse_put, "FILE",
        "Stores a file, as a new asset or as a new version of one.\vThe server assigns the ID.",
        children, NULL, NULL};
    RPC_AUTOFREE put_arguments *put = calloc(1, sizeof *put);
    if (!put)
        return cli_fail_text(cli, DACM_RESOURCE_EXHAUSTED, "no memory");
    put->cli = cli;
    int code = cli_parse(&argp, "dacm put", argc, argv, put);
    if (code >= 0 || (code = cli_user(cli, &put->upload.user)) != CLI_EXIT_OK)
        return code;
    put->upload.allow = put->allow;
    if (!put->upload.media_type)
        put->upload.media_type = media_type_of(put->upload.file);
    RPC_CLEANUP(client_freep) dacm_client *client = NULL;
    if ((code = cli_connect(cli, false, &client)) != CLI_EXIT_OK)
        return code;
    cli_progress progress;
    cli_progress_start(&progress, cli, "storing");
    put->upload.progress = cli_progress_step;
    put->upload.progress_ctx = &progress;
    dacm_upload_result result;
    dacm_error error;
    const dacm_code put_code = dacm_upload(client, &put->upload, &result, &error);
    cli_progress_end(&progress);
    if (put_code != DACM_OK)
        return cli_fail(cli, &error);
    print_put(cli, &result);
    return CLI_EXIT_OK;
}

/* ---- get --------------------------------------------------------------------------------------
 */

typedef struct get_arguments {
    cli_context *cli;
    dacm_download_options download;
    cli_recipe recipe;
    char recipe_text[MEDIA_RECIPE_ROOM];
} get_arguments;

static const struct argp_child get_children[] = {
    {&cli_recipe_argp, 0, NULL, 2}, {&cli_connection_argp, 0, NULL, 10}, {0}};

static const struct argp_option get_options[] = {
    {"output", 'o', "FILE", 0, "where to; default: the asset's ID in this folder", 1},
    {"version", OPTION_VERSION, "N", 0, "not the newest version but this one", 1},
    {"have", OPTION_HAVE, "FILE", 0,
        "an earlier copy: what is in it does not travel again; default: the output itself", 1},
    {"streams", OPTION_STREAMS, "N", 0, "download in parallel (1 to 8; default 1)", 1},
    {0},
};

static error_t parse_get(int key, char *argument, struct argp_state *state)
{
    get_arguments *get = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &get->recipe;
        state->child_inputs[1] = get->cli;
        return 0;
    case 'o':
        get->download.file = argument;
        return 0;
    case OPTION_VERSION:
        get->download.version = cli_number(state, argument);
        return 0;
    case OPTION_HAVE:
        get->download.have_file = argument;
        return 0;
    case OPTION_STREAMS: {
        const uint64_t streams = cli_number(state, argument);
        if (streams < 1 || streams > DACM_STREAMS_MAX)
            argp_error(state, "--streams takes 1 to %d", DACM_STREAMS_MAX);
        get->download.streams = (unsigned)streams;
        return 0;
    }
    case ARGP_KEY_ARG:
        if (get->download.asset_id)
            argp_error(state, "one asset at a time; what is '%s'?", argument);
        get->download.asset_id = argument;
        return 0;
    case ARGP_KEY_END:
        if (!get->download.asset_id)
            argp_error(state, "which asset?");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void print_get(const cli_context *cli, const char *file, const dacm_download_result *result)
{
    if (cli->json) {
        json_t *object = manifest_json(&result->manifest);
        json_object_set_new(object, "file", json_string(file));
        json_object_set_new(
            object, "signature", json_string(result->signature_valid ? "valid" : "no key"));
        json_object_set_new(
            object, "received_bytes", json_integer((json_int_t)result->received_bytes));
        json_object_set_new(object, "reused_bytes", json_integer((json_int_t)result->reused_bytes));
        json_object_set_new(object, "resumed", json_integer(result->resumed));
        cli_print_json(object);
        return;
    }
    char size[32], received[32];
    cli_size_text(result->manifest.size, size);
    cli_size_text(result->received_bytes, received);
    printf("%s: version %" PRIu64 "%s, %s (%s received), %s\n", file, result->manifest.version,
        result->manifest.recipe[0] ? " adapted" : "", size, received,
        result->signature_valid ? "signature and every chunk verified"
                                : "every chunk verified, SIGNATURE NOT VERIFIED (no key)");
    cli_variant_print(result->manifest.figures, result->manifest.licence);
}

/** The file of an earlier get is the earlier copy, when its list of chunks lies beside it. */
static const char *earlier_copy(const char *file)
{
    RPC_AUTOFREE char *list = NULL;
    if (access(file, R_OK) != 0 || asprintf(&list, "%s.chunks", file) < 0)
        return NULL;
    return access(list, R_OK) == 0 ? file : NULL;
}

static int do_get(cli_context *cli, get_arguments *get)
{
    int code = cli_user(cli, &get->download.user);
    if (code == CLI_EXIT_OK && (get->recipe.members || get->recipe.file)) {
        code = cli_recipe_text(cli, &get->recipe, get->recipe_text);
        get->download.recipe = get->recipe_text;
    }
    if (code != CLI_EXIT_OK)
        return code;
    if (!get->download.file && (get->download.asset_id[0] == '.' || !get->download.asset_id[0] ||
                                   strchr(get->download.asset_id, '/')))
        return cli_fail_text(cli, DACM_INVALID_ARGUMENT,
            "'%.128s' makes a bad file name; say where to with -o", get->download.asset_id);
    if (!get->download.file)
        get->download.file = get->download.asset_id;
    if (!get->download.have_file)
        get->download.have_file = earlier_copy(get->download.file);
    RPC_CLEANUP(client_freep) dacm_client *client = NULL;
    if ((code = cli_connect(cli, false, &client)) != CLI_EXIT_OK)
        return code;
    if (cli->forgetful)
        fputs(
            "dacm: no folder to keep the highest version seen in, so an older one would pass; set "
            "HOME or XDG_STATE_HOME to one that can be written\n",
            stderr);
    cli_progress progress;
    cli_progress_start(&progress, cli, "getting");
    get->download.progress = cli_progress_step;
    get->download.progress_ctx = &progress;
    dacm_download_result result;
    dacm_error error;
    const dacm_code get_code = dacm_download(client, &get->download, &result, &error);
    cli_progress_end(&progress);
    if (get_code != DACM_OK)
        return cli_fail(cli, &error);
    print_get(cli, get->download.file, &result);
    dacm_keys_state keys;
    if (dacm_client_keys(client, &keys))
        cli_warn_of_keys(&keys.failure);
    return CLI_EXIT_OK;
}

int cli_get(cli_context *cli, int argc, char **argv)
{
    static const struct argp argp = {get_options, parse_get, "ID",
        "Downloads an asset and verifies it, adapted to what the client can use where options "
        "say so.\vInterrupted, the same command goes on where it "
        "stopped: what was verified is kept in FILE.part. The manifest stays beside it (FILE.jws), "
        "so that it "
        "can be verified again offline, and the list of chunks (FILE.chunks), so that the next "
        "version costs only what changed.",
        get_children, NULL, NULL};
    get_arguments get = {.cli = cli, .download.resumable = true};
    int code = cli_parse(&argp, "dacm get", argc, argv, &get);
    if (code < 0)
        code = do_get(cli, &get);
    cli_recipe_done(&get.recipe);
    return code;
}

/* ---- authorize ----------------------------------------------------------------------------------
 */

typedef struct authorize_arguments {
    cli_context *cli;
    const char *asset_id;
    dacm_operation operation;
} authorize_arguments;

static const struct argp_option authorize_options[] = {
    {"operation", OPTION_OPERATION, "NAME", 0, "get (default), discovery, update or delete", 1},
    {0},
};

static error_t parse_authorize(int key, char *argument, struct argp_state *state)
{
    authorize_arguments *authorize = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = authorize->cli;
        return 0;
    case OPTION_OPERATION:
        if (!dacm_operation_parse(argument, &authorize->operation))
            argp_error(
                state, "--operation takes get, discovery, update or delete, not '%s'", argument);
        return 0;
    case ARGP_KEY_ARG:
        if (authorize->asset_id)
            argp_error(state, "one asset at a time; what is '%s'?", argument);
        authorize->asset_id = argument;
        return 0;
    case ARGP_KEY_END:
        if (!authorize->asset_id)
            argp_error(state, "which asset?");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void print_authorize(
    const cli_context *cli, const authorize_arguments *authorize, const dacm_authorization *answer)
{
    char until[32];
    if (cli->json) {
        cli_print_json(json_pack("{s:s, s:s, s:s, s:b, s:I, s:s}", "asset_id", authorize->asset_id,
            "user", cli->as ? cli->as : cli->login_user, "operation",
            dacm_operation_name(authorize->operation), "allowed", answer->allowed, "valid_until",
            (json_int_t)answer->valid_until, "request_id", answer->request_id));
        return;
    }
    cli_time_text(answer->valid_until, until);
    if (answer->allowed)
        printf("allowed until %s\n", until);
    else
        printf("not allowed (why? dacm explain %s)\n", answer->request_id);
}

int cli_authorize(cli_context *cli, int argc, char **argv)
{
    static const struct argp argp = {authorize_options, parse_authorize, "ID",
        "Asks whether the user may use an asset now.", children, NULL, NULL};
    authorize_arguments authorize = {.cli = cli, .operation = DACM_OPERATION_GET};
    const char *user = NULL;
    int code = cli_parse(&argp, "dacm authorize", argc, argv, &authorize);
    if (code >= 0 || (code = cli_user(cli, &user)) != CLI_EXIT_OK)
        return code;
    RPC_CLEANUP(client_freep) dacm_client *client = NULL;
    if ((code = cli_connect(cli, false, &client)) != CLI_EXIT_OK)
        return code;
    dacm_authorization answer;
    dacm_error error;
    if (dacm_authorize(client, authorize.asset_id, user, authorize.operation, &answer, &error) !=
        DACM_OK)
        return cli_fail(cli, &error);
    print_authorize(cli, &authorize, &answer);
    return answer.allowed ? CLI_EXIT_OK : CLI_EXIT_DENIED;
}

/* ---- verify
 * --------------------------------------------------------------------------------------- */

typedef struct verify_arguments {
    cli_context *cli;
    dacm_verify_options verify;
    dacm_trust_server server;
} verify_arguments;

static const struct argp_option verify_options[] = {
    {"jws", OPTION_JWS, "FILE", 0, "the manifest; default: FILE.jws", 1},
    {"fresh", OPTION_FRESH, NULL, 0, "fail when the manifest has expired", 1},
    {"take-expired-keys", OPTION_EXPIRED_KEYS, NULL, 0,
        "with --trust: also when that set has expired; a key may have been compromised since", 1},
    {0},
};

static error_t parse_verify(int key, char *argument, struct argp_state *state)
{
    verify_arguments *verify = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = verify->cli;
        return 0;
    case OPTION_JWS:
        verify->verify.jws_file = argument;
        return 0;
    case OPTION_FRESH:
        verify->verify.fresh = true;
        return 0;
    case OPTION_EXPIRED_KEYS:
        verify->verify.take_expired_keys = true;
        return 0;
    case ARGP_KEY_ARG:
        if (verify->verify.file)
            argp_error(state, "one file at a time; what is '%s'?", argument);
        verify->verify.file = argument;
        return 0;
    case ARGP_KEY_END:
        if (!verify->verify.file)
            argp_error(state, "which file?");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* Where the keys come from: the pinned roots, or a file. */
static int judge_by(verify_arguments *arguments, dacm_trust *trust, char **ret_folder)
{
    const cli_context *cli = arguments->cli;
    dacm_verify_options *verify = &arguments->verify;
    if (verify->take_expired_keys && !cli->pinned && !cli->env.trust_folder)
        return cli_fail_text(
            cli, DACM_INVALID_ARGUMENT, "--take-expired-keys says nothing without --trust");
    const int code = cli_trust_chosen(cli, ret_folder);
    if (code != CLI_EXIT_OK)
        return code;
    verify->issuer = cli->issuer ? cli->issuer : cli->env.resource;
    trust->folder = *ret_folder;
    arguments->server = (dacm_trust_server){
        .address = cli->skms, .ca_file = cli->ca_file ? cli->ca_file : cli->env.ca_file};
    if (*ret_folder) {
        verify->trust = trust;
        verify->server = cli->offline ? NULL : &arguments->server;
    } else
        verify->keys_file = cli->keys_file ? cli->keys_file : cli->env.keys_file;
    return CLI_EXIT_OK;
}

static void print_verified(
    const cli_context *cli, const char *file, const dacm_verify_result *result)
{
    char at[32];
    if (cli->json) {
        json_t *object = manifest_json(&result->manifest);
        json_object_set_new(object, "file", json_string(file));
        json_object_set_new(object, "signature", json_string("valid"));
        json_object_set_new(object, "expired", json_boolean(result->expired));
        json_object_set_new(object, "keys_expired", json_boolean(result->keys_expired));
        if (result->keys_failure.code != DACM_OK)
            json_object_set_new(object, "keys_failure", json_string(result->keys_failure.message));
        cli_print_json(object);
        return;
    }
    cli_time_text(result->manifest.issued_at, at);
    printf("%s: valid; asset %s, version %" PRIu64 "%s, signed by %s on %s%s%s\n", file,
        result->manifest.asset_id, result->manifest.version,
        result->manifest.recipe[0] ? " adapted" : "", result->manifest.issuer, at,
        result->expired ? " (the manifest has expired since)" : "",
        result->keys_expired ? " (by a key set that has expired)" : "");
    cli_variant_print(result->manifest.figures, result->manifest.licence);
}

int cli_verify(cli_context *cli, int argc, char **argv)
{
    static const struct argp argp = {verify_options, parse_verify, "FILE",
        "Judges a downloaded file by its manifest and the DACM's public keys.\vNothing is asked "
        "over "
        "the network, but the SKM-S for its newest key set with --trust, where an address of it is "
        "known; --offline goes by the sets that were seen.",
        children, NULL, NULL};
    verify_arguments verify = {.cli = cli};
    RPC_AUTOFREE char *folder = NULL;
    dacm_trust trust = {.folder = NULL};
    dacm_verify_result result;
    dacm_error error;
    int code = cli_parse(&argp, "dacm verify", argc, argv, &verify);
    if (code >= 0)
        return code;
    if (cli_load_env(cli, &error) != DACM_OK)
        return cli_fail(cli, &error);
    if ((code = judge_by(&verify, &trust, &folder)) != CLI_EXIT_OK)
        return code;
    if (dacm_verify_file(&verify.verify, &result, &error) != DACM_OK)
        return cli_fail(cli, &error);
    print_verified(cli, verify.verify.file, &result);
    cli_warn_of_keys(&result.keys_failure);
    return CLI_EXIT_OK;
}
