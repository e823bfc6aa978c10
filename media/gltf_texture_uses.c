/* SPDX-License-Identifier: Apache-2.0 */
#include "gltf_textures.h"
#include "gltf_adapt.h"
#include "gltf_get.h"
#include "gltf_pointers.h"
#include "image_codec.h"
#include "image_kinds.h"

#include <stdio.h>
#include <stdlib.h>

#define WEBP "EXT_texture_webp"

#define KTX2 "KHR_texture_basisu"

#define ANISOTROPY "KHR_materials_anisotropy"

/* ---- what a slot is for ---- */

/* Colours of the core, of KHR_materials_* and of MToon; the alpha of some says what shows. */
static const struct {
    const char *name;
    bool shows;
} colors[] = {
    {"baseColorTexture", true},
    {"diffuseTexture", true},
    {"shadeMultiplyTexture", true},
    {"emissiveTexture", false},
    {"specularColorTexture", false},
    {"specularGlossinessTexture", false},
    {"sheenColorTexture", false},
    {"diffuseTransmissionColorTexture", false},
    {"multiscatterColorTexture", false},
    {"matcapTexture", false},
    {"rimMultiplyTexture", false},
    /* properties of Unity's shaders, as VRM 0.x has them */
    {"_MainTex", true},
    {"_ShadeTexture", true},
    {"_EmissionMap", false},
    {"_SphereAdd", false},
    {"_RimTexture", false},
};

static media__image_use use_of(const char *slot, bool opaque)
{
    if (strstr(slot, "ormalTexture") || strcmp(slot, "_BumpMap") == 0)
        return MEDIA__IMAGE_NORMAL;
    for (size_t i = 0; i < sizeof colors / sizeof *colors; i++)
        if (strcmp(slot, colors[i].name) == 0)
            return colors[i].shows && !opaque ? MEDIA__IMAGE_COLOR : MEDIA__IMAGE_COLOR_APART;
    return MEDIA__IMAGE_DATA;
}

typedef struct uses {
    const media__gltf *gltf;
    media__texture_use *list;
    size_t count;
} uses;

/* Two uses: what shows is the stricter of colours, plain numbers are it of all else. */
static media__image_use both(media__image_use a, media__image_use b)
{
    if (a == b)
        return a;
    return media__image_is_color(a) && media__image_is_color(b) ? MEDIA__IMAGE_COLOR
                                                                : MEDIA__IMAGE_DATA;
}

static void use_image(uses *u, size_t image, media__image_use use)
{
    if (image >= u->count)
        return;
    u->list[image].use = u->list[image].known ? both(u->list[image].use, use) : use;
    u->list[image].known = true;
}

/* What shows thumbnails reads PNG and JPEG. */
static void use_thumbnail(uses *u, size_t image)
{
    use_image(u, image, MEDIA__IMAGE_COLOR);
    if (image < u->count)
        u->list[image].plain = true;
}

static void use_texture(uses *u, size_t texture, media__image_use use)
{
    const json_t *json = media__gltf_entry(u->gltf, "textures", texture);
    const char *name;
    json_t *extension;
    use_image(u, media__get_index(json, "source"), use);
    json_object_foreach(json_object_get(json, "extensions"), name, extension)
        use_image(u, media__get_index(extension, "source"), use);
}

static bool is_opaque(const json_t *material)
{
    const char *mode = json_string_value(json_object_get(material, "alphaMode"));
    return !mode || strcmp(mode, "OPAQUE") == 0;
}

/* Members that are textureInfos. */
static void use_slots(uses *u, json_t *owner, bool opaque)
{
    const char *name;
    json_t *slot;
    json_object_foreach(owner, name, slot) if (media__get_index(slot, "index") != MEDIA__NO_INDEX)
        use_texture(u, media__get_index(slot, "index"), use_of(name, opaque));
}

static void use_material(uses *u, json_t *material)
{
    const char *name;
    json_t *extension;
    const bool opaque = is_opaque(material);
    use_slots(u, material, opaque);
    use_slots(u, json_object_get(material, "pbrMetallicRoughness"), opaque);
    json_object_foreach(json_object_get(material, "extensions"), name, extension)
        use_slots(u, extension, opaque);
}

