/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures as they are decoded: real ones beside another decoder, damaged ones refused. */
#include "image_files.h"
#include "test.h"

#include "image.h"

#include <dirent.h>

/* ---- beside Pillow --------------------------------------------------------------------------- */

static media__image read_good(const char *path, bool oriented)
{
    rpc_status status = {0};
    media__image image = {.pixels = NULL};
    file_bytes_t file = file_read(path);
    if (media__image_read(file_view(&file), oriented, &image, &status))
        fail_msg("%s: %s", path, status.message);
    file_done(&file);
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

static bool ends(const char *name, const char *with)
{
    const size_t size = strlen(name), wanted = strlen(with);
    return size >= wanted && strcmp(name + size - wanted, with) == 0;
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
        if (ends(path, ".jpg"))
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
    file_bytes_t file = file_read(test_data(name));
    assert_refused(file_view(&file), code, why);
    file_done(&file);
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
