/* SPDX-License-Identifier: Apache-2.0 */
/* Animations with fewer and shorter keys. What moves nothing in any of them goes: a channel whose
 * node stays where it rests in every animation there is. Names, and the first and the last time of
 * each animation, stay. */
#include "gltf_adapt.h"
#include "gltf_get.h"
#include "gltf_quantize.h"
#include "gltf_scale.h"
#include "gltf_tracks.h"
#include "rounding.h"

#include "cleanup.h"

#include <math.h>
#include <stdlib.h>

#define SIZE_SHARE         (1.0 / 16384) /* of the avatar: how far a translation may be off */
#define SCALE_SHARE        (1.0 / 1024)  /* of a node's scale */
#define WEIGHT_TOLERANCE   (1.0 / 2048)
#define ROTATION_TOLERANCE 0.00044 /* of a component: 0.05 degrees */

/* What a list of times of its own costs in the file, and a key of values that is kept. */
#define TIMES_BYTES      110
#define TIME_BYTES       3
#define PACKED_KEY_BYTES 5

typedef enum property { TRANSLATION, ROTATION, SCALE, WEIGHTS, PATHS, OTHER = PATHS } property;

static const char *const path_names[PATHS] = {"translation", "rotation", "scale", "weights"};
static const char *const kinds[] = {"LINEAR", "STEP", "CUBICSPLINE"};

typedef enum fate {
    EXACT, /* stays as it is */
    MOVES,
    CONSTANT, /* one key */
    GONE,     /* no channel has it any more */
} fate;

/* A sampler, and what its channels have in common. */
typedef struct sampler {
    json_t *json; /* borrowed */
    size_t input, output;
    property path; /* OTHER: several, or an extension's */
    bool used;
    double tolerance, step;
    fate fate;
    float begin, end; /* of its times */
    media__track track;
} sampler;

typedef struct moving {
    media__quantizing *q;
    size_t nodes;
    media__scales scales;
    bool *moves; /* [nodes][WEIGHTS] away from where it rests */
    bool may_drop;
} moving;

/* ---- of the document ------------------------------------------------------------------------- */

static property path_of(const json_t *channel)
{
    const json_t *target = json_object_get(channel, "target");
    const int path = media__word_of(
        json_string_value(json_object_get(target, "path")), path_names, PATHS);
    return path < 0 || !json_object_get(target, "node") ? OTHER : (property)path;
}

static size_t node_of(const json_t *channel)
{
    return media__get_index(json_object_get(channel, "target"), "node");
}

/* Metres of a unit of its translation. */
static double unit_of(const moving *m, size_t node)
{
    const double unit = media__unit_of(&m->scales, node);
    return unit > 0 && isfinite(unit) ? unit : 1;
}

static void rest_of(const json_t *node, property path, float ret[4])
{
    static const float at_rest[][4] = {{0, 0, 0, 0}, {0, 0, 0, 1}, {1, 1, 1, 0}};
    const json_t *value = json_object_get(node, path_names[path]);
    for (size_t k = 0; k < 4; k++)
        ret[k] = value && k < json_array_size(value)
                     ? (float)json_number_value(json_array_get(value, k))
                     : at_rest[path][k];
}

/* Without meshes: how far nodes are from their parents. */
static void measure_nodes(moving *m)
{
    double size = 0;
    for (size_t i = 0; i < m->nodes; i++) {
        float at[4];
        rest_of(media__gltf_entry(m->q->gltf, "nodes", i), TRANSLATION, at);
        const double away = unit_of(m, i) *
                            sqrt((double)at[0] * (double)at[0] + (double)at[1] * (double)at[1] +
                                 (double)at[2] * (double)at[2]);
        size = isfinite(away) && away > size ? away : size;
    }
    m->q->size = size;
}

/* ---- of a channel ---------------------------------------------------------------------------- */

static double tolerance_of(moving *m, size_t node, property path)
{
    float rest[4];
    switch (path) {
    case TRANSLATION:
        return SIZE_SHARE * m->q->size / unit_of(m, node);
    case ROTATION:
        return ROTATION_TOLERANCE;
    case SCALE:
        rest_of(media__gltf_entry(m->q->gltf, "nodes", node), SCALE, rest);
        return SCALE_SHARE *
               fmax(fabs((double)rest[0]), fmax(fabs((double)rest[1]), fabs((double)rest[2])));
    default:
        return WEIGHT_TOLERANCE;
    }
}

/* ---- samplers -------------------------------------------------------------------------------- */

static void use_sampler(moving *m, sampler *s, const json_t *channel)
{
    const property path = path_of(channel);
    if (s->used && s->path != path)
        s->path = OTHER;
    else
        s->path = path;
    if (s->path != OTHER) {
        const double tolerance = tolerance_of(m, node_of(channel), path);
        s->tolerance = s->used ? fmin(s->tolerance, tolerance) : tolerance;
    }
    s->used = true;
}

