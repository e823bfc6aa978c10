/* SPDX-License-Identifier: Apache-2.0 */
/* variants: which adapted copies the DACM keeps, and what they cost. */
#include "cli.h"
#include "cleanup.h"

#include <inttypes.h>
#include <string.h>

RPC_DEFINE_FREEP(client_freep, dacm_client *, dacm_client_free)
RPC_DEFINE_FREEP(variants_freep, dacm_variants *, dacm_variants_free)

enum { OPTION_VERSION = 512 };

typedef struct variants_arguments {
    cli_context *cli;
    const char *asset_id;
    uint64_t version;
} variants_arguments;

static const struct argp_option options[] = {
    {"version", OPTION_VERSION, "N", 0, "not of the newest version but of this one", 1},
    {0},
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    variants_arguments *arguments = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = arguments->cli;
        return 0;
    case OPTION_VERSION:
        arguments->version = cli_number(state, argument);
        return 0;
    case ARGP_KEY_ARG:
        if (arguments->asset_id)
            argp_error(state, "one asset at a time; what is '%s'?", argument);
        arguments->asset_id = argument;
        return 0;
    case ARGP_KEY_END:
        if (!arguments->asset_id)
            argp_error(state, "which asset?");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static json_t *variant_json(const dacm_variant *variant, uint64_t version)
{
    json_t *needs = json_array();
    for (size_t i = 0; i < variant->extension_count; i++)
        json_array_append_new(needs, json_string(variant->extensions_required[i]));
    json_t *figures = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "triangles",
        (json_int_t)variant->triangles, "vertices", (json_int_t)variant->vertices, "textures",
        (json_int_t)variant->textures, "texture_size", (json_int_t)variant->texture_size,
        "texture_pixels", (json_int_t)variant->texture_pixels, "morph_targets",
        (json_int_t)variant->morph_targets, "animations", (json_int_t)variant->animations, "joints",
        (json_int_t)variant->joints, "extensions_required", needs);
    return json_pack("{s:I, s:o?, s:s, s:I, s:o, s:I, s:I}", "version", (json_int_t)version,
        "recipe", json_loads(variant->recipe, 0, NULL), "media_type", variant->media_type, "size",
        (json_int_t)variant->bytes, "figures", figures, "created_at",
        (json_int_t)variant->created_at, "made_in_ms", (json_int_t)variant->made_in_ms);
}

static void print_row(const dacm_variant *variant)
{
    char size[32], created[32], pixels[32], cost[32];
    RPC_AUTOFREE char *recipe = strdup(variant->recipe);
    if (!recipe)
        return;
    rpc_text_printable(recipe);
    cli_size_text(variant->bytes, size);
    cli_time_text(variant->created_at, created);
    snprintf(pixels, sizeof pixels, "%" PRIu32 " px", variant->texture_size);
    snprintf(cost, sizeof cost, "%" PRIu32 " ms", variant->made_in_ms);
    printf("%10s  %9" PRIu64 "  %8s  %9s  %s  %s\n", size, variant->triangles,
        variant->texture_size > 0 ? pixels : "-", cost, created, recipe);
}

static void print_list(const variants_arguments *arguments, const dacm_variants *list)
{
    if (list->count == 0)
        printf("version %" PRIu64 ": no adapted copy is kept; dacm get --preset low %s makes one\n",
            list->version, arguments->asset_id);
    else
        printf("version %" PRIu64 ":\n%10s  %9s  %8s  %9s  %-23s  %s\n", list->version, "size",
            "triangles", "textures", "CPU time", "made", "recipe");
    for (size_t i = 0; i < list->count; i++)
        print_row(&list->items[i]);
    if (list->more)
        printf("and more: these are the first %zu\n", list->count);
}

int cli_variants(cli_context *cli, int argc, char **argv)
{
    static const struct argp_child children[] = {{&cli_connection_argp, 0, NULL, 10}, {0}};
    static const struct argp argp = {options, parse, "ID",
        "Lists the adapted copies of an asset that the DACM keeps, and what each cost to "
        "make.\vAny "
        "other recipe is carried out when it is asked for (dacm get --help).",
        children, NULL, NULL};
    variants_arguments arguments = {.cli = cli};
    const char *user = NULL;
    RPC_CLEANUP(client_freep) dacm_client *client = NULL;
    RPC_CLEANUP(variants_freep) dacm_variants *list = NULL;
    dacm_error error;
    int code = cli_parse(&argp, "dacm variants", argc, argv, &arguments);
    if (code >= 0)
        return code;
    code = cli_user(cli, &user);
    if (code == CLI_EXIT_OK)
        code = cli_connect(cli, false, &client);
    if (code != CLI_EXIT_OK)
        return code;
    if (dacm_list_variants(client, arguments.asset_id, user, arguments.version, &list, &error) !=
        DACM_OK)
        return cli_fail(cli, &error);
    if (!cli->json)
        print_list(&arguments, list);
    for (size_t i = 0; cli->json && i < list->count; i++)
        cli_print_json(variant_json(&list->items[i], list->version));
    return CLI_EXIT_OK;
}
