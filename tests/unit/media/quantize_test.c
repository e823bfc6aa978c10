/* SPDX-License-Identifier: Apache-2.0 */
/* What media__gltf_quantize() does to drawn documents: each kind of accessor, accessors of several
 * uses, and what must stay exact. */
#include "test.h"

#include "gltf_adapt.h"
#include "gltf_get.h"
#include "gltf_morph_names.h"
#include "gltf_text.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- documents ------------------------------------------------------------------------------- */

/* The elements of an accessor that the JSON has without a view. */
static void fill(media__gltf *gltf, size_t accessor, const void *values, size_t size, int target)
{
    rpc_status status;
    uint8_t *copy = malloc(size);
    memcpy(copy, values, size);
    const size_t count = media__get_index(media__gltf_entry(gltf, "accessors", accessor), "count");
    assert_int_equal(media__accessor_replace(gltf, accessor, copy, count, target, &status), RPC_OK);
}
#define FILL(gltf, accessor, ...)                                                                  \
    do {                                                                                           \
        const float values_[] = __VA_ARGS__;                                                       \
        fill(gltf, accessor, values_, sizeof values_, 0);                                          \
    } while (0)

static void quantize(media__gltf *gltf, bool packed)
{
    const media__written how = {.meshopt = packed};
    rpc_status status;
    uint8_t *file = NULL;
    size_t size = 0;
    media__gltf again;
    if (media__gltf_quantize(gltf, packed, &status) != RPC_OK ||
        (!packed && media__gltf_sparse_targets(gltf, &status) != RPC_OK) ||
        media__gltf_prune(gltf, &status) != RPC_OK || media__gltf_gather(gltf, &status) != RPC_OK ||
        media__gltf_merge_samplers(gltf, &status) != RPC_OK ||
        media__gltf_write(gltf, &how, &file, &size, &status) != RPC_OK ||
        media__gltf_read(rpc_bytes_of(file, size), &again, &status) != RPC_OK ||
        media__gltf_decode(&again, &status) != RPC_OK ||
        media__gltf_check_data(&again, &status) != RPC_OK)
        fail_msg("%s", status.message);
    for (size_t i = 0; i < media__gltf_count(gltf, "accessors"); i++) {
        uint8_t *before = NULL, *after = NULL;
        size_t count = 0;
        media__layout layout;
        assert_int_equal(media__accessor_bytes(gltf, i, &before, &count, &status), RPC_OK);
        assert_int_equal(media__accessor_bytes(&again, i, &after, &count, &status), RPC_OK);
        media__accessor_layout(media__gltf_entry(gltf, "accessors", i), &layout);
        if (layout.components > 1)
            assert_memory_equal(before, after, count * layout.bytes);
        free(before);
        free(after);
    }
    media__gltf_done(&again);
    free(file);
}

/* An accessor by where it is named: "meshes/0/primitives/0/attributes/POSITION". */
static size_t named(const media__gltf *gltf, const char *path)
{
    char copy[128], *save = NULL;
    const json_t *at = gltf->json;
    snprintf(copy, sizeof copy, "%s", path);
    for (char *word = strtok_r(copy, "/", &save); word; word = strtok_r(NULL, "/", &save))
        at = json_is_array(at) ? json_array_get(at, (size_t)atoi(word)) : json_object_get(at, word);
    if (!json_is_integer(at))
        fail_msg("%s is not there", path);
    return (size_t)json_integer_value(at);
}

static int type_of(const media__gltf *gltf, const char *path)
{
    media__layout layout;
    media__accessor_layout(media__gltf_entry(gltf, "accessors", named(gltf, path)), &layout);
    return layout.normalized ? -layout.component_type : layout.component_type;
}

static void is_near(
    const media__gltf *gltf, const char *path, const float *values, size_t count, double tolerance)
{
    float *found = NULL;
    size_t elements = 0;
    rpc_status status;
    media__layout layout;
    const size_t accessor = named(gltf, path);
    media__accessor_layout(media__gltf_entry(gltf, "accessors", accessor), &layout);
    assert_int_equal(media__accessor_floats(gltf, accessor, &found, &elements, &status), RPC_OK);
    assert_int_equal(elements * layout.components, count);
    for (size_t i = 0; i < count; i++)
        if (!(fabs((double)found[i] - (double)values[i]) <= tolerance))
            fail_msg(
                "%s: number %zu is %.9g, was %.9g", path, i, (double)found[i], (double)values[i]);
    free(found);
}
#define NEAR(gltf, path, tolerance, ...)                                                           \
    do {                                                                                           \
        const float values_[] = __VA_ARGS__;                                                       \
        is_near(gltf, path, values_, sizeof values_ / sizeof *values_, tolerance);                 \
    } while (0)

