/* SPDX-License-Identifier: Apache-2.0 */
/** The recipe of a request, in its only form. */
#ifndef DACM_RECIPE_H
#define DACM_RECIPE_H

#include "dacm/v1/digital_asset.pb-c.h"
#include "media_recipe.h"
#include "records.h"

/** Reads, judges and settles it. *ret_original: it asks for nothing that the original does not do;
 *  then nothing else is set.
 *  ret_text    MEDIA_RECIPE_ROOM bytes: the canonical form
 *  ret_sha256  of that form
 *  INVALID_ARGUMENT names the field; a field that is not known here is wrong. RESOURCE_EXHAUSTED.
 */
RPC_MUST_USE rpc_code dacm_recipe_read(const Dacm__V1__Recipe *recipe, bool *ret_original,
    char *ret_text, uint8_t ret_sha256[32], rpc_status *reterr);

#endif