/* VRM 0.x: shaders of the materials, and the thumbnail, a texture. */
static void use_vrm0(uses *u)
{
    const json_t *vrm = media__get_extension(u->gltf->json, "VRM");
    const json_t *list = json_object_get(vrm, "materialProperties");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const bool opaque = is_opaque(media__gltf_entry(u->gltf, "materials", i));
        const char *name;
        json_t *texture;
        json_object_foreach(json_object_get(json_array_get(list, i), "textureProperties"), name,
            texture) if (json_is_integer(texture) && json_integer_value(texture) >= 0)
            use_texture(u, (size_t)json_integer_value(texture), use_of(name, opaque));
    }
    const json_t *thumbnail = media__gltf_entry(
        u->gltf, "textures", media__get_index(json_object_get(vrm, "meta"), "texture"));
    use_thumbnail(u, media__get_index(thumbnail, "source"));
    use_thumbnail(u, media__get_index(media__get_extension(thumbnail, WEBP), "source"));
}

/* VRM 1.0: the thumbnail, an image that is PNG or JPEG. */
static void use_vrm1(uses *u)
{
    const json_t *meta = json_object_get(media__get_extension(u->gltf->json, "VRMC_vrm"), "meta");
    use_thumbnail(u, media__get_index(meta, "thumbnailImage"));
}

rpc_code media__textures_uses(const media__gltf *gltf, media__texture_use **ret, rpc_status *reterr)
{
    uses u = {.gltf = gltf, .count = media__gltf_count(gltf, "images")};
    u.list = calloc(u.count + 1, sizeof *u.list);
    if (!u.list)
        return media__no_memory(reterr);
    for (size_t i = 0; i < media__gltf_count(gltf, "materials"); i++)
        use_material(&u, media__gltf_entry(gltf, "materials", i));
    use_vrm0(&u);
    use_vrm1(&u);
    *ret = u.list;
    return RPC_OK;
}

/* ---- channels that go ---- */

#define FACTORS 2

static const struct {
    unsigned channel;
    const char *parent, *slot, *property; /* parent: an extension, too; property: of VRM 0.x */
    const char *factors[FACTORS];         /* beside the slot: what the texture multiplies */
} slots[] = {
    {MEDIA_CHANNEL_BASE_COLOR, "pbrMetallicRoughness", "baseColorTexture", "_MainTex",
        {"/baseColorFactor"}},
    {MEDIA_CHANNEL_BASE_COLOR, "VRMC_materials_mtoon", "shadeMultiplyTexture", "_ShadeTexture",
        {"/shadeColorFactor"}},
    {MEDIA_CHANNEL_METALLIC_ROUGHNESS, "pbrMetallicRoughness", "metallicRoughnessTexture", NULL,
        {"/metallicFactor", "/roughnessFactor"}},
    {MEDIA_CHANNEL_NORMAL, NULL, "normalTexture", "_BumpMap", {NULL}},
    {MEDIA_CHANNEL_NORMAL, "KHR_materials_clearcoat", "clearcoatNormalTexture", NULL, {NULL}},
    {MEDIA_CHANNEL_OCCLUSION, NULL, "occlusionTexture", NULL, {NULL}},
    {MEDIA_CHANNEL_EMISSIVE, NULL, "emissiveTexture", "_EmissionMap", {"/emissiveFactor"}},
};

static json_t *owner_of(json_t *material, size_t slot)
{
    const char *parent = slots[slot].parent;
    json_t *member = parent ? json_object_get(material, parent) : material;
    return member ? member : media__get_extension(material, parent);
}

static rpc_code drop_slot(json_t *material, size_t slot, rpc_status *reterr)
{
    json_t *owner = owner_of(material, slot);
    int failed = 0;
    if (!json_object_get(owner, slots[slot].slot))
        return RPC_OK;
    json_object_del(owner, slots[slot].slot);
    if (slots[slot].channel == MEDIA_CHANNEL_EMISSIVE)
        json_object_del(material, "emissiveFactor");
    if (slots[slot].channel == MEDIA_CHANNEL_METALLIC_ROUGHNESS) {
        failed |= json_object_set_new(owner, "metallicFactor", json_integer(0));
        json_object_del(owner, "roughnessFactor");
    }
    return failed ? media__no_memory(reterr) : RPC_OK;
}

static void drop_property(media__gltf *gltf, const char *name)
{
    const json_t *list = json_object_get(
        media__get_extension(gltf->json, "VRM"), "materialProperties");
    for (size_t i = 0; i < json_array_size(list); i++)
        json_object_del(json_object_get(json_array_get(list, i), "textureProperties"), name);
}