static bool needs(const media__gltf *gltf, const char *name)
{
    const json_t *list = json_object_get(gltf->json, "extensionsRequired");
    for (size_t i = 0; i < json_array_size(list); i++)
        if (strcmp(json_string_value(json_array_get(list, i)), name) == 0)
            return true;
    return false;
}

#define PRIMITIVE           "meshes/0/primitives/0/"
#define ATTRIBUTES          PRIMITIVE "attributes/"
#define FLOATS(type, count) "{\"componentType\":5126,\"count\":" #count ",\"type\":\"" type "\"}"
#define POSITIONS(count)                                                                           \
    "{\"componentType\":5126,\"count\":" #count ",\"type\":\"VEC3\",\"min\":[0,0,0],"              \
    "\"max\":[0,0,0]}"
#define INTEGERS(component, type, count)                                                           \
    "{\"componentType\":" #component ",\"count\":" #count ",\"type\":\"" type "\"}"
#define TIMES(count)                                                                               \
    "{\"componentType\":5126,\"count\":" #count ",\"type\":\"SCALAR\",\"min\":[0],\"max\":[0]}"

/* ---- vertices -------------------------------------------------------------------------------- */

/* Three vertices of everything, two targets. */
static const char vertices[] =
    "{\"asset\":{\"version\":\"2.0\"},\"nodes\":[{\"mesh\":0,\"skin\":0},"
    "{\"children\":[2]},{}],\"scenes\":[{\"nodes\":[0,1]}],\"skins\":[{\"joints\":[1,2]}],"
    "\"meshes\":[{\"primitives\":[{\"attributes\":{\"POSITION\":0,\"NORMAL\":1,\"TANGENT\":2,"
    "\"TEXCOORD_0\":3,\"TEXCOORD_1\":4,\"COLOR_0\":5,\"JOINTS_0\":6,\"WEIGHTS_0\":7,\"_OWN\":8},"
    "\"indices\":9,\"targets\":[{\"POSITION\":10,\"NORMAL\":11},{\"POSITION\":12,\"NORMAL\":13}]}]"
    "}],\"accessors\":[" POSITIONS(3) "," FLOATS("VEC3", 3) "," FLOATS("VEC4", 3) "," FLOATS(
        "VEC2", 3) "," FLOATS("VEC2", 3) "," FLOATS("VEC4", 3) "," INTEGERS(5123, "VEC4",
        3) "," FLOATS("VEC4", 3) "," FLOATS("VEC3", 3) "," INTEGERS(5125, "SCALAR",
        3) "," POSITIONS(3) "," FLOATS("VEC3", 3) "," POSITIONS(3) "," FLOATS("VEC3", 3) "]}";

#define AT                                                                                         \
    {                                                                                              \
        -0.123456789F, 1.7654321F, 0.1F, 0.2F, 0, 0.3F, 0, 0.33333334F, -0.7F                      \
    }
#define DELTA                                                                                      \
    {                                                                                              \
        0, 0, 0, 0.0123456F, -0.5F, 2.5F, 0, 0, 0                                                  \
    }
#define NORMALS                                                                                    \
    {                                                                                              \
        0, 0.6F, 0.8F, 1, 0, 0, -0.57735027F, 0.57735027F, -0.57735027F                            \
    }
#define TANGENTS                                                                                   \
    {                                                                                              \
        0, 0.8F, -0.6F, 1, 0, 1, 0, -1, 0.70710678F, 0.70710678F, 0, 1                             \
    }
#define TURN                                                                                       \
    {                                                                                              \
        0, 0, 0, -0.9F, 0.123F, 0, 0, 0, 0                                                         \
    }
#define FAR_TURN                                                                                   \
    {                                                                                              \
        0, 0, 0, -1.9F, 0.123F, 0, 0, 0, 0                                                         \
    }
#define INSIDE                                                                                     \
    {                                                                                              \
        0, 1, 0.123456F, 0.5F, 0.999F, 0.25F                                                       \
    }
#define TILED                                                                                      \
    {                                                                                              \
        -3.21F, 4, 0.123456F, 0.5F, 0.999F, 17.25F                                                 \
    }
#define COLORS                                                                                     \
    {                                                                                              \
        0, 1, 0.3F, 0.7F, 0.5F, 0.25F, 0, 1, 1, 1, 1, 1                                            \
    }
#define BOUND                                                                                      \
    {                                                                                              \
        1, 0, 0, 0, 0.3333F, 0.6667F, 0, 0, 0.999F, 0.001F, 0, 0                                   \
    }
#define OWN                                                                                        \
    {                                                                                              \
        0.123456789F, 1, 2, 3, 4, 5, 6, 7, 8                                                       \
    }

