/* SPDX-License-Identifier: Apache-2.0 */
/* glTF as it is read: real avatars, files that others broke, and one document from which a single
 * thing at a time is taken or changed. */
#include "files.h"

#include "gltf.h"

static rpc_code read_file(const char *path, rpc_status *ret)
{
    size_t size = 0;
    uint8_t *bytes = file_bytes(path, &size);
    media__gltf gltf;
    const rpc_code code = media__gltf_read(rpc_bytes_of(bytes, size), &gltf, ret);
    if (code == RPC_OK)
        media__gltf_done(&gltf);
    free(bytes);
    return code;
}

/* ---- files ------------------------------------------------------------------------------------
 */

static void assert_read(const char *path, void *ctx)
{
    rpc_status status = {0};
    if (read_file(path, &status) != RPC_OK)
        fail_msg("%s: %s", path, status.message);
    ++*(unsigned *)ctx;
}

TEST(every_real_avatar_of_one_file_is_read)
{
    unsigned count = 0;
    each_file(test_data("avatars"), false, assert_read, &count);
    assert_true(count >= 28);
}

typedef struct tally {
    unsigned refused, taken;
} tally;

static void count_broken(const char *path, void *ctx)
{
    tally *t = ctx;
    rpc_status status = {0};
    const rpc_code code = read_file(path, &status);
    if (code == RPC_OK) {
        t->taken++;
        return;
    }
    t->refused++;
    if ((code != RPC_INVALID_ARGUMENT && code != RPC_UNIMPLEMENTED &&
            code != RPC_RESOURCE_EXHAUSTED) ||
        strncmp(status.message, "gltf: ", 6) != 0)
        fail_msg("%s: %s: %s", path, rpc_code_name(code), status.message);
}

/* What is wrong in an extension, in an image or in VRM data is for those who read these. */
static bool is_of_another_reader(const char *path)
{
    static const char *const parts[] = {"/ext/", "/image/", "vrm", "fox-texture", "fox-image",
        "/camera/perspective_z", "/node/rotation_non_unit", "/skin/no_joints_in_scene",
        "/root/extensions_non_objects"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strstr(path, parts[i]))
            return true;
    return false;
}

static void assert_refused(const char *path, void *ctx)
{
    tally before = *(tally *)ctx;
    count_broken(path, ctx);
    if (((tally *)ctx)->taken > before.taken && !is_of_another_reader(path))
        fail_msg("%s is taken", path);
}

TEST(broken_files_are_refused_with_the_place)
{
    tally t = {0};
    each_file(test_data("broken"), true, assert_refused, &t);
    assert_true(t.refused >= 110);
    print_message("%u refused, %u for other readers\n", t.refused, t.taken);
}

TEST(a_file_that_ends_anywhere_is_refused)
{
    size_t size = 0;
    uint8_t *bytes = file_bytes(test_data("avatars/rigged-figure.glb"), &size);
    for (size_t cut = 0; cut < size; cut += cut < 64 ? 1 : 997) {
        media__gltf gltf;
        uint8_t *part = malloc(cut + 1); /* its end is seen by the sanitizer */
        memcpy(part, bytes, cut);
        assert_int_not_equal(media__gltf_read(rpc_bytes_of(part, cut), &gltf, NULL), RPC_OK);
        free(part);
    }
    free(bytes);
}

/* ---- one thing at a time ----------------------------------------------------------------------
 */

/* 36 bytes of positions, 6 of indices, 2 of padding. */
static const char good[] =
    "{\"asset\":{\"version\":\"2.0\"},\"scene\":0,\"scenes\":[{\"nodes\":[0]}],"
    "\"nodes\":[{\"mesh\":0,\"children\":[1]},{\"name\":\"leaf\"}],"
    "\"meshes\":[{\"primitives\":[{\"attributes\":{\"POSITION\":0},\"indices\":1}]}],"
    "\"accessors\":[{\"bufferView\":0,\"componentType\":5126,\"count\":3,\"type\":\"VEC3\","
    "\"min\":[0,0,0],\"max\":[0,0,0]},"
    "{\"bufferView\":1,\"componentType\":5123,\"count\":3,\"type\":\"SCALAR\"}],"
    "\"bufferViews\":[{\"buffer\":0,\"byteLength\":36},"
    "{\"buffer\":0,\"byteOffset\":36,\"byteLength\":6}],"
    "\"buffers\":[{\"byteLength\":44,\"uri\":\"data:application/octet-stream;base64,"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"}]}";

/* good with the first from replaced by to. */
static rpc_code read_changed(const char *from, const char *to, rpc_status *ret)
{
    char text[4096];
    const char *at = strstr(good, from);
    if (!at)
        fail_msg("'%s' is not in it", from);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - good), good, to, at + strlen(from));
    media__gltf gltf;
    const rpc_code code = media__gltf_read(rpc_bytes_str(text), &gltf, ret);
    if (code == RPC_OK)
        media__gltf_done(&gltf);
    return code;
}

TEST(a_small_document_is_read)
{
    rpc_status status = {0};
    if (read_changed("", "", &status) != RPC_OK)
        fail_msg("%s", status.message);
}

