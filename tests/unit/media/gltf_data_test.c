/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers in buffers: a drawn mesh with a skin and an animation, one number at a time changed;
 * and every broken file of others with the files beside it put inside, so that it is refused for
 * its own fault and not for being in pieces. */
#include "files.h"
#include "gltf.h"
#include "media.h"

#include <math.h>
#include <unistd.h>

static rpc_code inspect(rpc_bytes file, rpc_status *ret)
{
    media_figures figures;
    const rpc_code code = media_inspect(file, &figures, ret);
    if (code == RPC_OK)
        media_figures_done(&figures);
    return code;
}

/* ---- one number at a time -------------------------------------------------------------------- */

/* As it lies in the buffer: little-endian, as the machines that this is built for. */
typedef struct drawn {
    float positions[3][3];
    uint16_t indices[4]; /* the last is padding */
    uint8_t joints[3][4];
    float weights[3][4], matrices[2][16], times[3], turns[3][4];
    uint8_t rare_indices[4]; /* two of them */
    float rare_values[2][3];
} drawn;

static const drawn good = {
    .positions = {{0, 0, 0}, {1, 0, 0}, {0, 2, 0}},
    .indices = {0, 1, 2},
    .joints = {{0, 1}, {1, 0}, {0}},
    .weights = {{1}, {0.5f, 0.5f}, {0.9f}}, /* a sum that is not 1 is common */
    .matrices = {{1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1},
        {2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0, 5, 5, 5, 1}},
    .times = {0, 0.5f, 1},
    .turns = {{0, 0, 0, 1}, {0, 0, 0, 0.5f}, {0, 0, 0, 1}}, /* neither is a length */
    .rare_indices = {0, 2},
    .rare_values = {{0, 0, 1}, {0, 0, -1}},
};

static char *base64(const uint8_t *bytes, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *text = malloc((size + 2) / 3 * 4 + 1), *to = text;
    for (size_t i = 0; i < size; i += 3) {
        const uint32_t bits = (uint32_t)bytes[i] << 16 |
                              (i + 1 < size ? (uint32_t)bytes[i + 1] << 8 : 0) |
                              (i + 2 < size ? bytes[i + 2] : 0);
        for (unsigned j = 0; j < 4; j++)
            *to++ = i + j > size ? '=' : digits[bits >> (18 - 6 * j) & 63];
    }
    *to = '\0';
    return text;
}

#define VIEW(member) offsetof(drawn, member), sizeof((drawn *)0)->member

static rpc_code inspect_drawn(const drawn *d, rpc_status *ret)
{
    char text[8192];
    char *data = base64((const uint8_t *)d, sizeof *d);
    const size_t views[9][2] = {{VIEW(positions)}, {VIEW(indices)}, {VIEW(joints)}, {VIEW(weights)},
        {VIEW(matrices)}, {VIEW(times)}, {VIEW(turns)}, {VIEW(rare_indices)}, {VIEW(rare_values)}};
    size_t at = (size_t)snprintf(text, sizeof text,
        "{\"asset\":{\"version\":\"2.0\"},\"scene\":0,\"scenes\":[{\"nodes\":[0,1]}],"
        "\"nodes\":[{\"children\":[2]},{\"mesh\":0,\"skin\":0},{}],"
        "\"skins\":[{\"joints\":[0,2],\"inverseBindMatrices\":4}],"
        "\"meshes\":[{\"primitives\":[{\"attributes\":{\"POSITION\":0,\"JOINTS_0\":2,"
        "\"WEIGHTS_0\":3},\"indices\":1,\"targets\":[{\"POSITION\":7}]}]}],"
        "\"animations\":[{\"samplers\":[{\"input\":5,\"output\":6}],\"channels\":[{\"sampler\":0,"
        "\"target\":{\"node\":2,\"path\":\"rotation\"}}]}],"
        "\"accessors\":[{\"bufferView\":0,\"componentType\":5126,\"count\":3,\"type\":\"VEC3\","
        "\"min\":[0,0,0],\"max\":[1,2,0]},"
        "{\"bufferView\":1,\"componentType\":5123,\"count\":3,\"type\":\"SCALAR\"},"
        "{\"bufferView\":2,\"componentType\":5121,\"count\":3,\"type\":\"VEC4\"},"
        "{\"bufferView\":3,\"componentType\":5126,\"count\":3,\"type\":\"VEC4\"},"
        "{\"bufferView\":4,\"componentType\":5126,\"count\":2,\"type\":\"MAT4\"},"
        "{\"bufferView\":5,\"componentType\":5126,\"count\":3,\"type\":\"SCALAR\",\"min\":[0],"
        "\"max\":[1]},{\"bufferView\":6,\"componentType\":5126,\"count\":3,\"type\":\"VEC4\"},"
        "{\"componentType\":5126,\"count\":3,\"type\":\"VEC3\",\"min\":[0,0,-1],\"max\":[0,0,1],"
        "\"sparse\":{\"count\":2,\"indices\":{\"bufferView\":7,\"componentType\":5121},"
        "\"values\":{\"bufferView\":8}}}],\"bufferViews\":[");
    for (size_t i = 0; i < 9; i++)
        at += (size_t)snprintf(text + at, sizeof text - at,
            "%s{\"buffer\":0,\"byteOffset\":%zu,\"byteLength\":%zu}", i ? "," : "", views[i][0],
            views[i][1]);
    snprintf(text + at, sizeof text - at,
        "],\"buffers\":[{\"byteLength\":%zu,\"uri\":\"data:application/octet-stream;base64,%s\"}]}",
        sizeof *d, data);
    free(data);
    return inspect(rpc_bytes_str(text), ret);
}

