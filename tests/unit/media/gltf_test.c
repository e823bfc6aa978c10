/* SPDX-License-Identifier: Apache-2.0 */
/* glTF as it is read: one document from which a single thing at a time is taken or changed.
 * Real files, good and broken: gltf_data_test.c. */
#include "files.h"
#include "gltf_text.h"

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

/* ---- one thing at a time ---- */

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

TEST(a_small_document_is_read)
{
    assert_text_read(good, "", "");
}

TEST(one_wrong_thing_is_refused_with_its_place)
{
    static const text_case cases[] = {
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
        {"\"POSITION\":0", "\"POSITION\":1",
            "/bufferViews/1: is used for vertices and for indices"},
        {"\"VEC3\",\"min\":[0,0,0],\"max\":[0,0,0]", "\"VEC2\",\"min\":[0,0],\"max\":[0,0]",
            "POSITION has elements of 2 numbers"},
        {"\"byteLength\":36}", "\"byteLength\":36,\"target\":34963}",
            "/bufferViews/0: its target is not what"},
        {"{\"name\":\"leaf\"}", "{\"rotation\":[0,0,0,0.5]}",
            "/nodes/1/rotation: is of length 0.5"},
        {"\"scene\":0",
            "\"scene\":0,\"cameras\":[{\"type\":\"perspective\",\"perspective\":"
            "{\"yfov\":1,\"znear\":2,\"zfar\":1}}]",
            "/cameras/0/perspective/zfar: is not above"},
        {"\"scene\":0", "\"scene\":0,\"cameras\":[{\"type\":\"perspective\"}]",
            "/cameras/0/perspective: is missing"},
        {"\"scene\":0", "\"scene\":0,\"extensions\":{\"ACME\":{}}", "/extensions/ACME: is used"},
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
    assert_text_refused(good, cases, sizeof cases / sizeof *cases);
}

TEST(an_extension_that_is_required_and_unknown_is_refused_by_name)
{
    rpc_status status = {0};
    assert_int_equal(
        text_read(good, "\"scene\":0",
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