static media__gltf read_vertices(void)
{
    static const uint16_t joints[] = {0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0};
    static const uint32_t triangle[] = {0, 1, 2};
    media__gltf gltf = read_json(vertices);
    FILL(&gltf, 0, AT);
    FILL(&gltf, 1, NORMALS);
    FILL(&gltf, 2, TANGENTS);
    FILL(&gltf, 3, INSIDE);
    FILL(&gltf, 4, TILED);
    FILL(&gltf, 5, COLORS);
    fill(&gltf, 6, joints, sizeof joints, 34962);
    FILL(&gltf, 7, BOUND);
    FILL(&gltf, 8, OWN);
    fill(&gltf, 9, triangle, sizeof triangle, 34963);
    FILL(&gltf, 10, DELTA);
    FILL(&gltf, 11, TURN);
    FILL(&gltf, 12, DELTA);
    FILL(&gltf, 13, FAR_TURN);
    return gltf;
}

TEST(each_kind_of_vertex_data_is_rounded_within_its_bound)
{
    for (int packed = 0; packed < 2; packed++) {
        media__gltf gltf = read_vertices();
        quantize(&gltf, packed);
        NEAR(&gltf, ATTRIBUTES "POSITION", 1.7654321 / 32768, AT);
        NEAR(&gltf, PRIMITIVE "targets/0/POSITION", 1.7654321 / 32768, DELTA);
        NEAR(&gltf, ATTRIBUTES "NORMAL", packed ? 0.02 : 0.5 / 127, NORMALS);
        NEAR(&gltf, ATTRIBUTES "TANGENT", packed ? 0.02 : 0.5 / 127, TANGENTS);
        NEAR(&gltf, PRIMITIVE "targets/0/NORMAL", 0.5 / 127, TURN);
        NEAR(&gltf, PRIMITIVE "targets/1/NORMAL", 0.5 / 256, FAR_TURN);
        NEAR(&gltf, ATTRIBUTES "TEXCOORD_0", 0.5 / 4095 + 1.0 / 65535, INSIDE);
        NEAR(&gltf, ATTRIBUTES "TEXCOORD_1", 0.5 / 4096, TILED);
        NEAR(&gltf, ATTRIBUTES "COLOR_0", 0.501 / 255, COLORS);
        NEAR(&gltf, ATTRIBUTES "WEIGHTS_0", 1.0 / 255, BOUND);
        NEAR(&gltf, ATTRIBUTES "_OWN", 0, OWN);
        assert_int_equal(type_of(&gltf, ATTRIBUTES "POSITION"), MEDIA__FLOAT);
        assert_int_equal(type_of(&gltf, ATTRIBUTES "NORMAL"), -MEDIA__BYTE);
        assert_int_equal(type_of(&gltf, ATTRIBUTES "TANGENT"), -MEDIA__BYTE);
        assert_int_equal(
            type_of(&gltf, PRIMITIVE "targets/0/NORMAL"), packed ? -MEDIA__BYTE : MEDIA__FLOAT);
        assert_int_equal(type_of(&gltf, PRIMITIVE "targets/1/NORMAL"), MEDIA__FLOAT);
        assert_int_equal(type_of(&gltf, ATTRIBUTES "TEXCOORD_0"), -MEDIA__USHORT);
        assert_int_equal(type_of(&gltf, ATTRIBUTES "TEXCOORD_1"), MEDIA__FLOAT);
        assert_int_equal(type_of(&gltf, ATTRIBUTES "COLOR_0"), -MEDIA__UBYTE);
        assert_int_equal(type_of(&gltf, ATTRIBUTES "JOINTS_0"), MEDIA__UBYTE);
        assert_int_equal(type_of(&gltf, ATTRIBUTES "WEIGHTS_0"), -MEDIA__UBYTE);
        assert_int_equal(type_of(&gltf, PRIMITIVE "indices"), MEDIA__USHORT);
        assert_true(needs(&gltf, "KHR_mesh_quantization"));
        media__gltf_done(&gltf);
    }
}

/* Their numbers are the same: one name would do for both. */
TEST(targets_that_have_their_names_from_accessors_keep_them)
{
    for (int packed = 0; packed < 2; packed++) {
        media__gltf gltf = read_vertices();
        json_object_set_new(media__gltf_entry(&gltf, "accessors", 10), "name", json_string("a"));
        json_object_set_new(media__gltf_entry(&gltf, "accessors", 12), "name", json_string("b"));
        quantize(&gltf, packed);
        assert_string_equal(media__morph_name(&gltf, 0, 0), "a");
        assert_string_equal(media__morph_name(&gltf, 0, 1), "b");
        media__gltf_done(&gltf);
    }
}

TEST(a_joint_that_nothing_is_bound_to_any_more_is_0)
{
    uint32_t *joints = NULL;
    size_t count = 0;
    rpc_status status;
    media__gltf gltf = read_vertices();
    quantize(&gltf, true);
    assert_int_equal(
        media__accessor_uints(&gltf, named(&gltf, ATTRIBUTES "JOINTS_0"), &joints, &count, &status),
        RPC_OK);
    const uint32_t expected[] = {0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0};
    assert_memory_equal(joints, expected, sizeof expected);
    NEAR(&gltf, ATTRIBUTES "WEIGHTS_0", 1e-6,
        {1, 0, 0, 0, 85 / 255.0F, 170 / 255.0F, 0, 0, 1, 0, 0, 0});
    free(joints);
    media__gltf_done(&gltf);
}