static void samplers_done(sampler *list, size_t count)
{
    for (size_t i = 0; list && i < count; i++) {
        free(list[i].track.times);
        free(list[i].track.values);
        free(list[i].track.shorts);
    }
    free(list);
}

static rpc_code read_sampler(moving *m, sampler *s)
{
    media__layout layout;
    size_t count = 0, values = 0;
    const int kind = media__word_of(
        json_string_value(json_object_get(s->json, "interpolation")), kinds, 3);
    media__track *t = &s->track;
    s->input = media__get_index(s->json, "input");
    s->output = media__get_index(s->json, "output");
    media__accessor_layout(media__gltf_entry(m->q->gltf, "accessors", s->output), &layout);
    rpc_code code = media__accessor_floats(m->q->gltf, s->input, &t->times, &count, m->q->reterr);
    if (code == RPC_OK)
        code = media__accessor_floats(m->q->gltf, s->output, &t->values, &values, m->q->reterr);
    if (code != RPC_OK)
        return code;
    t->interpolation = kind < 0 ? MEDIA__LINEAR : (media__interpolation)kind;
    t->rotation = s->path == ROTATION;
    t->count = count;
    const size_t keys = count * (t->interpolation == MEDIA__CUBICSPLINE ? 3 : 1);
    t->components = keys ? values * layout.components / keys : 0;
    t->tolerance = s->tolerance;
    s->fate = keys && layout.component_type == MEDIA__FLOAT && s->path != OTHER ? MOVES : EXACT;
    s->begin = count ? t->times[0] : 0;
    s->end = count ? t->times[count - 1] : 0;
    return RPC_OK;
}

static rpc_code read_samplers(moving *m, const json_t *animation, sampler **ret, size_t *ret_count)
{
    const json_t *samplers = json_object_get(animation, "samplers");
    const json_t *channels = json_object_get(animation, "channels");
    const size_t count = json_array_size(samplers);
    sampler *list = calloc(count + 1, sizeof *list);
    if (!list)
        return media__no_memory(m->q->reterr);
    for (size_t i = 0; i < json_array_size(channels); i++) {
        const json_t *channel = json_array_get(channels, i);
        use_sampler(m, &list[media__get_index(channel, "sampler")], channel);
    }
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < count; i++) {
        list[i].json = json_array_get(samplers, i);
        list[i].fate = GONE;
        if (list[i].used)
            code = read_sampler(m, &list[i]);
    }
    if (code != RPC_OK)
        samplers_done(list, count);
    else {
        *ret = list;
        *ret_count = count;
    }
    return code;
}

/* ---- what moves nothing ---------------------------------------------------------------------- */

static bool rests(moving *m, const json_t *channel, const sampler *s)
{
    float rest[4];
    const property path = path_of(channel);
    if (path >= WEIGHTS || s->path == OTHER)
        return false;
    rest_of(media__gltf_entry(m->q->gltf, "nodes", node_of(channel)), path, rest);
    return media__track_is(&s->track, rest, tolerance_of(m, node_of(channel), path));
}

static rpc_code find_moves(moving *m, const json_t *animation)
{
    sampler *list = NULL;
    size_t count = 0;
    const json_t *channels = json_object_get(animation, "channels");
    const rpc_code code = read_samplers(m, animation, &list, &count);
    for (size_t i = 0; code == RPC_OK && i < json_array_size(channels); i++) {
        const json_t *channel = json_array_get(channels, i);
        const property path = path_of(channel);
        if (path < WEIGHTS && !rests(m, channel, &list[media__get_index(channel, "sampler")]))
            m->moves[WEIGHTS * node_of(channel) + path] = true;
    }
    samplers_done(list, count);
    return code;
}

/* A .vrma moves another's bones, and a pointer may move the same node. */
static bool may_drop(const media__gltf *gltf)
{
    return !media__get_extension(gltf->json, "VRMC_vrm_animation") &&
           !media__gltf_uses(gltf->json, "KHR_animation_pointer");
}

static bool is_dropped(const moving *m, const json_t *channel)
{
    const property path = path_of(channel);
    return m->may_drop && path < WEIGHTS && !m->moves[WEIGHTS * node_of(channel) + path];
}

/* ---- keys that are written ------------------------------------------------------------------- */

/* A way of its own for times costs bytes too. */
static bool is_worth(const moving *m, const media__track *t, size_t kept)
{
    const size_t bytes = m->q->packed ? PACKED_KEY_BYTES : t->components * (t->rotation ? 2 : 4);
    return (t->count - kept) * bytes > TIMES_BYTES + kept * TIME_BYTES;
}

