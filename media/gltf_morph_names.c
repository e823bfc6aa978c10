/* SPDX-License-Identifier: Apache-2.0 */
#include "gltf_morph_names.h"

#include <strings.h>

/* The blend shapes of Apple's face tracking; others write them with an upper-case first letter. */
static const char *const arkit[] = {"browDownLeft", "browDownRight", "browInnerUp",
    "browOuterUpLeft", "browOuterUpRight", "cheekPuff", "cheekSquintLeft", "cheekSquintRight",
    "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight", "eyeLookInLeft",
    "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight",
    "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft",
    "jawOpen", "jawRight", "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft",
    "mouthFrownRight", "mouthFunnel", "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight",
    "mouthPressLeft", "mouthPressRight", "mouthPucker", "mouthRight", "mouthRollLower",
    "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft", "mouthSmileRight",
    "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "noseSneerLeft", "noseSneerRight", "tongueOut"};
_Static_assert(sizeof arkit / sizeof *arkit == 52, "ARKit has 52 blend shapes");

static const char *const visemes[] = {"viseme_sil", "viseme_PP", "viseme_FF", "viseme_TH",
    "viseme_DD", "viseme_kk", "viseme_CH", "viseme_SS", "viseme_nn", "viseme_RR", "viseme_aa",
    "viseme_E", "viseme_I", "viseme_O", "viseme_U"};
_Static_assert(sizeof visemes / sizeof *visemes == 15, "Oculus has 15 visemes");

static bool has(const char *const *words, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcasecmp(words[i], name) == 0)
            return true;
    return false;
}

/* A list that has not a name for each target names none. */
static const char *name_in(const json_t *owner, size_t target, size_t targets)
{
    const json_t *names = json_object_get(json_object_get(owner, "extras"), "targetNames");
    return json_array_size(names) == targets ? json_string_value(json_array_get(names, target))
                                             : NULL;
}

const char *media__morph_name(const media__gltf *gltf, size_t mesh, size_t target)
{
    const json_t *entry = media__gltf_entry(gltf, "meshes", mesh);
    const json_t *primitives = json_object_get(entry, "primitives");
    const json_t *targets = json_object_get(json_array_get(primitives, 0), "targets");
    const size_t count = json_array_size(targets);
    const char *name = name_in(entry, target, count);
    for (size_t i = 0; !name && i < json_array_size(primitives); i++)
        name = name_in(json_array_get(primitives, i), target, count);
    for (size_t i = 0; !name && i < media__gltf_count(gltf, "nodes"); i++) {
        const json_t *node = media__gltf_entry(gltf, "nodes", i);
        if (media__get_index(node, "mesh") == mesh)
            name = name_in(node, target, count);
    }
    if (name)
        return name;
    const size_t accessor = media__get_index(json_array_get(targets, target), "POSITION");
    return json_string_value(
        json_object_get(media__gltf_entry(gltf, "accessors", accessor), "name"));
}

bool media__morph_is_named(
    const media__gltf *gltf, size_t mesh, size_t target, const media_recipe *recipe)
{
    const char *name = media__morph_name(gltf, mesh, target);
    if (!name)
        return false;
    for (size_t i = 0; i < recipe->morph_targets.count; i++)
        if (strcmp(recipe->morph_targets.list[i], name) == 0)
            return true;
    return ((recipe->morph_groups & MEDIA_MORPHS_ARKIT) &&
               has(arkit, sizeof arkit / sizeof *arkit, name)) ||
           ((recipe->morph_groups & MEDIA_MORPHS_OCULUS_VISEMES) &&
               has(visemes, sizeof visemes / sizeof *visemes, name));
}
