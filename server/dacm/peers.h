/* SPDX-License-Identifier: Apache-2.0 */
/** Who calls without a token: a SIM-S or an operator, known by its connection. */
#ifndef DACM_PEERS_H
#define DACM_PEERS_H

#include "methods.h"

/** The SIM-S that the caller's certificate speaks for; false when it is none. */
bool dacm_caller_is_sims(dacm_service *service, const rpc_call *call, bool *ret_full_list);
/** The issuer that the caller's certificate speaks for (peers.sims). False when there is none, or
 *  more than one. */
bool dacm_caller_issuer(dacm_service *service, const rpc_call *call, char *ret_issuer, size_t room);
/** On the admin socket with our uid or one configured, or with an operator's certificate. */
bool dacm_caller_is_operator(const dacm_service *service, const rpc_call *call);

/** Audits the refusal of who may not call this, then fails with PERMISSION_DENIED. */
void dacm_refuse_peer(unary *u, const char *what);

typedef struct dacm_consumers_service {
    Dacm__V1__ConsumerLists_Service base;
    dacm_service *service;
} dacm_consumers_service;
void dacm_get_consumer_list(Dacm__V1__ConsumerLists_Service *self,
    const Dacm__V1__GetConsumerListRequest *request,
    Dacm__V1__GetConsumerListResponse_Closure closure, void *call);
extern const rpc_handler dacm_list_consumers_handler;

typedef struct dacm_token_status_service {
    Dacm__V1__TokenStatus_Service base;
    dacm_service *service;
} dacm_token_status_service;
void dacm_revoke_token(Dacm__V1__TokenStatus_Service *self, const Dacm__V1__RevokeRequest *request,
    Dacm__V1__RevokeResponse_Closure closure, void *call);

extern const rpc_handler dacm_report_handler;

typedef struct dacm_admin_service {
    Dacm__V1__Admin_Service base;
    dacm_service *service;
} dacm_admin_service;
void dacm_explain_request(Dacm__V1__Admin_Service *self, const Dacm__V1__ExplainRequest *request,
    Dacm__V1__ExplainResponse_Closure closure, void *call);
void dacm_get_store_stat(Dacm__V1__Admin_Service *self,
    const Dacm__V1__GetStoreStatRequest *request, Dacm__V1__GetStoreStatResponse_Closure closure,
    void *call);

#endif
