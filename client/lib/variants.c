/* SPDX-License-Identifier: Apache-2.0 */
/* Which adapted copies the DACM keeps. */
#include "client_internal.h"
#include "cleanup.h"
#include "dacm/v1/digital_asset.pb-c.h"

#include <string.h>

void dacm_variants_free(dacm_variants *variants)
{
    if (!variants)
        return;
    if (variants->memory)
        rpc_message_release(variants->memory);
    free(variants->items);
    free(variants);
}

static bool is_printable(const char *text)
{
    return rpc_printable_run(rpc_bytes_str(text)) == strlen(text);
}

/** Whoever prints a variant must not be steered by it. */
static bool is_sound(const Dacm__V1__Variant *from)
{
    const Dacm__V1__Figures *figures = from->figures;
    bool sound = figures && is_printable(from->media_type) &&
                 rpc_utf8_valid(rpc_bytes_str(from->recipe));
    for (const char *c = from->recipe; sound && *c; c++)
        sound = (unsigned char)*c >= ' ' && *c != 0x7f;
    for (size_t i = 0; sound && i < figures->n_extensions_required; i++)
        sound = is_printable(figures->extensions_required[i]);
    return sound;
}

static dacm_variant variant_of(const Dacm__V1__Variant *from)
{
    const Dacm__V1__Figures *figures = from->figures;
    return (dacm_variant){.recipe = from->recipe,
        .media_type = from->media_type,
        .bytes = figures->bytes,
        .triangles = figures->triangles,
        .vertices = figures->vertices,
        .texture_pixels = figures->texture_pixels,
        .textures = figures->textures,
        .texture_size = figures->texture_size,
        .morph_targets = figures->morph_targets,
        .animations = figures->animations,
        .joints = figures->joints,
        .extensions_required = (const char *const *)figures->extensions_required,
        .extension_count = figures->n_extensions_required,
        .created_at = from->created_at,
        .made_in_ms = from->made_in_ms};
}

/** Takes message with success only. */
static dacm_code make_variants(rpc_message *message, const Dacm__V1__ListVariantsResponse *answer,
    dacm_variants **ret, dacm_error *reterr)
{
    for (size_t i = 0; i < answer->n_variants; i++)
        if (!is_sound(answer->variants[i]))
            return client__fail(reterr, DACM_INTERNAL,
                "the server's answer is malformed: a variant has no figures, or a text is none");
    dacm_variants *variants = calloc(1, sizeof *variants);
    dacm_variant *items = calloc(answer->n_variants + 1, sizeof *items);
    if (!variants || !items) {
        free(variants);
        free(items);
        return client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for a list of variants");
    }
    for (size_t i = 0; i < answer->n_variants; i++)
        items[i] = variant_of(answer->variants[i]);
    *variants = (dacm_variants){.items = items,
        .count = answer->n_variants,
        .version = answer->version,
        .more = answer->more,
        .memory = message};
    *ret = variants;
    return DACM_OK;
}

dacm_code dacm_list_variants(dacm_client *client, const char *asset_id, const char *user,
    uint64_t version, dacm_variants **ret, dacm_error *reterr)
{
    bool external = false;
    dacm_code code = client__check_subject(asset_id, user, &external, reterr);
    if (code != DACM_OK)
        return code;
    Dacm__V1__ListVariantsRequest request = DACM__V1__LIST_VARIANTS_REQUEST__INIT;
    request.asset_id = client__text(asset_id);
    request.user_case = external ? DACM__V1__LIST_VARIANTS_REQUEST__USER_EXTERNAL_ID
                                 : DACM__V1__LIST_VARIANTS_REQUEST__USER_GPSI;
    request.gpsi = client__text(user);
    request.version = version;
    const dacm_token_request need = {.user = user, .asset_id = asset_id, .action = "get"};
    rpc_message *message = NULL;
    ProtobufCMessage *reply = NULL;
    code = client__unary(client, "/dacm.v1.DigitalAssets/ListVariants", &need, &request.base,
        &dacm__v1__list_variants_response__descriptor, &message, &reply, reterr);
    if (code != DACM_OK)
        return code;
    code = make_variants(message, (const Dacm__V1__ListVariantsResponse *)reply, ret, reterr);
    if (code != DACM_OK)
        rpc_message_release(message);
    return code;
}
