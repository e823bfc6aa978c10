/* SPDX-License-Identifier: Apache-2.0 */
#include "unary.h"

#include <string.h>

void unary_hold(unary *u)
{
    atomic_fetch_add(&u->refs, 1);
}

void unary_drop(unary *u)
{
    if (atomic_fetch_sub(&u->refs, 1) != 1)
        return;
    dacm_access_done(&u->access);
    rpc_call_unref(u->call); /* its arena holds u */
}

unary *unary_new(dacm_service *service, rpc_call *call, const ProtobufCMessage *request,
    ProtobufCClosure closure)
{
    rpc_arena *arena = rpc_call_arena(call);
    unary *u = rpc_arena_alloc(arena, sizeof *u);
    if (!u) {
        rpc_status status;
        rpc_status_set(&status, RPC_RESOURCE_EXHAUSTED, "dacmd: no memory; try again later");
        rpc_call_fail(call, &status);
        return NULL;
    }
    memset(u, 0, sizeof *u);
    atomic_init(&u->refs, 1);
    u->service = service;
    u->call = rpc_call_ref(call);
    u->arena = arena;
    u->request = request;
    u->closure = closure;
    u->executor = dacm_call_executor(call);
    dacm_access_init(&u->access, service, call);
    return u;
}

void unary_reply(unary *u, const ProtobufCMessage *reply)
{
    u->over = true;
    dacm_access_end(&u->access, RPC_OK);
    u->closure(reply, u->call);
    unary_drop(u);
}

void unary_fail(unary *u, const rpc_status *status)
{
    u->over = true;
    dacm_access_end(&u->access, status->code);
    rpc_call_fail(u->call, status);
    unary_drop(u);
}

void unary_fail_text(unary *u, rpc_code code, const char *text)
{
    rpc_status status;
    rpc_status_set(&status, code, "%s", text);
    unary_fail(u, &status);
}

/* The request is gone once the call is: the method's step must not run. */
static bool still_wanted(unary *u)
{
    if (!rpc_call_cancelled(u->call))
        return true;
    unary_fail_text(u, RPC_CANCELLED, "the call ended before its answer");
    return false;
}

static void decided(void *arg, const rpc_status *status)
{
    unary *u = arg;
    if (status->code == RPC_PERMISSION_DENIED && u->denied)
        u->denied(u);
    else if (status->code != RPC_OK)
        unary_fail(u, status);
    else if (still_wanted(u))
        u->next(u);
}

void unary_decide(unary *u, const dacm_request *wanted, unary_step *next)
{
    rpc_status status = {0};
    if (dacm_access_prepare(&u->access, wanted, &status) != RPC_OK) {
        unary_fail(u, &status);
        return;
    }
    u->next = next;
    dacm_access_start(&u->access, u->arena, decided, u);
}

void unary_decide_again(unary *u, unary_step *next)
{
    u->next = next;
    dacm_access_again(&u->access, u->arena, decided, u);
}

void unary_ready(unary *u)
{
    if (rpc_call_cancelled(u->call)) {
        store_view_release(&u->op.view);
        store_page_free(u->op.page);
        u->op.page = NULL;
    }
    if (still_wanted(u))
        u->next(u);
}

static void on_op(store_op *op)
{
    unary_ready(op->ctx);
}

store_op unary_op(unary *u, unary_step *next)
{
    u->next = next;
    return (store_op){.done = on_op, .ctx = u, .executor = &u->executor};
}
