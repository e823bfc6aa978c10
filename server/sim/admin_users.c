/* SPDX-License-Identifier: Apache-2.0 */
/* sim.v1.Admin: users. */
#include "admin_internal.h"

static rpc_code tell_user(
    program_call *c, const sim_user *user, Sim__V1__User **ret, rpc_status *reterr)
{
    Sim__V1__User *message = program_call_new(c, &sim__v1__user__descriptor);
    if (!message)
        return program_call_no_memory(reterr);
    message->username = program_call_text(c, user->username);
    message->sub = program_call_text(c, user->sub);
    message->name = program_call_text(c, user->name);
    message->gpsis = admin_texts(c, user->gpsis, &message->n_gpsis);
    if (!message->username || !message->sub || !message->name || !message->gpsis)
        return program_call_no_memory(reterr);
    message->disabled = user->disabled;
    message->has_password = user->has_password;
    message->created_at = user->created_at;
    *ret = message;
    return RPC_OK;
}

static rpc_code reply_user(program_call *c, const char *username, rpc_status *reterr)
{
    sim_user *user = NULL;
    Sim__V1__User *message = NULL;
    rpc_code code = sim_user_find(admin_service(c)->state, username, &user, reterr);
    if (code == RPC_OK)
        code = tell_user(c, user, &message, reterr);
    sim_user_free(user);
    if (code == RPC_OK)
        c->reply = &message->base;
    return code;
}

static rpc_code map_all(
    program_call *c, const char *username, char *const *gpsis, size_t count, rpc_status *reterr)
{
    rpc_code code = RPC_OK;
    for (size_t i = 0; i < count && code == RPC_OK; i++)
        code = sim_user_map(admin_service(c)->state, username, gpsis[i], reterr);
    return code;
}

rpc_code admin_create_user(program_call *c, rpc_status *reterr)
{
    const Sim__V1__CreateUserRequest *request = (const Sim__V1__CreateUserRequest *)c->request;
    rpc_code code;
    if (request->password[0] && request->password_hash[0])
        code = rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "password_hash: stands beside a password; give one");
    else if (request->password_hash[0])
        code = sim_user_import(admin_service(c)->state, request->username, request->name,
            request->password_hash, reterr);
    else
        code = sim_user_add(admin_service(c)->state, request->username, request->name,
            request->password[0] ? request->password : NULL, reterr);
    if (code != RPC_OK)
        return code;
    code = map_all(c, request->username, request->gpsis, request->n_gpsis, reterr);
    rpc_status why;
    if (code != RPC_OK &&
        sim_user_delete(admin_service(c)->state, request->username, &why) != RPC_OK)
        return rpc_status_set(reterr, why.code,
            "the user was added without all of its GPSIs, and could not be removed again: remove "
            "it, or map them");
    return code == RPC_OK ? reply_user(c, request->username, reterr) : code;
}

rpc_code admin_get_user(program_call *c, rpc_status *reterr)
{
    const Sim__V1__GetUserRequest *request = (const Sim__V1__GetUserRequest *)c->request;
    return reply_user(c, request->username, reterr);
}

typedef struct paging {
    program_call *c;
    Sim__V1__ListUsersResponse *response;
    uint32_t size;
    rpc_status status;
} paging;

static bool add_user(void *ctx, const sim_user *user)
{
    paging *p = ctx;
    if (p->response->n_users == p->size) {
        p->response->more = true;
        return false;
    }
    p->status.code = tell_user(p->c, user, &p->response->users[p->response->n_users], &p->status);
    p->response->n_users += p->status.code == RPC_OK;
    return p->status.code == RPC_OK;
}

rpc_code admin_list_users(program_call *c, rpc_status *reterr)
{
    const Sim__V1__ListUsersRequest *request = (const Sim__V1__ListUsersRequest *)c->request;
    paging p = {.c = c, .size = program_page_size(request->page_size)};
    p.response = program_call_new(c, &sim__v1__list_users_response__descriptor);
    if (!p.response ||
        !(p.response->users = rpc_arena_alloc(c->arena, p.size * sizeof *p.response->users)))
        return program_call_no_memory(reterr);
    rpc_code code = sim_users_list(
        admin_service(c)->state, request->after[0] ? request->after : NULL, add_user, &p, reterr);
    if (code == RPC_OK && p.status.code != RPC_OK)
        code = rpc_status_text(reterr, p.status.code, p.status.message);
    c->reply = &p.response->base;
    return code;
}

/* What is not mapped to the user is as the operator wants it. */
static rpc_code unmap(program_call *c, const char *username, const char *gpsi, rpc_status *reterr)
{
    rpc_code code = sim_user_unmap(admin_service(c)->state, username, gpsi, reterr);
    return code == RPC_FAILED_PRECONDITION ? RPC_OK : code;
}

/* What takes away comes first: a failure in between leaves less, not more. */
rpc_code admin_update_user(program_call *c, rpc_status *reterr)
{
    const Sim__V1__UpdateUserRequest *request = (const Sim__V1__UpdateUserRequest *)c->request;
    sim_state *state = admin_service(c)->state;
    const char *username = request->username;
    rpc_code code = RPC_OK;
    if (request->disabled == SIM__V1__SWITCH__SWITCH_ON)
        code = sim_user_set_disabled(state, username, true, reterr);
    if (code == RPC_OK && request->password[0])
        code = sim_user_set_password(state, username, request->password, reterr);
    for (size_t i = 0; i < request->n_unmap_gpsis && code == RPC_OK; i++)
        code = unmap(c, username, request->unmap_gpsis[i], reterr);
    if (code == RPC_OK)
        code = map_all(c, username, request->map_gpsis, request->n_map_gpsis, reterr);
    if (code == RPC_OK && request->disabled == SIM__V1__SWITCH__SWITCH_OFF)
        code = sim_user_set_disabled(state, username, false, reterr);
    return code == RPC_OK ? reply_user(c, username, reterr) : code;
}

static rpc_code reply_empty(
    program_call *c, const ProtobufCMessageDescriptor *descriptor, rpc_status *reterr)
{
    c->reply = program_call_new(c, descriptor);
    return c->reply ? RPC_OK : program_call_no_memory(reterr);
}

rpc_code admin_end_sessions(program_call *c, rpc_status *reterr)
{
    const Sim__V1__EndSessionsRequest *request = (const Sim__V1__EndSessionsRequest *)c->request;
    rpc_code code = sim_user_end(admin_service(c)->state, request->username, reterr);
    return code == RPC_OK ? reply_empty(c, &sim__v1__end_sessions_response__descriptor, reterr)
                          : code;
}

rpc_code admin_delete_user(program_call *c, rpc_status *reterr)
{
    const Sim__V1__DeleteUserRequest *request = (const Sim__V1__DeleteUserRequest *)c->request;
    rpc_code code = sim_user_delete(admin_service(c)->state, request->username, reterr);
    return code == RPC_OK ? reply_empty(c, &sim__v1__delete_user_response__descriptor, reterr)
                          : code;
}
