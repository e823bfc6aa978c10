/* SPDX-License-Identifier: Apache-2.0 */
/** Values of a document by their place. */
#ifndef DACM_TEST_GLTF_AT_H
#define DACM_TEST_GLTF_AT_H

#include "gltf.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>

/** By a path of member names and numbers, as in "materials/0/name". NULL: there is none. */
static inline const json_t *at(const media__gltf *gltf, const char *path)
{
    char copy[256], *rest = copy;
    const json_t *value = gltf->json;
    assert_true(strlen(path) < sizeof copy);
    memcpy(copy, path, strlen(path) + 1);
    for (char *name; value && (name = strsep(&rest, "/"));)
        value = json_is_array(value) ? json_array_get(value, strtoul(name, NULL, 10))
                                     : json_object_get(value, name);
    return value;
}

#endif
