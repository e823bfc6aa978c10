/* SPDX-License-Identifier: Apache-2.0 */
/* What the author of a VRM avatar lets others do, as vrm.h derives it. */
#include "gltf_accessor.h"
#include "vrm.h"

#include "cleanup.h"

#include <stdio.h>
#include <string.h>

static const json_t *meta_of(const json_t *root, const char *extension)
{
    return json_object_get(json_object_get(json_object_get(root, "extensions"), extension), "meta");
}

static const char *text_of(const json_t *meta, const char *name)
{
    const char *text = json_string_value(json_object_get(meta, name));
    return text ? text : "";
}

static void forbid_modification(media__vrm_licence *l, const char *field, const char *value)
{
    l->modify = l->redistribute_modified = false;
    if (!l->why[0])
        snprintf(l->why, sizeof l->why, "%s: %.48s", field, value[0] ? value : "not said");
    rpc_text_printable(l->why);
}

static void forbid_redistribution(media__vrm_licence *l)
{
    l->redistribute = l->redistribute_modified = false;
}

/* ---- VRM 1.0 --------------------------------------------------------------------------------- */

static void judge_1(const json_t *meta, media__vrm_licence *l)
{
    const char *modification = text_of(meta, "modification");
    if (strcmp(modification, "allowModificationRedistribution") != 0)
        l->redistribute_modified = false;
    if (strcmp(modification, "allowModification") != 0 &&
        strcmp(modification, "allowModificationRedistribution") != 0)
        forbid_modification(l, "modification", modification);
    if (!json_is_true(json_object_get(meta, "allowRedistribution")))
        l->redistribute = false;
}

/* ---- VRM 0.x --------------------------------------------------------------------------------- */

typedef enum answer { UNSAID, ALLOWED, FORBIDDEN } answer;

/* The value of a name in the query of VRoid Hub's licence page; of several the strictest. */
static answer asked_of(const char *url, const char *name)
{
    static const char page[] = "https://hub.vroid.com/license?";
    const size_t size = strlen(name);
    answer found = UNSAID;
    if (strncmp(url, page, strlen(page)) != 0)
        return UNSAID;
    const char *at = url + strlen(page);
    const char *end = at + strcspn(at, "#");
    while (at < end) {
        const size_t part = strcspn(at, "&#");
        if (strncmp(at, name, size) == 0 && at[size] == '=') {
            const bool allow = part == size + 6 && strncmp(at + size + 1, "allow", 5) == 0;
            const answer one = allow ? ALLOWED : FORBIDDEN;
            found = one > found ? one : found;
        }
        at += part + (at + part < end);
    }
    return found;
}

/* Of both addresses: who is forbidden in one place is not allowed in another. */
static answer asked(const json_t *meta, const char *name)
{
    const answer one = asked_of(text_of(meta, "otherLicenseUrl"), name);
    const answer other = asked_of(text_of(meta, "otherPermissionUrl"), name);
    return one > other ? one : other;
}

static void judge_0(const json_t *meta, media__vrm_licence *l)
{
    static const char *const free_ones[] = {"CC0", "CC_BY", "CC_BY_NC", "CC_BY_SA", "CC_BY_NC_SA"};
    static const char *const unchanged[] = {"CC_BY_ND", "CC_BY_NC_ND"};
    const char *name = text_of(meta, "licenseName");
    const answer modification = asked(meta, "modification");
    const answer redistribution = asked(meta, "redistribution");
    const bool open = media__word_of(name, free_ones, 5) >= 0;
    const bool fixed = media__word_of(name, unchanged, 2) >= 0;
    const bool other = strcmp(name, "Other") == 0;
    if (modification == FORBIDDEN)
        forbid_modification(l, "VRoid Hub", "modification is not allowed");
    if (!open && !(other && modification == ALLOWED))
        forbid_modification(l, "licenseName", name);
    if ((!open && !fixed && !(other && redistribution == ALLOWED)) || redistribution == FORBIDDEN)
        forbid_redistribution(l);
}