/* Anisotropy has a direction: by tangents, or by the normal map that goes. */
static bool loses_direction(const media__gltf *gltf, size_t material)
{
    const json_t *json = media__gltf_entry(gltf, "materials", material);
    if (!media__get_extension(json, ANISOTROPY) || !json_object_get(json, "normalTexture"))
        return false;
    for (size_t i = 0; i < media__gltf_count(gltf, "meshes"); i++) {
        const json_t *list = json_object_get(media__gltf_entry(gltf, "meshes", i), "primitives");
        for (size_t k = 0; k < json_array_size(list); k++) {
            const json_t *primitive = json_array_get(list, k);
            const json_t *attributes = json_object_get(primitive, "attributes");
            if (media__get_index(primitive, "material") == material &&
                !(json_object_get(attributes, "NORMAL") && json_object_get(attributes, "TANGENT")))
                return true;
        }
    }
    return false;
}

static void drop_anisotropy(media__gltf *gltf)
{
    bool dropped = false, left = false;
    for (size_t i = 0; i < media__gltf_count(gltf, "materials"); i++) {
        json_t *material = media__gltf_entry(gltf, "materials", i);
        json_t *extensions = json_object_get(material, "extensions");
        if (loses_direction(gltf, i)) {
            dropped = true;
            json_object_del(extensions, ANISOTROPY);
            if (json_object_size(extensions) == 0)
                json_object_del(material, "extensions");
        }
        left = left || media__get_extension(material, ANISOTROPY);
    }
    if (dropped && !left)
        media__gltf_drop_extension(gltf, ANISOTROPY);
}

/* Is this within the member, "/a/b" and all below? */
static bool is_within(const char *path, const char *member)
{
    const size_t size = strlen(member);
    return strncmp(path, member, size) == 0 && (path[size] == '/' || path[size] == '\0');
}

typedef struct moving {
    const media__gltf *gltf;
    const media_recipe *recipe;
} moving;

/* Behind "/materials/3": the rest behind the slot's owner; NULL: it is of another object. */
static const char *within_owner(const char *rest, const char *parent)
{
    char owner[64];
    snprintf(owner, sizeof owner, "/%s", parent ? parent : "");
    if (!parent)
        return rest;
    if (is_within(rest, "/extensions"))
        rest += strlen("/extensions");
    return is_within(rest, owner) ? rest + strlen(owner) : NULL;
}

/* Animations move nothing of a slot that went, and no factor that says something else without its
 * texture: what glowed in places would glow as a whole. */
static bool channel_stays(void *ctx, json_t *channel)
{
    const moving *m = ctx;
    media__pointer at;
    if (!media__pointer_of(channel, "materials", &at))
        return true;
    json_t *material = media__gltf_entry(m->gltf, "materials", at.index);
    if (!(m->recipe->texture_channels & MEDIA_CHANNEL_NORMAL) &&
        is_within(at.rest, "/extensions/" ANISOTROPY) && loses_direction(m->gltf, at.index))
        return false;
    for (size_t s = 0; s < sizeof slots / sizeof *slots; s++) {
        char member[64];
        const char *rest = within_owner(at.rest, slots[s].parent);
        if (m->recipe->texture_channels & slots[s].channel)
            continue;
        snprintf(member, sizeof member, "/%s", slots[s].slot);
        if (rest && is_within(rest, member))
            return false;
        if (!json_object_get(owner_of(material, s), slots[s].slot))
            continue;
        for (size_t f = 0; rest && f < FACTORS && slots[s].factors[f]; f++)
            if (strcmp(rest, slots[s].factors[f]) == 0)
                return false;
    }
    return true;
}

rpc_code media__textures_drop(media__gltf *gltf, const media_recipe *recipe, rpc_status *reterr)
{
    if (recipe->texture_channels == MEDIA_CHANNELS_ALL)
        return RPC_OK;
    moving m = {.gltf = gltf, .recipe = recipe};
    rpc_code code = media__gltf_keep_channels(gltf, channel_stays, &m, reterr);
    if (code == RPC_OK)
        code = media__textures_mean_color(gltf, recipe, reterr);
    if (code == RPC_OK && !(recipe->texture_channels & MEDIA_CHANNEL_NORMAL))
        drop_anisotropy(gltf);
    for (size_t s = 0; s < sizeof slots / sizeof *slots; s++) {
        if (recipe->texture_channels & slots[s].channel)
            continue;
        for (size_t i = 0; code == RPC_OK && i < media__gltf_count(gltf, "materials"); i++)
            code = drop_slot(media__gltf_entry(gltf, "materials", i), s, reterr);
        if (slots[s].property)
            drop_property(gltf, slots[s].property);
    }
    return code;
}

