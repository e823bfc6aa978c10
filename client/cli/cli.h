/* SPDX-License-Identifier: Apache-2.0 */
/** The program dacm: one table of commands (main.c), a file per group of commands, and what they
 *  share. Single-threaded; a command returns an exit code. */
#ifndef DACM_CLI_H
#define DACM_CLI_H

#include "dacm.h"

#include <argp.h>
#include <jansson.h>

/** The exit codes; the table in output.c documents them and maps status codes to them. */
typedef enum cli_exit {
    CLI_EXIT_OK = 0,
    CLI_EXIT_OTHER = 1,
    CLI_EXIT_USAGE = 2,
    CLI_EXIT_DENIED = 3,
    CLI_EXIT_NOT_FOUND = 4,
    CLI_EXIT_BAD_SIGNATURE = 5,
    CLI_EXIT_NO_KEY = 6,
    CLI_EXIT_UNAUTHENTICATED = 7,
    CLI_EXIT_UNAVAILABLE = 8,
    CLI_EXIT_CONFLICT = 9,
    CLI_EXIT_LIMIT = 10,
    CLI_EXIT_FILE = 11,
} cli_exit;

cli_exit cli_exit_of(dacm_code code);
/** The table as text for --help. */
char *cli_exit_help(void);

/** What `dacm dev` wrote for development (env.json); strings live in json. */
typedef struct cli_env {
    json_t *json;
    const char *ca_file, *grpc, *admin, *resource, *issuer, *token_key_file, *keys_file;
    const char *sims_admin, *skms_admin, *skms_grpc, *trust_folder;
} cli_env;

typedef struct cli_context {
    bool json;
    const char *env_file; /* --env or DACM_ENV: env.json or the folder with it */
    const char *server, *ca_file, *certificate_file, *key_file, *server_name;
    const char *token, *token_file;
    const char *as;
    char *login_user, *login_certificate, *login_key; /* of the login, where it is used */
    const char *keys_file, *issuer;
    bool pinned;              /* --trust: by pinned roots */
    const char *trust_folder; /* … in that folder; NULL = the usual one */
    const char *skms;         /* --skms: where its SKM-S answers, if not as pinned */
    bool offline;             /* --offline: no SKM-S is asked */
    bool verify_if_key;
    cli_env env;
    bool prepares;  /* dacm dev: acts for each of its users */
    bool warned;    /* that tokens are minted with a development key */
    bool forgetful; /* there is no folder to keep the highest versions in */
} cli_context;

typedef struct cli_command {
    const char *name;      /* words with a blank between: "token issue" is a group and a verb */
    const char *arguments; /* for help */
    const char *summary;
    int (*run)(cli_context *cli, int argc, char **argv);
} cli_command;

extern const cli_command cli_commands[]; /* ends with a NULL name */

/* ---- output (output.c) -------------------------------------------------------------------- */

/** Prints the failure as the user asked (a sentence on standard error, or with --json an object
 *  on standard output) and returns its exit code. */
int cli_fail(const cli_context *cli, const dacm_error *error);
/** The same from a sentence. */
int cli_fail_text(const cli_context *cli, dacm_code code, const char *format, ...) RPC_PRINTF(3, 4);
/** A call's status as an error; a server's text made fit for a terminal. Returns its code. */
dacm_code cli_fail_status(dacm_error *reterr, const rpc_status *status);
/** One line of --json; takes object. */
void cli_print_json(json_t *object);
json_t *cli_hex_json(const uint8_t *data, size_t size);
/** "12.3 MB"; ret holds 32 bytes. */
void cli_size_text(uint64_t size, char ret[32]);
/** "2026-11-24 02:10:00 UTC"; ret holds 32 bytes. */
void cli_time_text(int64_t seconds, char ret[32]);
/** A whole small file as text; exit code; free() *ret. */
int cli_read_file(const cli_context *cli, const char *path, size_t max, char **ret);

typedef struct cli_progress {
    bool shown;
    const char *what;
    int64_t last_us;
} cli_progress;
/** A bar on standard error when that is a terminal and --json is not given. */
void cli_progress_start(cli_progress *progress, const cli_context *cli, const char *what);
bool cli_progress_step(void *ctx, const dacm_progress *step);
void cli_progress_end(cli_progress *progress);

/* ---- connection (connect.c) ------------------------------------------------------------------ */

/** --server, --ca, --cert, --key, --token, --token-file, --as, --env, --keys, --issuer, --json;
 *  its input is the cli. */
extern const struct argp cli_connection_argp;
/** Only --json. */
extern const struct argp cli_json_argp;
/** Reads the environment variables; before the arguments. */
void cli_init(cli_context *cli);
void cli_done(cli_context *cli);
/** Loads env.json where one was named. */
dacm_code cli_load_env(cli_context *cli, dacm_error *reterr);
/** Points env into json, which it takes. */
void cli_set_env(cli_env *env, json_t *json);
/** A client as the options say; with admin for the operator's services. Exit code otherwise. */
int cli_connect(cli_context *cli, bool admin, dacm_client **ret);
/** The user of --as, else of the login (dacm login); fails with a usage error when there is none.
 */
int cli_user(cli_context *cli, const char **ret);

/** ${XDG_STATE_HOME:-~/.local/state}/dacm, its parents made; NULL when there is no home. free() it.
 */
char *cli_state_folder(void);
/** The folder of pinned roots: named, else DACM_TRUST, else below cli_state_folder(). Exit code;
 *  free() *ret. */
int cli_trust_folder(const cli_context *cli, const char *named, char **ret);
/** Says on standard error that the keys may not be the newest, when that is so. */
void cli_warn_of_keys(const dacm_error *failure);
/** The same for --trust, or where env.json names one and there is no --keys; else *ret stays NULL.
 *  A usage error beside --keys. */
