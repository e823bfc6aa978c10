/* SPDX-License-Identifier: Apache-2.0 */
/* Textures of glTF by what materials use them for, in documents that are drawn here, and those of
 * real avatars in every size and format. DACM_TEST_FULL=1: all of them. */
#include "document.h"
#include "files.h"

#include "gltf_adapt.h"
#include "gltf_at.h"
#include "gltf_get.h"
#include "gltf_textures.h"
#include "image.h"

#include <math.h>

/* ---- what a picture is for ------------------------------------------------------------------- */

/* The red of the middle pixel of a board of black and white, at 16 px. */
static int gray_in(const char *members, const char *extensions)
{
    const rpc_bytes board = encoded(draw_board, 64, MEDIA__IMAGE_PNG);
    document d = glb(members, &board, 1);
    d.extensions = extensions;
    media__gltf gltf = adapted(&d, "{\"texture_size_limit\":16}");
    media__image image = decoded(&gltf, 0);
    assert_int_equal(image.width, 16);
    const int gray = image.pixels[(8 * 16 + 8) * 4];
    media__image_done(&image);
    media__gltf_done(&gltf);
    free(d.file);
    release(board);
    return gray;
}

static int gray_of(const char *members)
{
    return gray_in(members, NULL);
}

TEST(colour_is_light_and_data_is_numbers_by_the_slot_of_a_material)
{
    assert_in_range(gray_of(PNG0 "\"materials\":[{" BASE "}]"), 187, 189);
    assert_in_range(gray_of(PNG0 "\"materials\":[{\"emissiveTexture\":{\"index\":0}}]"), 187, 189);
    assert_in_range(gray_of(PNG0 "\"materials\":[{\"occlusionTexture\":{\"index\":0}}]"), 126, 129);
    assert_in_range(gray_of(PNG0 "\"materials\":[{\"pbrMetallicRoughness\":{"
                                 "\"metallicRoughnessTexture\":{\"index\":0}}}]"),
        126, 129);
    assert_in_range(
        gray_of(PNG0 "\"extensionsUsed\":[\"VRMC_materials_mtoon\"],\"materials\":[{"
                     "\"extensions\":{\"VRMC_materials_mtoon\":{\"specVersion\":\"1.0\","
                     "\"shadeMultiplyTexture\":{\"index\":0}}}}]"),
        187, 189);
    assert_in_range(
        gray_of(PNG0 "\"extensionsUsed\":[\"VRMC_materials_mtoon\"],\"materials\":[{"
                     "\"extensions\":{\"VRMC_materials_mtoon\":{\"specVersion\":\"1.0\","
                     "\"shadingShiftTexture\":{\"index\":0}}}}]"),
        126, 129);
}

TEST(picture_that_is_used_in_two_ways_is_numbers)
{
    assert_in_range(
        gray_of(PNG0 "\"materials\":[{" BASE ",\"occlusionTexture\":{\"index\":0}}]"), 126, 129);
}

static int gray_by_vrm0(const char *property)
{
    char extensions[256];
    snprintf(extensions, sizeof extensions,
        "{\"VRM\":{\"materialProperties\":[{\"shader\":\"VRM/MToon\",\"textureProperties\":{"
        "\"%s\":0}}]}}",
        property);
    return gray_in(PNG0 "\"materials\":[{\"name\":\"a\"}]", extensions);
}

TEST(shader_properties_of_vrm_0_say_what_a_picture_is_for)
{
    assert_in_range(gray_by_vrm0("_MainTex"), 187, 189);
    assert_in_range(gray_by_vrm0("_ShadeTexture"), 187, 189);
    assert_in_range(gray_by_vrm0("_OutlineWidthTexture"), 126, 129);
}

TEST(normals_stay_normals)
{
    const rpc_bytes bowl = encoded(draw_bowl, 64, MEDIA__IMAGE_PNG);
    document d = glb(PNG0 "\"materials\":[{\"normalTexture\":{\"index\":0}}]", &bowl, 1);
    media__gltf gltf = adapted(&d, "{\"texture_size_limit\":16}");
    media__image image = decoded(&gltf, 0);
    for (size_t i = 0; i < 16 * 16; i++) {
        double length = 0;
        for (int c = 0; c < 3; c++)
            length += (image.pixels[i * 4 + c] / 127.5 - 1) * (image.pixels[i * 4 + c] / 127.5 - 1);
        assert_true(length > 0.98 && length < 1.02);
    }
    media__image_done(&image);
    media__gltf_done(&gltf);
    free(d.file);
    release(bowl);
}

