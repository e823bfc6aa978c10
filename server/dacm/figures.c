/* SPDX-License-Identifier: Apache-2.0 */
#include "figures.h"

#include <jansson.h>

static json_t *names_of(char *const *list, size_t count)
{
    json_t *names = json_array();
    for (size_t i = 0; names && i < count; i++)
        if (json_array_append_new(names, json_string(list[i])) != 0) {
            json_decref(names);
            return NULL;
        }
    return names;
}

char *dacm_figures_json(const Dacm__Records__Version *variant)
{
    static const Dacm__Records__Figures nothing = DACM__RECORDS__FIGURES__INIT;
    const Dacm__Records__Figures *f = variant->figures ? variant->figures : &nothing;
    json_t *json = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "triangles",
        (json_int_t)f->triangles, "vertices", (json_int_t)f->vertices, "textures",
        (json_int_t)f->textures, "texture_size", (json_int_t)f->texture_size, "texture_pixels",
        (json_int_t)f->texture_pixels, "morph_targets", (json_int_t)f->morph_targets, "animations",
        (json_int_t)f->animations, "joints", (json_int_t)f->joints, "extensions_required",
        names_of(f->extensions_required, f->n_extensions_required));
    char *text = NULL;
    if (json && (!variant->shortfall[0] ||
                    json_object_set_new(json, "shortfall", json_string(variant->shortfall)) == 0))
        text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(json);
    return text;
}

void dacm_figures_shown(const Dacm__Records__Version *variant, Dacm__V1__Figures *ret)
{
    const Dacm__Records__Figures *f = variant->figures;
    dacm__v1__figures__init(ret);
    ret->bytes = variant->size;
    if (!f)
        return;
    ret->triangles = f->triangles;
    ret->vertices = f->vertices;
    ret->textures = f->textures;
    ret->texture_size = f->texture_size;
    ret->texture_pixels = f->texture_pixels;
    ret->morph_targets = f->morph_targets;
    ret->animations = f->animations;
    ret->joints = f->joints;
    ret->n_extensions_required = f->n_extensions_required;
    ret->extensions_required = f->extensions_required;
}
