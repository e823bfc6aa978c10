/* SPDX-License-Identifier: Apache-2.0 */
/* PNG by libpng. Its errors jump: what they must not lose stands in a struct, and each function
 * that they may jump out of is entered by setjmp() once. */
#include "image_codec.h"
#include "image_palette.h"

#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct fault {
    char text[160];
    bool no_memory;
} fault;

static void on_error(png_structp png, const char *text)
{
    fault *f = png_get_error_ptr(png);
    snprintf(f->text, sizeof f->text, "%s", text);
    png_longjmp(png, 1);
}

/* ---- reading --------------------------------------------------------------------------------- */

typedef struct reader {
    fault fault;
    rpc_bytes file;
    size_t at;
    bool avatar;
    media__image *image;
    rpc_code code; /* of what is ours */
    rpc_status *reterr;
} reader;

/* libpng goes on where it can; a picture whose data is damaged is none of ours. */
static void on_warning(png_structp png, const char *text)
{
    if (strncmp(text, "IDAT", 4) == 0)
        on_error(png, text);
}

static void on_read(png_structp png, png_bytep ret, size_t size)
{
    reader *r = png_get_io_ptr(png);
    if (size > r->file.size - r->at)
        png_error(png, "cut before its end");
    memcpy(ret, r->file.data + r->at, size);
    r->at += size;
}

/* Text and the like: passed over without being unpacked, their checksums are looked at. */
static void drop_metadata(png_structp png, bool avatar)
{
    static const png_byte text[] = "tEXt\0zTXt\0iTXt\0tIME\0hIST\0sPLT\0pCAL\0oFFs\0pHYs\0sCAL\0"
                                   "eXIf\0bKGD";
    static const png_byte color[] = "iCCP\0gAMA\0cHRM\0sRGB\0sBIT";
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, text, (int)(sizeof text / 5));
    if (!avatar)
        png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, color, (int)(sizeof color / 5));
}

/* Whatever it is: four channels of 8 bits, or an index of 8 bits. */
static void transform(png_structp png, png_infop info, bool avatar)
{
    double gamma;
    int intent;
    if (avatar && png_get_gAMA(png, info, &gamma) && !png_get_sRGB(png, info, &intent) &&
        !png_get_valid(png, info, PNG_INFO_iCCP))
        png_set_gamma(png, PNG_DEFAULT_sRGB, gamma);
    if (png_get_color_type(png, info) == PNG_COLOR_TYPE_PALETTE) {
        png_set_packing(png);
        return;
    }
    png_set_expand(png);
    png_set_scale_16(png);
    png_set_gray_to_rgb(png);
    png_set_add_alpha(png, 0xff, PNG_FILLER_AFTER);
}

/* Colours in place of a row's indices, which stand in its last quarter: each is read before a
 * colour is written there. (libpng takes black for an index beyond the palette.) */
static void expand_row(png_structp png, png_infop info, uint8_t *row, uint32_t width, uint32_t y)
{
    png_colorp palette;
    png_bytep alpha = NULL;
    int colors = 0, alphas = 0;
    png_get_PLTE(png, info, &palette, &colors);
    png_get_tRNS(png, info, &alpha, &alphas, NULL);
    const uint8_t *indices = row + (size_t)width * 3;
    for (uint32_t x = 0; x < width; x++, row += 4) {
        const int index = indices[x];
        if (index >= colors) {
            char text[96];
            snprintf(
                text, sizeof text, "row %u names colour %d of a palette of %d", y, index, colors);
            png_error(png, text);
        }
        row[0] = palette[index].red;
        row[1] = palette[index].green;
        row[2] = palette[index].blue;
        row[3] = index < alphas ? alpha[index] : 0xff;
    }
}

static void read_rows(png_structp png, png_infop info, const media__image *image)
{
    const size_t stride = (size_t)image->width * 4;
    const bool palette = png_get_color_type(png, info) == PNG_COLOR_TYPE_PALETTE;
    if (png_get_rowbytes(png, info) != (palette ? image->width : stride))
        png_error(png, "its rows have another size than its header says");
    uint8_t *first = image->pixels + (palette ? (size_t)image->width * 3 : 0);
    for (int pass = png_set_interlace_handling(png); pass > 0; pass--)
        for (uint32_t y = 0; y < image->height; y++)
            png_read_row(png, first + y * stride, NULL);
    for (uint32_t y = 0; palette && y < image->height; y++)
        expand_row(png, info, image->pixels + y * stride, image->width, y);
}

