/* SPDX-License-Identifier: Apache-2.0 */
/** What skmsd answers over HTTPS beside metrics and health: key sets for any JOSE library, and the
 *  key records of TS 29.549. */
#ifndef SKM_HTTPS_H
#define SKM_HTTPS_H

#include "http.h"
#include "skm_internal.h"

#define SKM_HTTPS_ROUTES 2u

/** Fills routes[0 … SKM_HTTPS_ROUTES - 1]; service outlives the server. */
void skm_https_routes(skm_service *service, host_route *routes);

#endif
