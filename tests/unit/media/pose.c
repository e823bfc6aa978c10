/* SPDX-License-Identifier: Apache-2.0 */
#include "pose.h"

#include "test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static float *floats_of(const media__gltf *gltf, size_t accessor, size_t *ret_count)
{
    float *values = NULL;
    rpc_status status = {0};
    if (media__accessor_floats(gltf, accessor, &values, ret_count, &status) != RPC_OK)
        fail_msg("%s", status.message);
    return values;
}

/* ---- matrices -------------------------------------------------------------------------------- */

static void multiply(const double a[16], const double b[16], double ret[16])
{
    double made[16];
    for (size_t c = 0; c < 4; c++)
        for (size_t r = 0; r < 4; r++) {
            made[4 * c + r] = 0;
            for (size_t k = 0; k < 4; k++)
                made[4 * c + r] += a[4 * k + r] * b[4 * c + k];
        }
    memcpy(ret, made, sizeof made);
}

static void matrix_of(const double trs[10], double m[16])
{
    const double *q = trs + 3, *s = trs + 7;
    const double length = sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]);
    const double x = q[0] / length, y = q[1] / length, z = q[2] / length, w = q[3] / length;
    const double rows[3][3] = {{1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)},
        {2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)},
        {2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)}};
    memset(m, 0, 16 * sizeof *m);
    for (size_t c = 0; c < 3; c++)
        for (size_t r = 0; r < 3; r++)
            m[4 * c + r] = rows[r][c] * s[c];
    memcpy(m + 12, trs, 3 * sizeof *m);
    m[15] = 1;
}

static void transform(const double m[16], const double at[3], double ret[3])
{
    for (size_t r = 0; r < 3; r++)
        ret[r] = m[r] * at[0] + m[4 + r] * at[1] + m[8 + r] * at[2] + m[12 + r];
}

/* ---- samplers -------------------------------------------------------------------------------- */

static void slerp(const float *a, const float *b, double part, double ret[4])
{
    double dot = 0;
    for (size_t k = 0; k < 4; k++)
        dot += (double)a[k] * (double)b[k];
    const double sign = dot < 0 ? -1 : 1, angle = acos(fmin(1, fabs(dot)));
    const double from = angle < 1e-6 ? 1 - part : sin((1 - part) * angle) / sin(angle);
    const double to = angle < 1e-6 ? part : sin(part * angle) / sin(angle);
    for (size_t k = 0; k < 4; k++)
        ret[k] = from * (double)a[k] + sign * to * (double)b[k];
}

static void spline(const float *values, size_t per_key, size_t key, size_t component, double part,
    double length, double *ret)
{
    const float *a = values + 3 * key * per_key, *b = a + 3 * per_key;
    const double t2 = part * part, t3 = t2 * part;
    *ret = (2 * t3 - 3 * t2 + 1) * (double)a[per_key + component] +
           length * (t3 - 2 * t2 + part) * (double)a[2 * per_key + component] +
           (3 * t2 - 2 * t3) * (double)b[per_key + component] +
           length * (t3 - t2) * (double)b[component];
}

/* per_key numbers at a time. */
static void sample(const media__gltf *gltf, const json_t *sampler, bool rotation, double time,
    size_t per_key, double *ret)
{
    size_t count = 0, all = 0, key = 0;
    float *times = floats_of(gltf, media__get_index(sampler, "input"), &count);
    float *values = floats_of(gltf, media__get_index(sampler, "output"), &all);
    const char *kind = json_string_value(json_object_get(sampler, "interpolation"));
    const bool cubic = kind && strcmp(kind, "CUBICSPLINE") == 0;
    const bool step = kind && strcmp(kind, "STEP") == 0;
    while (key + 1 < count && (double)times[key + 1] <= time)
        key++;
    const bool between = key + 1 < count && time > (double)times[0];
    const double length = between ? (double)times[key + 1] - (double)times[key] : 0;
    const double part = between && !step ? (time - (double)times[key]) / length : 0;
    const float *a = values + (cubic ? 3 * key + 1 : key) * per_key, *b = a + per_key;
    for (size_t k = 0; k < per_key; k++) {
        ret[k] = (double)a[k];
        if (part > 0 && cubic)
            spline(values, per_key, key, k, part, length, &ret[k]);
        else if (part > 0)
            ret[k] = (1 - part) * (double)a[k] + part * (double)b[k];
    }
    if (part > 0 && rotation && !cubic)
        slerp(a, b, part, ret);
    free(times);
    free(values);
}

