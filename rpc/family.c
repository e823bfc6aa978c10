/* SPDX-License-Identifier: Apache-2.0 */
/* Calls made for another call's sake: they have no more time than it, and end with it. The
 * parent's lock guards its list; a call in it is referenced by it. */
#include "session.h"

rpc_code rpc__family_join(rpc_call *call, rpc_call *parent, rpc_status *reterr)
{
    if (parent->deadline_us < call->deadline_us)
        call->deadline_us = parent->deadline_us;
    pthread_mutex_lock(&parent->lock);
    bool over = parent->inbox_over;
    if (!over) {
        call->parent = rpc_call_ref(parent);
        rpc_call_ref(call);
        call->sibling = parent->children;
        call->sibling_link = &parent->children;
        if (call->sibling)
            call->sibling->sibling_link = &call->sibling;
        parent->children = call;
        parent->has_children = true;
    }
    pthread_mutex_unlock(&parent->lock);
    return over ? rpc_status_set(reterr, RPC_CANCELLED, "channel: the parent call has ended")
                : RPC_OK;
}

static rpc_call *take_child(rpc_call *parent)
{
    pthread_mutex_lock(&parent->lock);
    rpc_call *child = parent->children;
    if (child) {
        parent->children = child->sibling;
        if (child->sibling)
            child->sibling->sibling_link = &parent->children;
        child->sibling = NULL;
        child->sibling_link = NULL;
    }
    pthread_mutex_unlock(&parent->lock);
    return child;
}

static void leave(rpc_call *call)
{
    rpc_call *parent = call->parent;
    call->parent = NULL;
    pthread_mutex_lock(&parent->lock);
    bool listed = call->sibling_link != NULL;
    if (listed) {
        *call->sibling_link = call->sibling;
        if (call->sibling)
            call->sibling->sibling_link = call->sibling_link;
        call->sibling_link = NULL;
    }
    pthread_mutex_unlock(&parent->lock);
    if (listed)
        rpc_call_unref(call);
    rpc_call_unref(parent);
}

void rpc__family_end(rpc_call *call)
{
    rpc_call *child;
    while (call->has_children && (child = take_child(call)) != NULL) {
        rpc_call_cancel(child);
        rpc_call_unref(child);
    }
    if (call->parent)
        leave(call);
}