void media__vrm_licence_of(const json_t *root, media__vrm_licence *ret)
{
    const json_t *new = meta_of(root, "VRMC_vrm"), *old = meta_of(root, "VRM");
    *ret = (media__vrm_licence){
        .modify = true, .redistribute = true, .redistribute_modified = true};
    if (new)
        judge_1(new, ret);
    if (old)
        judge_0(old, ret);
}

/* ---- for a manifest -------------------------------------------------------------------------- */

#define LIST_MAX 8
#define TEXT_MAX 256

/* At most limit bytes, no half of a character. */
static json_t *cut(const json_t *text, size_t limit)
{
    const char *from = json_string_value(text);
    size_t size = json_string_length(text);
    if (size > limit) {
        size = limit;
        while (size > 0 && ((unsigned char)from[size] & 0xc0) == 0x80)
            size--;
    }
    return json_stringn(from, size);
}

static json_t *cut_list(const json_t *value, size_t limit)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < json_array_size(value) && i < LIST_MAX; i++)
        if (json_array_append_new(list, cut(json_array_get(value, i), limit)) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

/* limit  of texts; SIZE_MAX: as they are. */
static bool put_fields(json_t *into, const json_t *meta, const char *const *names, size_t limit)
{
    for (; *names; names++) {
        const json_t *value = json_object_get(meta, *names);
        json_t *copy = json_is_string(value)  ? cut(value, limit)
                       : json_is_array(value) ? cut_list(value, limit)
                                              : json_deep_copy(value);
        if (value && json_object_set_new(into, *names, copy) != 0)
            return false;
    }
    return true;
}

/* NULL: no memory. */
static json_t *fields_of(const json_t *root, size_t limit)
{
    static const char *const words_1[] = {"avatarPermission", "allowExcessivelyViolentUsage",
        "allowExcessivelySexualUsage", "commercialUsage", "allowPoliticalOrReligiousUsage",
        "allowAntisocialOrHateUsage", "creditNotation", "allowRedistribution", "modification",
        NULL};
    static const char *const texts_1[] = {"name", "version", "authors", "copyrightInformation",
        "contactInformation", "thirdPartyLicenses", "licenseUrl", "otherLicenseUrl", NULL};
    static const char *const words_0[] = {"allowedUserName", "violentUssageName",
        "sexualUssageName", "commercialUssageName", "licenseName", NULL};
    static const char *const texts_0[] = {"title", "version", "author", "contactInformation",
        "reference", "otherPermissionUrl", "otherLicenseUrl", NULL};
    const json_t *new = meta_of(root, "VRMC_vrm"), *old = meta_of(root, "VRM");
    json_t *fields = json_object();
    const bool made = fields &&
                      json_object_set_new(fields, "vrm", json_string(media__vrm_version(root))) ==
                          0 &&
                      put_fields(fields, new ? new : old, new ? words_1 : words_0, SIZE_MAX) &&
                      put_fields(fields, new ? new : old, new ? texts_1 : texts_0, limit);
    if (made)
        return fields;
    json_decref(fields);
    return NULL;
}

rpc_code media__vrm_licence_text(
    const json_t *root, char ret[MEDIA_LICENCE_ROOM], rpc_status *reterr)
{
    ret[0] = '\0';
    if (!media__vrm_version(root)[0])
        return RPC_OK;
    bool fits = false;
    for (size_t limit = TEXT_MAX; !fits; limit /= 2) { /* with none left it fits */
        json_t *fields = fields_of(root, limit);
        RPC_AUTOFREE char *text = fields ? json_dumps(fields,
                                               JSON_COMPACT | JSON_SORT_KEYS | JSON_ENSURE_ASCII)
                                         : NULL;
        json_decref(fields);
        if (!text)
            return media__no_memory(reterr);
        fits = rpc_text_copy(ret, MEDIA_LICENCE_ROOM, text) || limit == 0;
    }
    return RPC_OK;
}
