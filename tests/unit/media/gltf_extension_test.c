/* SPDX-License-Identifier: Apache-2.0 */
/* Extensions of glTF and pictures inside it: one drawn document that has many of them, from which
 * one thing at a time is taken or changed. */
#include "gltf_text.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* clang-format off */
#define PNG_1                                                                                      \
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVQYV2P4z/AfAAQAAf+I0P3MAAAAAElFTkSuQmCC"
#define WEBP_1 "UklGRhwAAABXRUJQVlA4TA8AAAAv/8AfAAcQ/Y/+ByKi/wEA"

static const char good[] =
    "{\"asset\":{\"version\":\"2.0\",\"extensions\":{\"KHR_xmp_json_ld\":{\"packet\":0}}},"
    "\"extensionsUsed\":[\"EXT_mesh_gpu_instancing\",\"EXT_texture_webp\",\"KHR_animation_pointer\","
    "\"KHR_draco_mesh_compression\",\"KHR_lights_punctual\",\"KHR_materials_anisotropy\","
    "\"KHR_materials_clearcoat\",\"KHR_materials_ior\",\"KHR_materials_sheen\","
    "\"KHR_materials_specular\",\"KHR_materials_variants\",\"KHR_materials_volume\","
    "\"KHR_texture_transform\",\"KHR_xmp_json_ld\",\"ACME_hair\"],"
    "\"extensions\":{\"KHR_lights_punctual\":{\"lights\":[{\"type\":\"spot\",\"color\":[1,1,1],"
    "\"range\":5,\"spot\":{\"innerConeAngle\":0.1,\"outerConeAngle\":0.2}}]},"
    "\"KHR_materials_variants\":{\"variants\":[{\"name\":\"red\"},{\"name\":\"blue\"}]},"
    "\"KHR_xmp_json_ld\":{\"packets\":[{\"@context\":{}}]},\"ACME_hair\":{\"anything\":[-1]}},"
    "\"nodes\":[{\"mesh\":0,\"extensions\":{\"EXT_mesh_gpu_instancing\":{\"attributes\":{"
    "\"TRANSLATION\":1,\"ROTATION\":2}},\"KHR_lights_punctual\":{\"light\":0}}}],"
    "\"meshes\":[{\"primitives\":[{\"attributes\":{\"POSITION\":0},\"material\":0,"
    "\"extensions\":{\"KHR_draco_mesh_compression\":{\"bufferView\":0,\"attributes\":{"
    "\"POSITION\":0}},\"KHR_materials_variants\":{\"mappings\":[{\"material\":0,\"variants\":[0]},"
    "{\"material\":0,\"variants\":[1]}]}}}]}],"
    "\"materials\":[{\"normalTexture\":{\"index\":0},\"extensions\":{"
    "\"KHR_materials_anisotropy\":{\"anisotropyStrength\":0.5,\"anisotropyTexture\":{\"index\":0}},"
    "\"KHR_materials_clearcoat\":{\"clearcoatFactor\":1,\"clearcoatNormalTexture\":{\"index\":0,"
    "\"scale\":2,\"extensions\":{\"KHR_texture_transform\":{\"offset\":[0,1],\"rotation\":1,"
    "\"texCoord\":1}}}},\"KHR_materials_ior\":{\"ior\":1.5},"
    "\"KHR_materials_sheen\":{\"sheenColorFactor\":[0,0,1]},"
    "\"KHR_materials_specular\":{\"specularColorFactor\":[0,2,0]},"
    "\"KHR_materials_volume\":{\"attenuationDistance\":2}}}],"
    "\"textures\":[{\"source\":0,\"extensions\":{\"EXT_texture_webp\":{\"source\":1}}}],"
    "\"images\":[{\"uri\":\"data:image/png;base64," PNG_1 "\"},"
    "{\"uri\":\"data:image/webp;base64," WEBP_1 "\"},{\"uri\":\"Textures/face%20.png\"}],"
    "\"animations\":[{\"channels\":[{\"sampler\":0,\"target\":{\"path\":\"pointer\","
    "\"extensions\":{\"KHR_animation_pointer\":{\"pointer\":\"/nodes/0/scale\"}}}}],"
    "\"samplers\":[{\"input\":3,\"output\":1}]}],"
    "\"accessors\":[{\"componentType\":5126,\"count\":3,\"type\":\"VEC3\",\"min\":[0,0,0],"
    "\"max\":[0,0,0]},{\"componentType\":5126,\"count\":2,\"type\":\"VEC3\"},"
    "{\"componentType\":5122,\"normalized\":true,\"count\":2,\"type\":\"VEC4\"},"
    "{\"componentType\":5126,\"count\":2,\"type\":\"SCALAR\",\"min\":[0],\"max\":[1]}],"
    "\"bufferViews\":[{\"buffer\":0,\"byteLength\":3}],"
    "\"buffers\":[{\"byteLength\":3,\"uri\":\"data:application/octet-stream;base64,AAAA\"}]}";
