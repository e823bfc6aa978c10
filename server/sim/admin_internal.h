/* SPDX-License-Identifier: Apache-2.0 */
/** Inside the operator's service: a call as its method sees it, on a thread that may block. */
#ifndef SIM_ADMIN_INTERNAL_H
#define SIM_ADMIN_INTERNAL_H

#include "admin.h"

#include "sim/v1/admin.pb-c.h"

#define ADMIN_PAGE_DEFAULT 100u
#define ADMIN_PAGE_MAX     1000u

typedef struct admin_call {
    sim_service *service;
    rpc_arena *arena;
    const ProtobufCMessage *request; /* a copy; its password is wiped afterwards */
    ProtobufCMessage *reply;         /* set on RPC_OK; in the arena */
} admin_call;

/** A method: does it, sets c->reply. */
typedef rpc_code admin_method_fn(admin_call *c, rpc_status *reterr);

admin_method_fn admin_create_user, admin_get_user, admin_list_users, admin_update_user,
    admin_end_sessions, admin_delete_user;
admin_method_fn admin_create_client, admin_get_client, admin_list_clients, admin_update_client,
    admin_delete_client, admin_get_status;

/** A message of that type in the arena, initialised; NULL when memory is short. */
void *admin_new(admin_call *c, const ProtobufCMessageDescriptor *descriptor);
/** Copies of texts in the arena; NULL when memory is short. */
char *admin_text(admin_call *c, const char *text);
char **admin_texts(admin_call *c, const char *const *list, size_t *ret_count);
rpc_code admin_no_memory(rpc_status *reterr);
/** As many as a page may have. */
uint32_t admin_page_size(uint32_t asked);

#endif
