/* SPDX-License-Identifier: Apache-2.0 */
/** From a call's metadata to its verified access token. */
#ifndef DACM_BEARER_H
#define DACM_BEARER_H

#include "trusted.h"
#include "verdict.h"

typedef struct dacm_bearer {
    trust_token *token; /* with a reference; NULL: status says why */
    issuers_rule rule;
    uint64_t version;  /* of the issuers that took it */
    rpc_status status; /* UNAUTHENTICATED (for logs, not for callers), RESOURCE_EXHAUSTED */
} dacm_bearer;

struct dacm_service;

/** fn runs once on the call's strand, possibly inside this function. Looks, in this order, at
 *  what the connection remembers of the very header, at the tokens verified before, and else
 *  verifies in the pool. */
void dacm_bearer_get(struct dacm_service *service, rpc_call *call, dacm_bearer *ret,
    void (*fn)(void *arg), void *arg);
void dacm_bearer_done(dacm_bearer *bearer);
/** The verdicts that the connection remembers beside this call's verified token; NULL when the
 *  token is not remembered, or was verified with other keys or under other rules than those of
 *  now. Strand. */
dacm_verdicts *dacm_bearer_verdicts(struct dacm_service *service, rpc_call *call);

#endif