/* clang-format on */

TEST(a_document_of_many_extensions_is_read)
{
    assert_text_read(good, "", "");
    assert_text_read(good, "\"ior\":1.5", "\"ior\":0");
    assert_text_read(good, "\"type\":\"spot\"", "\"type\":\"ACME_glow\"");
    assert_text_read(good, "\"pointer\":\"/nodes/0/scale\"", "\"pointer\":\"/extensions/a~1b/~0\"");
}

TEST(one_wrong_thing_of_an_extension_is_refused_with_its_place)
{
    static const text_case cases[] = {
        /* where it stands, and whether it is declared */
        {"\"ACME_hair\"],", "\"ACME_nail\"],", "/extensions/ACME_hair: is used, and /extensionsU"},
        {"\"KHR_materials_ior\",", "", "KHR_materials_ior: is used"},
        {"\"source\":0,\"extensions\":{",
            "\"source\":0,\"extensions\":{\"KHR_texture_transform\":{},",
            "/textures/0/extensions/KHR_texture_transform: does not belong here"},
        {"{\"byteLength\":3,\"uri\"",
            "{\"byteLength\":3,\"extensions\":{\"KHR_lights_punctual\":{}},\"uri\"",
            "/buffers/0/extensions/KHR_lights_punctual: does not belong here"},
        {"\"ACME_hair\":{\"anything\":[-1]}", "\"ACME_hair\":7", "ACME_hair: is no object"},
        {"{\"packet\":0}", "{\"packet\":1}", "/asset/extensions/KHR_xmp_json_ld/packet: 1"},
        {"\"@context\":{}", "\"context\":{}", "packets/0/@context: is missing"},
        /* lights */
        {"\"light\":0", "\"light\":1", "/nodes/0/extensions/KHR_lights_punctual/light: 1"},
        {"\"range\":5", "\"range\":0", "lights/0/range: 0 is not above 0"},
        {"\"color\":[1,1,1]", "\"color\":[1,1,2]", "lights/0/color/2: 2 is above 1"},
        {"\"innerConeAngle\":0.1", "\"innerConeAngle\":0.2", "0.2 is not below outerConeAngle"},
        {"\"innerConeAngle\":0.1", "\"innerConeAngle\":2", "innerConeAngle: 2 is above"},
        {"\"spot\":{", "\"Spot\":{", "lights/0/spot: is missing"},
        /* materials */
        {"\"anisotropyStrength\":0.5", "\"anisotropyStrength\":5",
            "anisotropyStrength: 5 is above"},
        {"\"anisotropyTexture\":{\"index\":0}", "\"anisotropyTexture\":{\"index\":1}",
            "KHR_materials_anisotropy/anisotropyTexture/index: 1"},
        {"\"normalTexture\":{\"index\":0},", "", "neither TANGENT nor a normal texture"},
        {"\"clearcoatNormalTexture\":{\"index\":0", "\"clearcoatNormalTexture\":{\"index\":7",
            "clearcoatNormalTexture/index: 7"},
        {"\"ior\":1.5", "\"ior\":0.5", "0.5 is neither 0 nor at least 1"},
        {"[0,0,1]", "[0,0,1.5]", "sheenColorFactor/2: 1.5 is above 1"},
        {"[0,2,0]", "[0,-2,0]", "specularColorFactor/1: -2 is below 0"},
        {"\"attenuationDistance\":2", "\"attenuationDistance\":0", "0 is not above 0"},
        {"\"offset\":[0,1]", "\"offset\":[0]", "KHR_texture_transform/offset: has 1 entries"},
        /* variants */
        {"{\"name\":\"red\"}", "{\"title\":\"red\"}", "variants/0/name: is missing"},
        {"\"variants\":[1]", "\"variants\":[0]", "two mappings of variant 0"},
        {"\"variants\":[1]", "\"variants\":[2]", "mappings/1/variants/0: 2"},
        {"{\"material\":0,\"variants\":[0]}", "{\"variants\":[0]}",
            "mappings/0/material: is missing"},
        /* primitives and nodes */
        {"\"bufferView\":0,\"attributes\":{\"POSITION\":0}",
            "\"bufferView\":1,\"attributes\":{\"POSITION\":0}", "compression/bufferView: 1"},
        {"\"bufferView\":0,\"attributes\":{\"POSITION\":0}",
            "\"bufferView\":0,\"attributes\":{\"NORMAL\":0}", "has NORMAL, the primitive has not"},
        {"\"TRANSLATION\":1", "\"TRANSLATION\":0", "ROTATION has 2 elements, others 3"},
        {"\"ROTATION\":2", "\"ROTATION\":1",
            "ROTATION is no attribute of instances, or of another"},
        {"\"ROTATION\":2", "\"SPIN\":2", "SPIN is no attribute of instances"},
        {"{\"mesh\":0,\"extensions\":{\"EXT_mesh", "{\"extensions\":{\"EXT_mesh",
            "/nodes/0/extensions/EXT_mesh_gpu_instancing: is on a node without a mesh"},
        /* animation pointers */
        {"\"/nodes/0/scale\"", "\"nodes/0/scale\"", "is no JSON pointer"},
        {"\"/nodes/0/scale\"", "\"/nodes/0/sc~2le\"", "is no JSON pointer"},
        {"\"/nodes/0/scale\"", "\"/nodes/1/scale\"", "'/nodes/1/scale' leads nowhere"},
        {"\"path\":\"pointer\"", "\"path\":\"scale\"", "its path is 'scale', not pointer"},
        {"\"path\":\"pointer\",", "\"path\":\"pointer\",\"node\":0,", "moves 'pointer' of a node"},
        {"\"KHR_animation_pointer\":{\"pointer\"", "\"ACME_hair\":{\"pointer\"",
            "KHR_animation_pointer is missing"},
    };
    assert_text_refused(good, cases, COUNT(cases));
}