static rpc_code put_times(moving *m, sampler *s, const float *times, size_t count, size_t *ret)
{
    float *copy = malloc(count * sizeof *copy + 1);
    if (!copy)
        return media__no_memory(m->q->reterr);
    memcpy(copy, times, count * sizeof *copy);
    return media__quantize_put(m->q, s->input, copy, count, MEDIA__FLOAT, false, true, 0, ret);
}

/* Of weights each number is an element of its own. */
static rpc_code put_values(moving *m, sampler *s, size_t count, size_t *ret)
{
    const media__track *t = &s->track;
    const size_t all = count * t->components;
    const size_t size = t->shorts ? sizeof *t->shorts : sizeof *t->values;
    void *copy = malloc(all * size + 1);
    if (!copy)
        return media__no_memory(m->q->reterr);
    memcpy(copy, t->shorts ? (const void *)t->shorts : t->values, all * size);
    return media__quantize_put(m->q, s->output, copy,
        s->path == WEIGHTS ? all : count * (t->interpolation == MEDIA__CUBICSPLINE ? 3 : 1),
        t->shorts ? MEDIA__SHORT : MEDIA__FLOAT, t->shorts, false, 0, ret);
}

static rpc_code put_sampler(moving *m, sampler *s, const float *times, size_t count)
{
    size_t input = s->input, output = s->output;
    rpc_code code = times ? put_times(m, s, times, count, &input) : RPC_OK;
    if (code == RPC_OK)
        code = put_values(m, s, count, &output);
    if (code != RPC_OK)
        return code;
    if (s->track.interpolation == MEDIA__LINEAR) /* the default */
        json_object_del(s->json, "interpolation");
    return json_object_set_new(s->json, "input", json_integer((json_int_t)input)) == 0 &&
                   json_object_set_new(s->json, "output", json_integer((json_int_t)output)) == 0
               ? RPC_OK
               : media__no_memory(m->q->reterr);
}

static void keep_only(media__track *t, const bool *kept)
{
    size_t to = 0;
    for (size_t i = 0; i < t->count; i++) {
        if (!kept[i])
            continue;
        t->times[to] = t->times[i];
        memmove(t->values + to * t->components, t->values + i * t->components,
            t->components * sizeof *t->values);
        if (t->shorts)
            memmove(t->shorts + 4 * to, t->shorts + 4 * i, 4 * sizeof *t->shorts);
        to++;
    }
    t->count = to;
}

static rpc_code write_moving(moving *m, sampler *s, const float *exact)
{
    media__track *t = &s->track;
    RPC_AUTOFREE bool *kept = malloc(t->count + 1);
    if (!kept)
        return media__no_memory(m->q->reterr);
    const size_t count = media__track_reduce(t, exact, kept);
    const bool fewer = count < t->count && is_worth(m, t, count);
    if (fewer)
        keep_only(t, kept);
    const size_t cubic = t->interpolation == MEDIA__CUBICSPLINE ? 3 : 1;
    t->components *= cubic;
    const rpc_code code = put_sampler(m, s, fewer ? t->times : NULL, t->count);
    t->components /= cubic;
    return code;
}

static bool repeat_key(media__track *t)
{
    const size_t size = t->components * sizeof *t->values;
    float *values = realloc(t->values, 2 * size + 1);
    int16_t *shorts = t->shorts ? realloc(t->shorts, 8 * sizeof *shorts) : NULL;
    t->values = values ? values : t->values;
    t->shorts = shorts ? shorts : t->shorts;
    if (!values || (t->shorts && !shorts))
        return false;
    memcpy(t->values + t->components, t->values, size);
    if (shorts)
        memcpy(shorts + 4, shorts, 4 * sizeof *shorts);
    return true;
}

/* One key; two where it carries the times of the whole animation. */
static rpc_code write_constant(moving *m, sampler *s)
{
    const float times[2] = {s->begin, s->end};
    const size_t keys = s->end > s->begin ? 2 : 1;
    return keys == 2 && !repeat_key(&s->track) ? media__no_memory(m->q->reterr)
                                               : put_sampler(m, s, times, keys);
}

static rpc_code write_sampler(moving *m, sampler *s)
{
    media__track *t = &s->track;
    const size_t cubic = t->interpolation == MEDIA__CUBICSPLINE ? 3 : 1;
    const size_t all = cubic * t->count * t->components;
    RPC_AUTOFREE float *exact = malloc(all * sizeof *exact + 1);
    if (t->rotation && cubic == 1)
        t->shorts = malloc(all * sizeof *t->shorts + 1);
    if (!exact || (t->rotation && cubic == 1 && !t->shorts))
        return media__no_memory(m->q->reterr);
    memcpy(exact, t->values, all * sizeof *exact);
    if (!media__track_round(t, s->step)) {
        free(RPC_TAKE(t->shorts));
        if (s->fate != CONSTANT)
            return RPC_OK;
    }
    return s->fate == CONSTANT ? write_constant(m, s) : write_moving(m, s, exact);
}

