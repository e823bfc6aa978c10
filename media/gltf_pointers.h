/* SPDX-License-Identifier: Apache-2.0 */
/** What KHR_animation_pointer moves: "/materials/3/…". Inside the module. */
#ifndef DACM_MEDIA_GLTF_POINTERS_H
#define DACM_MEDIA_GLTF_POINTERS_H

#include "gltf.h"

typedef struct media__pointer {
    json_t *extension;
    size_t index;     /* of the entry */
    const char *rest; /* behind it: "" or "/…", as long as the pointer is not set */
} media__pointer;

/** Does a channel move something of an entry of this list, "/LIST/INDEX…"? */
bool media__pointer_of(const json_t *channel, const char *list, media__pointer *ret);
/** Another entry, or another rest. RESOURCE_EXHAUSTED. */
rpc_code media__pointer_set(const media__pointer *pointer, const char *list, size_t index,
    const char *rest, rpc_status *reterr);

#endif
