/* SPDX-License-Identifier: Apache-2.0 */
#include "gltf_scale.h"
#include "gltf_edit.h"
#include "gltf_get.h"

#include <math.h>
#include <stdlib.h>

static double number_at(const json_t *array, size_t index, double otherwise)
{
    const json_t *value = json_array_get(array, index);
    return value ? json_number_value(value) : otherwise;
}

static double determinant(const double *m, size_t stride)
{
    const double *a = m, *b = m + stride, *c = m + 2 * stride;
    return a[0] * (b[1] * c[2] - b[2] * c[1]) - b[0] * (a[1] * c[2] - a[2] * c[1]) +
           c[0] * (a[1] * b[2] - a[2] * b[1]);
}

static double node_volume(const json_t *node)
{
    const json_t *matrix = json_object_get(node, "matrix"), *scale = json_object_get(node, "scale");
    double m[16] = {0};
    for (size_t i = 0; matrix && i < 16; i++)
        m[i] = number_at(matrix, i, 0);
    return matrix ? determinant(m, 4)
                  : number_at(scale, 0, 1) * number_at(scale, 1, 1) * number_at(scale, 2, 1);
}

double media__world_scale(const media__gltf *gltf, const size_t *parents, size_t node)
{
    double volume = 1;
    for (; node != MEDIA__NO_INDEX; node = parents[node])
        volume *= node_volume(media__gltf_entry(gltf, "nodes", node));
    return cbrt(fabs(volume));
}

size_t *media__parents_of(const media__gltf *gltf)
{
    const size_t count = media__gltf_count(gltf, "nodes");
    size_t *parents = calloc(count + 1, sizeof *parents);
    if (!parents)
        return NULL;
    for (size_t i = 0; i < count; i++)
        parents[i] = MEDIA__NO_INDEX;
    for (size_t i = 0; i < count; i++) {
        const json_t *children = json_object_get(media__gltf_entry(gltf, "nodes", i), "children");
        for (size_t k = 0; k < json_array_size(children); k++)
            parents[json_integer_value(json_array_get(children, k))] = i;
    }
    return parents;
}

/* Of skinned vertices: by way of the first joint. */
static rpc_code skin_scale(const media__gltf *gltf, const size_t *parents, size_t skin_index,
    double *ret, rpc_status *reterr)
{
    const json_t *skin = media__gltf_entry(gltf, "skins", skin_index);
    const json_t *joints = json_object_get(skin, "joints");
    const size_t matrices = media__get_index(skin, "inverseBindMatrices");
    float *values = NULL;
    size_t count = 0;
    *ret = media__world_scale(gltf, parents, (size_t)json_integer_value(json_array_get(joints, 0)));
    if (matrices == MEDIA__NO_INDEX)
        return RPC_OK;
    const rpc_code code = media__accessor_floats(gltf, matrices, &values, &count, reterr);
    if (code == RPC_OK && count > 0) {
        double m[16];
        for (size_t i = 0; i < 16; i++)
            m[i] = (double)values[i];
        *ret *= cbrt(fabs(determinant(m, 4)));
    }
    free(values);
    return code;
}

rpc_code media__mesh_scale(const media__gltf *gltf, const size_t *parents, size_t mesh,
    double *ret_scale, uint32_t *ret_group, rpc_status *reterr)
{
    const size_t skins = media__gltf_count(gltf, "skins");
    size_t common = MEDIA__NO_INDEX;
    bool seen = false;
    *ret_scale = 0;
    for (size_t i = 0; i < media__gltf_count(gltf, "nodes"); i++) {
        const json_t *node = media__gltf_entry(gltf, "nodes", i);
        if (media__get_index(node, "mesh") != mesh)
            continue;
        const size_t skin = media__get_index(node, "skin");
        double scale = 0;
        if (skin == MEDIA__NO_INDEX) {
            scale = media__world_scale(gltf, parents, i);
        } else {
            const rpc_code code = skin_scale(gltf, parents, skin, &scale, reterr);
            if (code != RPC_OK)
                return code;
        }
        *ret_scale = scale > *ret_scale ? scale : *ret_scale;
        common = seen && common != skin ? MEDIA__NO_INDEX : skin;
        seen = true;
    }
    if (!(*ret_scale > 0) || !isfinite(*ret_scale))
        *ret_scale = 1;
    *ret_group = (uint32_t)(common == MEDIA__NO_INDEX ? skins + mesh : common);
    return RPC_OK;
}