/* Most green of a pixel that shows a little, on the edge of a red disc on hidden green. */
static int green_of(const char *members)
{
    const rpc_bytes disc = encoded(draw_disc, 64, MEDIA__IMAGE_PNG);
    document d = glb(members, &disc, 1);
    media__gltf gltf = adapted(&d, "{\"texture_size_limit\":16}");
    media__image image = decoded(&gltf, 0);
    int most = 0;
    for (size_t i = 0; i < 16 * 16; i++)
        if (image.pixels[i * 4 + 3] > 64 && image.pixels[i * 4 + 1] > most)
            most = image.pixels[i * 4 + 1];
    media__image_done(&image);
    media__gltf_done(&gltf);
    free(d.file);
    release(disc);
    return most;
}

/* Of an opaque material all of a picture shows, whatever its alpha is. */
TEST(alpha_weighs_colours_only_where_it_says_what_shows)
{
    assert_in_range(green_of(PNG0 "\"materials\":[{\"alphaMode\":\"BLEND\"," BASE "}]"), 14, 18);
    assert_in_range(green_of(PNG0 "\"materials\":[{\"alphaMode\":\"MASK\"," BASE "}]"), 14, 18);
    assert_true(green_of(PNG0 "\"materials\":[{" BASE "}]") > 100);
}

/* ---- kinds ----------------------------------------------------------------------------------- */

#define WEBP0                                                                                      \
    "\"images\":[{\"bufferView\":0,\"mimeType\":\"image/webp\"}],\"extensionsUsed\":["             \
    "\"EXT_texture_webp\"],\"extensionsRequired\":[\"EXT_texture_webp\"],\"textures\":[{"          \
    "\"extensions\":{\"EXT_texture_webp\":{\"source\":0}}}],\"materials\":[{" BASE "}]"
#define PLAIN_CLIENT "\"accept\":{\"extensions\":[]}"
#define WEBP_CLIENT  "\"accept\":{\"extensions\":[\"EXT_texture_webp\"]}"

static void assert_becomes(draw_fn *draw, media__image_kind from, const char *members,
    const char *recipe, media__image_kind to)
{
    const rpc_bytes picture = encoded(draw, 64, from);
    document d = glb(members, &picture, 1);
    media__gltf gltf = adapted(&d, recipe);
    const json_t *texture = media__gltf_entry(&gltf, "textures", 0);
    assert_kind(&gltf, 0, to);
    const bool webp = to == MEDIA__IMAGE_WEBP;
    assert_int_equal(media__get_index(texture, "source"), webp ? MEDIA__NO_INDEX : 0);
    assert_int_equal(media__get_index(media__get_extension(texture, "EXT_texture_webp"), "source"),
        webp ? 0 : MEDIA__NO_INDEX);
    assert_int_equal(lists(&gltf, "extensionsUsed", "EXT_texture_webp"), webp);
    assert_int_equal(lists(&gltf, "extensionsRequired", "EXT_texture_webp"), webp);
    media__gltf_done(&gltf);
    free(d.file);
    release(picture);
}

TEST(webp_becomes_what_every_client_takes_unless_it_says_that_it_takes_webp)
{
    assert_becomes(
        draw_gradient, MEDIA__IMAGE_WEBP, WEBP0, "{" PLAIN_CLIENT "}", MEDIA__IMAGE_JPEG);
    assert_becomes(
        draw_see_through, MEDIA__IMAGE_WEBP, WEBP0, "{" PLAIN_CLIENT "}", MEDIA__IMAGE_PNG);
    assert_becomes(draw_gradient, MEDIA__IMAGE_WEBP, WEBP0,
        "{\"texture_format\":\"png\"," PLAIN_CLIENT "}", MEDIA__IMAGE_PNG);
    assert_becomes(draw_gradient, MEDIA__IMAGE_WEBP, WEBP0,
        "{\"texture_size_limit\":32," WEBP_CLIENT "}", MEDIA__IMAGE_WEBP);
    assert_becomes(
        draw_gradient, MEDIA__IMAGE_WEBP, WEBP0, "{\"texture_size_limit\":32}", MEDIA__IMAGE_WEBP);
}

