/* SPDX-License-Identifier: Apache-2.0 */
/** authorization_details of type digital_asset (RFC 9396). Pure. */
#ifndef SIM_DETAILS_H
#define SIM_DETAILS_H

#include "error.h"
#include "state.h"
#include "trust.h"

#define SIM_DETAILS_BYTES_MAX 16384u
#define SIM_DETAILS_TYPE      "digital_asset"

typedef struct sim_details {
    char asset_id[TRUST_ASSET_ID_MAX + 1]; /* "" = none named */
    unsigned actions;                      /* bits of trust_action */
    size_t user_count;                     /* whom a VAL server acts for; only where it may */
    trust_gpsi users[TRUST_USERS_MAX];     /* sorted, each once */
} sim_details;

/** Reads an array of exactly one object with type, actions and, optionally, identifier; with_users:
 *  a VAL server's, which must have `users`. False: *reterr is invalid_authorization_details and
 *  *ret is not to be used. */
bool sim_details_parse(rpc_bytes json, bool with_users, sim_details *ret, sim_error *reterr);

/** Narrows what was granted (asset "" = any) to what is asked for: one asset of those, some of the
 *  actions. */
bool sim_details_narrow(const char *granted_asset, unsigned granted_actions,
    const sim_details *asked, sim_error *reterr);

/** May a client that has these rights (GPSIs, extid-*@domain) act for each of the users? */
bool sim_details_users_within(const sim_details *details, const char *const *rights);

/** Actions by name, NULL-terminated, and back; an unknown name is no bit. */
void sim_actions_names(unsigned actions, const char *ret[SIM_ACTIONS_MAX + 1]);
unsigned sim_actions_bits(const char *const *names);

#endif