static void assert_drawn_refused(const drawn *d, const char *message)
{
    rpc_status status = {0};
    const rpc_code code = inspect_drawn(d, &status);
    if (code != RPC_INVALID_ARGUMENT || strcmp(status.message, message) != 0)
        fail_msg("%s: '%s', not '%s'", rpc_code_name(code), status.message, message);
}

TEST(a_drawn_mesh_is_taken)
{
    rpc_status status = {0};
    if (inspect_drawn(&good, &status) != RPC_OK)
        fail_msg("%s", status.message);
}

TEST(a_number_that_is_none_is_refused_with_its_place)
{
    drawn d = good;
    d.positions[1][2] = NAN;
    assert_drawn_refused(&d, "gltf: /accessors/0: element 1 is no finite number");
    d = good;
    d.weights[2][3] = HUGE_VALF;
    assert_drawn_refused(&d, "gltf: /accessors/3: element 2 is no finite number");
    d = good;
    d.rare_values[1][0] = -HUGE_VALF;
    assert_drawn_refused(&d, "gltf: /accessors/7: element 2 is no finite number");
}

static void assert_zeros_refused(const char *skin, const char *sampler, const char *message)
{
    char text[1024];
    rpc_status status = {0};
    snprintf(text, sizeof text,
        "{\"asset\":{\"version\":\"2.0\"},\"nodes\":[{}],\"skins\":[{\"joints\":[0]%s}],"
        "\"accessors\":[{\"componentType\":5126,\"count\":1,\"type\":\"SCALAR\",\"min\":[0],"
        "\"max\":[0]},{\"componentType\":5126,\"count\":1,\"type\":\"VEC3\"},"
        "{\"componentType\":5126,\"count\":2,\"type\":\"SCALAR\",\"min\":[0],\"max\":[1]},"
        "{\"componentType\":5126,\"count\":2,\"type\":\"VEC3\"},"
        "{\"componentType\":5126,\"count\":1,\"type\":\"MAT4\"}],"
        "\"animations\":[{\"samplers\":[{%s}],\"channels\":[{\"sampler\":0,"
        "\"target\":{\"node\":0,\"path\":\"scale\"}}]}]}",
        skin, sampler);
    const rpc_code code = inspect(rpc_bytes_str(text), &status);
    if (code != (message[0] ? RPC_INVALID_ARGUMENT : RPC_OK) || !strstr(status.message, message))
        fail_msg("%s: '%s', not '%s'", rpc_code_name(code), status.message, message);
}

TEST(times_and_matrices_without_a_view_are_zeros)
{
    static const char one[] = "\"input\":0,\"output\":1";
    assert_zeros_refused("", one, "");
    assert_zeros_refused("", "\"input\":2,\"output\":3",
        "gltf: /animations/0/samplers/0/input: time 1 is below zero or not above the one before");
    assert_zeros_refused(",\"inverseBindMatrices\":4", one,
        "gltf: /skins/0/inverseBindMatrices: the last row of one is not 0 0 0 1");
}

TEST(an_element_beyond_min_and_max_is_refused)
{
    drawn d = good;
    d.positions[2][1] = 2.01f;
    assert_drawn_refused(
        &d, "gltf: /accessors/0: element 2 has 2.01, which is beyond its min and max");
    d.positions[2][1] = 2.0001f; /* few digits of a writer */
    rpc_status status;
    assert_int_equal(inspect_drawn(&d, &status), RPC_OK);
    d = good;
    d.rare_values[0][2] = 3;
    assert_drawn_refused(
        &d, "gltf: /accessors/7: element 0 has 3, which is beyond its min and max");
}

