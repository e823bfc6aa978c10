/* SPDX-License-Identifier: Apache-2.0 */
/** Inside the operator's service: its methods. */
#ifndef SKM_ADMIN_INTERNAL_H
#define SKM_ADMIN_INTERNAL_H

#include "admin.h"

#include "skms/v1/admin.pb-c.h"

/** A method: does it, sets c->reply. c->service is the skm_admin. */
typedef rpc_code admin_method_fn(program_call *c, rpc_status *reterr);
admin_method_fn admin_create_service, admin_list_services, admin_create_enrolment,
    admin_revoke_enrolment, admin_list_keys, admin_rotate_key, admin_revoke_key, admin_get_root,
    admin_rotate_root;

skm_service *admin_service(const program_call *c);

#endif