static void take_profile(png_structp png, png_infop info, reader *r)
{
    png_charp name;
    png_bytep profile;
    png_uint_32 size;
    int method;
    if (png_get_iCCP(png, info, &name, &method, &profile, &size))
        r->code = media__image_take_profile(r->image, rpc_bytes_of(profile, size), r->reterr);
}

static void take_palette(png_structp png, png_infop info, reader *r)
{
    png_colorp palette;
    png_bytep alpha = NULL;
    int colors = 0, alphas = 0;
    if (png_get_color_type(png, info) != PNG_COLOR_TYPE_PALETTE)
        return;
    png_get_PLTE(png, info, &palette, &colors);
    png_get_tRNS(png, info, &alpha, &alphas, NULL);
    uint32_t *taken = malloc(MEDIA__PALETTE_MAX * sizeof *taken);
    if (!taken) {
        r->code = media__no_memory(r->reterr);
        return;
    }
    for (int i = 0; i < colors && i < MEDIA__PALETTE_MAX; i++)
        taken[i] = (uint32_t)(i < alphas ? alpha[i] : 0xff) << 24 | (uint32_t)palette[i].red << 16 |
                   (uint32_t)palette[i].green << 8 | palette[i].blue;
    r->image->palette = taken;
    r->image->palette_count = (size_t)colors;
}

static bool read_picture(png_structp png, png_infop info, reader *r)
{
    if (setjmp(png_jmpbuf(png)))
        return false;
    png_set_crc_action(png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    png_set_user_limits(png, MEDIA__IMAGE_SIDE_MAX, MEDIA__IMAGE_SIDE_MAX);
    png_set_chunk_malloc_max(png, 1 << 20);
    drop_metadata(png, r->avatar);
    png_set_read_fn(png, r, on_read);
    png_read_info(png, info);
    if (r->avatar)
        take_profile(png, info, r);
    transform(png, info, r->avatar);
    png_set_interlace_handling(png);
    png_read_update_info(png, info);
    read_rows(png, info, r->image);
    take_palette(png, info, r);
    png_read_end(png, NULL);
    return true;
}

rpc_code media__png_read(rpc_bytes file, bool avatar, media__image *image, rpc_status *reterr)
{
    reader r = {.file = file, .avatar = avatar, .image = image, .reterr = reterr};
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &r.fault, on_error, on_warning);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    const bool whole = info && read_picture(png, info, &r);
    png_destroy_read_struct(&png, &info, NULL);
    if (r.code)
        return r.code;
    if (whole)
        return RPC_OK;
    if (!r.fault.text[0] || strstr(r.fault.text, "memory"))
        return media__no_memory(reterr);
    return media__image_bad(reterr, "PNG: byte %zu: %s", r.at, r.fault.text);
}

/* ---- writing --------------------------------------------------------------------------------- */

typedef struct writer {
    fault fault;
    const media__image *image;
    const media__palette *palette; /* NULL: true colours, or gray */
    bool gray;
    uint8_t *row; /* of channels that are written */
    uint8_t *bytes;
    size_t size, room;
} writer;

static void on_write(png_structp png, png_bytep data, size_t size)
{
    writer *w = png_get_io_ptr(png);
    if (size > w->room - w->size) {
        const size_t room = (w->size + size) * 2;
        uint8_t *grown = realloc(w->bytes, room);
        if (!grown)
            png_error(png, "memory");
        w->bytes = grown;
        w->room = room;
    }
    memcpy(w->bytes + w->size, data, size);
    w->size += size;
}

static void on_note(png_structp png, const char *text)
{
    (void)png;
    (void)text;
}

static void on_flush(png_structp png)
{
    (void)png;
}

static void pack_row(const writer *w, uint32_t y)
{
    const media__image *image = w->image;
    const size_t first = (size_t)y * image->width;
    const uint8_t *p = image->pixels + first * 4;
    const unsigned colors = w->gray ? 1 : 3;
    uint8_t *out = w->row;
    for (uint32_t x = 0; x < image->width; x++, p += 4) {
        if (w->palette) {
            *out++ = media__palette_index(w->palette, image, first + x);
            continue;
        }
        for (unsigned c = 0; c < colors; c++)
            *out++ = p[c];
        if (image->alpha)
            *out++ = p[3];
    }
}

