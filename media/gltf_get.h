/* SPDX-License-Identifier: Apache-2.0 */
/** Looking things up in a document that was checked. Inside the module. */
#ifndef DACM_MEDIA_GLTF_GET_H
#define DACM_MEDIA_GLTF_GET_H

#include "gltf.h"

#include <string.h>

#define MEDIA__NO_INDEX SIZE_MAX

/** /LIST/INDEX, or NULL. */
static inline json_t *media__gltf_entry(const media__gltf *gltf, const char *list, size_t index)
{
    return json_array_get(json_object_get(gltf->json, list), index);
}
static inline size_t media__gltf_count(const media__gltf *gltf, const char *list)
{
    return json_array_size(json_object_get(gltf->json, list));
}
/** A member that is an index or a count; MEDIA__NO_INDEX: it is not there. */
static inline size_t media__get_index(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return json_is_integer(value) && json_integer_value(value) >= 0
               ? (size_t)json_integer_value(value)
               : MEDIA__NO_INDEX;
}
/** The extension of an object, or NULL. */
static inline json_t *media__get_extension(const json_t *object, const char *name)
{
    return json_object_get(json_object_get(object, "extensions"), name);
}

#endif
