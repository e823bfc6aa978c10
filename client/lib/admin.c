/* SPDX-License-Identifier: Apache-2.0 */
#include "client_internal.h"

#include "dacm/v1/admin.pb-c.h"
#include "dacm/v1/token_status.pb-c.h"

#include <stdio.h>
#include <string.h>

static void set_explanation(dacm_explanation *ret, const Dacm__V1__ExplainResponse *answer)
{
    *ret = (dacm_explanation){.time_ms = answer->time_ms};
    client__copy_text(ret->request_id, sizeof ret->request_id, answer->request_id);
    client__copy_text(ret->method, sizeof ret->method, answer->method);
    client__copy_text(ret->asset_id, sizeof ret->asset_id, answer->asset_id);
    client__copy_text(ret->outcome, sizeof ret->outcome, answer->outcome);
    client__copy_text(ret->reason, sizeof ret->reason, answer->reason);
    client__copy_text(ret->detail, sizeof ret->detail, answer->detail);
    client__copy_text(ret->subject, sizeof ret->subject, answer->subject);
    client__copy_text(ret->user, sizeof ret->user, answer->user);
}

dacm_code dacm_explain(
    dacm_client *client, const char *request_id, dacm_explanation *ret, dacm_error *reterr)
{
    Dacm__V1__ExplainRequest request = DACM__V1__EXPLAIN_REQUEST__INIT;
    if (!request_id[0] || strlen(request_id) >= sizeof ret->request_id)
        return client__fail(reterr, DACM_INVALID_ARGUMENT,
            "that is no request ID; take it from the text of the refusal");
    request.request_id = client__text(request_id);
    rpc_message *message = NULL;
    ProtobufCMessage *reply = NULL;
    const dacm_code code = client__unary(client, "/dacm.v1.Admin/Explain", NULL, &request.base,
        &dacm__v1__explain_response__descriptor, &message, &reply, reterr);
    if (code != DACM_OK)
        return code;
    set_explanation(ret, (const Dacm__V1__ExplainResponse *)reply);
    rpc_message_release(message);
    return DACM_OK;
}

dacm_code dacm_revoke(dacm_client *client, const char *issuer, const char *jti, const char *subject,
    int64_t expires_at, const char *reason, uint64_t *ret_sequence, dacm_error *reterr)
{
    if (!jti == !subject)
        return client__fail(reterr, DACM_INVALID_ARGUMENT,
            "either one token (jti, --jti) or all of a subject (subject, --subject) can be "
            "revoked; name "
            "exactly one");
    Dacm__V1__RevokeRequest request = DACM__V1__REVOKE_REQUEST__INIT;
    request.issuer = client__text(issuer);
    request.what_case = jti ? DACM__V1__REVOKE_REQUEST__WHAT_JTI
                            : DACM__V1__REVOKE_REQUEST__WHAT_SUBJECT;
    request.jti = client__text(jti ? jti : subject);
    request.expires_at = expires_at;
    request.reason = client__text(reason ? reason : "");
    rpc_message *message = NULL;
    ProtobufCMessage *reply = NULL;
    const dacm_code code = client__unary(client, "/dacm.v1.TokenStatus/Revoke", NULL, &request.base,
        &dacm__v1__revoke_response__descriptor, &message, &reply, reterr);
    if (code != DACM_OK)
        return code;
    *ret_sequence = ((const Dacm__V1__RevokeResponse *)reply)->sequence;
    rpc_message_release(message);
    return DACM_OK;
}