TEST(format_that_is_asked_for_is_given_where_it_holds_the_picture)
{
    static const char members[] = PNG0 "\"materials\":[{" BASE "}]";
    assert_becomes(draw_gradient, MEDIA__IMAGE_PNG, members,
        "{\"texture_format\":\"webp\",\"texture_size_limit\":32}", MEDIA__IMAGE_WEBP);
    assert_becomes(draw_gradient, MEDIA__IMAGE_PNG, members,
        "{\"texture_format\":\"webp\",\"texture_size_limit\":32," PLAIN_CLIENT "}",
        MEDIA__IMAGE_PNG);
    assert_becomes(draw_gradient, MEDIA__IMAGE_PNG, members,
        "{\"texture_format\":\"jpeg\",\"texture_size_limit\":32}", MEDIA__IMAGE_JPEG);
    assert_becomes(draw_see_through, MEDIA__IMAGE_PNG, members,
        "{\"texture_format\":\"jpeg\",\"texture_size_limit\":32}", MEDIA__IMAGE_PNG);
}

#define BOTH                                                                                       \
    "\"images\":[{\"bufferView\":0,\"mimeType\":\"image/png\"},{\"bufferView\":1,\"mimeType\":"    \
    "\"image/webp\"}],\"extensionsUsed\":[\"EXT_texture_webp\"],\"textures\":[{\"source\":0,"      \
    "\"extensions\":{\"EXT_texture_webp\":{\"source\":1}}}],\"materials\":[{" BASE "}]"

TEST(of_two_pictures_of_a_texture_the_one_that_the_client_takes_stays)
{
    const rpc_bytes pictures[] = {encoded(draw_gradient, 64, MEDIA__IMAGE_PNG),
        encoded(draw_gradient, 64, MEDIA__IMAGE_WEBP)};
    document d = glb(BOTH, pictures, 2);
    media__gltf plain = adapted(&d, "{" PLAIN_CLIENT "}"), webp = adapted(&d, "{" WEBP_CLIENT "}"),
                silent = adapted(&d, "{\"texture_size_limit\":32}");
    rpc_status status = {0};
    const json_t *texture = media__gltf_entry(&plain, "textures", 0);
    assert_int_equal(media__get_index(texture, "source"), 0);
    assert_null(json_object_get(texture, "extensions"));
    assert_int_equal(media__gltf_prune(&plain, &status), RPC_OK); /* the other one is still there */
    assert_int_equal(media__textures_declare(&plain, &status), RPC_OK);
    assert_false(lists(&plain, "extensionsUsed", "EXT_texture_webp"));
    texture = media__gltf_entry(&webp, "textures", 0);
    assert_null(json_object_get(texture, "source"));
    assert_true(lists(&webp, "extensionsRequired", "EXT_texture_webp"));
    texture = media__gltf_entry(&silent, "textures", 0);
    assert_int_equal(media__get_index(texture, "source"), 0);
    assert_non_null(media__get_extension(texture, "EXT_texture_webp"));
    assert_false(lists(&silent, "extensionsRequired", "EXT_texture_webp"));
    media__gltf_done(&plain);
    media__gltf_done(&webp);
    media__gltf_done(&silent);
    free(d.file);
    release(pictures[0]);
    release(pictures[1]);
}

TEST(thumbnail_of_a_vrm_is_never_webp)
{
    static const char *const vrms[] = {
        "{\"VRMC_vrm\":{\"meta\":{\"thumbnailImage\":0}}}", "{\"VRM\":{\"meta\":{\"texture\":0}}}"};
    const rpc_bytes picture = encoded(draw_gradient, 64, MEDIA__IMAGE_PNG);
    for (size_t i = 0; i < 2; i++) {
        document d = glb("\"images\":[{\"bufferView\":0,\"mimeType\":\"image/png\"}],"
                         "\"textures\":[{\"source\":0}]",
            &picture, 1);
        d.extensions = vrms[i];
        media__gltf gltf = adapted(&d, "{\"texture_format\":\"webp\",\"texture_size_limit\":32}");
        media__image image = decoded(&gltf, 0);
        assert_kind(&gltf, 0, MEDIA__IMAGE_PNG);
        assert_int_equal(image.width, 32);
        assert_int_equal(media__get_index(media__gltf_entry(&gltf, "textures", 0), "source"), 0);
        media__image_done(&image);
        media__gltf_done(&gltf);
        free(d.file);
    }
    release(picture);
}