TEST(an_index_beyond_the_vertices_is_refused)
{
    drawn d = good;
    d.indices[1] = 3;
    assert_drawn_refused(
        &d, "gltf: /meshes/0/primitives/0/indices: an index is 3, there are 3 vertices");
    d.indices[1] = 0xffff;
    assert_drawn_refused(
        &d, "gltf: /meshes/0/primitives/0/indices: an index is 65535, which restarts primitives");
}

TEST(a_joint_beyond_the_skin_is_refused)
{
    drawn d = good;
    d.joints[2][3] = 2;
    assert_drawn_refused(
        &d, "gltf: /nodes/1/skin: a vertex of /meshes/0 is bound to joint 2, the skin has 2");
}

TEST(bind_matrices_that_are_not_affine_are_refused)
{
    drawn d = good;
    d.matrices[1][7] = 0.5f;
    assert_drawn_refused(&d, "gltf: /skins/0/inverseBindMatrices: the last row of one is not "
                             "0 0 0 1");
    d = good;
    d.matrices[0][15] = 0;
    assert_drawn_refused(&d, "gltf: /skins/0/inverseBindMatrices: the last row of one is not "
                             "0 0 0 1");
}

TEST(times_that_do_not_grow_are_refused)
{
    drawn d = good;
    d.times[2] = 0.5f;
    assert_drawn_refused(&d, "gltf: /animations/0/samplers/0/input: time 2 is below zero or not "
                             "above the one before");
    d = good;
    d.times[0] = -0.0000001f;
    assert_drawn_refused(&d, "gltf: /animations/0/samplers/0/input: time 0 is below zero or not "
                             "above the one before");
}

TEST(sparse_indices_that_do_not_grow_are_refused)
{
    drawn d = good;
    d.rare_indices[1] = 0;
    assert_drawn_refused(&d, "gltf: /accessors/7/sparse/indices: index 1, 0, does not grow or is "
                             "beyond the 3 elements");
    d.rare_indices[1] = 3;
    assert_drawn_refused(&d, "gltf: /accessors/7/sparse/indices: index 1, 3, does not grow or is "
                             "beyond the 3 elements");
}

TEST(more_elements_than_are_read_are_refused)
{
    enum { SIDE = 16 << 20, TIMES = 33 };
    char text[400];
    const size_t json_room = 8192;
    uint8_t *file = calloc(1, 20 + json_room + 8 + SIDE);
    char *json = (char *)file + 20;
    size_t at = (size_t)snprintf(json, json_room,
        "{\"asset\":{\"version\":\"2.0\"},\"buffers\":[{\"byteLength\":%d}],\"bufferViews\":["
        "{\"buffer\":0,\"byteLength\":%d}],\"accessors\":[",
        SIDE, SIDE);
    for (unsigned i = 0; i < TIMES; i++) {
        snprintf(text, sizeof text,
            "%s{\"bufferView\":0,\"componentType\":5126,\"count\":%d,\"type\":\"SCALAR\"}",
            i ? "," : "", SIDE / 4);
        at += (size_t)snprintf(json + at, json_room - at, "%s", text);
    }
    at += (size_t)snprintf(json + at, json_room - at, "]}");
    memset(json + at, ' ', json_room - at);
    const uint32_t header[5] = {
        0x46546c67, 2, (uint32_t)(20 + json_room + 8 + SIDE), (uint32_t)json_room, 0x4e4f534a};
    const uint32_t chunk[2] = {SIDE, 0x004e4942};
    memcpy(file, header, sizeof header);
    memcpy(file + 20 + json_room, chunk, sizeof chunk);
    rpc_status status = {0};
    assert_int_equal(
        inspect(rpc_bytes_of(file, 20 + json_room + 8 + SIDE), &status), RPC_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(status.message, "/accessors/32: accessors have more than 536870912"));
    free(file);
}

/* ---- files of others ------------------------------------------------------------------------- */

/* What the Khronos validator calls an error and is taken here, one by one. */
static const char *const taken[][2] = {
    {"/mesh_data/colors_non_clamped.gltf", "looks: colours above 1 are drawn as 1, or as light"},
};
/* The same, of files as they lie there. */
static const char beside[] = "/image/invalid_image_data.gltf"; /* its picture is never fetched */

static bool is_taken(const char *path)
{
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
        if (strstr(path, taken[i][0]))
            return true;
    return false;
}

/* The bytes of a file beside path, in a data URI; NULL: there is no such file. */
static json_t *data_uri(const char *path, const char *uri, bool image)
{
    char other[4096];
    const char *slash = strrchr(path, '/');
    snprintf(other, sizeof other, "%.*s/%s", (int)(slash - path), path, uri);
    if (access(other, R_OK) != 0 || strstr(uri, ".."))
        return NULL;
    size_t size = 0;
    uint8_t *bytes = file_bytes(other, &size);
    char *text = base64(bytes, size);
    const char *type = !image                    ? "application/octet-stream"
                       : ends_with(uri, ".png")  ? "image/png"
                       : ends_with(uri, ".webp") ? "image/webp"
                                                 : "image/jpeg";
    json_t *result = json_sprintf("data:%s;base64,%s", type, text);
    free(text);
    free(bytes);
    return result;
}

