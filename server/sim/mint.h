/* SPDX-License-Identifier: Apache-2.0 */
/** From what was judged to an answer of the token endpoint. */
#ifndef SIM_MINT_H
#define SIM_MINT_H

#include "oidc_internal.h"

#define SIM_JTI_CHARS 22

/** What the tokens of one answer say. Borrowed; NULL and 0 leave out. */
typedef struct sim_ticket {
    const sim_client *client;
    const char *audience;
    const char *subject, *scope;
    const sim_details *details; /* what is granted; NULL = none */
    const char *const *gpsis;   /* whom the holder is: a user's token */
    const char *const *users;   /* whom it acts for: a VAL server's */
    const sim_profile *profile; /* Digital_profile; NULL = no asset */
    const char *skeyprov;       /* SKeyProv: VAL service IDs; NULL = none */
    const uint8_t *certificate_sha256;
    int64_t tokens_after; /* `iat` must be later */
    int64_t auth_time;
    const char *acr, *nonce;
    bool id_token;
} sim_ticket;

typedef struct sim_tokens {
    char jti[SIM_JTI_CHARS + 1];
    int64_t expires_at; /* of the access token, seconds since 1970 */
    char *access, *id;  /* free(); id NULL = none */
} sim_tokens;

/** Draws a jti and signs. False: *reterr; the log says why. */
bool sim_mint(sim_oidc *oidc, host_request *request, const sim_ticket *ticket, sim_tokens *ret,
    sim_error *reterr);
void sim_tokens_done(sim_tokens *tokens);
/** The answer; refresh "" = none. */
void sim_answer_tokens(sim_oidc *oidc, host_request *request, const sim_ticket *ticket,
    const sim_tokens *tokens, const char *refresh);

/** [{type, identifier, actions, users}]; NULL when memory is short. */
json_t *sim_details_json(const sim_details *details);

#endif
