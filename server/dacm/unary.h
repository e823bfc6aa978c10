/* SPDX-License-Identifier: Apache-2.0 */
/** A unary method from its request to its answer. protobuf-c's closure and the request live until
 *  one of unary_reply() and unary_fail() ran; the struct until the call is over. */
#ifndef DACM_UNARY_H
#define DACM_UNARY_H

#include "dacm_internal.h"

#include <stdatomic.h>

typedef struct unary unary;
typedef void unary_step(unary *u);

struct unary {
    atomic_uint refs;
    dacm_service *service;
    rpc_call *call;
    rpc_arena *arena;
    const ProtobufCMessage *request;
    ProtobufCClosure closure;
    dacm_access access;
    bool over;
    store_op op;
    store_executor executor;
    unary_step *next;   /* after the decision, or after a step of the store */
    unary_step *denied; /* for Authorize: runs instead of failing with PERMISSION_DENIED */
    unsigned tries;
    void *state; /* the method's own, in the call's arena */
};

/** NULL: the call was failed. The arena is the call's. */
unary *unary_new(dacm_service *service, rpc_call *call, const ProtobufCMessage *request,
    ProtobufCClosure closure);
/** Decides; next runs only when it is allowed (and the call still wants an answer). */
void unary_decide(unary *u, const dacm_request *wanted, unary_step *next);
/** Decides again, with the facts of now. */
void unary_decide_again(unary *u, unary_step *next);
/** For an operation of the store: `u->op = unary_op(u, next)`, and after STORE_READY
 *  unary_ready(u). next runs in either case, unless the call ended. */
store_op unary_op(unary *u, unary_step *next);
void unary_ready(unary *u);
/** Takes and gives back a reference while something else holds u. */
void unary_hold(unary *u);
void unary_drop(unary *u);
/** Answers, with the trailing request ID; drops the method's reference. */
void unary_reply(unary *u, const ProtobufCMessage *reply);
void unary_fail(unary *u, const rpc_status *status);
void unary_fail_text(unary *u, rpc_code code, const char *text);

#endif