void pose_span(const media__gltf *gltf, size_t animation, double ret[2])
{
    const json_t *entry = media__gltf_entry(gltf, "animations", animation);
    const json_t *channels = json_object_get(entry, "channels");
    ret[0] = HUGE_VAL;
    ret[1] = -HUGE_VAL;
    for (size_t i = 0; i < json_array_size(channels); i++) {
        size_t count = 0;
        const json_t *sampler = json_array_get(json_object_get(entry, "samplers"),
            media__get_index(json_array_get(channels, i), "sampler"));
        float *times = floats_of(gltf, media__get_index(sampler, "input"), &count);
        ret[0] = fmin(ret[0], (double)times[0]);
        ret[1] = fmax(ret[1], (double)times[count - 1]);
        free(times);
    }
}

/* ---- nodes ----------------------------------------------------------------------------------- */

static void rest(const json_t *node, double trs[10])
{
    static const char *const names[] = {"translation", "rotation", "scale"};
    static const double at_rest[] = {0, 0, 0, 0, 0, 0, 1, 1, 1, 1};
    static const size_t first[] = {0, 3, 7, 10};
    memcpy(trs, at_rest, sizeof at_rest);
    for (size_t n = 0; n < 3; n++) {
        const json_t *value = json_object_get(node, names[n]);
        for (size_t k = 0; k < json_array_size(value); k++)
            trs[first[n] + k] = json_number_value(json_array_get(value, k));
    }
}

static size_t targets_of(const media__gltf *gltf, const json_t *node)
{
    const json_t *mesh = media__gltf_entry(gltf, "meshes", media__get_index(node, "mesh"));
    const json_t *first = json_array_get(json_object_get(mesh, "primitives"), 0);
    return json_array_size(json_object_get(first, "targets"));
}

static float *rest_weights(const media__gltf *gltf, const json_t *node)
{
    const size_t count = targets_of(gltf, node);
    const json_t *mesh = media__gltf_entry(gltf, "meshes", media__get_index(node, "mesh"));
    const json_t *own = json_object_get(node, "weights");
    own = own ? own : json_object_get(mesh, "weights");
    float *weights = count ? calloc(count, sizeof *weights) : NULL;
    for (size_t k = 0; weights && k < json_array_size(own); k++)
        weights[k] = (float)json_number_value(json_array_get(own, k));
    return weights;
}

static void move(pose *p, const json_t *animation, double time)
{
    const json_t *channels = json_object_get(animation, "channels");
    for (size_t i = 0; i < json_array_size(channels); i++) {
        const json_t *channel = json_array_get(channels, i);
        const json_t *target = json_object_get(channel, "target");
        const json_t *sampler = json_array_get(
            json_object_get(animation, "samplers"), media__get_index(channel, "sampler"));
        const size_t node = media__get_index(target, "node");
        const char *path = json_string_value(json_object_get(target, "path"));
        if (node == MEDIA__NO_INDEX)
            continue;
        if (strcmp(path, "weights") == 0) {
            const size_t count = targets_of(p->gltf, media__gltf_entry(p->gltf, "nodes", node));
            double *values = calloc(count + 1, sizeof *values);
            sample(p->gltf, sampler, false, time, count, values);
            for (size_t k = 0; k < count; k++)
                p->weights[node][k] = (float)values[k];
            free(values);
            continue;
        }
        const bool rotation = strcmp(path, "rotation") == 0;
        sample(p->gltf, sampler, rotation, time, rotation ? 4 : 3,
            p->trs[node] + (rotation                        ? 3
                               : strcmp(path, "scale") == 0 ? 7
                                                            : 0));
    }
}

static void place(pose *p, size_t node, const double above[16])
{
    const json_t *entry = media__gltf_entry(p->gltf, "nodes", node);
    const json_t *matrix = json_object_get(entry, "matrix");
    const json_t *children = json_object_get(entry, "children");
    double own[16];
    matrix_of(p->trs[node], own);
    for (size_t k = 0; matrix && k < 16; k++)
        own[k] = json_number_value(json_array_get(matrix, k));
    multiply(above, own, p->world[node]);
    for (size_t i = 0; i < json_array_size(children); i++)
        place(p, (size_t)json_integer_value(json_array_get(children, i)), p->world[node]);
}

pose pose_at(const media__gltf *gltf, size_t animation, double time)
{
    static const double one[16] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1};
    pose p = {.gltf = gltf, .nodes = media__gltf_count(gltf, "nodes")};
    bool *below = calloc(p.nodes + 1, sizeof *below);
    p.world = calloc(p.nodes + 1, sizeof *p.world);
    p.trs = calloc(p.nodes + 1, sizeof *p.trs);
    p.weights = calloc(p.nodes + 1, sizeof *p.weights);
    for (size_t i = 0; i < p.nodes; i++) {
        const json_t *node = media__gltf_entry(gltf, "nodes", i);
        const json_t *children = json_object_get(node, "children");
        rest(node, p.trs[i]);
        p.weights[i] = rest_weights(gltf, node);
        for (size_t k = 0; k < json_array_size(children); k++)
            below[json_integer_value(json_array_get(children, k))] = true;
    }
    if (animation != MEDIA__NO_INDEX)
        move(&p, media__gltf_entry(gltf, "animations", animation), time);
    for (size_t i = 0; i < p.nodes; i++)
        if (!below[i])
            place(&p, i, one);
    free(below);
    return p;
}