TEST(picture_that_would_grow_stays_as_it_is)
{
    const rpc_bytes picture = encoded(draw_board, 64, MEDIA__IMAGE_PNG); /* JPEG is worse at it */
    document d = glb(PNG0 "\"materials\":[{" BASE "}]", &picture, 1);
    media__gltf gltf = adapted(&d, "{\"texture_format\":\"jpeg\",\"texture_size_limit\":64}");
    assert_true(rpc_bytes_equal(picture_of(&gltf, 0), picture));
    media__gltf_done(&gltf);
    free(d.file);
    release(picture);
}

TEST(ktx2_is_passed_through)
{
    uint8_t ktx2[84] = "\xabKTX 20\xbb\r\n\x1a\n\0\0\0\0\x01\0\0\0\0\x04\0\0\0\x04";
    const rpc_bytes picture = rpc_bytes_of(ktx2, sizeof ktx2);
    document d = glb("\"images\":[{\"bufferView\":0,\"mimeType\":\"image/ktx2\"}],"
                     "\"extensionsUsed\":[\"KHR_texture_basisu\"],\"extensionsRequired\":["
                     "\"KHR_texture_basisu\"],\"textures\":[{\"extensions\":{"
                     "\"KHR_texture_basisu\":{\"source\":0}}}],\"materials\":[{" BASE "}]",
        &picture, 1);
    media__gltf gltf = adapted(&d, "{\"texture_format\":\"png\",\"texture_size_limit\":64}");
    assert_true(rpc_bytes_equal(picture_of(&gltf, 0), picture));
    assert_true(lists(&gltf, "extensionsRequired", "KHR_texture_basisu"));
    media__gltf_done(&gltf);
    free(d.file);
}

static void draw_noise(uint32_t x, uint32_t y, uint32_t width, uint32_t height, uint8_t *ret)
{
    (void)width;
    (void)height;
    for (unsigned c = 0; c < 3; c++)
        ret[c] = (uint8_t)((((x * 73856093u) ^ (y * 19349663u)) + c * 83492791u) * 2654435761u >>
                           24);
    ret[3] = 255;
}

/* Nothing can be had of the larger one, which has 80 bytes. */
TEST(budget_is_met_beside_ktx2_that_is_larger_than_every_picture)
{
    uint8_t ktx2[84] = "\xabKTX 20\xbb\r\n\x1a\n\0\0\0\0\x01\0\0\0\0\x10\0\0\0\x10";
    const rpc_bytes noise = encoded(draw_noise, 256, MEDIA__IMAGE_PNG);
    const rpc_bytes pictures[] = {noise, rpc_bytes_of(ktx2, sizeof ktx2)};
    document d = glb("\"images\":[{\"bufferView\":0,\"mimeType\":\"image/png\"},"
                     "{\"bufferView\":1,\"mimeType\":\"image/ktx2\"}],\"extensionsUsed\":["
                     "\"KHR_texture_basisu\"],\"extensionsRequired\":[\"KHR_texture_basisu\"],"
                     "\"textures\":[{\"source\":0},{\"extensions\":{\"KHR_texture_basisu\":{"
                     "\"source\":1}}}],\"materials\":[{" BASE
                     ",\"emissiveTexture\":{\"index\":1}}],"
                     "\"accessors\":[{\"componentType\":5126,\"count\":3,\"type\":\"VEC3\",\"min\":"
                     "[0,0,0],\"max\":[0,0,0]},{\"componentType\":5126,\"count\":3,\"type\":"
                     "\"VEC2\"}],\"meshes\":[{\"primitives\":[{\"attributes\":{\"POSITION\":0,"
                     "\"TEXCOORD_0\":1},\"material\":0}]}],\"nodes\":[{\"mesh\":0}],\"scenes\":[{"
                     "\"nodes\":[0]}],\"scene\":0",
        pictures, 2);
    media_recipe recipe = recipe_of("{\"max_bytes\":50000}");
    media_result result;
    rpc_status status = {0};
    assert_in_range(d.size, 150000, 210000);
    if (media_adapt(rpc_bytes_of(d.file, d.size), &recipe, &result, &status))
        fail_msg("%s", status.message);
    assert_in_range(result.size, 25000, 50000); /* 112 px: 128 would not fit */
    assert_int_equal(result.figures.texture_size, 4096);
    assert_int_equal(result.figures.images, 2);
    media_result_done(&result);
    media_recipe_done(&recipe);
    free(d.file);
    release(noise);
}

