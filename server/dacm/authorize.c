/* SPDX-License-Identifier: Apache-2.0 */
/* DigitalAssets.Authorize: the decision as an answer. Refused for whatever reason after the
 * token's faults, it answers allowed = false with the same bytes but the request ID
 * (docs/decisions/0002-authorize-answers-false.md). */
#include "methods.h"

static void answer(unary *u, bool allowed)
{
    Dacm__V1__AuthorizeResponse response = DACM__V1__AUTHORIZE_RESPONSE__INIT;
    response.allowed = allowed;
    response.valid_until = allowed ? u->access.valid_until : 0;
    response.request_id = u->access.request_id;
    unary_reply(u, &response.base);
}

static void allowed(unary *u)
{
    answer(u, u->access.exists);
}

static void denied(unary *u)
{
    answer(u, false);
}

static bool action_of(Dacm__V1__Operation operation, dacm_action *ret)
{
    switch ((int)operation) {
    case DACM__V1__OPERATION__OPERATION_UNSPECIFIED:
    case DACM__V1__OPERATION__OPERATION_GET:
        *ret = DACM_ACTION_GET;
        return true;
    case DACM__V1__OPERATION__OPERATION_DISCOVERY:
        *ret = DACM_ACTION_DISCOVERY;
        return true;
    case DACM__V1__OPERATION__OPERATION_UPDATE:
        *ret = DACM_ACTION_UPDATE;
        return true;
    case DACM__V1__OPERATION__OPERATION_DELETE:
        *ret = DACM_ACTION_DELETE;
        return true;
    default:
        return false;
    }
}

void dacm_authorize(Dacm__V1__DigitalAssets_Service *self,
    const Dacm__V1__AuthorizeRequest *request, Dacm__V1__AuthorizeResponse_Closure closure,
    void *call)
{
    unary *u = unary_new(
        ((dacm_assets_service *)self)->service, call, &request->base, (ProtobufCClosure)closure);
    if (!u)
        return;
    dacm_request wanted = {.method = "Authorize", .asset_id = request->asset_id, .remember = true};
    DACM_USER_OF(request, DACM__V1__AUTHORIZE_REQUEST__USER_GPSI,
        DACM__V1__AUTHORIZE_REQUEST__USER_EXTERNAL_ID, wanted);
    if (!action_of(request->operation, &wanted.action)) {
        unary_fail_text(u, RPC_INVALID_ARGUMENT,
            "operation: must be one of DISCOVERY, GET, UPDATE, DELETE; none means GET");
        return;
    }
    u->denied = denied;
    unary_decide(u, &wanted, allowed);
}