TEST(pictures_that_are_not_what_they_say_are_refused_with_the_place)
{
    static const text_case cases[] = {
        {"data:image/png;base64," PNG_1, "data:image/png;base64," WEBP_1,
            "/images/0: its data URI is of image/png, its bytes are image/webp"},
        {"data:image/png", "data:text/html", "/images/0: its data URI is of 'text/html'"},
        {"data:image/png;base64,", "data:image/png,", "not of an image, in base64"},
        {"{\"uri\":\"data:image/png", "{\"mimeType\":\"image/jpeg\",\"uri\":\"data:image/png",
            "/images/0: says image/jpeg, and is image/png"},
        {PNG_1, "AAAA" PNG_1, "/images/0: is no PNG, JPEG, WebP or KTX2"},
        {"{\"source\":0,", "{\"source\":1,",
            "/textures/0: source shows /images/1, which is image/w"},
        {"{\"source\":1}", "{\"source\":0}",
            "/textures/0: EXT_texture_webp shows /images/0, which is image/png"},
        {"Textures/face%20.png", "http://127.0.0.1/x.png", "/images/2: its uri leads elsewhere"},
        {"Textures/face%20.png", "/etc/passwd", "/images/2: its uri leads elsewhere"},
        {"Textures/face%20.png", "a/../../x.png", "/images/2: its uri climbs out"},
        {"Textures/face%20.png", "", "/images/2: its uri is empty"},
        {"{\"uri\":\"Textures/face%20.png\"}", "{}", "/images/2: has neither uri nor bufferView"},
        {"{\"uri\":\"Textures/face%20.png\"}", "{\"uri\":\"a\",\"bufferView\":0}",
            "/images/2: has a uri beside its bufferView"},
        {"{\"uri\":\"Textures/face%20.png\"}", "{\"bufferView\":0}",
            "/images/2/mimeType: is missing"},
        {"{\"uri\":\"Textures/face%20.png\"}", "{\"bufferView\":0,\"mimeType\":\"image/png\"}",
            "/images/2: is no PNG, JPEG, WebP or KTX2"},
    };
    assert_text_refused(good, cases, COUNT(cases));
}