/* Also where triangles have much to say. */
TEST(why_says_which_pictures_are_larger_than_asked)
{
    uint8_t ktx2[84] = "\xabKTX 20\xbb\r\n\x1a\n\0\0\0\0\x01\0\0\0\0\x10\0\0\0\x10";
    const rpc_bytes board = encoded(draw_board, 64, MEDIA__IMAGE_PNG);
    const rpc_bytes pictures[] = {board, rpc_bytes_of(ktx2, sizeof ktx2)};
    static const char *const members[] = {
        "\"extensionsUsed\":[\"ACME_stickers\",\"KHR_texture_basisu\"],\"extensions\":{\"ACME_"
        "stickers\":{\"image\":1}}",
        "\"extensionsUsed\":[\"ACME_stickers\",\"KHR_texture_basisu\"],\"extensions\":{\"ACME_"
        "stickers\":{\"image\":0}}"};
    static const char *const said[] = {
        "KTX2 textures of 4096 px are carried through as they are; pictures of 64 px that nothing "
        "known uses are carried through as they are",
        "pictures of 64 px that nothing known uses are carried through as they are"};
    for (size_t i = 0; i < 2; i++) {
        char text[512];
        snprintf(text, sizeof text,
            "\"images\":[{\"bufferView\":0,\"mimeType\":\"image/png\"},{\"bufferView\":1,"
            "\"mimeType\":\"image/ktx2\"}],%s",
            members[i]);
        document d = glb(text, pictures, 2);
        media_recipe recipe = recipe_of("{\"texture_size_limit\":16}");
        media_result result;
        rpc_status status = {0};
        if (media_adapt(rpc_bytes_of(d.file, d.size), &recipe, &result, &status) != RPC_OK)
            fail_msg("%s", status.message);
        assert_string_equal(result.why, said[i]);
        media_result_done(&result);
        media_recipe_done(&recipe);
        free(d.file);
    }
    release(board);
}

/* Two images in one view, with different uses; and a picture that nothing is known of. */
TEST(views_that_are_shared_do_not_change_under_others)
{
    const rpc_bytes board = encoded(draw_board, 64, MEDIA__IMAGE_PNG);
    document d = glb("\"images\":[{\"bufferView\":0,\"mimeType\":\"image/png\"},{\"bufferView\":0,"
                     "\"mimeType\":\"image/png\"},{\"bufferView\":0,\"mimeType\":\"image/png\"}],"
                     "\"textures\":[{\"source\":0},{\"source\":1}],\"materials\":[{" BASE
                     ",\"occlusionTexture\":{\"index\":1}}]",
        &board, 1);
    media__gltf gltf = adapted(&d, "{\"texture_size_limit\":16}");
    media__image color = decoded(&gltf, 0), data = decoded(&gltf, 1);
    assert_in_range(color.pixels[400], 187, 189);
    assert_in_range(data.pixels[400], 126, 129);
    assert_true(rpc_bytes_equal(picture_of(&gltf, 2), board));
    media__image_done(&color);
    media__image_done(&data);
    media__gltf_done(&gltf);
    free(d.file);
    release(board);
}

TEST(bytes_of_a_view_that_images_share_count_once)
{
    const rpc_bytes picture = encoded(draw_gradient, 64, MEDIA__IMAGE_PNG);
    document d = glb("\"images\":[{\"bufferView\":0,\"mimeType\":\"image/png\"},"
                     "{\"bufferView\":0,\"mimeType\":\"image/png\"}]",
        &picture, 1);
    media_figures figures;
    rpc_status status = {0};
    if (media_inspect(rpc_bytes_of(d.file, d.size), &figures, &status) != RPC_OK)
        fail_msg("%s", status.message);
    assert_int_equal(figures.images, 2);
    assert_int_equal(figures.image_bytes, picture.size);
    assert_int_equal(figures.mesh_bytes, 0);
    media_figures_done(&figures);
    free(d.file);
    release(picture);
}

