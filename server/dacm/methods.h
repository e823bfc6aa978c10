/* SPDX-License-Identifier: Apache-2.0 */
/** The unary methods, one function each, as protobuf-c's service tables want them. */
#ifndef DACM_METHODS_H
#define DACM_METHODS_H

#include "unary.h"

/** protobuf-c hands out the service it was registered with: ours, with the state behind it. */
typedef struct dacm_assets_service {
    Dacm__V1__DigitalAssets_Service base;
    dacm_service *service;
} dacm_assets_service;

void dacm_authorize(Dacm__V1__DigitalAssets_Service *self,
    const Dacm__V1__AuthorizeRequest *request, Dacm__V1__AuthorizeResponse_Closure closure,
    void *call);
void dacm_list_variants(Dacm__V1__DigitalAssets_Service *self,
    const Dacm__V1__ListVariantsRequest *request, Dacm__V1__ListVariantsResponse_Closure closure,
    void *call);
void dacm_create_profile(Dacm__V1__DigitalAssets_Service *self,
    const Dacm__V1__CreateProfileRequest *request, Dacm__V1__CreateProfileResponse_Closure closure,
    void *call);
void dacm_get_profile(Dacm__V1__DigitalAssets_Service *self,
    const Dacm__V1__GetProfileRequest *request, Dacm__V1__GetProfileResponse_Closure closure,
    void *call);
void dacm_update_profile(Dacm__V1__DigitalAssets_Service *self,
    const Dacm__V1__UpdateProfileRequest *request, Dacm__V1__UpdateProfileResponse_Closure closure,
    void *call);
void dacm_delete_profile(Dacm__V1__DigitalAssets_Service *self,
    const Dacm__V1__DeleteProfileRequest *request, Dacm__V1__DeleteProfileResponse_Closure closure,
    void *call);
void dacm_discover_profiles(Dacm__V1__DigitalAssets_Service *self,
    const Dacm__V1__DiscoverProfilesRequest *request,
    Dacm__V1__DiscoverProfilesResponse_Closure closure, void *call);

/** Reads `oneof { gpsi, external_id }` of any request into wanted; the generated cases have the
 *  same two numbers' order in all of them, which each caller asserts by passing its own. */
#define DACM_USER_OF(request, GPSI_CASE, EXTERNAL_CASE, wanted)                                    \
    do {                                                                                           \
        if ((request)->user_case == (GPSI_CASE))                                                   \
            (wanted).gpsi = (request)->gpsi;                                                       \
        else if ((request)->user_case == (EXTERNAL_CASE))                                          \
            (wanted).external_id = (request)->external_id;                                         \
    } while (0)

/** Page tokens carry a store cursor, sealed until the server ends: it names assets that their
 *  bearer may not see. Empty is the start. INVALID_ARGUMENT. */
RPC_MUST_USE rpc_code dacm_cursor_of(const dacm_service *service, const char *page_token,
    store_cursor *ret, bool *ret_is_start, rpc_status *reterr);
/** In arena; NULL when it is used up. */
char *dacm_page_token_of(const dacm_service *service, const store_cursor *cursor, rpc_arena *arena);

#endif
