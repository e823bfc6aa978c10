/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures as they are decoded: real ones beside another decoder, damaged ones refused. */
#include "drawn.h"
#include "files.h"

#include "image_codec.h"

#include <dirent.h>
#include <unistd.h>

/* ---- beside Pillow --------------------------------------------------------------------------- */

static media__image read_good(const char *path, bool oriented)
{
    rpc_status status = {0};
    media__image image = {.pixels = NULL};
    size_t size = 0;
    uint8_t *bytes = file_bytes(path, &size);
    if (media__image_read(rpc_bytes_of(bytes, size), oriented, &image, &status))
        fail_msg("%s: %s", path, status.message);
    free(bytes);
    return image;
}

static media__image read_by_peer(const char *path, bool oriented)
{
    char command[8192];
    media__image image = {.pixels = NULL};
    snprintf(command, sizeof command,
        "/usr/bin/python3 " DACM_SOURCE_DIR "/tests/unit/media/decode_peer.py %s '%s'",
        oriented ? "oriented" : "plain", path);
    FILE *peer = popen(command, "r");
    assert_non_null(peer);
    if (fscanf(peer, "%u %u", &image.width, &image.height) != 2 || fgetc(peer) != '\n')
        fail_msg("%s: the peer cannot read it", path);
    const size_t size = (size_t)image.width * image.height * 4;
    image.pixels = malloc(size);
    assert_int_equal(fread(image.pixels, 1, size, peer), size);
    assert_int_equal(pclose(peer), 0);
    return image;
}

/* tolerance: of one channel; other ways of rounding 16 bits to 8 */
static void assert_as_peer(const char *path, bool oriented, int tolerance)
{
    media__image ours = read_good(path, oriented), theirs = read_by_peer(path, oriented);
    assert_int_equal(ours.width, theirs.width);
    assert_int_equal(ours.height, theirs.height);
    const size_t size = (size_t)ours.width * ours.height * 4;
    for (size_t i = 0; i < size; i++)
        if (abs(ours.pixels[i] - theirs.pixels[i]) > tolerance)
            fail_msg("%s: pixel %zu of %u × %u, channel %zu: %d, the peer has %d", path, i / 4,
                ours.width, ours.height, i % 4, ours.pixels[i], theirs.pixels[i]);
    media__image_done(&ours);
    media__image_done(&theirs);
}

TEST(every_real_picture_has_the_pixels_that_another_decoder_finds)
{
    const char *folder = test_data("images");
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    unsigned seen = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        char path[4096];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", test_data("images"), entry->d_name);
        assert_as_peer(path, false, strstr(path, "16") ? 1 : 0);
        if (ends_with(path, ".jpg"))
            assert_as_peer(path, true, 0);
        seen++;
    }
    closedir(dir);
    assert_true(seen >= 21);
}

TEST(picture_is_known_by_its_bytes_whatever_its_name)
{
    media__image image = read_good(test_data("broken/made/jpeg-named.png"), true);
    assert_int_equal(image.width, 1800);
    media__image_done(&image);
}

/* ---- damaged --------------------------------------------------------------------------------- */

static void assert_refused(rpc_bytes file, rpc_code code, const char *why)
{
    rpc_status status = {0};
    media__image image = {.pixels = NULL};
    const rpc_code got = media__image_read(file, true, &image, &status);
    if (got != code || !strstr(status.message, why))
        fail_msg("%s: '%s' without '%s'", rpc_code_name(got), status.message, why);
    assert_null(image.pixels);
}

static void assert_file_refused(const char *name, rpc_code code, const char *why)
{
    size_t size = 0;
    uint8_t *bytes = file_bytes(test_data(name), &size);
    assert_refused(rpc_bytes_of(bytes, size), code, why);
    free(bytes);
}

TEST(broken_pictures_of_others_are_refused_with_fault_and_place)
{
    assert_file_refused(
        "broken/made/png-bomb-12000x12000.png", RPC_RESOURCE_EXHAUSTED, "12000 × 12000 px");
    assert_file_refused(
        "broken/made/png-declares-2147483647.png", RPC_RESOURCE_EXHAUSTED, "2147483647");
    assert_file_refused(
        "broken/made/png-bad-crc.png", RPC_INVALID_ARGUMENT, "IDAT: incorrect data check");
    assert_file_refused(
        "broken/made/jpeg-truncated.jpg", RPC_INVALID_ARGUMENT, "cut at byte 115775");
    assert_file_refused("broken/images/oss-fuzz-36829.jpeg", RPC_INVALID_ARGUMENT, "JPEG: ");
    assert_file_refused("broken/img-small-palette-4.png", RPC_INVALID_ARGUMENT,
        "row 0 names colour 15 of a palette of 15");
    assert_file_refused("broken/khronos/image/invalid_image_data.jpg", RPC_INVALID_ARGUMENT,
        "JPEG: byte 4: a segment is longer");
}