/* ---- an animation ---------------------------------------------------------------------------- */

/* What it is to become; what begins with one key ends with it. */
static void find_fates(const moving *m, const json_t *animation, sampler *list, size_t count)
{
    const json_t *channels = json_object_get(animation, "channels");
    for (size_t i = 0; i < count; i++)
        list[i].used = false;
    for (size_t i = 0; i < json_array_size(channels); i++) {
        const json_t *channel = json_array_get(channels, i);
        if (!is_dropped(m, channel))
            list[media__get_index(channel, "sampler")].used = true;
    }
    for (size_t i = 0; i < count; i++) {
        sampler *s = &list[i];
        s->step = media__power_below(s->tolerance);
        if (!s->used)
            s->fate = GONE;
        else if (s->fate == MOVES && media__track_is(&s->track, s->track.values, s->tolerance)) {
            s->fate = CONSTANT;
            s->end = s->begin;
        }
    }
}

typedef struct span {
    float begin, end;
    bool any;
} span;

static span span_of(const sampler *list, size_t count, bool all)
{
    span s = {0, 0, false};
    for (size_t i = 0; i < count; i++) {
        if (list[i].track.count == 0 || !(all || list[i].fate == EXACT || list[i].fate == MOVES))
            continue;
        s.begin = s.any && s.begin < list[i].begin ? s.begin : list[i].begin;
        s.end = s.any && s.end > list[i].end ? s.end : list[i].end;
        s.any = true;
    }
    return s;
}

/* Where what moves does not last as long as the animation did, one that does not move has its times
 * instead: the first that is there, else one that was to go, with its channels. */
static void keep_span(sampler *list, size_t count, span whole)
{
    const span left = span_of(list, count, false);
    if (!whole.any || (left.any && left.begin <= whole.begin && left.end >= whole.end))
        return;
    sampler *carrier = NULL;
    for (size_t i = 0; i < count && !carrier; i++)
        carrier = list[i].fate == CONSTANT ? &list[i] : NULL;
    for (size_t i = 0; i < count && !carrier; i++)
        carrier = list[i].fate == GONE && list[i].track.count ? &list[i] : NULL;
    if (!carrier)
        return;
    carrier->fate = CONSTANT;
    carrier->begin = whole.begin;
    carrier->end = whole.end;
}

static bool is_kept(void *ctx, json_t *channel)
{
    const sampler *list = ctx;
    return list[media__get_index(channel, "sampler")].fate != GONE;
}

static rpc_code round_animation(moving *m, json_t *animation)
{
    sampler *list = NULL;
    size_t count = 0;
    rpc_code code = read_samplers(m, animation, &list, &count);
    if (code != RPC_OK)
        return code;
    const span whole = span_of(list, count, true);
    find_fates(m, animation, list, count);
    keep_span(list, count, whole);
    for (size_t i = 0; code == RPC_OK && i < count; i++)
        if (list[i].fate == MOVES || list[i].fate == CONSTANT)
            code = write_sampler(m, &list[i]);
    if (code == RPC_OK)
        code = media__animation_keep_channels(animation, is_kept, list, m->q->reterr);
    samplers_done(list, count);
    return code;
}

static rpc_code round_all(moving *m)
{
    json_t *animations = json_object_get(m->q->gltf->json, "animations");
    rpc_code code = RPC_OK;
    m->may_drop = may_drop(m->q->gltf);
    if (!(m->q->size > 0))
        measure_nodes(m);
    for (size_t i = 0; code == RPC_OK && m->may_drop && i < json_array_size(animations); i++)
        code = find_moves(m, json_array_get(animations, i));
    for (size_t i = 0; code == RPC_OK && i < json_array_size(animations); i++)
        code = round_animation(m, json_array_get(animations, i));
    return code == RPC_OK ? media__gltf_merge_samplers(m->q->gltf, m->q->reterr) : code;
}

rpc_code media__quantize_animations(media__quantizing *q)
{
    moving m = {.q = q, .nodes = media__gltf_count(q->gltf, "nodes")};
    if (media__gltf_count(q->gltf, "animations") == 0)
        return RPC_OK;
    m.moves = calloc(m.nodes + 1, WEIGHTS * sizeof *m.moves);
    rpc_code code = media__scales_of(q->gltf, &m.scales, q->reterr);
    if (code == RPC_OK)
        code = m.moves ? round_all(&m) : media__no_memory(q->reterr);
    media__scales_done(&m.scales);
    free(m.moves);
    return code;
}
