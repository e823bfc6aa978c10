/* SPDX-License-Identifier: Apache-2.0 */
/* adapt, inspect: what the DACM does to an avatar, here and offline, by the same worker. */
#include "cleanup.h"
#include "media_work.h"
#include "pki.h"
#include "recipe_options.h"

#include <inttypes.h>
#include <string.h>

RPC_DEFINE_FREEP(workers_freep, media_workers *, media_workers_stop)
RPC_DEFINE_FREEP(made_freep, media_made *, media_made_free)

#define INSPECTED_MAX 2

/* ---- adapt ----------------------------------------------------------------------------------- */

typedef struct adapt_arguments {
    cli_context *cli;
    media_workers_options limits;
    cli_recipe recipe;
    const char *file, *output;
} adapt_arguments;

static const struct argp_option adapt_options[] = {
    {"output", 'o', "FILE", 0, "where to", 1},
    {0},
};
static const struct argp_child adapt_children[] = {{&cli_recipe_argp, 0, NULL, 2},
    {&cli_media_argp, 0, NULL, 3}, {&cli_json_argp, 0, NULL, 10}, {0}};

static error_t parse_adapt(int key, char *argument, struct argp_state *state)
{
    adapt_arguments *adapt = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &adapt->recipe;
        state->child_inputs[1] = &adapt->limits;
        state->child_inputs[2] = adapt->cli;
        return 0;
    case 'o':
        adapt->output = argument;
        return 0;
    case ARGP_KEY_ARG:
        if (adapt->file)
            argp_error(state, "one file at a time; what is '%s'?", argument);
        adapt->file = argument;
        return 0;
    case ARGP_KEY_END:
        if (!adapt->file)
            argp_error(state, "which file?");
        if (!adapt->output)
            argp_error(state, "where to? Say so with -o");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void print_adapted(const adapt_arguments *adapt, const char *recipe, const media_made *made)
{
    if (adapt->cli->json) {
        cli_print_json(json_pack("{s:s, s:s, s:o, s:o, s:o, s:I, s:s, s:I, s:I}", "file",
            adapt->output, "media_type", made->media_type, "recipe", json_loads(recipe, 0, NULL),
            "source", cli_figures_json(&made->source), "figures", cli_figures_json(&made->figures),
            "triangles_asked", (json_int_t)made->triangles_asked, "why", made->why, "cpu_ms",
            (json_int_t)(made->cpu_us / 1000), "memory_bytes", (json_int_t)made->memory_bytes));
        return;
    }
    const char *const names[] = {adapt->file, adapt->output};
    const media_figures *const figures[] = {&made->source, &made->figures};
    cli_figures_print(names, figures, 2);
    if (made->why[0])
        printf("not all that was asked for: %s\n", made->why);
}

static int adapt_file(adapt_arguments *adapt, const char *recipe)
{
    RPC_CLEANUP(workers_freep) media_workers *workers = NULL;
    RPC_CLEANUP(made_freep) media_made *made = NULL;
    dacm_error error;
    if (pki_check_output(adapt->output, &error) != DACM_OK) /* before there is any work */
        return cli_fail(adapt->cli, &error);
    int code = cli_media_start(adapt->cli, &adapt->limits, &workers);
    if (code == CLI_EXIT_OK)
        code = cli_media_run(adapt->cli, workers, adapt->file, recipe, &made);
    if (code != CLI_EXIT_OK)
        return code;
    if (pki_write_file(adapt->output, 0644, made->bytes.data, made->bytes.size, &error) != DACM_OK)
        return cli_fail(adapt->cli, &error);
    print_adapted(adapt, recipe, made);
    return CLI_EXIT_OK;
}

int cli_adapt(cli_context *cli, int argc, char **argv)
{
    static const struct argp argp = {adapt_options, parse_adapt, "FILE",
        "Makes the variant of an avatar that fits a device, as a DACM would.\vThe file is read by "
        "dacm-media, a sandboxed process. The same file and options give the same bytes.",
        adapt_children, NULL, NULL};
    adapt_arguments adapt = {.cli = cli, .limits = cli_media_defaults()};
    char recipe[MEDIA_RECIPE_ROOM];
    int code = cli_parse(&argp, "dacm adapt", argc, argv, &adapt);
    if (code < 0)
        code = cli_recipe_text(cli, &adapt.recipe, recipe);
    if (code == CLI_EXIT_OK && strcmp(recipe, "{}") == 0)
        code = cli_fail_text(cli, DACM_INVALID_ARGUMENT,
            "nothing is to be adapted; say what the device can use (--preset low; dacm adapt "
            "--help has the rest)");
    if (code == CLI_EXIT_OK)
        code = adapt_file(&adapt, recipe);
    cli_recipe_done(&adapt.recipe);
    return code;
}

/* ---- inspect --------------------------------------------------------------------------------- */

typedef struct inspect_arguments {
    cli_context *cli;
    media_workers_options limits;
    const char *files[INSPECTED_MAX];
    size_t count;
    bool names;
} inspect_arguments;

enum { OPTION_NAMES = 512 };

static const struct argp_option inspect_options[] = {
    {"names", OPTION_NAMES, NULL, 0, "also what --animations and --morph-targets may name", 1},
    {0},
};

static const struct argp_child inspect_children[] = {
    {&cli_media_argp, 0, NULL, 3}, {&cli_json_argp, 0, NULL, 10}, {0}};

static error_t parse_inspect(int key, char *argument, struct argp_state *state)
{
    inspect_arguments *inspect = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &inspect->limits;
        state->child_inputs[1] = inspect->cli;
        return 0;
    case OPTION_NAMES:
        inspect->names = true;
        return 0;
    case ARGP_KEY_ARG:
        if (inspect->count == INSPECTED_MAX)
            argp_error(state, "two files at most; what is '%s'?", argument);
        inspect->files[inspect->count++] = argument;
        return 0;
    case ARGP_KEY_END:
        if (inspect->count == 0)
            argp_error(state, "which file?");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static int inspect_files(inspect_arguments *inspect, media_made **made)
{
    RPC_CLEANUP(workers_freep) media_workers *workers = NULL;
    int code = cli_media_start(inspect->cli, &inspect->limits, &workers);
    for (size_t i = 0; code == CLI_EXIT_OK && i < inspect->count; i++)
        code = cli_media_run(inspect->cli, workers, inspect->files[i], NULL, &made[i]);
    return code;
}

static void print_inspected(const inspect_arguments *inspect, media_made *const *made)
{
    const media_figures *figures[INSPECTED_MAX] = {0};
    for (size_t i = 0; i < inspect->count; i++) {
        figures[i] = &made[i]->source;
        if (inspect->cli->json)
            cli_print_json(json_pack("{s:s, s:o, s:o*}", "file", inspect->files[i], "figures",
                cli_figures_json(figures[i]), "names", cli_names_json(made[i])));
    }
    if (inspect->cli->json)
        return;
    cli_figures_print(inspect->files, figures, inspect->count);
    for (size_t i = 0; inspect->names && i < inspect->count; i++)
        cli_names_print(made[i], inspect->count > 1 ? inspect->files[i] : NULL);
}

int cli_inspect(cli_context *cli, int argc, char **argv)
{
    static const struct argp argp = {inspect_options, parse_inspect, "FILE [OTHER]",
        "Says what is in an avatar, or in two side by side.\vThe files are read by dacm-media, a "
        "sandboxed process.",
        inspect_children, NULL, NULL};
    inspect_arguments inspect = {.cli = cli, .limits = cli_media_defaults()};
    media_made *made[INSPECTED_MAX] = {0};
    int code = cli_parse(&argp, "dacm inspect", argc, argv, &inspect);
    if (code >= 0)
        return code;
    code = inspect_files(&inspect, made);
    if (code == CLI_EXIT_OK)
        print_inspected(&inspect, made);
    for (size_t i = 0; i < inspect.count; i++)
        media_made_free(made[i]);
    return code;
}
