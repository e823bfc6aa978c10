/* SPDX-License-Identifier: Apache-2.0 */
/** What dacm user … and dacm client … share beside calls of the operator's service (operator.h). */
#ifndef DACM_CLI_SIMS_H
#define DACM_CLI_SIMS_H

#include "operator.h"

#define SIMS_LIST_MAX 128

/** A NULL-terminated list that an option fills. */
typedef struct sims_list {
    size_t count;
    char *texts[SIMS_LIST_MAX + 1];
} sims_list;
void sims_add(sims_list *list, char *text, struct argp_state *state);

typedef struct sims_password_source {
    const char *file; /* --password-file */
    bool from_stdin;  /* --password-stdin */
} sims_password_source;
/** --password-file, --password-stdin; its input is a sims_password_source. */
extern const struct argp sims_password_argp;

/** A password from the file, standard input, or the terminal, where it is asked for twice and not
 *  shown. Exit code; sims_wipe() *ret. */
int sims_password(
    const cli_context *cli, const sims_password_source *source, const char *username, char **ret);
void sims_wipe(char *password);

#endif