void pose_done(pose *p)
{
    for (size_t i = 0; i < p->nodes; i++)
        free(p->weights[i]);
    free(p->weights);
    free(p->world);
    free(p->trs);
}

/* ---- vertices -------------------------------------------------------------------------------- */

static double *morphed(const pose *p, size_t node, const json_t *primitive, size_t *ret_count)
{
    const json_t *targets = json_object_get(primitive, "targets");
    float *at = floats_of(
        p->gltf, media__get_index(json_object_get(primitive, "attributes"), "POSITION"), ret_count);
    double *made = calloc(3 * *ret_count + 1, sizeof *made);
    for (size_t i = 0; i < 3 * *ret_count; i++)
        made[i] = (double)at[i];
    free(at);
    for (size_t t = 0; t < json_array_size(targets); t++) {
        const size_t accessor = media__get_index(json_array_get(targets, t), "POSITION");
        if (accessor == MEDIA__NO_INDEX || p->weights[node][t] == 0)
            continue;
        float *by = floats_of(p->gltf, accessor, ret_count);
        for (size_t i = 0; i < 3 * *ret_count; i++)
            made[i] += (double)p->weights[node][t] * (double)by[i];
        free(by);
    }
    return made;
}

/* The sum of what each joint would do. */
static void skin_set(const pose *p, const json_t *skin, const json_t *attributes, size_t set,
    const double *from, size_t count, double *to)
{
    char name[24];
    uint32_t *joints = NULL;
    rpc_status status = {0};
    size_t all = 0;
    const json_t *list = json_object_get(skin, "joints");
    const size_t matrices = media__get_index(skin, "inverseBindMatrices");
    float *inverse = matrices == MEDIA__NO_INDEX ? NULL : floats_of(p->gltf, matrices, &all);
    snprintf(name, sizeof name, "JOINTS_%zu", set);
    assert_int_equal(
        media__accessor_uints(p->gltf, media__get_index(attributes, name), &joints, &all, &status),
        RPC_OK);
    snprintf(name, sizeof name, "WEIGHTS_%zu", set);
    float *weights = floats_of(p->gltf, media__get_index(attributes, name), &all);
    for (size_t i = 0; i < 4 * count; i++) {
        double m[16], bound[3], moved[3];
        if (weights[i] == 0)
            continue;
        for (size_t k = 0; k < 16; k++)
            m[k] = inverse ? (double)inverse[16 * joints[i] + k] : k % 5 == 0;
        transform(m, from + i / 4 * 3, bound);
        transform(p->world[json_integer_value(json_array_get(list, joints[i]))], bound, moved);
        for (size_t k = 0; k < 3; k++)
            to[i / 4 * 3 + k] += (double)weights[i] * moved[k];
    }
    free(joints);
    free(weights);
    free(inverse);
}

double *pose_vertices(const pose *p, size_t node, size_t primitive, size_t *ret_count)
{
    const json_t *entry = media__gltf_entry(p->gltf, "nodes", node);
    const json_t *mesh = media__gltf_entry(p->gltf, "meshes", media__get_index(entry, "mesh"));
    const json_t *of = json_array_get(json_object_get(mesh, "primitives"), primitive);
    const json_t *attributes = json_object_get(of, "attributes");
    const json_t *skin = media__gltf_entry(p->gltf, "skins", media__get_index(entry, "skin"));
    const json_t *position = media__gltf_entry(
        p->gltf, "accessors", media__get_index(attributes, "POSITION"));
    char name[24] = "JOINTS_0";
    if (!json_object_get(position, "bufferView") && !json_object_get(position, "sparse"))
        return NULL;
    double *from = morphed(p, node, of, ret_count);
    double *to = calloc(3 * *ret_count + 1, sizeof *to);
    for (size_t set = 0; skin && json_object_get(attributes, name);
         snprintf(name, sizeof name, "JOINTS_%zu", ++set))
        skin_set(p, skin, attributes, set, from, *ret_count, to);
    for (size_t i = 0; !skin && i < *ret_count; i++)
        transform(p->world[node], from + 3 * i, to + 3 * i);
    free(from);
    return to;
}
