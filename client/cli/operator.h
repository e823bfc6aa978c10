/* SPDX-License-Identifier: Apache-2.0 */
/** Talking to the operator's service of a server on its socket: of a SIM-S (dacm user …, dacm
 *  client …), of an SKM-S (dacm keys …). */
#ifndef DACM_CLI_OPERATOR_H
#define DACM_CLI_OPERATOR_H

#include "cli.h"
#include "rpc.h"

/** Which service, and how its socket is found. */
typedef struct operator_server {
    const char *service;    /* "sim.v1.Admin" */
    const char *what;       /* "SIM-S" */
    const char *variable;   /* of the environment, that names the socket */
    const char *usual;      /* the socket's usual address, for a message */
    size_t in_env;          /* offset of the address in cli_env */
    const struct argp argp; /* --admin, --env, --json; its input is an operator_calls */
} operator_server;
extern const operator_server operator_sims, operator_skms;

typedef struct operator_calls {
    cli_context *cli;
    const operator_server *server;
    const char *admin; /* --admin */
    rpc_runtime *runtime;
    rpc_channel *channel;
    rpc_arena *arena; /* of answers */
} operator_calls;

/** Calls a method. *ret lives until operator_done(). */
dacm_code operator_ask(operator_calls *calls, const char *method, const ProtobufCMessage *request,
    const ProtobufCMessageDescriptor *reply, void *ret, dacm_error *reterr);
/** The same; prints the failure. Exit code. */
int operator_call(operator_calls *calls, const char *method, const ProtobufCMessage *request,
    const ProtobufCMessageDescriptor *reply, void *ret);
void operator_done(operator_calls *calls);

/* ---- output ---- */

json_t *operator_strings_json(char *const *texts, size_t count);
/** "name     value", not where value is empty: a server's text, whose control characters become
 *  '?', or our own. */
void operator_print_line(const char *name, char *value);
void operator_print_word(const char *name, const char *value);
void operator_print_list(const char *name, char *const *texts, size_t count);

#endif