TEST(a_png_that_ends_early_or_whose_chunks_are_none_is_refused)
{
    static const text_case cases[] = {
        /* cut before IEND; IDAT's name overwritten */
        {PNG_1, "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVQYV2P4z/AfAAQAAf+I0P3M",
            "/images/0: PNG: ends before its IEND"},
        {PNG_1,
            "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADAAAAAAYV2P4z/"
            "AfAAQAAf+I0P3MAAAAAElFTkSuQmCC",
            "/images/0: PNG: byte 33: is no chunk"},
        {PNG_1,
            "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAA//DElEQVQYV2P4z/"
            "AfAAQAAf+I0P3MAAAAAElFTkSuQmCC",
            "/images/0: PNG: byte 33: a chunk of"},
    };
    assert_text_refused(good, cases, COUNT(cases));
}

TEST(webp_needs_its_extension)
{
    static const char bare[] = "{\"asset\":{\"version\":\"2.0\"},\"images\":[{\"uri\":"
                               "\"data:image/webp;base64," WEBP_1 "\"}]}";
    static const text_case one[] = {{"", "", "/extensionsUsed has no EXT_texture_webp"}};
    assert_text_refused(bare, one, 1);
    assert_text_read(bare, "\"images\"", "\"extensionsUsed\":[\"EXT_texture_webp\"],\"images\"");
}

TEST(what_is_known_may_be_required)
{
    static const char *const known[] = {"KHR_materials_unlit", "KHR_mesh_quantization",
        "KHR_texture_basisu", "EXT_meshopt_compression", "VRMC_vrm", "KHR_animation_pointer"};
    for (size_t i = 0; i < COUNT(known); i++) {
        char text[256];
        snprintf(text, sizeof text,
            "{\"asset\":{\"version\":\"2.0\"},\"extensionsUsed\":[\"%s\"],"
            "\"extensionsRequired\":[\"%s\"]}",
            known[i], known[i]);
        assert_text_read(text, "", "");
    }
}

/* ---- hostile amounts ---- */

/* Text that grows. */
typedef struct paper {
    char *text;
    size_t size, room;
} paper;

static void put(paper *p, const char *text)
{
    const size_t size = strlen(text);
    while (p->size + size + 1 > p->room) {
        p->room = p->room ? p->room * 2 : 1 << 20;
        p->text = realloc(p->text, p->room);
    }
    memcpy(p->text + p->size, text, size + 1);
    p->size += size;
}

static rpc_code paper_read(paper *p, rpc_status *ret)
{
    media__gltf gltf;
    const rpc_code code = media__gltf_read(rpc_bytes_of(p->text, p->size), &gltf, ret);
    if (code == RPC_OK)
        media__gltf_done(&gltf);
    free(p->text);
    return code;
}

/* Each of these took time in proportion to a product of two lengths, once. */
TEST(many_nodes_of_a_mesh_of_many_primitives_are_read)
{
    paper p = {NULL, 0, 0};
    rpc_status status = {0};
    put(&p, "{\"asset\":{\"version\":\"2.0\"},\"accessors\":[{\"componentType\":5126,\"count\":1,"
            "\"type\":\"VEC3\",\"min\":[0,0,0],\"max\":[0,0,0]},{\"componentType\":5121,"
            "\"count\":1,\"type\":\"VEC4\"},{\"componentType\":5126,\"count\":1,"
            "\"type\":\"VEC4\"}],\"skins\":[{\"joints\":[0]}],\"meshes\":[{\"primitives\":[");
    for (unsigned i = 0; i < 20000; i++)
        put(&p, i ? ",{\"attributes\":{\"POSITION\":0,\"JOINTS_0\":1,\"WEIGHTS_0\":2}}"
                  : "{\"attributes\":{\"POSITION\":0,\"JOINTS_0\":1,\"WEIGHTS_0\":2}}");
    put(&p, "]}],\"nodes\":[{}");
    for (unsigned i = 0; i < 50000; i++)
        put(&p, ",{\"mesh\":0,\"skin\":0}");
    put(&p, "]}");
    if (paper_read(&p, &status) != RPC_OK)
        fail_msg("%s", status.message);
}

