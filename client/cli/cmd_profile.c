/* SPDX-License-Identifier: Apache-2.0 */
/* ls, show, allow, deny, rm. */
#include "cli.h"
#include "cleanup.h"

#include <inttypes.h>
#include <string.h>

#define USERS_MAX 1000

RPC_DEFINE_FREEP(client_freep, dacm_client *, dacm_client_free)
RPC_DEFINE_FREEP(profiles_freep, dacm_profiles *, dacm_profiles_free)

static const struct argp_child children[] = {{&cli_connection_argp, 0, NULL, 10}, {0}};

enum { OPTION_OPERATIONS = 512, OPTION_IF_MATCH };

/** Arguments of all commands here: an asset, then users. */
typedef struct profile_arguments {
    cli_context *cli;
    bool takes_asset, takes_users;
    const char *asset_id;
    uint64_t if_match;
    unsigned operations;
    const char *users[USERS_MAX];
    dacm_acl_entry entries[USERS_MAX];
    size_t user_count;
} profile_arguments;

static void add_users(profile_arguments *arguments, char *list, struct argp_state *state)
{
    for (char *save = NULL, *user = strtok_r(list, ",", &save); user;
         user = strtok_r(NULL, ",", &save)) {
        if (arguments->user_count == USERS_MAX)
            argp_error(state, "more than %d users at a time", USERS_MAX);
        arguments->users[arguments->user_count++] = user;
    }
}

static void add_operations(profile_arguments *arguments, char *list, struct argp_state *state)
{
    for (char *save = NULL, *name = strtok_r(list, ",", &save); name;
         name = strtok_r(NULL, ",", &save)) {
        dacm_operation operation;
        if (!dacm_operation_parse(name, &operation))
            argp_error(state, "operations are discovery, get, update and delete, not '%s'", name);
        arguments->operations |= 1u << operation;
    }
}

