/* SPDX-License-Identifier: Apache-2.0 */
/* The names that a recipe may say of a file. */
#include "asset.h"
#include "gltf_get.h"
#include "gltf_morph_names.h"
#include "media.h"

#include "cleanup.h"

static void json_freep(json_t **json)
{
    json_decref(*json);
}

/* Once each, in the order of the file. A name that is no text is none. */
static int add(json_t *names, const char *name)
{
    return name ? json_object_set_new(names, name, json_true()) : 0;
}

static int add_animations(const media__gltf *gltf, json_t *names)
{
    int failed = 0;
    for (size_t i = 0; i < media__gltf_count(gltf, "animations"); i++)
        failed |= add(names,
            json_string_value(json_object_get(media__gltf_entry(gltf, "animations", i), "name")));
    return failed;
}

static int add_morphs(const media__gltf *gltf, json_t *names)
{
    int failed = 0;
    for (size_t mesh = 0; mesh < media__gltf_count(gltf, "meshes"); mesh++) {
        const json_t *primitives = json_object_get(
            media__gltf_entry(gltf, "meshes", mesh), "primitives");
        const json_t *targets = json_object_get(json_array_get(primitives, 0), "targets");
        for (size_t target = 0; target < json_array_size(targets); target++)
            failed |= add(names, media__morph_name(gltf, mesh, target));
    }
    return failed;
}

/* NULL: no memory. */
static json_t *list_of(
    const media__gltf *gltf, int (*add_all)(const media__gltf *gltf, json_t *names))
{
    RPC_CLEANUP(json_freep) json_t *names = json_object();
    json_t *list = json_array();
    int failed = !names || !list || (gltf && add_all(gltf, names));
    for (void *at = json_object_iter(names); at && !failed; at = json_object_iter_next(names, at))
        failed = json_array_append_new(list, json_string(json_object_iter_key(at)));
    if (!failed)
        return list;
    json_decref(list);
    return NULL;
}

static rpc_code write_names(const media__gltf *gltf, char **ret, rpc_status *reterr)
{
    RPC_CLEANUP(json_freep) json_t *object = json_object();
    int failed = json_object_set_new(object, "animations", list_of(gltf, add_animations));
    failed |= json_object_set_new(object, "morph_targets", list_of(gltf, add_morphs));
    char *text = failed == 0 ? json_dumps(object, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
    if (!text)
        return media__no_memory(reterr);
    *ret = text;
    return RPC_OK;
}

rpc_code media_list_names(rpc_bytes source, char **ret, rpc_status *reterr)
{
    media__gltf gltf;
    if (!media__is_gltf(source))
        return write_names(NULL, ret, reterr);
    rpc_code code = media__gltf_read(source, &gltf, reterr);
    if (code != RPC_OK)
        return code;
    code = write_names(&gltf, ret, reterr);
    media__gltf_done(&gltf);
    return code;
}
