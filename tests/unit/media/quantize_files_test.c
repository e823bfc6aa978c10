/* SPDX-License-Identifier: Apache-2.0 */
/* Real avatars with rounded numbers beside the same with exact ones: vertices in the world, morphed
 * and skinned, at rest and at many times of animations. DACM_TEST_FULL=1: every file, every
 * animation. */
#include "files.h"

#include "gltf_get.h"
#include "media.h"
#include "pose.h"

#include <math.h>

/* Of the avatar's size: what rotations, translations and weights may be off add up along arms. */
#define AT_REST 0.002 /* where weights do not add up to 1; else 0.00005 */
#define MOVING  0.004

static const char *const some_files[] = {"cesium-man.glb", "fox.glb", "godot-platformer-robot.glb",
    "mannequiny.glb", "morph-stress-embedded.gltf", "sparse-morph-cube.glb", "vrm0-godette.vrm",
    "robot-expressive.glb"};

typedef struct made {
    media_result result;
    media__gltf gltf;
} made;

static made adapt(rpc_bytes source, const char *recipe_text, const char *path)
{
    made m = {.result = {0}};
    media_recipe recipe;
    rpc_status status = {0};
    assert_int_equal(media_recipe_read(rpc_bytes_str(recipe_text), &recipe, &status), RPC_OK);
    if (media_adapt(source, &recipe, &m.result, &status) != RPC_OK ||
        media__gltf_read(rpc_bytes_of(m.result.bytes, m.result.size), &m.gltf, &status) != RPC_OK ||
        media__gltf_decode(&m.gltf, &status) != RPC_OK)
        fail_msg("%s %s: %s", path, recipe_text, status.message);
    media_recipe_done(&recipe);
    return m;
}

static void done(made *m)
{
    media__gltf_done(&m->gltf);
    media_result_done(&m->result);
}

/* ---- how far off ----------------------------------------------------------------------------- */

typedef struct reach {
    double min[3], max[3], off;
} reach;

static void compare_vertices(const pose *a, const pose *b, size_t node, size_t primitive, reach *r)
{
    size_t count = 0, others = 0;
    double *exact = pose_vertices(a, node, primitive, &count);
    double *rounded = pose_vertices(b, node, primitive, &others);
    assert_int_equal(!exact, !rounded);
    assert_int_equal(count, others);
    for (size_t i = 0; exact && i < count; i++) {
        double square = 0;
        for (size_t k = 0; k < 3; k++) {
            const double at = exact[3 * i + k], off = at - rounded[3 * i + k];
            square += off * off;
            r->min[k] = fmin(r->min[k], at);
            r->max[k] = fmax(r->max[k], at);
        }
        r->off = fmax(r->off, sqrt(square));
    }
    free(exact);
    free(rounded);
}

/* Of the size of all that is seen. */
static double off(const media__gltf *a, const media__gltf *b, size_t animation, double time)
{
    pose exact = pose_at(a, animation, time), rounded = pose_at(b, animation, time);
    reach r = {{HUGE_VAL, HUGE_VAL, HUGE_VAL}, {-HUGE_VAL, -HUGE_VAL, -HUGE_VAL}, 0};
    for (size_t i = 0; i < exact.nodes; i++) {
        const json_t *mesh = media__gltf_entry(
            a, "meshes", media__get_index(media__gltf_entry(a, "nodes", i), "mesh"));
        for (size_t k = 0; k < json_array_size(json_object_get(mesh, "primitives")); k++)
            compare_vertices(&exact, &rounded, i, k, &r);
    }
    pose_done(&exact);
    pose_done(&rounded);
    const double size = fmax(r.max[0] - r.min[0], fmax(r.max[1] - r.min[1], r.max[2] - r.min[2]));
    return size > 0 ? r.off / size : 0;
}

static void stays_near(const made *a, const made *b, const char *what)
{
    const double rest = off(&a->gltf, &b->gltf, MEDIA__NO_INDEX, 0);
    const size_t animations = media__gltf_count(&a->gltf, "animations");
    double worst = 0;
    if (rest > AT_REST)
        fail_msg("%s: at rest a vertex is off by %g of the size", what, rest);
    for (size_t i = 0; i < animations && (full() || i < 4); i++) {
        double exact[2], rounded[2];
        pose_span(&a->gltf, i, exact);
        pose_span(&b->gltf, i, rounded);
        if (exact[0] != rounded[0] || exact[1] != rounded[1])
            fail_msg("%s: animation %zu lasts from %g to %g, not from %g to %g", what, i,
                rounded[0], rounded[1], exact[0], exact[1]);
        for (int step = 0; step <= 7; step++) {
            const double time = exact[0] + (exact[1] - exact[0]) * step / 7 * 0.999;
            const double now = off(&a->gltf, &b->gltf, i, time);
            worst = fmax(worst, now);
            if (now > MOVING)
                fail_msg("%s: at %g s of animation %zu a vertex is off by %g of the size", what,
                    time, i, now);
        }
    }
    printf("%s: %.6f at rest, %.6f moving; %zu bytes were %zu\n", what, rest, worst, b->result.size,
        a->result.size);
}

static void compare(rpc_bytes source, const char *exactly, const char *rounded, const char *path)
{
    char what[4300];
    made a = adapt(source, exactly, path), b = adapt(source, rounded, path),
         again = adapt(source, rounded, path);
    snprintf(what, sizeof what, "%s %s", path, rounded);
    assert_int_equal(b.result.size, again.result.size);
    assert_memory_equal(b.result.bytes, again.result.bytes, b.result.size);
    assert_int_equal(b.result.figures.skins, a.result.figures.skins);
    assert_int_equal(b.result.figures.joints, a.result.figures.joints);
    assert_int_equal(b.result.figures.nodes, a.result.figures.nodes);
    assert_int_equal(b.result.figures.triangles, a.result.figures.triangles);
    assert_int_equal(b.result.figures.vertices, a.result.figures.vertices);
    assert_int_equal(b.result.figures.morph_targets, a.result.figures.morph_targets);
    assert_int_equal(b.result.figures.animations, a.result.figures.animations);
    if (b.result.size > a.result.size + 512)
        fail_msg("%s: %zu bytes, without rounding %zu", what, b.result.size, a.result.size);
    assert_true(
        json_equal(json_object_get(a.gltf.json, "nodes"), json_object_get(b.gltf.json, "nodes")));
    stays_near(&a, &b, what);
    done(&a);
    done(&b);
    done(&again);
}

static void rounds_file(rpc_bytes source, const char *path, void *ctx)
{
    (void)ctx;
    compare(source, "{\"mesh_compression\":\"meshopt\"}",
        "{\"mesh_compression\":\"meshopt\",\"quantization\":\"standard\"}", path);
    compare(source, "{\"mesh_compression\":\"none\"}",
        "{\"mesh_compression\":\"none\",\"quantization\":\"standard\"}", path);
}

TEST(rounded_avatars_stay_where_they_were_and_move_as_they_did)
{
    each_avatar(some_files, sizeof some_files / sizeof *some_files, rounds_file, NULL);
}