int cli_trust_chosen(const cli_context *cli, char **ret);

/** An External ID as the GPSI that it means; free() it. NULL without memory. */
char *cli_gpsi_of(const char *user);

/** From now on wrong arguments are told as an object on standard output. */
void cli_parse_tells_json(void);
/** Parses argv with the command's own options and children; returns an exit code, or -1 to go
 *  on. name is "dacm put". */
int cli_parse(const struct argp *argp, const char *name, int argc, char **argv, void *input);
/** A number of digits only; ends the program with a usage error otherwise. */
uint64_t cli_number(struct argp_state *state, const char *text);

/** The path of a program beside this one (sibling.c). LOCAL_FILE: it is not there. */
dacm_code cli_sibling(const char *program, char *ret, size_t size, dacm_error *reterr);

/* ---- tokens (mint.c) ---------------------------------------------------------------------------
 */

/** Claims of an access token (docs/wire.md); NULL or 0 = absent. */
typedef struct cli_claims {
    const char *issuer, *audience, *subject, *client_id, *scope;
    const char *const *gpsis;
    size_t gpsi_count;
    const char *const *users; /* a VAL server's token */
    size_t user_count;
    const char *asset_id;
    const char *const *actions;
    size_t action_count;
    const char *profile; /* Digital_profile */
    const char *skeyprov;
    int64_t lifetime_s; /* 0 = 300 */
} cli_claims;

/** Mints with the private key set in key_file; *ret is malloc'd. */
dacm_code cli_mint(const cli_claims *claims, const char *key_file, char **ret, dacm_error *reterr);

/* ---- commands
 * ------------------------------------------------------------------------------------ */

int cli_put(cli_context *cli, int argc, char **argv);
int cli_get(cli_context *cli, int argc, char **argv);
int cli_authorize(cli_context *cli, int argc, char **argv);
int cli_verify(cli_context *cli, int argc, char **argv);
int cli_ls(cli_context *cli, int argc, char **argv);
int cli_show(cli_context *cli, int argc, char **argv);
int cli_variants(cli_context *cli, int argc, char **argv);
int cli_allow(cli_context *cli, int argc, char **argv);
int cli_deny(cli_context *cli, int argc, char **argv);
int cli_rm(cli_context *cli, int argc, char **argv);
int cli_adapt(cli_context *cli, int argc, char **argv);
int cli_inspect(cli_context *cli, int argc, char **argv);
int cli_pki_init(cli_context *cli, int argc, char **argv);
int cli_pki_issue(cli_context *cli, int argc, char **argv);
int cli_pki_keys(cli_context *cli, int argc, char **argv);
int cli_token_issue(cli_context *cli, int argc, char **argv);
int cli_token_revoke(cli_context *cli, int argc, char **argv);
int cli_explain(cli_context *cli, int argc, char **argv);
int cli_login(cli_context *cli, int argc, char **argv);
int cli_logout(cli_context *cli, int argc, char **argv);
int cli_whoami(cli_context *cli, int argc, char **argv);
int cli_user_add(cli_context *cli, int argc, char **argv);
int cli_user_show(cli_context *cli, int argc, char **argv);
int cli_user_ls(cli_context *cli, int argc, char **argv);
int cli_user_passwd(cli_context *cli, int argc, char **argv);
int cli_user_map(cli_context *cli, int argc, char **argv);
int cli_user_unmap(cli_context *cli, int argc, char **argv);
int cli_user_disable(cli_context *cli, int argc, char **argv);
int cli_user_enable(cli_context *cli, int argc, char **argv);
int cli_user_logout(cli_context *cli, int argc, char **argv);
int cli_user_rm(cli_context *cli, int argc, char **argv);
int cli_client_add(cli_context *cli, int argc, char **argv);
int cli_client_show(cli_context *cli, int argc, char **argv);
int cli_client_ls(cli_context *cli, int argc, char **argv);
int cli_client_set(cli_context *cli, int argc, char **argv);
int cli_client_disable(cli_context *cli, int argc, char **argv);
int cli_client_enable(cli_context *cli, int argc, char **argv);
int cli_client_rm(cli_context *cli, int argc, char **argv);
int cli_keys_list(cli_context *cli, int argc, char **argv);
int cli_keys_show(cli_context *cli, int argc, char **argv);
int cli_keys_rotate(cli_context *cli, int argc, char **argv);
int cli_keys_revoke(cli_context *cli, int argc, char **argv);
int cli_keys_root(cli_context *cli, int argc, char **argv);
int cli_keys_root_rotate(cli_context *cli, int argc, char **argv);
int cli_keys_services(cli_context *cli, int argc, char **argv);
int cli_keys_services_create(cli_context *cli, int argc, char **argv);
int cli_keys_enrol(cli_context *cli, int argc, char **argv);
int cli_keys_unenrol(cli_context *cli, int argc, char **argv);
int cli_keys_upload(cli_context *cli, int argc, char **argv);
int cli_keys_watch(cli_context *cli, int argc, char **argv);
int cli_trust_add(cli_context *cli, int argc, char **argv);
int cli_trust_list(cli_context *cli, int argc, char **argv);
int cli_trust_update(cli_context *cli, int argc, char **argv);
int cli_trust_remove(cli_context *cli, int argc, char **argv);
int cli_audit_verify(cli_context *cli, int argc, char **argv);
int cli_dev(cli_context *cli, int argc, char **argv);
int cli_call(cli_context *cli, int argc, char **argv);
int cli_completion(cli_context *cli, int argc, char **argv);

#endif
