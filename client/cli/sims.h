/* SPDX-License-Identifier: Apache-2.0 */
/** Talking to the operator's service of a SIM-S (sim.v1.Admin): dacm user … and dacm client …. */
#ifndef DACM_CLI_SIMS_H
#define DACM_CLI_SIMS_H

#include "cli.h"
#include "rpc.h"

#define SIMS_LIST_MAX 128

/** A NULL-terminated list that an option fills. */
typedef struct sims_list {
    size_t count;
    char *texts[SIMS_LIST_MAX + 1];
} sims_list;
void sims_add(sims_list *list, char *text, struct argp_state *state);

typedef struct sims {
    cli_context *cli;
    const char *admin; /* --admin */
    const char *password_file;
    bool password_stdin;
    rpc_runtime *runtime;
    rpc_channel *channel;
    rpc_arena *arena; /* of answers */
} sims;

/** --admin, --env, --json; its input is a sims. */
extern const struct argp sims_argp;
/** --password-file, --password-stdin; the same. */
extern const struct argp sims_password_argp;

/** Calls a method. *ret lives until sims_done(). */
dacm_code sims_ask(sims *s, const char *method, const ProtobufCMessage *request,
    const ProtobufCMessageDescriptor *reply, void *ret, dacm_error *reterr);
/** The same; prints the failure. Exit code. */
int sims_call(sims *s, const char *method, const ProtobufCMessage *request,
    const ProtobufCMessageDescriptor *reply, void *ret);
void sims_done(sims *s);

/** A password from the file, standard input, or the terminal, where it is asked for twice and not
 *  shown. Exit code; sims_wipe() *ret. */
int sims_password(const sims *s, const char *username, char **ret);
void sims_wipe(char *password);
/** A whole small file as text; exit code; free() *ret. */
int sims_read_file(const cli_context *cli, const char *path, size_t max, char **ret);

json_t *sims_strings_json(char *const *texts, size_t count);
/** "name     value", not where value is empty: a server's text, whose control characters become
 *  '?', or our own. */
void sims_print_line(const char *name, char *value);
void sims_print_word(const char *name, const char *value);
void sims_print_list(const char *name, char *const *texts, size_t count);

#endif
