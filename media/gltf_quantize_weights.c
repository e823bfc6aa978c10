/* SPDX-License-Identifier: Apache-2.0 */
/* What binds vertices to joints. All sets of a vertex are one sum, so a primitive's go together. */
#include "gltf_get.h"
#include "gltf_quantize.h"
#include "rounding.h"

#include <stdlib.h>

enum { WEIGHTS, JOINTS };

typedef struct weights {
    size_t sets, count; /* count: of vertices */
    json_t *slots[2][MEDIA__WEIGHT_SETS_MAX];
    float *floats[MEDIA__WEIGHT_SETS_MAX];
    uint8_t *bytes[MEDIA__WEIGHT_SETS_MAX];
} weights;

static const json_t *accessor_of(const media__quantizing *q, const json_t *slot)
{
    const size_t index = (size_t)json_integer_value(slot);
    const json_t *accessor = media__gltf_entry(q->gltf, "accessors", index);
    return slot && index < q->accessors && media__has_elements(accessor) ? accessor : NULL;
}

/* False where there are none, or not all are floats. */
static bool find_sets(const media__quantizing *q, const json_t *attributes, weights *ret)
{
    for (ret->sets = 0;; ret->sets++) {
        char name[24];
        snprintf(name, sizeof name, "WEIGHTS_%zu", ret->sets);
        json_t *slot = json_object_get(attributes, name);
        const json_t *accessor = accessor_of(q, slot);
        if (!slot)
            return ret->sets > 0;
        if (ret->sets == MEDIA__WEIGHT_SETS_MAX ||
            media__get_index(accessor, "componentType") != MEDIA__FLOAT)
            return false;
        snprintf(name, sizeof name, "JOINTS_%zu", ret->sets);
        ret->slots[WEIGHTS][ret->sets] = slot;
        ret->slots[JOINTS][ret->sets] = json_object_get(attributes, name);
        if (!accessor_of(q, ret->slots[JOINTS][ret->sets]))
            return false;
    }
}

static rpc_code read_weights(media__quantizing *q, weights *w)
{
    for (size_t s = 0; s < w->sets; s++) {
        const rpc_code code = media__accessor_floats(q->gltf,
            (size_t)json_integer_value(w->slots[WEIGHTS][s]), &w->floats[s], &w->count, q->reterr);
        if (code != RPC_OK)
            return code;
        w->bytes[s] = calloc(4 * w->count + 1, 1);
        if (!w->bytes[s])
            return media__no_memory(q->reterr);
    }
    return RPC_OK;
}

static bool round_vertices(weights *w)
{
    _Static_assert(MEDIA__WEIGHTS_MAX == 4 * MEDIA__WEIGHT_SETS_MAX, "sets are of four");
    for (size_t v = 0; v < w->count; v++) {
        float values[MEDIA__WEIGHTS_MAX];
        uint8_t rounded[MEDIA__WEIGHTS_MAX];
        for (size_t s = 0; s < w->sets; s++)
            memcpy(values + 4 * s, w->floats[s] + 4 * v, 4 * sizeof *values);
        if (!media__round_weights(values, 4 * w->sets, rounded))
            return false;
        for (size_t s = 0; s < w->sets; s++)
            memcpy(w->bytes[s] + 4 * v, rounded + 4 * s, 4);
    }
    return true;
}

static rpc_code put_joints(media__quantizing *q, const weights *w, size_t set, size_t *ret)
{
    const size_t accessor = (size_t)json_integer_value(w->slots[JOINTS][set]);
    uint32_t *joints = NULL, most = 0;
    size_t count = 0;
    const rpc_code code = media__accessor_uints(q->gltf, accessor, &joints, &count, q->reterr);
    uint8_t *made = code == RPC_OK ? malloc(8 * count + 1) : NULL;
    if (!made) {
        free(joints);
        return code == RPC_OK ? media__no_memory(q->reterr) : code;
    }
    for (size_t i = 0; i < 4 * count; i++) {
        joints[i] = w->bytes[set][i] ? joints[i] : 0;
        most = joints[i] > most ? joints[i] : most;
    }
    const size_t bytes = most < 256 ? 1 : 2;
    for (size_t i = 0; i < 4 * count; i++)
        memcpy(made + i * bytes, &joints[i], bytes);
    free(joints);
    return media__quantize_put(q, accessor, made, count, bytes == 1 ? MEDIA__UBYTE : MEDIA__USHORT,
        false, false, MEDIA__ARRAY_BUFFER, ret);
}

static rpc_code put_set(media__quantizing *q, weights *w, size_t set)
{
    rpc_code code = put_joints(q, w, set, &q->weights.to[JOINTS][set]);
    uint8_t *bytes = w->bytes[set];
    w->bytes[set] = code == RPC_OK ? NULL : bytes;
    return code == RPC_OK
               ? media__quantize_put(q, (size_t)json_integer_value(w->slots[WEIGHTS][set]), bytes,
                     w->count, MEDIA__UBYTE, true, false, MEDIA__ARRAY_BUFFER,
                     &q->weights.to[WEIGHTS][set])
               : code;
}

/* From q->weights.from to q->weights.to; the same where they cannot be rounded. */
static rpc_code make(media__quantizing *q, weights *w)
{
    q->weights.sets = w->sets;
    for (size_t s = 0; s < w->sets; s++)
        for (size_t k = WEIGHTS; k <= JOINTS; k++)
            q->weights.from[k][s] = q->weights.to[k][s] = (size_t)json_integer_value(
                w->slots[k][s]);
    rpc_code code = read_weights(q, w);
    const bool rounded = code == RPC_OK && round_vertices(w);
    for (size_t s = 0; rounded && code == RPC_OK && s < w->sets; s++)
        code = put_set(q, w, s);
    for (size_t s = 0; s < w->sets; s++) {
        free(w->floats[s]);
        free(w->bytes[s]);
    }
    return code;
}

static bool is_as_before(const media__quantizing *q, const weights *w)
{
    bool same = q->weights.sets == w->sets;
    for (size_t s = 0; same && s < w->sets; s++)
        for (size_t k = WEIGHTS; k <= JOINTS; k++)
            same = same && q->weights.from[k][s] == (size_t)json_integer_value(w->slots[k][s]);
    return same;
}

rpc_code media__quantize_weights(media__quantizing *q, const json_t *attributes)
{
    weights w = {.sets = 0};
    if (!find_sets(q, attributes, &w))
        return RPC_OK;
    const rpc_code code = is_as_before(q, &w) ? RPC_OK : make(q, &w);
    for (size_t s = 0; code == RPC_OK && s < w.sets; s++)
        for (size_t k = WEIGHTS; k <= JOINTS; k++)
            json_integer_set(w.slots[k][s], (json_int_t)q->weights.to[k][s]);
    return code;
}