TEST(rounding_twice_changes_nothing_more)
{
    static const char *const paths[] = {ATTRIBUTES "POSITION", ATTRIBUTES "NORMAL",
        ATTRIBUTES "TANGENT", ATTRIBUTES "TEXCOORD_0", ATTRIBUTES "TEXCOORD_1",
        ATTRIBUTES "COLOR_0", ATTRIBUTES "JOINTS_0", ATTRIBUTES "WEIGHTS_0",
        PRIMITIVE "targets/0/POSITION", PRIMITIVE "targets/0/NORMAL", PRIMITIVE "targets/1/NORMAL"};
    media__gltf once = read_vertices(), twice = read_vertices();
    quantize(&once, true);
    quantize(&twice, true);
    quantize(&twice, true);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        float *values = NULL;
        size_t count = 0;
        rpc_status status;
        media__layout layout;
        const size_t accessor = named(&once, paths[i]);
        media__accessor_layout(media__gltf_entry(&once, "accessors", accessor), &layout);
        assert_int_equal(media__accessor_floats(&once, accessor, &values, &count, &status), RPC_OK);
        assert_int_equal(type_of(&twice, paths[i]), type_of(&once, paths[i]));
        is_near(&twice, paths[i], values, count * layout.components, 0);
        free(values);
    }
    media__gltf_done(&once);
    media__gltf_done(&twice);
}

/* ---- meshes ---------------------------------------------------------------------------------- */

/* Mesh 0 skinned and not, mesh 1 of the same skin, mesh 2 of neither; primitives share accessors.
 */
static const char several[] =
    "{\"asset\":{\"version\":\"2.0\"},\"extensionsUsed\":[\"EXT_mesh_gpu_instancing\"],"
    "\"nodes\":[{\"mesh\":0},{\"mesh\":1,\"skin\":0},{\"mesh\":2,\"scale\":[3,3,3],\"extensions\":"
    "{\"EXT_mesh_gpu_instancing\":{\"attributes\":{\"TRANSLATION\":4}}}},{\"mesh\":3,\"skin\":0},"
    "{}],\"scenes\":[{\"nodes\":[0,1,2,3,4]}],\"skins\":[{\"joints\":[4]}],"
    "\"meshes\":[{\"primitives\":[{\"attributes\":{\"POSITION\":0}}]},"
    "{\"primitives\":[{\"attributes\":{\"POSITION\":0,\"JOINTS_0\":2,\"WEIGHTS_0\":3}}]},"
    "{\"primitives\":[{\"attributes\":{\"POSITION\":0,\"NORMAL\":0}},"
    "{\"attributes\":{\"POSITION\":4}}]},"
    "{\"primitives\":[{\"attributes\":{\"POSITION\":1,\"JOINTS_0\":2,\"WEIGHTS_0\":3}}]}],"
    "\"accessors\":[" POSITIONS(3) "," POSITIONS(3) "," INTEGERS(5121, "VEC4", 3) "," FLOATS(
        "VEC4", 3) "," POSITIONS(3) "]}";

#define SMALL                                                                                      \
    {                                                                                              \
        0, 0, 0.6F, 0.001234567F, 0, 0.8F, 0, 0.00123F, 0                                          \
    }
#define GREAT                                                                                      \
    {                                                                                              \
        0, 0, 0, 1000.1234F, 0, 0, 0, 1000, 0                                                      \
    }
#define PLACES                                                                                     \
    {                                                                                              \
        0.1F, 0, 0, 0.2F, 0.3F, 0, 0, 0, 0.123456789F                                              \
    }

TEST(accessors_of_several_uses_are_right_in_each)
{
    static const uint8_t joints[12] = {0};
    media__gltf gltf = read_json(several);
    FILL(&gltf, 0, SMALL);
    FILL(&gltf, 1, GREAT);
    fill(&gltf, 2, joints, sizeof joints, 34962);
    FILL(&gltf, 3, {1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0});
    FILL(&gltf, 4, PLACES);
    quantize(&gltf, true);
    NEAR(&gltf, "meshes/0/primitives/0/attributes/POSITION", 0.8 / 32768, SMALL);
    NEAR(&gltf, "meshes/1/primitives/0/attributes/POSITION", 1000.1234 / 32768, SMALL);
    NEAR(&gltf, "meshes/2/primitives/0/attributes/POSITION", 0.8 / 32768, SMALL);
    NEAR(&gltf, "meshes/2/primitives/0/attributes/NORMAL", 0.5 / 127, SMALL);
    NEAR(&gltf, "meshes/2/primitives/1/attributes/POSITION", 0.8 / 32768, PLACES);
    NEAR(&gltf, "meshes/3/primitives/0/attributes/POSITION", 1000.1234 / 32768, GREAT);
    NEAR(&gltf, "nodes/2/extensions/EXT_mesh_gpu_instancing/attributes/TRANSLATION", 0, PLACES);
    assert_int_not_equal(named(&gltf, "meshes/0/primitives/0/attributes/POSITION"),
        named(&gltf, "meshes/1/primitives/0/attributes/POSITION"));
    assert_int_equal(named(&gltf, "meshes/0/primitives/0/attributes/POSITION"),
        named(&gltf, "meshes/2/primitives/0/attributes/POSITION"));
    media__gltf_done(&gltf);
}

