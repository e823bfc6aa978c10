/* SPDX-License-Identifier: Apache-2.0 */
/** What a registration must be like; sim_client_redirects_to() is there too. */
#ifndef SIM_CLIENT_RULES_H
#define SIM_CLIENT_RULES_H

#include "state_internal.h"

/** INVALID_ARGUMENT names the member and says what is wrong. */
rpc_code sim__client_check(const sim_client *client, rpc_status *reterr);

#endif
