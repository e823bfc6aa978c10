/* SPDX-License-Identifier: Apache-2.0 */
/** A connection to the SKM-S as its clients have one, over TLS: dacm keys watch, dacm keys upload.
 */
#ifndef DACM_CLI_SKMS_H
#define DACM_CLI_SKMS_H

#include "cli.h"
#include "rpc.h"

typedef struct skms {
    cli_context *cli;
    const char *server; /* --server */
    const char *usual;  /* where nothing else says; may be NULL */
    rpc_runtime *runtime;
    rpc_channel *channel;
} skms;

/** --server, --ca, --server-name, --cert, --key, --env, --json; its input is a skms. */
extern const struct argp skms_argp;
/** As the options, the environment and env.json say. Does not wait for the server. */
dacm_code skms_connect(skms *s, dacm_error *reterr);
void skms_done(skms *s);

#endif