/* One vertex, all at one place, huge and tiny ones: what has no extent has no grid. */
TEST(meshes_without_extent_or_of_any_size_keep_their_shape)
{
    static const char text[] =
        "{\"asset\":{\"version\":\"2.0\"},\"nodes\":[{\"mesh\":0}],\"scenes\":[{\"nodes\":[0]}],"
        "\"meshes\":[{\"primitives\":[{\"attributes\":{\"POSITION\":0,\"NORMAL\":1},"
        "\"targets\":[{\"POSITION\":2}]}]}],\"accessors\":[" POSITIONS(3) "," FLOATS(
            "VEC3", 3) "," POSITIONS(3) "]}";
    static const float places[][9] = {
        {1.234567F, -7, 0.1F, 1.234567F, -7, 0.1F, 1.234567F, -7, 0.1F}, {0},
        {-FLT_MAX, 0, 0, FLT_MAX, 0, 0, 0, 0, 0}, {FLT_TRUE_MIN, 0, 0, 0, 0, 0, 0, 0, 0},
        {1e-39F, 0, 0, 0, 0, 0, 0, 0, 0}, {1e30F, 0, 0, 0, 0, 0, 0, 1e29F, 0},
        {100000, 0, 0, 100001, 0.5F, 0, 100000.5F, 0, 0}};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        for (int packed = 0; packed < 2; packed++) {
            media__gltf gltf = read_json(text);
            double side = 0;
            for (size_t k = 0; k < 9; k++)
                side = fmax(side, fabs((double)places[i][k] - (double)places[i][k % 3]));
            for (size_t k = 0; k < 9; k++)
                side = fmax(side, fabs((double)places[i][k] - (double)places[i][3 + k % 3]));
            fill(&gltf, 0, places[i], sizeof places[i], 0);
            FILL(&gltf, 1, {0, 0, 0, 0, 0, 0, 0, 0, 0});
            fill(&gltf, 2, places[i], sizeof places[i], 0);
            quantize(&gltf, packed);
            is_near(&gltf, ATTRIBUTES "POSITION", places[i], 9, side / 16384);
            is_near(&gltf, PRIMITIVE "targets/0/POSITION", places[i], 9, side / 16384);
            media__gltf_done(&gltf);
        }
}

TEST(a_sparse_accessor_is_rounded_as_what_it_stands_for)
{
    static const char text[] =
        "{\"asset\":{\"version\":\"2.0\"},\"nodes\":[{\"mesh\":0}],\"scenes\":[{\"nodes\":[0]}],"
        "\"meshes\":[{\"primitives\":[{\"attributes\":{\"POSITION\":0},"
        "\"targets\":[{\"POSITION\":1}]}]}],"
        "\"accessors\":[" POSITIONS(
            3) ",{\"componentType\":5126,\"count\":3,\"type\":\"VEC3\","
               "\"min\":[0,0,0],\"max\":[1,2,3],\"sparse\":{\"count\":1,\"indices\":{"
               "\"bufferView\":0,"
               "\"componentType\":5121},\"values\":{\"bufferView\":1}}}],"
               "\"bufferViews\":[{\"buffer\":0,\"byteLength\":1},{\"buffer\":0,\"byteOffset\":4,"
               "\"byteLength\":12}],\"buffers\":[{\"byteLength\":16,\"uri\":"
               "\"data:application/octet-stream;base64,AQAAAAAAgD8AAABAAABAQA==\"}]}"; /* 1; 1 2 3
                                                                                        */
    for (int packed = 0; packed < 2; packed++) {
        media__gltf gltf = read_json(text);
        FILL(&gltf, 0, AT);
        quantize(&gltf, packed);
        NEAR(&gltf, PRIMITIVE "targets/0/POSITION", 1e-4, {0, 0, 0, 1, 2, 3, 0, 0, 0});
        media__gltf_done(&gltf);
    }
}