static void add_argument(profile_arguments *arguments, char *argument, struct argp_state *state)
{
    if (arguments->takes_asset && !arguments->asset_id)
        arguments->asset_id = argument;
    else if (arguments->takes_users)
        add_users(arguments, argument, state);
    else
        argp_error(state, "what is '%s'?", argument);
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    profile_arguments *arguments = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = arguments->cli;
        return 0;
    case OPTION_OPERATIONS:
        add_operations(arguments, argument, state);
        return 0;
    case OPTION_IF_MATCH: {
        char *end = NULL;
        arguments->if_match = strtoull(argument, &end, 10);
        if (argument[0] < '1' || argument[0] > '9' || *end)
            argp_error(state, "--if-match takes a generation as `dacm show` prints it");
        return 0;
    }
    case ARGP_KEY_ARG:
        add_argument(arguments, argument, state);
        return 0;
    case ARGP_KEY_END:
        if (arguments->takes_asset && !arguments->asset_id)
            argp_error(state, "which asset?");
        if (arguments->takes_users && arguments->user_count == 0)
            argp_error(state, "which users?");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/** Arguments, user and connection; an exit code, or -1 to go on. */
static int begin(profile_arguments *arguments, const struct argp *argp, const char *name, int argc,
    char **argv, const char **ret_user, dacm_client **ret_client)
{
    int code = cli_parse(argp, name, argc, argv, arguments);
    if (code >= 0)
        return code;
    code = cli_user(arguments->cli, ret_user);
    if (code == CLI_EXIT_OK)
        code = cli_connect(arguments->cli, false, ret_client);
    return code == CLI_EXIT_OK ? -1 : code;
}

static json_t *operations_json(unsigned operations)
{
    json_t *list = json_array();
    if (operations == 0)
        operations = 1u << DACM_OPERATION_GET;
    for (unsigned i = DACM_OPERATION_DISCOVERY; i <= DACM_OPERATION_DELETE; i++)
        if (operations & 1u << i)
            json_array_append_new(list, json_string(dacm_operation_name((dacm_operation)i)));
    return list;
}

static json_t *profile_json(const dacm_profile *profile)
{
    json_t *owners = json_array(), *list = json_array();
    for (size_t i = 0; i < profile->owner_count; i++)
        json_array_append_new(owners, json_string(profile->owners[i]));
    for (size_t i = 0; i < profile->acl_count; i++)
        json_array_append_new(list, json_pack("{s:s, s:o}", "allowed_user", profile->acl[i].user,
                                        "operations", operations_json(profile->acl[i].operations)));
    json_t *object = json_pack("{s:s, s:o, s:o, s:I}", "asset_id", profile->asset_id, "owners",
        owners, "access_control_list", list, "generation", (json_int_t)profile->generation);
    if (profile->has_media)
        json_object_set_new(object, "media",
            json_pack("{s:I, s:s, s:I, s:o, s:I}", "version", (json_int_t)profile->version,
                "media_type", profile->media_type, "size", (json_int_t)profile->size, "sha256",
                cli_hex_json(profile->sha256, 32), "created_at", (json_int_t)profile->created_at));
    return object;
}

/* ---- ls ------------------------------------------------------------------------------------- */

static void print_row(const cli_context *cli, const dacm_profile *profile)
{
    char size[32] = "", created[32] = "";
    if (cli->json) {
        cli_print_json(profile_json(profile));
        return;
    }
    if (!profile->has_media) {
        printf("%s  no media yet\n", profile->asset_id);
        return;
    }
    cli_size_text(profile->size, size);
    cli_time_text(profile->created_at, created);
    printf("%s  version %" PRIu64 "  %s  %s  %s\n", profile->asset_id, profile->version, size,
        profile->media_type, created);
}

int cli_ls(cli_context *cli, int argc, char **argv)
{
    static const struct argp argp = {NULL, parse, NULL,
        "Lists the assets that the user owns or may discover.", children, NULL, NULL};
    profile_arguments arguments = {.cli = cli};
    const char *user = NULL;
    RPC_CLEANUP(client_freep) dacm_client *client = NULL;
    const int code = begin(&arguments, &argp, "dacm ls", argc, argv, &user, &client);
    if (code >= 0)
        return code;
    RPC_AUTOFREE char *page = strdup("");
    do {
        RPC_CLEANUP(profiles_freep) dacm_profiles *profiles = NULL;
        dacm_error error;
        if (!page || dacm_discover_profiles(client, user, page, &profiles, &error) != DACM_OK)
            return page ? cli_fail(cli, &error)
                        : cli_fail_text(cli, DACM_RESOURCE_EXHAUSTED, "no memory");
        for (size_t i = 0; i < profiles->count; i++)
            print_row(cli, &profiles->items[i]);
        free(page);
        page = strdup(profiles->next_page_token);
    } while (!page || page[0]);
    return CLI_EXIT_OK;
}

/* ---- show -------------------------------------------------------------------------------------
 */

static void print_head(const dacm_profile *profile)
{
    printf("asset       %s\n", profile->asset_id);
    for (size_t i = 0; i < profile->owner_count; i++)
        printf("owner       %s\n", profile->owners[i]);
    printf("generation  %" PRIu64 "\n", profile->generation);
    if (profile->has_media) {
        char size[32], created[32];
        cli_size_text(profile->size, size);
        cli_time_text(profile->created_at, created);
        printf("media       version %" PRIu64 ", %s, %s, stored %s\n", profile->version,
            profile->media_type, size, created);
    }
    if (profile->acl_total > 0)
        printf("allowed     %" PRIu64 " user%s\n", profile->acl_total,
            profile->acl_total == 1 ? "" : "s");
    else if (profile->acl_count > 0)
        puts("allowed     you");
}

static void print_list(const dacm_profile *profile)
{
    for (size_t i = 0; i < profile->acl_count; i++) {
        const unsigned operations = profile->acl[i].operations;
        printf("  %s ", profile->acl[i].user);
        for (unsigned bit = DACM_OPERATION_DISCOVERY; bit <= DACM_OPERATION_DELETE; bit++)
            if (operations & 1u << bit || (operations == 0 && bit == DACM_OPERATION_GET))
                printf(" %s", dacm_operation_name((dacm_operation)bit));
        putchar('\n');
    }
}

int cli_show(cli_context *cli, int argc, char **argv)
{
    static const struct argp argp = {NULL, parse, "ID",
        "Shows an asset's profile and, to its owners, who may use it.\vWith --json a long list "
        "comes as several objects, a page each.",
        children, NULL, NULL};
    profile_arguments arguments = {.cli = cli, .takes_asset = true};
    const char *user = NULL;
    RPC_CLEANUP(client_freep) dacm_client *client = NULL;
    const int code = begin(&arguments, &argp, "dacm show", argc, argv, &user, &client);
    if (code >= 0)
        return code;
    RPC_AUTOFREE char *page = strdup("");
    bool first = true;
    do {
        RPC_CLEANUP(profiles_freep) dacm_profiles *profiles = NULL;
        dacm_error error;
        if (!page ||
            dacm_get_profile(client, arguments.asset_id, user, page, &profiles, &error) != DACM_OK)
            return page ? cli_fail(cli, &error)
                        : cli_fail_text(cli, DACM_RESOURCE_EXHAUSTED, "no memory");
        if (cli->json)
            cli_print_json(profile_json(&profiles->items[0]));
        else if (first)
            print_head(&profiles->items[0]);
        if (!cli->json)
            print_list(&profiles->items[0]);
        first = false;
        free(page);
        page = strdup(profiles->next_page_token);
    } while (!page || page[0]);
    return CLI_EXIT_OK;
}

/* ---- allow, deny
 * ---------------------------------------------------------------------------------- */

static int change(profile_arguments *arguments, const struct argp *argp, const char *name,
    bool allow, int argc, char **argv)
{
    cli_context *cli = arguments->cli;
    const char *user = NULL;
    RPC_CLEANUP(client_freep) dacm_client *client = NULL;
    const int code = begin(arguments, argp, name, argc, argv, &user, &client);
    if (code >= 0)
        return code;
    for (size_t i = 0; i < arguments->user_count; i++)
        arguments->entries[i] = (dacm_acl_entry){
            .user = arguments->users[i], .operations = arguments->operations};
    const dacm_profile_change update = {
        .asset_id = arguments->asset_id,
        .user = user,
        .if_match = arguments->if_match,
        .allow = arguments->entries,
        .allow_count = allow ? arguments->user_count : 0,
        .deny = arguments->users,
        .deny_count = allow ? 0 : arguments->user_count,
    };
    uint64_t generation = 0;
    dacm_error error;
    if (dacm_update_profile(client, &update, &generation, &error) != DACM_OK)
        return cli_fail(cli, &error);
    if (cli->json)
        cli_print_json(json_pack(
            "{s:s, s:I}", "asset_id", arguments->asset_id, "generation", (json_int_t)generation));
    else
        printf("%s: %zu user%s %s (generation %" PRIu64 ")\n", arguments->asset_id,
            arguments->user_count, arguments->user_count == 1 ? "" : "s",
            allow ? "allowed" : "not on the list now", generation);
    return CLI_EXIT_OK;
}

static const struct argp_option if_match_option = {
    "if-match", OPTION_IF_MATCH, "GENERATION", 0, "only if nobody changed it meanwhile", 1};

int cli_allow(cli_context *cli, int argc, char **argv)
{
    const struct argp_option options[] = {
        {"operations", OPTION_OPERATIONS, "LIST", 0,
            "what they may do: discovery,get,update,delete (default: get)", 1},
        if_match_option, {0}};
    const struct argp argp = {options, parse, "ID GPSI...",
        "Puts users on an asset's list, all or none.", children, NULL, NULL};
    profile_arguments arguments = {.cli = cli, .takes_asset = true, .takes_users = true};
    return change(&arguments, &argp, "dacm allow", true, argc, argv);
}

int cli_deny(cli_context *cli, int argc, char **argv)
{
    const struct argp_option options[] = {if_match_option, {0}};
    const struct argp argp = {options, parse, "ID GPSI...",
        "Takes users off an asset's list, all or none. Their running downloads end.", children,
        NULL, NULL};
    profile_arguments arguments = {.cli = cli, .takes_asset = true, .takes_users = true};
    return change(&arguments, &argp, "dacm deny", false, argc, argv);
}

/* ---- rm
 * ---------------------------------------------------------------------------------------------- */

int cli_rm(cli_context *cli, int argc, char **argv)
{
    const struct argp_option options[] = {if_match_option, {0}};
    const struct argp argp = {options, parse, "ID",
        "Deletes an asset with all its versions. Its ID is never used again.", children, NULL,
        NULL};
    profile_arguments arguments = {.cli = cli, .takes_asset = true};
    const char *user = NULL;
    RPC_CLEANUP(client_freep) dacm_client *client = NULL;
    const int code = begin(&arguments, &argp, "dacm rm", argc, argv, &user, &client);
    if (code >= 0)
        return code;
    dacm_error error;
    if (dacm_delete_profile(client, arguments.asset_id, user, arguments.if_match, &error) !=
        DACM_OK)
        return cli_fail(cli, &error);
    if (cli->json)
        cli_print_json(json_pack("{s:s, s:b}", "asset_id", arguments.asset_id, "deleted", 1));
    else
        printf("%s: deleted\n", arguments.asset_id);
    return CLI_EXIT_OK;
}