static void assert_damaged(rpc_bytes file, const char *what)
{
    rpc_status status = {0};
    media__image image = {.pixels = NULL};
    const rpc_code code = media__image_read(file, false, &image, &status);
    if (code != RPC_INVALID_ARGUMENT && code != RPC_UNIMPLEMENTED)
        fail_msg("%s: %s '%s'", what, rpc_code_name(code), status.message);
    assert_null(image.pixels);
}

static rpc_bytes written(media__image_kind kind, unsigned quality)
{
    rpc_status status = {0};
    uint8_t *bytes = NULL;
    size_t size = 0;
    media__image image = drawn(40, 30, draw_gradient);
    assert_int_equal(
        media__image_write(&image, kind, quality, MEDIA__IMAGE_COLOR, &bytes, &size, &status),
        RPC_OK);
    media__image_done(&image);
    return rpc_bytes_of(bytes, size);
}

/* Half a picture is none. */
TEST(picture_cut_at_any_byte_is_refused)
{
    for (media__image_kind kind = MEDIA__IMAGE_PNG; kind <= MEDIA__IMAGE_WEBP; kind++) {
        const rpc_bytes whole = written(kind, 80);
        for (size_t size = 0; size < whole.size; size++) {
            uint8_t *cut = malloc(size + 1); /* reading beyond it is seen */
            memcpy(cut, whole.data, size);
            char what[64];
            snprintf(what, sizeof what, "kind %d, %zu of %zu bytes", kind, size, whole.size);
            assert_damaged(rpc_bytes_of(cut, size), what);
            free(cut);
        }
        free((void *)(uintptr_t)whole.data);
    }
}

/* PNG has a checksum over everything but its checksums' own chunk names; JPEG and WebP have none,
 * there the fuzz target stands for it. */
TEST(png_with_any_byte_changed_is_refused)
{
    const rpc_bytes whole = written(MEDIA__IMAGE_PNG, 80);
    for (size_t i = 8; i < whole.size; i++) {
        uint8_t *changed = malloc(whole.size);
        memcpy(changed, whole.data, whole.size);
        changed[i] ^= 0x10;
        media__image image = {.pixels = NULL};
        rpc_status status = {0};
        const rpc_code code = media__image_read(
            rpc_bytes_of(changed, whole.size), false, &image, &status);
        if (code == RPC_OK)
            fail_msg("byte %zu of %zu", i, whole.size);
        free(changed);
    }
    free((void *)(uintptr_t)whole.data);
}

/* ---- drawn by another encoder (tests/fuzz/corpus/make-corpus) ---- */

#define CORPUS DACM_SOURCE_DIR "/tests/fuzz/corpus/image/"

static void assert_reads(const char *name, uint32_t width, uint32_t height, bool alpha)
{
    char path[4096];
    snprintf(path, sizeof path, CORPUS "%s", name);
    media__image image = read_good(path, true);
    assert_int_equal(image.width, width);
    assert_int_equal(image.height, height);
    if (image.alpha != alpha)
        fail_msg("%s: alpha %d", name, image.alpha);
    media__image_done(&image);
}

TEST(every_form_of_the_three_kinds_is_read)
{
    assert_reads("png-rgba", 9, 12, true); /* turned by EXIF */
    assert_reads("png-gray", 12, 9, false);
    assert_reads("png-bits", 12, 9, false);
    assert_reads("png-palette", 12, 9, true);
    assert_reads("png-16-gamma", 12, 9, false);
    assert_reads("png-interlaced-bits", 12, 9, false);
    assert_reads("jpeg-rgb", 9, 12, false);
    assert_reads("jpeg-444-progressive", 12, 9, false);
    assert_reads("jpeg-gray", 12, 9, false);
    assert_reads("webp-lossy", 12, 9, false);
    assert_reads("webp-lossy-alpha", 9, 12, true);
    assert_reads("webp-lossless", 12, 9, true);
}

TEST(forms_are_read_as_the_peer_reads_them)
{
    assert_as_peer(CORPUS "png-rgba", true, 0);
    assert_as_peer(CORPUS "png-palette", false, 0);
    assert_as_peer(CORPUS "png-bits", false, 0);
    assert_as_peer(CORPUS "png-16-gamma", false, 1);
    assert_as_peer(CORPUS "jpeg-rgb", true, 0);
    assert_as_peer(CORPUS "jpeg-444-progressive", false, 0);
    assert_as_peer(CORPUS "jpeg-gray", false, 0);
    assert_as_peer(CORPUS "webp-lossless", false, 0);
    assert_as_peer(CORPUS "webp-lossy", false, 0);
    assert_as_peer(CORPUS "webp-lossy-alpha", true, 0);
}

TEST(animation_gives_its_first_picture)
{
    assert_as_peer(CORPUS "png-animated", false, 0);
    assert_as_peer(CORPUS "webp-animated", false, 0);
}