/* ---- how a texture names its picture ---- */

static int name_webp(json_t *texture, size_t image)
{
    json_t *extensions = json_object_get(texture, "extensions");
    if (!extensions && json_object_set_new(texture, "extensions", json_object()) == 0)
        extensions = json_object_get(texture, "extensions");
    json_object_del(texture, "source");
    return json_object_set_new(extensions, WEBP, json_pack("{s:I}", "source", (json_int_t)image));
}

static int name_plain(json_t *texture, size_t image)
{
    json_t *extensions = json_object_get(texture, "extensions");
    json_object_del(extensions, WEBP);
    if (extensions && json_object_size(extensions) == 0)
        json_object_del(texture, "extensions");
    return json_object_set_new(texture, "source", json_integer((json_int_t)image));
}

/* Of a texture with a picture in plain glTF and another for those who have an extension. */
static void choose(json_t *texture, const media_recipe *recipe, const char *extension, bool taken)
{
    json_t *extensions = json_object_get(texture, "extensions");
    if (!json_object_get(extensions, extension) || !json_object_get(texture, "source"))
        return;
    if (!taken)
        json_object_del(extensions, extension);
    else if (recipe->accepts_some)
        json_object_del(texture, "source");
    if (json_object_size(extensions) == 0)
        json_object_del(texture, "extensions");
}

void media__textures_choose(media__gltf *gltf, const media_recipe *recipe)
{
    const bool webp = media__takes_texture(recipe, MEDIA__IMAGE_WEBP);
    const bool ktx2 = media__takes_texture(recipe, MEDIA__IMAGE_KTX2);
    for (size_t i = 0; i < media__gltf_count(gltf, "textures"); i++) {
        choose(media__gltf_entry(gltf, "textures", i), recipe, KTX2, ktx2);
        choose(media__gltf_entry(gltf, "textures", i), recipe, WEBP, webp);
    }
}

rpc_code media__textures_follow(media__gltf *gltf, size_t image, bool is_webp, rpc_status *reterr)
{
    int failed = 0;
    for (size_t i = 0; i < media__gltf_count(gltf, "textures"); i++) {
        json_t *texture = media__gltf_entry(gltf, "textures", i);
        const bool plain = media__get_index(texture, "source") == image;
        const bool webp = media__get_index(media__get_extension(texture, WEBP), "source") == image;
        if (plain && is_webp)
            failed |= name_webp(texture, image);
        else if (webp && !is_webp)
            failed |= name_plain(texture, image);
    }
    return failed ? media__no_memory(reterr) : RPC_OK;
}

/* Some texture has the extension; and none of them has a picture without it. */
static bool any_named(const media__gltf *gltf, const char *extension, bool *ret_needed)
{
    bool any = false;
    for (size_t i = 0; i < media__gltf_count(gltf, "textures"); i++) {
        const json_t *texture = media__gltf_entry(gltf, "textures", i);
        const bool has = media__get_extension(texture, extension);
        any = any || has;
        *ret_needed = *ret_needed || (has && !json_object_get(texture, "source"));
    }
    return any;
}

/* Something else than a texture may name it: an extension that nobody here knows. */
static bool any_picture(const media__gltf *gltf, media__image_kind kind)
{
    for (size_t i = 0; i < media__gltf_count(gltf, "images"); i++) {
        const size_t view = media__get_index(media__gltf_entry(gltf, "images", i), "bufferView");
        media__image_info info;
        rpc_status ignored;
        if (view != MEDIA__NO_INDEX &&
            media__image_probe(media__view_bytes(gltf, view), &info, &ignored) == RPC_OK &&
            info.kind == kind)
            return true;
    }
    return false;
}

rpc_code media__textures_declare(media__gltf *gltf, rpc_status *reterr)
{
    static const struct {
        const char *name;
        media__image_kind kind;
    } kinds[] = {{WEBP, MEDIA__IMAGE_WEBP}, {KTX2, MEDIA__IMAGE_KTX2}};
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < sizeof kinds / sizeof *kinds; i++) {
        bool needed = false;
        if (any_named(gltf, kinds[i].name, &needed))
            code = needed ? media__json_need_extension(gltf->json, kinds[i].name, reterr) : RPC_OK;
        else if (!any_picture(gltf, kinds[i].kind))
            media__gltf_drop_extension(gltf, kinds[i].name);
    }
    return code;
}
