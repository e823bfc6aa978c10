/* SPDX-License-Identifier: Apache-2.0 */
/** Inside the operator's service: its methods. */
#ifndef SIM_ADMIN_INTERNAL_H
#define SIM_ADMIN_INTERNAL_H

#include "admin.h"

#include "program.h"

#include "sim/v1/admin.pb-c.h"

/** A method: does it, sets c->reply. c->service is the sim_admin. */
typedef rpc_code admin_method_fn(program_call *c, rpc_status *reterr);

admin_method_fn admin_create_user, admin_get_user, admin_list_users, admin_update_user,
    admin_end_sessions, admin_delete_user;
admin_method_fn admin_create_client, admin_get_client, admin_list_clients, admin_update_client,
    admin_delete_client, admin_get_status;

sim_service *admin_service(const program_call *c);
/** Copies of texts in the arena; NULL when memory is short. */
char **admin_texts(program_call *c, const char *const *list, size_t *ret_count);

#endif