TEST(one_wrong_thing_is_refused_with_its_place)
{
    static const char *const cases[][3] = {
        {"\"2.0\"", "\"1.0\"", "/asset"},
        {"\"version\":\"2.0\"", "\"generator\":\"x\"", "/asset/version: is missing"},
        {"\"scene\":0", "\"scene\":1", "/scene: 1: /scenes has 1"},
        {"\"scene\":0", "\"scene\":-1", "/scene: is no index"},
        {"\"scene\":0", "\"scene\":0.0", "/scene: is no index"},
        {"\"children\":[1]", "\"children\":[0]", "/nodes/0"},
        {"\"children\":[1]", "\"children\":[1,1]", "/nodes/0/children/1: is there twice"},
        {"\"children\":[1]", "\"children\":[]", "/nodes/0/children"},
        {"[{\"nodes\":[0]}]", "[{\"nodes\":[1]}]", "/scenes/0/nodes/0: is no root"},
        {"{\"name\":\"leaf\"}", "{\"skin\":0}", "/nodes/1/skin"},
        {"{\"name\":\"leaf\"}", "{\"weights\":[1]}", "/nodes/1: has skin or weights"},
        {"\"POSITION\":0", "\"POSITION\":1", "POSITION"},
        {"\"POSITION\":0", "\"POSITIONS\":0", "POSITIONS is no attribute"},
        {"\"POSITION\":0", "\"POSITION\":0,\"JOINTS_0\":0", "JOINTS_0"},
        {"\"indices\":1", "\"indices\":0", "indices"},
        {",\"min\":[0,0,0]", "", "POSITION has no min"},
        {"\"min\":[0,0,0]", "\"min\":[0,0]", "/accessors/0/min"},
        {"\"count\":3", "\"count\":4", "/accessors/0"},
        {"\"count\":3", "\"count\":0", "/accessors/0/count"},
        {"\"count\":3", "\"count\":99999999999", "/accessors/0/count"},
        {"\"componentType\":5126", "\"componentType\":5124", "/accessors/0/componentType"},
        {"\"bufferView\":1,", "\"bufferView\":1,\"byteOffset\":1,", "aligned"},
        {"\"byteOffset\":36,\"byteLength\":6", "\"byteOffset\":40,\"byteLength\":6",
            "/bufferViews/1"},
        {"\"byteLength\":36", "\"byteLength\":36,\"byteStride\":8", "/accessors/0"},
        {"\"byteLength\":36", "\"byteLength\":36,\"byteStride\":13", "multiple of 4"},
        {"\"byteLength\":44", "\"byteLength\":45", "/buffers/0/uri: says 45 bytes"},
        {"data:application/octet-stream;base64,", "../../etc/passwd#", "nothing is fetched"},
        {"data:application/octet-stream;base64,", "data:text/plain,", "/buffers/0/uri"},
        {"AAAA", "AA*A", "base64"},
        {"\"scene\":0", "\"extensionsRequired\":[\"X\"],\"scene\":0", "not in extensionsUsed"},
        {"\"scene\":0", "\"scene\":0,\"scene\":0", "JSON"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rpc_status status = {0};
        const rpc_code code = read_changed(cases[i][0], cases[i][1], &status);
        if (code != RPC_INVALID_ARGUMENT || !strstr(status.message, cases[i][2]))
            fail_msg("%s -> %s: %s: '%s', not '%s'", cases[i][0], cases[i][1], rpc_code_name(code),
                status.message, cases[i][2]);
    }
}

TEST(an_extension_that_is_required_and_unknown_is_refused_by_name)
{
    rpc_status status = {0};
    assert_int_equal(
        read_changed("\"scene\":0",
            "\"extensionsUsed\":[\"ACME_hair\"],\"extensionsRequired\":[\"ACME_hair\"],"
            "\"scene\":0",
            &status),
        RPC_UNIMPLEMENTED);
    assert_non_null(strstr(status.message, "ACME_hair"));
}

TEST(json_as_deep_as_a_stack_is_refused)
{
    char deep[20000];
    memset(deep, '[', sizeof deep);
    rpc_status status = {0};
    media__gltf gltf;
    assert_int_equal(
        media__gltf_read(rpc_bytes_of(deep, sizeof deep), &gltf, &status), RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(status.message, "deeper"));
}

TEST(what_nobody_knows_is_written_as_it_was_read)
{
    static const char text[] =
        "{\"b\":[1,2.5,0.1,1e+20,-3.0,123456789012,1.7976931348623157e+308,5e-324],"
        "\"a\":{\"x\":null,\"y\":[true,false],\"\\u00e4\":\"\\\"\\\\\\n\\u0001\"},\"\":0."
        "30000000000000004}";
    json_t *json = NULL, *again = NULL;
    rpc_status status;
    size_t size = 0, more = 0;
    assert_int_equal(media__json_read(rpc_bytes_str(text), &json, &status), RPC_OK);
    char *written = media__json_write(json, &size);
    assert_int_equal(size, strlen(written));
    assert_int_equal(media__json_read(rpc_bytes_of(written, size), &again, &status), RPC_OK);
    assert_true(json_equal(json, again));
    char *twice = media__json_write(again, &more);
    assert_string_equal(written, twice); /* members in their order, numbers in their form */
    assert_non_null(strstr(written, "\"b\":[1,2.5,0.1,1e+20,-3.0,123456789012,"));
    json_decref(json);
    json_decref(again);
    free(written);
    free(twice);
}
