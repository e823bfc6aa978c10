/* SPDX-License-Identifier: Apache-2.0 */
#include "gltf_textures.h"
#include "gltf_get.h"

#include <stdlib.h>

#define WEBP "EXT_texture_webp"

/* ---- what a slot is for ------------------------------------------------------------------------
 */

/* Slots of extensions by a part of their names: colours of KHR_materials_* and of MToon. */
static media__image_use use_of_slot(const char *name)
{
    static const char *const colors[] = {"Color", "diffuse", "specularGlossiness", "emissive",
        "shadeMultiply", "matcap", "rimMultiply"};
    if (strstr(name, "Normal") || strstr(name, "normal"))
        return MEDIA__IMAGE_NORMAL;
    for (size_t i = 0; i < sizeof colors / sizeof *colors; i++)
        if (strstr(name, colors[i]))
            return MEDIA__IMAGE_COLOR;
    return MEDIA__IMAGE_DATA;
}

/* Properties of Unity's shaders, as VRM 0.x has them. */
static media__image_use use_of_property(const char *name)
{
    static const char *const colors[] = {
        "_MainTex", "_ShadeTexture", "_EmissionMap", "_SphereAdd", "_RimTexture"};
    if (strcmp(name, "_BumpMap") == 0)
        return MEDIA__IMAGE_NORMAL;
    for (size_t i = 0; i < sizeof colors / sizeof *colors; i++)
        if (strcmp(name, colors[i]) == 0)
            return MEDIA__IMAGE_COLOR;
    return MEDIA__IMAGE_DATA;
}

typedef struct uses {
    const media__gltf *gltf;
    media__image_use *list;
    bool *known;
    size_t count;
} uses;

static void use_image(uses *u, size_t image, media__image_use use)
{
    if (image >= u->count)
        return;
    u->list[image] = !u->known[image] || u->list[image] == use ? use : MEDIA__IMAGE_DATA;
    u->known[image] = true;
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

/* Members that are textureInfos. */
static void use_slots(uses *u, json_t *owner)
{
    const char *name;
    json_t *slot;
    json_object_foreach(owner, name, slot) if (media__get_index(slot, "index") != MEDIA__NO_INDEX)
        use_texture(u, media__get_index(slot, "index"), use_of_slot(name));
}

static void use_material(uses *u, json_t *material)
{
    const char *name;
    json_t *extension;
    use_slots(u, material);
    use_slots(u, json_object_get(material, "pbrMetallicRoughness"));
    json_object_foreach(json_object_get(material, "extensions"), name, extension)
        use_slots(u, extension);
}

static void use_properties(uses *u)
{
    const json_t *list = json_object_get(
        media__get_extension(u->gltf->json, "VRM"), "materialProperties");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name;
        json_t *texture;
        json_object_foreach(json_object_get(json_array_get(list, i), "textureProperties"), name,
            texture) if (json_is_integer(texture) && json_integer_value(texture) >= 0)
            use_texture(u, (size_t)json_integer_value(texture), use_of_property(name));
    }
}

rpc_code media__textures_uses(const media__gltf *gltf, media__image_use **ret, rpc_status *reterr)
{
    uses u = {.gltf = gltf, .count = media__gltf_count(gltf, "images")};
    u.list = calloc(u.count + 1, sizeof *u.list); /* a thumbnail, say, is a colour */
    u.known = calloc(u.count + 1, sizeof *u.known);
    if (u.list && u.known) {
        for (size_t i = 0; i < media__gltf_count(gltf, "materials"); i++)
            use_material(&u, media__gltf_entry(gltf, "materials", i));
        use_properties(&u);
    }
    const bool ok = u.list && u.known;
    free(u.known);
    if (!ok) {
        free(u.list);
        return media__no_memory(reterr);
    }
    *ret = u.list;
    return RPC_OK;
}

/* ---- channels that go -------------------------------------------------------------------------
 */

static const struct {
    unsigned channel;
    const char *parent, *slot, *property; /* property: of VRM 0.x */
} slots[] = {
    {MEDIA_CHANNEL_BASE_COLOR, "pbrMetallicRoughness", "baseColorTexture", "_MainTex"},
    {MEDIA_CHANNEL_METALLIC_ROUGHNESS, "pbrMetallicRoughness", "metallicRoughnessTexture", NULL},
    {MEDIA_CHANNEL_NORMAL, NULL, "normalTexture", "_BumpMap"},
    {MEDIA_CHANNEL_OCCLUSION, NULL, "occlusionTexture", NULL},
    {MEDIA_CHANNEL_EMISSIVE, NULL, "emissiveTexture", "_EmissionMap"},
};

static rpc_code drop_slot(json_t *material, size_t slot, rpc_status *reterr)
{
    json_t *owner = slots[slot].parent ? json_object_get(material, slots[slot].parent) : material;
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

rpc_code media__textures_drop(media__gltf *gltf, const media_recipe *recipe, rpc_status *reterr)
{
    rpc_code code = RPC_OK;
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

/* ---- how a texture names its picture -----------------------------------------------------------
 */

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

static bool any_webp(const media__gltf *gltf)
{
    for (size_t i = 0; i < media__gltf_count(gltf, "textures"); i++)
        if (media__get_extension(media__gltf_entry(gltf, "textures", i), WEBP))
            return true;
    return false;
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
    if (failed)
        return media__no_memory(reterr);
    if (!any_webp(gltf)) {
        media__gltf_drop_extension(gltf, WEBP);
        return RPC_OK;
    }
    return media__json_need_extension(gltf->json, WEBP, reterr);
}