TEST(damaged_picture_is_refused_with_its_place)
{
    rpc_status status = {0};
    media__gltf gltf;
    rpc_bytes picture = encoded(draw_gradient, 64, MEDIA__IMAGE_PNG);
    document d = glb(PNG0 "\"materials\":[{" BASE "}]", &picture, 1);
    d.file[d.size - 100] ^= 1;
    assert_int_equal(
        try_adapt(&d, "{\"texture_size_limit\":16}", &gltf, &status), RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(status.message, "gltf: /images/0: image: PNG: byte "));
    free(d.file);
    release(picture);
}

/* ---- real avatars ---------------------------------------------------------------------------- */

typedef struct asked {
    unsigned size;
    const char *format; /* NULL: as they are */
    unsigned seen;
} asked;

static void assert_textures(const char *path, const asked *a, const media__gltf *gltf)
{
    for (size_t i = 0; i < media__gltf_count(gltf, "images"); i++) {
        rpc_status status = {0};
        media__image image = {.pixels = NULL};
        media__image_info info;
        const json_t *json = media__gltf_entry(gltf, "images", i);
        if (media__get_index(json, "bufferView") == MEDIA__NO_INDEX)
            continue; /* a file beside it */
        if (media__image_probe(picture_of(gltf, i), &info, &status))
            fail_msg("%s: image %zu: %s", path, i, status.message);
        if (info.kind == MEDIA__IMAGE_KTX2)
            continue;
        if (media__image_read(picture_of(gltf, i), false, &image, &status))
            fail_msg("%s: image %zu: %s", path, i, status.message);
        if (image.width > a->size || image.height > a->size)
            fail_msg("%s: image %zu: %u × %u px", path, i, image.width, image.height);
        media__image_done(&image);
    }
    assert_int_equal(media__gltf_check_schema(gltf->json, NULL), RPC_OK);
}

static void adapt_file(const char *path, void *ctx)
{
    asked *a = ctx;
    char recipe[128];
    document d = {.file = NULL};
    media__gltf gltf;
    rpc_status status = {0};
    const bool all = getenv("DACM_TEST_FULL") && strcmp(getenv("DACM_TEST_FULL"), "1") == 0;
    d.file = file_bytes(path, &d.size);
    snprintf(recipe, sizeof recipe, "{\"texture_size_limit\":%u%s%s%s}", a->size,
        a->format ? ",\"texture_format\":\"" : "", a->format ? a->format : "",
        a->format ? "\"" : "");
    if (all || d.size < 1000000 || (a->size == 256 && ends_with(path, "white-m-1-casual.glb"))) {
        const rpc_code code = try_adapt(&d, recipe, &gltf, &status);
        if (code && !strstr(status.message, "uri"))
            fail_msg("%s: %s", path, status.message);
        if (code == RPC_OK) {
            assert_textures(path, a, &gltf);
            media__gltf_done(&gltf);
            a->seen++;
        }
    }
    free(d.file);
}

static void adapt_avatars(unsigned size, const char *format)
{
    asked a = {.size = size, .format = format};
    each_file(test_data("avatars"), false, adapt_file, &a);
    assert_true(a.seen >= 12);
}

TEST(textures_of_avatars_at_256_px_are_read_again)
{
    adapt_avatars(256, NULL);
    adapt_avatars(256, "webp");
    adapt_avatars(256, "jpeg");
    adapt_avatars(256, "png");
}

TEST(textures_of_avatars_at_512_px_are_read_again)
{
    adapt_avatars(512, NULL);
    adapt_avatars(512, "webp");
    adapt_avatars(512, "jpeg");
    adapt_avatars(512, "png");
}

TEST(textures_of_avatars_at_1024_px_are_read_again)
{
    adapt_avatars(1024, NULL);
    adapt_avatars(1024, "webp");
    adapt_avatars(1024, "jpeg");
    adapt_avatars(1024, "png");
}