TEST(what_is_quantised_already_keeps_its_numbers_and_floats_beside_it_are_rounded)
{
    static const char text[] =
        "{\"asset\":{\"version\":\"2.0\"},\"extensionsUsed\":[\"KHR_mesh_quantization\"],"
        "\"extensionsRequired\":[\"KHR_mesh_quantization\"],"
        "\"nodes\":[{\"mesh\":0,\"scale\":[0.001,0.001,0.001]}],\"scenes\":[{\"nodes\":[0]}],"
        "\"meshes\":[{\"primitives\":[{\"attributes\":{\"POSITION\":0},"
        "\"targets\":[{\"POSITION\":1},{\"POSITION\":2}]}]}],"
        "\"accessors\":[{\"componentType\":5123,\"count\":2,\"type\":\"VEC3\",\"min\":[0,0,0],"
        "\"max\":[0,0,0]}," POSITIONS(2) ",{\"componentType\":5122,\"count\":2,\"type\":\"VEC3\","
                                         "\"min\":[0,0,0],\"max\":[0,0,0]}]}";
    static const uint16_t at[] = {0, 1, 2, 65535, 4, 5};
    static const int16_t by[] = {-7, 0, 0, 32767, 0, -32768};
    media__gltf gltf = read_json(text);
    fill(&gltf, 0, at, sizeof at, 34962);
    FILL(&gltf, 1, {1.3F, 0, 0, -2000.7F, 9, 0});
    fill(&gltf, 2, by, sizeof by, 34962);
    quantize(&gltf, true);
    NEAR(&gltf, ATTRIBUTES "POSITION", 0, {0, 1, 2, 65535, 4, 5});
    NEAR(&gltf, PRIMITIVE "targets/0/POSITION", 2, {1.3F, 0, 0, -2000.7F, 9, 0});
    NEAR(&gltf, PRIMITIVE "targets/1/POSITION", 0, {-7, 0, 0, 32767, 0, -32768});
    media__gltf_done(&gltf);
}

/* ---- animations ------------------------------------------------------------------------------ */

/* Node 1 has a parent of scale 2, node 2 morphs. %s: of nodes; samplers and channels; accessors. */
#define HEAD                                                                                       \
    "{\"asset\":{\"version\":\"2.0\"},\"scenes\":[{\"nodes\":[0,2]}],\"nodes\":["                  \
    "{\"children\":[1],\"scale\":[2,2,2]},{\"translation\":[0,1,0]},"                              \
    "{\"mesh\":0}],\"meshes\":[{\"primitives\":[{\"attributes\":{\"POSITION\":0},\"targets\":["    \
    "{\"POSITION\":0},{\"POSITION\":0}]}]}],"
#define CHANNEL(sampler, node, path)                                                               \
    "{\"sampler\":" #sampler ",\"target\":{\"node\":" #node ",\"path\":\"" path "\"}}"
#define SAMPLER(input, output) "{\"input\":" #input ",\"output\":" #output "}"
#define SAMPLER_OF(kind, input, output)                                                            \
    "{\"input\":" #input ",\"output\":" #output ",\"interpolation\":\"" kind "\"}"

static size_t channels_of(const media__gltf *gltf, size_t animation)
{
    return json_array_size(
        json_object_get(media__gltf_entry(gltf, "animations", animation), "channels"));
}
static size_t samplers_of(const media__gltf *gltf, size_t animation)
{
    return json_array_size(
        json_object_get(media__gltf_entry(gltf, "animations", animation), "samplers"));
}

static void draw_box(media__gltf *gltf)
{
    FILL(gltf, 0, {0, 0, 0, 1, 2, 1});
}

static const char clips[] = HEAD "\"animations\":[{\"name\":\"move\",\"samplers\":[" SAMPLER_OF(
    "LINEAR", 1, 2) "," SAMPLER(1, 3) "," SAMPLER(1, 4) "," SAMPLER(5,
    6) "],"
       "\"channels\":[" CHANNEL(0, 1, "translation") "," CHANNEL(1, 1, "rotation") "," CHANNEL(
           2, 1, "scale") "," CHANNEL(3, 0,
           "translation") "]},"
                          "{\"name\":\"still\",\"samplers\":[" SAMPLER(1, 4) "," SAMPLER(
                              1, 7) "],\"channels\":[" CHANNEL(0, 1, "scale") "," CHANNEL(1, 1,
                              "translation") "]}],"
                                             "\"accessors\":[" POSITIONS(2) "," TIMES(3) "," FLOATS(
                                                 "VEC3", 3) "," FLOATS("VEC4", 3) "," FLOATS("VEC3",
                                                 3) "," TIMES(2) "," FLOATS("VEC3",
                                                 2) "," FLOATS("VEC3", 3) "]}";

static media__gltf read_clips(void)
{
    media__gltf gltf = read_json(clips);
    draw_box(&gltf);
    FILL(&gltf, 1, {0, 0.5F, 1});
    FILL(&gltf, 2, {0, 1, 0, 0.3F, 1.1F, 0, 0, 1, 0});
    FILL(&gltf, 3, {0, 0, 0, 1, 0, 0, 0, -1, 0, 0, 0, 1});
    FILL(&gltf, 4, {1, 1, 1, 1, 1, 1.0001F, 1, 1, 1});
    FILL(&gltf, 5, {0, 4});
    FILL(&gltf, 6, {0, 0, 0, 0, 0, 0});
    FILL(&gltf, 7, {0, 1, 0, 0, 1.00001F, 0, 0, 1, 0});
    return gltf;
}

