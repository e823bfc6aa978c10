/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures inside a document: each is what it says it is, and of a kind that the texture which
 * shows it may have. Pictures beside the document are carried by name and never fetched. */
#include "gltf_accessor.h"
#include "image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNKNOWN ((media__image_kind)0) /* beside the document, or what an extension brought */

static const char *const types[] = {"image/png", "image/jpeg", "image/webp", "image/ktx2"};

_Static_assert(MEDIA__IMAGE_PNG == 1 && MEDIA__IMAGE_KTX2 == 4, "types[] is in their order");

typedef struct walk {
    const media__gltf *gltf;
    rpc_status *reterr;
    char place[64];
    size_t bytes;             /* of all pictures until now */
    bool webp, ktx2, strange; /* EXT_texture_webp, KHR_texture_basisu, an unknown one is used */
    media__image_kind *kinds; /* of images */
} walk;

#define BAD(w, ...) media__gltf_bad((w)->reterr, (w)->place, __VA_ARGS__)

static const json_t *list_of(const walk *w, const char *name)
{
    return json_object_get(w->gltf->json, name);
}

static const json_t *extension(const json_t *object, const char *name)
{
    return json_object_get(json_object_get(object, "extensions"), name);
}

static media__image_kind kind_of_type(const char *type)
{
    return (media__image_kind)(media__word_of(type, types, 4) + 1);
}

static const char *type_of_kind(media__image_kind kind)
{
    return kind == UNKNOWN ? "nothing that is known here" : types[kind - 1];
}

/* ---- what its bytes are ---------------------------------------------------------------------- */

/* The message of a probe, with the place instead of its "image: ". Many pictures may be made of the
 * same bytes, and each is looked at: they count each time. */
static rpc_code probe(walk *w, rpc_bytes bytes, media__image_kind *ret)
{
    if (bytes.size > MEDIA__FILE_BYTES_MAX - w->bytes)
        return rpc_status_set(w->reterr, RPC_RESOURCE_EXHAUSTED,
            "gltf: %s: pictures have more than %u bytes together", w->place, MEDIA__FILE_BYTES_MAX);
    w->bytes += bytes.size;
    media__image_info info;
    rpc_status status = {0};
    rpc_code code = media__image_probe(bytes, &info, &status);
    if (code == RPC_OK)
        code = media__image_whole(bytes, &status);
    const char *message = strncmp(status.message, "image: ", 7) == 0 ? status.message + 7
                                                                     : status.message;
    if (code == RPC_OK)
        *ret = info.kind;
    return code == RPC_OK ? RPC_OK
           : code == RPC_UNIMPLEMENTED
               ? BAD(w, "is no PNG, JPEG, WebP or KTX2: %s", message)
               : rpc_status_set(w->reterr, code, "gltf: %s: %s", w->place, message);
}

static rpc_code probe_view(walk *w, const json_t *image, media__image_kind *ret)
{
    const size_t index = (size_t)json_integer_value(json_object_get(image, "bufferView"));
    const json_t *view = json_array_get(list_of(w, "bufferViews"), index);
    const json_int_t offset = json_integer_value(json_object_get(view, "byteOffset"));
    const json_int_t size = json_integer_value(json_object_get(view, "byteLength"));
    const media__buffer *buffer =
        &w->gltf->buffers[json_integer_value(json_object_get(view, "buffer"))];
    if (json_object_get(view, "byteStride") || json_object_get(view, "target") ||
        extension(view, MEDIA__MESHOPT) || !buffer->data)
        return BAD(w, "/bufferViews/%zu has a byteStride, a target or compressed elements", index);
    return probe(w, rpc_bytes_of(buffer->data + offset, (size_t)size), ret);
}

/* A path below the document: nothing that whoever opens it would fetch from elsewhere. */
static rpc_code check_path(walk *w, const char *uri)
{
    const size_t scheme = strcspn(uri, ":/?#");
    if (uri[0] == '\0')
        return BAD(w, "its uri is empty");
    if (uri[scheme] == ':' || uri[0] == '/' || uri[0] == '\\')
        return BAD(w, "its uri leads elsewhere; nothing is fetched: put the bytes into this file");
    for (const char *at = uri; at; at = strchr(at, '/')) {
        at += *at == '/';
        if (strncmp(at, "..", 2) == 0 && (at[2] == '/' || at[2] == '\0'))
            return BAD(w, "its uri climbs out of its folder");
    }
    return RPC_OK;
}

