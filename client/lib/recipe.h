/* SPDX-License-Identifier: Apache-2.0 */
/** A recipe as a caller says it, JSON, as the manifest must say it, canonical, and as the request
 *  carries it. */
#ifndef DACM_CLIENT_RECIPE_H
#define DACM_CLIENT_RECIPE_H

#include "client_internal.h"
#include "dacm/v1/digital_asset.pb-c.h"
#include "media_recipe.h"

/** message points into the rest: do not move it. */
typedef struct client_recipe {
    bool wanted; /* false: the original */
    char text[MEDIA_RECIPE_ROOM];
    Dacm__V1__Recipe message;
    media_recipe recipe;
    Dacm__V1__TextureChannels channels;
    Dacm__V1__MorphTargets morphs;
    Dacm__V1__StringList animations;
    Dacm__V1__Accepts accepts;
    int channel_values[32], group_values[32];
} client_recipe;

/** json NULL: the original. INVALID_ARGUMENT says what is wrong and where. */
dacm_code client__recipe_read(const char *json, client_recipe *ret, dacm_error *reterr);
/** Zero is allowed. */
void client__recipe_done(client_recipe *recipe);

#endif