TEST(channels_go_that_move_nothing_in_any_animation_and_no_others)
{
    media__gltf gltf = read_clips();
    quantize(&gltf, true);
    assert_int_equal(media__gltf_count(&gltf, "animations"), 2);
    assert_string_equal(
        json_string_value(json_object_get(media__gltf_entry(&gltf, "animations", 1), "name")),
        "still");
    assert_int_equal(channels_of(&gltf, 0), 2); /* one that moves, one that carries the 4 s */
    assert_int_equal(channels_of(&gltf, 1), 1); /* the translation, which moves in the other */
    NEAR(&gltf, "animations/0/samplers/0/output", 0.0002, {0, 1, 0, 0.3F, 1.1F, 0, 0, 1, 0});
    NEAR(&gltf, "animations/0/samplers/1/input", 0, {0, 4});
    NEAR(&gltf, "animations/1/samplers/0/output", 0.0002, {0, 1, 0, 0, 1, 0});
    NEAR(&gltf, "animations/1/samplers/0/input", 0, {0, 1}); /* lasts as long as it did */
    assert_null(json_object_get(
        json_array_get(json_object_get(media__gltf_entry(&gltf, "animations", 0), "samplers"), 0),
        "interpolation"));
    media__gltf_done(&gltf);
}

TEST(channels_stay_where_a_pointer_or_another_avatar_may_rest_elsewhere)
{
    media__gltf vrma = read_clips();
    json_object_set_new(vrma.json, "extensions",
        json_pack("{s:{s:s,s:{s:{}}}}", "VRMC_vrm_animation", "specVersion", "1.0", "humanoid",
            "humanBones"));
    rpc_status status;
    assert_int_equal(media__gltf_quantize(&vrma, true, &status), RPC_OK);
    assert_int_equal(channels_of(&vrma, 0), 4);
    assert_int_equal(channels_of(&vrma, 1), 2);
    media__gltf_done(&vrma);
    media__gltf pointed = read_clips();
    json_object_set_new(pointed.json, "extensionsUsed", json_pack("[s]", "KHR_animation_pointer"));
    assert_int_equal(media__gltf_quantize(&pointed, true, &status), RPC_OK);
    assert_int_equal(channels_of(&pointed, 0), 4);
    media__gltf_done(&pointed);
}

/* A line of 400 keys with one bend, one that turns, a staircase, weights, a spline. */
#define KEYS 400
static const char long_clip[] = HEAD "\"animations\":[{\"samplers\":[" SAMPLER(1, 2) "," SAMPLER(
    1, 3) "," SAMPLER_OF("STEP", 1, 4) "," SAMPLER(1, 5) "," SAMPLER_OF("CUBICSPLINE", 6,
    7) "," SAMPLER_OF("CUBICSPLINE", 6, 8) "],\"channels\":[" CHANNEL(0, 1,
    "translation") "," CHANNEL(1, 1, "rotation") "," CHANNEL(2, 1, "scale") "," CHANNEL(3, 2,
    "weights") "," CHANNEL(4, 2, "translation") "," CHANNEL(5, 2,
    "rotation") "]}],\"accessors\":[" POSITIONS(2) "," TIMES(400) "," FLOATS("VEC3",
    400) "," FLOATS("VEC4", 400) "," FLOATS("VEC3", 400) "," FLOATS("SCALAR",
    800) "," TIMES(2) "," FLOATS("VEC3", 6) "," FLOATS("VEC4", 6) "]}";

static void fill_long(media__gltf *gltf, float turn[4 * KEYS])
{
    float times[KEYS], line[3 * KEYS], stairs[3 * KEYS], weights[2 * KEYS];
    for (size_t i = 0; i < KEYS; i++) {
        const double angle = 0.004 * (double)i;
        const size_t stair = i / 100;
        times[i] = (float)i / 30;
        line[3 * i] = (float)(i < 200 ? i : 400 - i) / 100;
        line[3 * i + 1] = 1;
        line[3 * i + 2] = 0.25F;
        turn[4 * i] = turn[4 * i + 2] = 0;
        turn[4 * i + 1] = (float)sin(angle);
        turn[4 * i + 3] = (float)cos(angle);
        stairs[3 * i] = stairs[3 * i + 1] = stairs[3 * i + 2] = 1 + (float)stair;
        weights[2 * i] = (float)i / KEYS;
        weights[2 * i + 1] = 0.5F;
    }
    draw_box(gltf);
    fill(gltf, 1, times, sizeof times, 0);
    fill(gltf, 2, line, sizeof line, 0);
    fill(gltf, 3, turn, 4 * KEYS * sizeof *turn, 0);
    fill(gltf, 4, stairs, sizeof stairs, 0);
    fill(gltf, 5, weights, sizeof weights, 0);
    FILL(gltf, 6, {0, 13.3F});
    FILL(gltf, 7, {9, 9, 9, 0, 0, 0, 1, 1, 1, 1, 1, 1, 0.5F, 0.1F, 0, 9, 9, 9});
    FILL(gltf, 8, {0, 0, 0, 0, 0, 0, 0, 1, 0.1F, 0, 0, 0, 0.1F, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0});
}

