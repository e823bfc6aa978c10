/* SPDX-License-Identifier: Apache-2.0 */
/** A new asset from the profile that a client sent: checked, indexed, recorded. For CreateProfile
 *  and for the first Upload. */
#ifndef DACM_NEWASSET_H
#define DACM_NEWASSET_H

#include "changes.h"
#include "dacm_internal.h"

/** Profile and list; INVALID_ARGUMENT. */
RPC_MUST_USE rpc_code dacm_check_new_asset(
    const Dacm__V1__DigitalAssetProfile *profile, const char *user, rpc_status *reterr);
/** Fills record (which borrows from profile, user, uid and *owner, room for one pointer, until
 *  it is packed) and adds one
 *  change per grant. The profile was checked. */
void dacm_new_asset(dacm_changes *changes, const Dacm__V1__DigitalAssetProfile *profile,
    const char *user, const uint8_t uid[STORE_UID_BYTES], int64_t now_s, char **owner,
    Dacm__Records__Profile *record);
/** Owners, and users who may discover it. */
void dacm_index_new_asset(dacm_service *service, const store_executor *executor,
    const char *asset_id, const Dacm__V1__DigitalAssetProfile *profile, const char *user,
    dacm_written_fn *fn, void *arg);

#endif