static rpc_code probe_uri(walk *w, const char *uri, const char *type, media__image_kind *ret)
{
    static const char base64[] = ";base64,";
    if (strncmp(uri, "data:", 5) != 0) {
        *ret = type ? kind_of_type(type) : UNKNOWN;
        return check_path(w, uri);
    }
    char said[32] = "";
    const char *end = strstr(uri, base64);
    if (!end || (size_t)(end - uri - 5) >= sizeof said)
        return BAD(w, "its data URI is not of an image, in base64");
    memcpy(said, uri + 5, (size_t)(end - uri - 5));
    if (kind_of_type(said) == UNKNOWN)
        return BAD(w, "its data URI is of '%s'", said);
    uint8_t *bytes = NULL;
    size_t size = 0;
    rpc_code code = media__base64_decode(end + strlen(base64), w->place, &bytes, &size, w->reterr);
    if (code == RPC_OK)
        code = probe(w, rpc_bytes_of(bytes, size), ret);
    free(bytes);
    return code == RPC_OK && kind_of_type(said) != *ret
               ? BAD(w, "its data URI is of %s, its bytes are %s", said, type_of_kind(*ret))
               : code;
}

static rpc_code check_kind(walk *w, media__image_kind kind)
{
    if (kind == MEDIA__IMAGE_WEBP && !w->webp)
        return BAD(w, "is image/webp, and /extensionsUsed has no EXT_texture_webp");
    if (kind == MEDIA__IMAGE_KTX2 && !w->ktx2)
        return BAD(w, "is image/ktx2, and /extensionsUsed has no KHR_texture_basisu");
    return RPC_OK;
}

static rpc_code check_image(walk *w, const json_t *image, media__image_kind *ret)
{
    const char *uri = json_string_value(json_object_get(image, "uri"));
    const char *type = json_string_value(json_object_get(image, "mimeType"));
    if (type && kind_of_type(type) == UNKNOWN)
        return w->strange ? RPC_OK : BAD(w, "'%.40s' is no type of glTF's images", type);
    rpc_code code = uri ? probe_uri(w, uri, type, ret) : probe_view(w, image, ret);
    if (code == RPC_OK && type && kind_of_type(type) != *ret)
        code = BAD(w, "says %s, and is %s", type, type_of_kind(*ret));
    return code == RPC_OK ? check_kind(w, *ret) : code;
}

/* ---- what shows it --------------------------------------------------------------------------- */

static rpc_code check_source(
    walk *w, const json_t *source, const char *what, bool (*allowed)(media__image_kind kind))
{
    const media__image_kind kind = source ? w->kinds[json_integer_value(source)] : UNKNOWN;
    return kind != UNKNOWN && !allowed(kind)
               ? BAD(w, "%s shows /images/%lld, which is %s", what,
                     (long long)json_integer_value(source), type_of_kind(kind))
               : RPC_OK;
}

static bool is_core(media__image_kind kind)
{
    return kind == MEDIA__IMAGE_PNG || kind == MEDIA__IMAGE_JPEG;
}

static bool is_webp(media__image_kind kind)
{
    return kind == MEDIA__IMAGE_WEBP;
}

static bool is_ktx2(media__image_kind kind)
{
    return kind == MEDIA__IMAGE_KTX2;
}

static rpc_code check_texture(walk *w, const json_t *texture)
{
    rpc_code code = check_source(w, json_object_get(texture, "source"), "source", is_core);
    if (code == RPC_OK)
        code = check_source(w, json_object_get(extension(texture, "EXT_texture_webp"), "source"),
            "EXT_texture_webp", is_webp);
    if (code == RPC_OK)
        code = check_source(w, json_object_get(extension(texture, "KHR_texture_basisu"), "source"),
            "KHR_texture_basisu", is_ktx2);
    return code;
}

static rpc_code check_all(walk *w)
{
    const json_t *images = list_of(w, "images"), *textures = list_of(w, "textures");
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < json_array_size(images); i++) {
        snprintf(w->place, sizeof w->place, "/images/%zu", i);
        code = check_image(w, json_array_get(images, i), &w->kinds[i]);
    }
    for (size_t i = 0; code == RPC_OK && i < json_array_size(textures); i++) {
        snprintf(w->place, sizeof w->place, "/textures/%zu", i);
        code = check_texture(w, json_array_get(textures, i));
    }
    return code;
}

/* An extension that nobody here knows may bring pictures of its own. */
static bool has_strange_extension(const json_t *used)
{
    for (size_t i = 0; i < json_array_size(used); i++)
        if (!media__extension_known(json_string_value(json_array_get(used, i))))
            return true;
    return false;
}

rpc_code media__gltf_check_images(const media__gltf *gltf, rpc_status *reterr)
{
    walk w = {.gltf = gltf,
        .reterr = reterr,
        .webp = media__gltf_uses(gltf->json, "EXT_texture_webp"),
        .ktx2 = media__gltf_uses(gltf->json, "KHR_texture_basisu"),
        .strange = has_strange_extension(json_object_get(gltf->json, "extensionsUsed")),
        .kinds = calloc(
            json_array_size(json_object_get(gltf->json, "images")) + 1, sizeof *w.kinds)};
    const rpc_code code = w.kinds ? check_all(&w) : media__no_memory(reterr);
    free(w.kinds);
    return code;
}