static size_t keys_of(const media__gltf *gltf, const char *input)
{
    return media__get_index(media__gltf_entry(gltf, "accessors", named(gltf, input)), "count");
}

TEST(keys_go_that_the_others_give_back)
{
    static float turn[4 * KEYS];
    media__gltf gltf = read_json(long_clip);
    fill_long(&gltf, turn);
    quantize(&gltf, true);
    assert_int_equal(channels_of(&gltf, 0), 6);
    assert_in_range(keys_of(&gltf, "animations/0/samplers/0/input"), 3, 10);
    assert_in_range(keys_of(&gltf, "animations/0/samplers/1/input"), 2, 30);
    assert_int_equal(keys_of(&gltf, "animations/0/samplers/2/input"), 9); /* 64 at a time */
    assert_in_range(keys_of(&gltf, "animations/0/samplers/3/input"), 2, 10);
    assert_int_equal(keys_of(&gltf, "animations/0/samplers/4/input"), 2);
    assert_int_equal(type_of(&gltf, "animations/0/samplers/1/output"), -MEDIA__SHORT);
    NEAR(&gltf, "animations/0/samplers/4/output", 0.0001,
        {9, 9, 9, 0, 0, 0, 1, 1, 1, 1, 1, 1, 0.5F, 0.1F, 0, 9, 9, 9});
    NEAR(&gltf, "animations/0/samplers/5/output", 0, /* tangents may be beyond 1 */
        {0, 0, 0, 0, 0, 0, 0, 1, 0.1F, 0, 0, 0, 0.1F, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0});
    media__gltf_done(&gltf);
}

TEST(samplers_that_are_equal_become_one)
{
    static const char text[] = HEAD "\"animations\":[{\"samplers\":[" SAMPLER(1, 2) "," SAMPLER(
        1, 3) "," SAMPLER(1, 2) "," SAMPLER(4, 3) "],\"channels\":[" CHANNEL(1, 0,
        "translation") "," CHANNEL(2, 1, "translation") "," CHANNEL(0, 2,
        "translation") "]}],"
                       "\"accessors\":[" POSITIONS(2) "," TIMES(2) "," FLOATS("VEC3", 2) "," FLOATS(
                           "VEC3", 2) "," TIMES(2) "]}";
    media__gltf gltf = read_json(text);
    draw_box(&gltf);
    FILL(&gltf, 1, {0, 1});
    FILL(&gltf, 2, {0, 1, 0, 5, 5, 5});
    FILL(&gltf, 3, {0, 1, 0, 5, 5, 5});
    FILL(&gltf, 4, {0, 1});
    quantize(&gltf, true);
    assert_int_equal(channels_of(&gltf, 0), 3);
    assert_int_equal(samplers_of(&gltf, 0), 1);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(
            media__get_index(
                json_array_get(
                    json_object_get(media__gltf_entry(&gltf, "animations", 0), "channels"), i),
                "sampler"),
            0);
    media__gltf_done(&gltf);
}

TEST(rotations_that_cannot_be_rounded_stay_exact)
{
    static const char text[] = HEAD "\"animations\":[{\"samplers\":[" SAMPLER(1, 2) "," SAMPLER(
        1, 3) "],\"channels\":[" CHANNEL(0, 0, "rotation") "," CHANNEL(1, 1,
        "rotation") "]}],\"accessors\":[" POSITIONS(2) "," TIMES(2) "," FLOATS("VEC4",
        2) "," FLOATS("VEC4", 2) "]}";
    media__gltf gltf = read_json(text);
    draw_box(&gltf);
    FILL(&gltf, 1, {0, 1});
    FILL(&gltf, 2, {0, 0, 0, 1, 1, 0, 0, 0.0001F}); /* half a turn: which way */
    FILL(&gltf, 3, {0, 0, 0, 2, 0.3F, 0, 0, 2});    /* of no length 1 */
    quantize(&gltf, true);
    NEAR(&gltf, "animations/0/samplers/0/output", 0, {0, 0, 0, 1, 1, 0, 0, 0.0001F});
    NEAR(&gltf, "animations/0/samplers/1/output", 0, {0, 0, 0, 2, 0.3F, 0, 0, 2});
    media__gltf_done(&gltf);
}
