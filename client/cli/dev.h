/* SPDX-License-Identifier: Apache-2.0 */
/** One run of `dacm dev`: cmd_dev.c is the command, dev_servers.c starts and stops the servers,
 *  dev_setup.c makes what they need, dev_env.c tells where everything is, dev_sims.c makes users
 *  and clients of the SIM-S, dev_skms.c gets keys from the SKM-S. */
#ifndef DACM_CLI_DEV_H
#define DACM_CLI_DEV_H

#include "cli.h"

#include <signal.h>
#include <sys/types.h>

#define DEV_USERS  3
#define DEV_ASSETS 3

typedef struct dev_user {
    const char *name, *gpsi, *password;
} dev_user;
/** The first owns the assets, the second is on their lists, the last is on none. */
extern const dev_user dev_users[DEV_USERS];

typedef struct dev_asset {
    char id[DACM_ASSET_ID_BYTES_MAX + 1];
    char *file;
} dev_asset;

/** The servers that there are, in the order in which they start; they stop in the reverse. */
typedef enum dev_role { DEV_SKMSD, DEV_DACMD, DEV_SIMSD, DEV_SERVERS } dev_role;

typedef struct dev_server {
    const char *program;
    char *config_file;
    pid_t pid; /* 0 = not running */
    bool started;
    int status;
} dev_server;

typedef struct dev_run {
    cli_context *cli;
    char *folder_made; /* absolute */
    const char *folder;
    unsigned ports_from; /* 0 = the defaults */
    int lock;            /* held while the folder is ours; -1 = not held */
    dev_server servers[DEV_SERVERS];
    char *pki, *data, *env_file, *assets_file;
    char *grpc, *peers, *https, *resource, *admin;
    unsigned https_port;
    char *issuer, *sims_mtls, *sims_ops, *sims_admin;
    unsigned sims_port, sims_mtls_port, sims_ops_port;
    char *skms, *skms_https, *skms_grpc, *skms_admin; /* skms: its resource and issuer of sets */
    char *root_file, *keys_file, *trust;
    unsigned skms_port;
    dev_asset assets[DEV_ASSETS];
} dev_run;

/* ---- what they need (dev_setup.c) ---- */

/** Folders, keys, certificates, configuration; what is there already is kept. Ends with the
 *  run's environment in cli->env. */
dacm_code dev__prepare(dev_run *dev, dacm_error *reterr);
/** Three cubes with users; those of an earlier run are reused. */
dacm_code dev__store_assets(dev_run *dev, dacm_client *client, dacm_error *reterr);
void dev__done(dev_run *dev);

/* ---- where everything is (dev_env.c) ---- */

#define DEV_CLIENT     "dacm"                   /* public, with a loopback redirect */
#define DEV_VAL_NAME   "val.dacm.localhost"     /* VAL server, by its certificate */
#define DEV_VAL_KEY    "val-key.dacm.localhost" /* another, by its key */
#define DEV_ADMIN_NAME "admin.dacm.localhost"
#define DEV_SIMS_NAME  "sims.dacm.localhost"
#define DEV_DACM_NAME  "dacm.localhost"            /* dacmd, as SKM-C */
#define DEV_REDIRECT   "http://127.0.0.1/callback" /* of any port */

/** The environment as JSON into cli->env and, with file, into env.json. */
dacm_code dev__write_env(dev_run *dev, bool file, dacm_error *reterr);
/** What to try next. */
void dev__print_next(const dev_run *dev);

/* ---- users and clients (dev_sims.c) ---- */

/** Those of an earlier run are kept. */
dacm_code dev__register(const dev_run *dev, dacm_error *reterr);

/* ---- keys (dev_skms.c) ---- */

/** skmsd's configuration and secret. */
dacm_code dev__write_skmsd(const dev_run *dev, dacm_error *reterr);
/** The section skms of the configuration of an SKM-C, which keeps what it gets in folder/skms.
 * free() it; NULL without memory. */
char *dev__skms_section(const dev_run *dev, const char *certificate, const char *folder);
/** Of a running skmsd: VAL services, tokens for those who have not enrolled, the pinned root, and
 *  the public keys of now as a file. */
dacm_code dev__get_keys(const dev_run *dev, dacm_error *reterr);

/* ---- processes (dev_servers.c) ---- */

/** Signals are blocked and taken with sigtimedwait(), so nothing runs in a handler and the death of
 *  a server is seen as SIGCHLD. */
void dev__block_signals(sigset_t *ret);
dacm_code dev__start(dev_run *dev, dev_role role, dacm_error *reterr);
/** Until skmsd serves, or all do. CANCELLED: a signal came; FAILED_PRECONDITION and INTERNAL: one
 *  has ended. */
dacm_code dev__wait_keys(dev_run *dev, const sigset_t *signals, dacm_error *reterr);
dacm_code dev__wait_healthy(
    dev_run *dev, dacm_client *client, const sigset_t *signals, dacm_error *reterr);
/** Until somebody stops us (OK), or a server dies. */
dacm_code dev__wait_end(dev_run *dev, const sigset_t *signals, dacm_error *reterr);
/** SIGTERM, then after a bound SIGKILL. True when all ended well. */
bool dev__stop(dev_run *dev, const sigset_t *signals);

#endif