/* As few bits for a pixel as the palette takes. */
static int bits_of(const media__palette *palette)
{
    int bits = 1;
    while (palette->count > (size_t)1 << bits)
        bits *= 2;
    return bits;
}

static void set_palette(png_structp png, png_infop info, const media__palette *palette)
{
    png_color colors[MEDIA__PALETTE_MAX] = {{0}};
    png_byte alphas[MEDIA__PALETTE_MAX] = {0};
    int translucent = 0;
    for (size_t i = 0; i < palette->count; i++) {
        const uint32_t color = palette->colors[i];
        colors[i] = (png_color){(png_byte)(color >> 16), (png_byte)(color >> 8), (png_byte)color};
        alphas[i] = (png_byte)(color >> 24);
        translucent += alphas[i] < 0xff;
    }
    png_set_PLTE(png, info, colors, (int)palette->count);
    if (translucent > 0)
        png_set_tRNS(png, info, alphas, translucent, NULL);
}

static void set_header(png_structp png, png_infop info, const writer *w)
{
    const media__image *image = w->image;
    const int colors = (w->gray ? 0 : PNG_COLOR_MASK_COLOR) |
                       (image->alpha ? PNG_COLOR_MASK_ALPHA : 0);
    png_set_IHDR(png, info, image->width, image->height, w->palette ? bits_of(w->palette) : 8,
        w->palette ? PNG_COLOR_TYPE_PALETTE : colors, PNG_INTERLACE_NONE,
        PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    if (w->palette)
        set_palette(png, info, w->palette);
}

static bool write_picture(png_structp png, png_infop info, writer *w)
{
    if (setjmp(png_jmpbuf(png)))
        return false;
    const media__image *image = w->image;
    png_set_write_fn(png, w, on_write, on_flush);
    set_header(png, info, w);
    png_set_benign_errors(png, 1); /* a profile that libpng finds damaged is left out */
    if (image->profile)
        png_set_iCCP(png, info, "profile", PNG_COMPRESSION_TYPE_BASE, image->profile,
            (png_uint_32)image->profile_size);
    png_write_info(png, info);
    png_set_packing(png);
    for (uint32_t y = 0; y < image->height; y++) {
        pack_row(w, y);
        png_write_row(png, w->row);
    }
    png_write_end(png, info);
    return true;
}

static rpc_code write_as(const media__image *image, const media__palette *palette, uint8_t **ret,
    size_t *ret_size, rpc_status *reterr)
{
    writer w = {
        .image = image, .palette = palette, .gray = !image->profile && media__image_is_gray(image)};
    w.row = malloc((size_t)image->width * 4);
    png_structp png = w.row ? png_create_write_struct(
                                  PNG_LIBPNG_VER_STRING, &w.fault, on_error, on_note)
                            : NULL;
    png_infop info = png ? png_create_info_struct(png) : NULL;
    const bool whole = info && write_picture(png, info, &w);
    png_destroy_write_struct(&png, &info);
    free(w.row);
    if (!whole) {
        free(w.bytes);
        return w.fault.text[0] && !strstr(w.fault.text, "memory")
                   ? rpc_status_set(
                         reterr, RPC_INTERNAL, "image: PNG is not written: %s", w.fault.text)
                   : media__no_memory(reterr);
    }
    *ret = w.bytes;
    *ret_size = w.size;
    return RPC_OK;
}

/* Of few colours either form may be the smaller one. */
rpc_code media__png_write(
    const media__image *image, bool near, uint8_t **ret, size_t *ret_size, rpc_status *reterr)
{
    media__palette *palette = malloc(sizeof *palette);
    uint8_t *bytes[2] = {NULL, NULL};
    size_t sizes[2] = {0, 0};
    if (!palette)
        return media__no_memory(reterr);
    rpc_code code = write_as(image, NULL, &bytes[0], &sizes[0], reterr);
    if (code == RPC_OK &&
        (media__palette_of(image, palette) || (near && media__palette_near(image, palette))))
        code = write_as(image, palette, &bytes[1], &sizes[1], reterr);
    free(palette);
    const int best = bytes[1] && sizes[1] < sizes[0];
    free(bytes[!best]);
    if (code != RPC_OK) {
        free(bytes[best]);
        return code;
    }
    *ret = bytes[best];
    *ret_size = sizes[best];
    return RPC_OK;
}
