/* SPDX-License-Identifier: Apache-2.0 */
/** Who calls the token endpoint and its neighbours (RFC 6749 2.3, RFC 7523, RFC 8705). */
#ifndef SIM_CLIENT_AUTH_H
#define SIM_CLIENT_AUTH_H

#include "oidc_internal.h"

#define SIM_SECRET_MAX 256

/** A client that has proven who it is, by the one method it is registered with. */
typedef struct sim_caller {
    sim_client *client;
    const uint8_t *certificate_sha256; /* of the connection; the request's; NULL = none */
} sim_caller;

/** False: *reterr is the answer. `invalid_client` says to nobody which part was wrong. Failures are
 *  limited for each client and address. Free ret->client. */
bool sim_caller_prove(sim_oidc *oidc, host_request *request, sim_caller *ret, sim_error *reterr);

/** Reads `Basic …` (RFC 6749 2.3.1: both are form-encoded first). Pure. */
bool sim_basic_read(
    const char *header, char ret_id[SIM_CLIENT_ID_MAX + 1], char ret_secret[SIM_SECRET_MAX + 1]);

#endif