TEST(cmyk_is_refused_with_what_to_do)
{
    size_t size = 0;
    uint8_t *bytes = file_bytes(CORPUS "jpeg-cmyk", &size);
    assert_refused(rpc_bytes_of(bytes, size), RPC_UNIMPLEMENTED, "convert CMYK to RGB");
    free(bytes);
}

TEST(profile_that_is_not_srgb_stays_with_an_avatar_and_not_with_a_texture)
{
    static const char *const names[] = {"png-profile", "jpeg-rgb", "webp-lossless"};
    for (size_t i = 0; i < 3; i++) {
        char path[4096];
        snprintf(path, sizeof path, CORPUS "%s", names[i]);
        media__image avatar = read_good(path, true), texture = read_good(path, false);
        assert_non_null(avatar.profile);
        assert_null(texture.profile);
        for (media__image_kind kind = MEDIA__IMAGE_PNG; kind <= MEDIA__IMAGE_WEBP; kind++) {
            if (kind == MEDIA__IMAGE_JPEG && avatar.alpha)
                continue;
            rpc_status status = {0};
            uint8_t *bytes = NULL;
            size_t size = 0;
            media__image read = {.pixels = NULL};
            if (media__image_write(&avatar, kind, 80, MEDIA__IMAGE_COLOR, &bytes, &size, &status) ||
                media__image_read(rpc_bytes_of(bytes, size), true, &read, &status))
                fail_msg("%s as %d: %s", names[i], kind, status.message);
            assert_int_equal(read.profile_size, avatar.profile_size);
            assert_memory_equal(read.profile, avatar.profile, avatar.profile_size);
            media__image_done(&read);
            free(bytes);
        }
        media__image_done(&avatar);
        media__image_done(&texture);
    }
}

/* Gamma 1.0: numbers are light already. A texture is taken as glTF says, without looking at it. */
TEST(gamma_of_a_png_is_undone_for_an_avatar_and_not_for_a_texture)
{
    media__image avatar = read_good(CORPUS "png-16-gamma", true);
    media__image texture = read_good(CORPUS "png-16-gamma", false);
    bool differs = false;
    for (size_t i = 0; i < 12 * 9 * 4; i++) {
        assert_true(avatar.pixels[i] >= texture.pixels[i]);
        differs = differs || avatar.pixels[i] > texture.pixels[i] + 20;
    }
    assert_true(differs);
    media__image_done(&avatar);
    media__image_done(&texture);
}

/* EXIF, tag 0x0112: where row 0 and column 0 of what is stored are when it is shown. */
TEST(each_orientation_turns_and_mirrors_as_exif_says)
{
    /* stored: a b c / d e f */
    static const char *const shown[] = {
        "abcdef", "cbafed", "fedcba", "defabc", "adbecf", "daebfc", "fcebda", "cfbead"};
    for (uint32_t orientation = 1; orientation <= 8; orientation++) {
        rpc_status status = {0};
        media__image image = {.width = 3, .height = 2, .pixels = calloc(6, 4)};
        for (size_t i = 0; i < 6; i++)
            image.pixels[i * 4] = (uint8_t)('a' + i);
        assert_int_equal(media__image_orient(&image, orientation, &status), RPC_OK);
        assert_int_equal(image.width, orientation >= 5 ? 2 : 3);
        assert_int_equal(image.height, orientation >= 5 ? 3 : 2);
        for (size_t i = 0; i < 6; i++)
            if (image.pixels[i * 4] != (uint8_t)shown[orientation - 1][i])
                fail_msg("orientation %u, pixel %zu: %c", orientation, i, image.pixels[i * 4]);
        media__image_done(&image);
    }
}

/* What libraries would say of damaged data goes into statuses, not to standard error. */
TEST(libraries_say_nothing_by_themselves)
{
    static const char *const names[] = {"broken/made/png-bad-crc.png",
        "broken/made/jpeg-truncated.jpg", "broken/images/oss-fuzz-36829.jpeg",
        "broken/img-small-palette-4.png"};
    char path[4096];
    snprintf(path, sizeof path, "%s/stderr", test_tmpdir());
    FILE *said = fopen(path, "w+");
    const int before = dup(STDERR_FILENO);
    assert_true(said && before >= 0 && dup2(fileno(said), STDERR_FILENO) >= 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        rpc_status status = {0};
        media__image image = {.pixels = NULL};
        size_t size = 0;
        uint8_t *bytes = file_bytes(test_data(names[i]), &size);
        const rpc_code code = media__image_read(rpc_bytes_of(bytes, size), true, &image, &status);
        free(bytes);
        if (code == RPC_OK)
            media__image_done(&image);
    }
    fflush(stderr);
    dup2(before, STDERR_FILENO);
    close(before);
    assert_int_equal(fseek(said, 0, SEEK_END), 0);
    assert_int_equal(ftell(said), 0);
    fclose(said);
}
