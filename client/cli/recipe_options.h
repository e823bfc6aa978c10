/* SPDX-License-Identifier: Apache-2.0 */
/** --preset, --lod and the rest: a recipe as options of whichever command takes one. */
#ifndef DACM_CLI_RECIPE_OPTIONS_H
#define DACM_CLI_RECIPE_OPTIONS_H

#include "cli.h"
#include "media_recipe.h"

/** All zero: nothing was given. Freed by cli_recipe_done(). */
typedef struct cli_recipe {
    json_t *members;  /* of the recipe, as options gave them; NULL: none */
    const char *file; /* --recipe */
} cli_recipe;

/** A child of a command's argp; its input is a cli_recipe. */
extern const struct argp cli_recipe_argp;

void cli_recipe_done(cli_recipe *recipe);
/** The canonical form ("{}": the original); what options say goes before what the file says. Exit
 *  code. */
int cli_recipe_text(
    const cli_context *cli, const cli_recipe *recipe, char ret_text[MEDIA_RECIPE_ROOM]);

#endif