TEST(a_chain_of_many_nodes_is_read_and_a_long_list_with_one_twice_is_refused)
{
    paper p = {NULL, 0, 0};
    char text[64];
    rpc_status status = {0};
    put(&p, "{\"asset\":{\"version\":\"2.0\"},\"nodes\":[");
    for (unsigned i = 1; i < 100000; i++) {
        snprintf(text, sizeof text, "{\"children\":[%u]},", i);
        put(&p, text);
    }
    put(&p, "{}]}");
    if (paper_read(&p, &status) != RPC_OK)
        fail_msg("%s", status.message);

    p = (paper){NULL, 0, 0};
    put(&p, "{\"asset\":{\"version\":\"2.0\"},\"nodes\":[{\"children\":[1");
    for (unsigned i = 2; i < 100000; i++) {
        snprintf(text, sizeof text, ",%u", i);
        put(&p, text);
    }
    put(&p, ",7]}");
    for (unsigned i = 1; i < 100000; i++)
        put(&p, ",{}");
    put(&p, "]}");
    assert_int_equal(paper_read(&p, &status), RPC_INVALID_ARGUMENT);
    assert_string_equal(status.message, "gltf: /nodes/0/children/99999: is there twice");
}

TEST(more_scenes_than_are_read_are_refused)
{
    paper p = {NULL, 0, 0};
    rpc_status status = {0};
    put(&p, "{\"asset\":{\"version\":\"2.0\"},\"scenes\":[{}");
    for (unsigned i = 0; i < MEDIA__SCENES_MAX; i++)
        put(&p, ",{}");
    put(&p, "]}");
    assert_int_equal(paper_read(&p, &status), RPC_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(status.message, "at most 64"));
}

TEST(pictures_of_the_same_bytes_count_each_time)
{
    paper p = {NULL, 0, 0};
    char text[64];
    rpc_status status = {0};
    const size_t size = 1 << 20; /* a PNG is looked at as a whole */
    put(&p, "{\"asset\":{\"version\":\"2.0\"},\"bufferViews\":[{\"buffer\":0,\"byteLength\":");
    snprintf(text, sizeof text, "%zu", size);
    put(&p, text);
    put(&p, "}],\"images\":[{\"bufferView\":0,\"mimeType\":\"image/png\"}");
    for (size_t i = 0; i < MEDIA__FILE_BYTES_MAX / size; i++)
        put(&p, ",{\"bufferView\":0,\"mimeType\":\"image/png\"}");
    put(&p, "],\"buffers\":[{\"byteLength\":");
    put(&p, text);
    put(&p, ",\"uri\":\"data:application/octet-stream;base64,");
    /* whole; what follows its last chunk is nobody's */
    put(&p, PNG_1);
    const size_t head = strlen(PNG_1);
    for (size_t i = head; i < (size + 2) / 3 * 4; i += 4)
        put(&p, "AAAA");
    put(&p, "\"}]}");
    assert_int_equal(paper_read(&p, &status), RPC_RESOURCE_EXHAUSTED);
    assert_string_equal(
        status.message, "gltf: /images/256: pictures have more than 268435456 bytes together");
}

TEST(more_names_of_extensions_than_are_read_are_refused)
{
    paper p = {NULL, 0, 0};
    char text[32];
    rpc_status status = {0};
    put(&p, "{\"asset\":{\"version\":\"2.0\"},\"extensionsUsed\":[\"ACME_hair\"");
    for (unsigned i = 0; i < 4096; i++) {
        snprintf(text, sizeof text, ",\"ACME_%u\"", i);
        put(&p, text);
    }
    put(&p, "]}");
    assert_int_equal(paper_read(&p, &status), RPC_INVALID_ARGUMENT);
    assert_string_equal(status.message, "gltf: /extensionsUsed: has 4097 entries");
}
