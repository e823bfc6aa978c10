/* SPDX-License-Identifier: Apache-2.0 */
#include "gltf_scale.h"
#include "gltf_edit.h"
#include "gltf_get.h"

#include "cleanup.h"

#include <math.h>
#include <stdlib.h>

#define NOT_SEEN UINT32_MAX /* no node has the mesh */

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

static rpc_code find_parents(media__scales *s, rpc_status *reterr)
{
    const size_t count = media__gltf_count(s->gltf, "nodes");
    s->parents = calloc(count + 1, sizeof *s->parents);
    if (!s->parents)
        return media__no_memory(reterr);
    for (size_t i = 0; i < count; i++)
        s->parents[i] = MEDIA__NO_INDEX;
    for (size_t i = 0; i < count; i++) {
        const json_t *children = json_object_get(
            media__gltf_entry(s->gltf, "nodes", i), "children");
        for (size_t k = 0; k < json_array_size(children); k++)
            s->parents[json_integer_value(json_array_get(children, k))] = i;
    }
    return RPC_OK;
}

/* Metres of a unit of the first matrix; 0 of none, and of one that flattens. */
static rpc_code first_matrix(
    const media__gltf *gltf, size_t accessor, double *ret, rpc_status *reterr)
{
    float *values = NULL;
    size_t count = 0;
    double m[16] = {0};
    const rpc_code code = media__accessor_floats(gltf, accessor, &values, &count, reterr);
    for (size_t i = 0; code == RPC_OK && count > 0 && i < 16; i++)
        m[i] = (double)values[i];
    free(values);
    *ret = cbrt(fabs(determinant(m, 4)));
    return code;
}

/* Up to a node that is known, and down again. */
static rpc_code find_volumes(media__scales *s, rpc_status *reterr)
{
    const size_t count = media__gltf_count(s->gltf, "nodes");
    RPC_AUTOFREE size_t *way = calloc(count + 1, sizeof *way);
    RPC_AUTOFREE bool *known = calloc(count + 1, sizeof *known);
    s->volumes = calloc(count + 1, sizeof *s->volumes);
    if (!way || !known || !s->volumes)
        return media__no_memory(reterr);
    for (size_t i = 0; i < count; i++) {
        size_t steps = 0, at = i;
        for (; at != MEDIA__NO_INDEX && !known[at]; at = s->parents[at])
            way[steps++] = at;
        double volume = at == MEDIA__NO_INDEX ? 1 : s->volumes[at];
        while (steps > 0) {
            at = way[--steps];
            volume *= node_volume(media__gltf_entry(s->gltf, "nodes", at));
            s->volumes[at] = volume;
            known[at] = true;
        }
    }
    return RPC_OK;
}

double media__unit_of(const media__scales *scales, size_t node)
{
    const size_t parent = scales->parents[node];
    return parent == MEDIA__NO_INDEX ? 1 : cbrt(fabs(scales->volumes[parent]));
}

/* Of skinned vertices: by way of the first joint. Skins may share their matrices. */
static rpc_code find_skins(const media__scales *s, double *skins, rpc_status *reterr)
{
    const size_t count = media__gltf_count(s->gltf, "skins");
    RPC_AUTOFREE double *firsts = calloc(
        media__gltf_count(s->gltf, "accessors") + 1, sizeof *firsts);
    if (!firsts)
        return media__no_memory(reterr);
    for (size_t i = 0; i < count; i++) {
        const json_t *skin = media__gltf_entry(s->gltf, "skins", i);
        const json_t *joint = json_array_get(json_object_get(skin, "joints"), 0);
        const size_t matrices = media__get_index(skin, "inverseBindMatrices");
        skins[i] = cbrt(fabs(s->volumes[json_integer_value(joint)]));
        if (matrices == MEDIA__NO_INDEX)
            continue;
        if (!(firsts[matrices] > 0)) {
            const rpc_code code = first_matrix(s->gltf, matrices, &firsts[matrices], reterr);
            if (code != RPC_OK)
                return code;
        }
        skins[i] *= firsts[matrices];
    }
    return RPC_OK;
}

static void find_meshes(media__scales *s, const double *skins)
{
    const size_t nodes = media__gltf_count(s->gltf, "nodes");
    const size_t meshes = media__gltf_count(s->gltf, "meshes");
    const size_t own = media__gltf_count(s->gltf, "skins");
    for (size_t i = 0; i < meshes; i++)
        s->groups[i] = NOT_SEEN;
    for (size_t i = 0; i < nodes; i++) {
        const json_t *node = media__gltf_entry(s->gltf, "nodes", i);
        const size_t mesh = media__get_index(node, "mesh"), skin = media__get_index(node, "skin");
        if (mesh == MEDIA__NO_INDEX)
            continue;
        const bool skinned = skin != MEDIA__NO_INDEX;
        const double scale = skinned ? skins[skin] : cbrt(fabs(s->volumes[i]));
        const uint32_t group = (uint32_t)(skinned ? skin : own + mesh);
        s->meshes[mesh] = scale > s->meshes[mesh] ? scale : s->meshes[mesh];
        s->groups[mesh] = s->groups[mesh] == NOT_SEEN || s->groups[mesh] == group
                              ? group
                              : (uint32_t)(own + mesh);
    }
    for (size_t i = 0; i < meshes; i++) {
        if (!(s->meshes[i] > 0) || !isfinite(s->meshes[i]))
            s->meshes[i] = 1;
        if (s->groups[i] == NOT_SEEN)
            s->groups[i] = (uint32_t)(own + i);
    }
}

rpc_code media__scales_of(const media__gltf *gltf, media__scales *ret, rpc_status *reterr)
{
    RPC_AUTOFREE double *skins = calloc(media__gltf_count(gltf, "skins") + 1, sizeof *skins);
    const size_t meshes = media__gltf_count(gltf, "meshes");
    *ret = (media__scales){.gltf = gltf,
        .meshes = calloc(meshes + 1, sizeof *ret->meshes),
        .groups = calloc(meshes + 1, sizeof *ret->groups)};
    if (!skins || !ret->meshes || !ret->groups)
        return media__no_memory(reterr);
    rpc_code code = find_parents(ret, reterr);
    if (code == RPC_OK)
        code = find_volumes(ret, reterr);
    if (code == RPC_OK)
        code = find_skins(ret, skins, reterr);
    if (code == RPC_OK)
        find_meshes(ret, skins);
    return code;
}

void media__scales_done(media__scales *scales)
{
    free(scales->parents);
    free(scales->volumes);
    free(scales->meshes);
    free(scales->groups);
}