static bool put_inside(const char *path, json_t *list, bool image)
{
    bool any = false;
    for (size_t i = 0; json_is_array(list) && i < json_array_size(list); i++) {
        json_t *entry = json_array_get(list, i);
        const char *uri = json_string_value(json_object_get(entry, "uri"));
        json_t *inside = uri && uri[0] && strncmp(uri, "data:", 5) != 0 ? data_uri(path, uri, image)
                                                                        : NULL;
        any = any || inside;
        if (inside)
            json_object_set_new(entry, "uri", inside);
    }
    return any;
}

typedef struct tally {
    unsigned refused, inside;
} tally;

static void assert_status(const char *path, rpc_code code, const rpc_status *status)
{
    if (code != RPC_INVALID_ARGUMENT && code != RPC_UNIMPLEMENTED && code != RPC_RESOURCE_EXHAUSTED)
        fail_msg("%s: %s: %s", path, rpc_code_name(code), status->message);
    /* "gltf: PLACE: FAULT" */
    const char *fault = strncmp(status->message, "gltf: ", 6) == 0
                            ? strstr(status->message + 6, ": ")
                            : strstr(status->message, ": ");
    if (!fault || strlen(fault) < 6)
        fail_msg("%s: '%s' names no place and fault", path, status->message);
}

#define DEADLINE_S 60 /* sanitizers, and neighbours; SIGALRM fails the test */

static void assert_refused_inside(const char *path, tally *t)
{
    json_t *json = json_load_file(path, 0, NULL);
    const bool buffers = put_inside(path, json_object_get(json, "buffers"), false);
    const bool images = put_inside(path, json_object_get(json, "images"), true);
    if (buffers || images) {
        rpc_status status = {0};
        char *text = json_dumps(json, JSON_COMPACT);
        const rpc_code code = inspect(rpc_bytes_str(text), &status);
        if ((code == RPC_OK) != is_taken(path))
            fail_msg("%s, in one file: %s: %s", path, rpc_code_name(code), status.message);
        if (code != RPC_OK)
            assert_status(path, code, &status);
        t->inside++;
        free(text);
    }
    json_decref(json);
}

static void assert_refused(const char *path, void *ctx)
{
    tally *t = ctx;
    size_t size = 0;
    rpc_status status = {0};
    uint8_t *bytes = file_bytes(path, &size);
    alarm(DEADLINE_S);
    const rpc_code code = inspect(rpc_bytes_of(bytes, size), &status);
    free(bytes);
    if ((code == RPC_OK) != (strstr(path, beside) != NULL))
        fail_msg("%s: %s: %s", path, rpc_code_name(code), status.message);
    if (code != RPC_OK)
        assert_status(path, code, &status);
    if (ends_with(path, ".gltf"))
        assert_refused_inside(path, t);
    alarm(0);
    t->refused++;
}

TEST(every_broken_file_is_refused_for_its_own_fault)
{
    tally t = {0};
    each_file(test_data("broken"), true, assert_refused, &t);
    assert_true(t.refused >= 135 && t.inside >= 13);
}

TEST(avatars_in_pieces_are_taken_when_put_together)
{
    static const char *const names[] = {
        "cesium-man-separate/CesiumMan.gltf", "flight-helmet-separate/FlightHelmet.gltf"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", test_data("avatars"), names[i]);
        json_t *json = json_load_file(path, 0, NULL);
        assert_true(put_inside(path, json_object_get(json, "buffers"), false));
        assert_true(put_inside(path, json_object_get(json, "images"), true));
        char *text = json_dumps(json, JSON_COMPACT);
        rpc_status status = {0};
        if (inspect(rpc_bytes_str(text), &status) != RPC_OK)
            fail_msg("%s: %s", path, status.message);
        free(text);
        json_decref(json);
    }
}

static void assert_inspected(const char *path, void *ctx)
{
    size_t size = 0;
    rpc_status status = {0};
    uint8_t *bytes = file_bytes(path, &size);
    if (inspect(rpc_bytes_of(bytes, size), &status) != RPC_OK)
        fail_msg("%s: %s", path, status.message);
    free(bytes);
    ++*(unsigned *)ctx;
}

TEST(every_real_avatar_of_one_file_holds_what_it_says)
{
    unsigned count = 0;
    each_file(test_data("avatars"), false, assert_inspected, &count);
    assert_true(count >= 28);
}
