/* SPDX-License-Identifier: Apache-2.0 */
/** One run of `dacm dev`: cmd_dev.c starts and stops, dev_setup.c makes what the servers need. */
#ifndef DACM_CLI_DEV_H
#define DACM_CLI_DEV_H

#include "cli.h"

#include <sys/types.h>

#define DEV_USERS  3
#define DEV_ASSETS 3

typedef struct dev_user {
    const char *name, *gpsi;
} dev_user;
/** The first owns the assets, the second is on their lists, the last is on none. */
extern const dev_user dev_users[DEV_USERS];

typedef struct dev_asset {
    char id[DACM_ASSET_ID_BYTES_MAX + 1];
    char *file;
} dev_asset;

typedef struct dev_run {
    cli_context *cli;
    char *folder_made; /* absolute */
    const char *folder;
    unsigned ports_from; /* 0 = the defaults */
    int lock;            /* held while the folder is ours; -1 = not held */
    pid_t server;        /* 0 = not running */
    int server_status;
    char *pki, *data, *config_file, *env_file, *assets_file;
    char *grpc, *peers, *https, *resource, *admin;
    unsigned https_port;
    dev_asset assets[DEV_ASSETS];
} dev_run;

/** Folders, keys, certificates, configuration; what is there already is kept. Ends with the
 *  run's environment in cli->env. */
dacm_code dev__prepare(dev_run *dev, dacm_error *reterr);
/** Three cubes with users; those of an earlier run are reused. */
dacm_code dev__store_assets(dev_run *dev, dacm_client *client, dacm_error *reterr);
/** The environment as JSON into cli->env and, with file, into env.json. */
dacm_code dev__write_env(dev_run *dev, bool file, dacm_error *reterr);
void dev__done(dev_run *dev);

#endif
