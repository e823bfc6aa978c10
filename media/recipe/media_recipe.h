/* SPDX-License-Identifier: Apache-2.0 */
/** Recipes and figures: what a client can use of an avatar (step 2 of TR 33.721 solution #6), and
 *  what is in one. Pure: no state, any thread. What a server and a client library need of media
 *  adaptation without its decoders; how to carry a recipe out is media.h, where media_worker.h. */
#ifndef DACM_MEDIA_RECIPE_H
#define DACM_MEDIA_RECIPE_H

#include "base.h"

/** Bytes of a canonical recipe with its NUL: a manifest holds it. */
#define MEDIA_RECIPE_ROOM 2048

/** Limits of what a recipe asks for. */
#define MEDIA_TEXTURE_SIZE_MIN 16
#define MEDIA_TEXTURE_SIZE_MAX 8192
#define MEDIA_LOD_MAX          2
#define MEDIA_QUALITY_DEFAULT  80
#define MEDIA_NAME_BYTES_MAX   128

/** Figures that avatar apps know: textures of at most 256, 512, 1024 px and LOD 2, 1, 0. */
typedef enum media_preset {
    MEDIA_PRESET_NONE = 0,
    MEDIA_PRESET_LOW = 1,
    MEDIA_PRESET_MEDIUM = 2,
    MEDIA_PRESET_HIGH = 3,
} media_preset;

typedef enum media_texture_format {
    MEDIA_TEXTURE_KEEP = 0,
    MEDIA_TEXTURE_WEBP = 1,
    MEDIA_TEXTURE_JPEG = 2,
    MEDIA_TEXTURE_PNG = 3,
} media_texture_format;

/** What a texture is for in a glTF material. */
enum {
    MEDIA_CHANNEL_BASE_COLOR = 1 << 0,
    MEDIA_CHANNEL_NORMAL = 1 << 1,
    MEDIA_CHANNEL_METALLIC_ROUGHNESS = 1 << 2,
    MEDIA_CHANNEL_OCCLUSION = 1 << 3,
    MEDIA_CHANNEL_EMISSIVE = 1 << 4,
    MEDIA_CHANNELS_ALL = (1 << 5) - 1,
};

typedef enum media_mesh_compression {
    MEDIA_MESH_AS_SOURCE = 0,
    MEDIA_MESH_NONE = 1,
    MEDIA_MESH_MESHOPT = 2, /* EXT_meshopt_compression */
} media_mesh_compression;

/** Whether numbers of meshes and animations may be rounded (docs/media.md says to what). */
typedef enum media_quantization {
    MEDIA_QUANTIZATION_KEEP = 0,     /* every number exact */
    MEDIA_QUANTIZATION_STANDARD = 1, /* as other tools do it; needs KHR_mesh_quantization */
} media_quantization;

/** Groups of morph targets that tools know by name. */
enum {
    MEDIA_MORPHS_ARKIT = 1 << 0,          /* the 52 blend shapes of face tracking */
    MEDIA_MORPHS_OCULUS_VISEMES = 1 << 1, /* viseme_sil to viseme_U */
    MEDIA_MORPHS_VRM_EXPRESSIONS = 1 << 2 /* what a VRM expression binds */
};

/** Names, each valid UTF-8 without control characters. */
typedef struct media_names {
    char **list;
    size_t count;
} media_names;

/** What is asked for. Set up by media_recipe_init(), which asks for the original; freed by
 *  media_recipe_done(). */
typedef struct media_recipe {
    media_preset preset;         /* for what is not said below; gone once the recipe is settled */
    int lod;                     /* 0 to 2: all, half, a quarter of the triangles; -1: not said */
    uint32_t max_triangles;      /* 0: not said; not with lod */
    uint32_t texture_size_limit; /* px of the longer side; 0: not said */
    media_texture_format texture_format;
    unsigned texture_quality;  /* 1 to 100 of lossy formats; 0: MEDIA_QUALITY_DEFAULT */
    unsigned texture_channels; /* MEDIA_CHANNEL_*; those not named are dropped */
    bool some_morph_targets;   /* only these; both empty: none */
    unsigned morph_groups;     /* MEDIA_MORPHS_* */
    media_names morph_targets;
    bool some_animations; /* only these; empty: none */
    media_names animations;
    media_mesh_compression mesh_compression;
    media_quantization quantization;
    bool base;          /* the base avatar: geometry, skeleton, materials; no animation */
    uint64_t max_bytes; /* of the answer; 0: any */
    bool accepts_some;  /* only these; both empty: plain glTF 2.0, PNG and JPEG */
    media_names accept_extensions;
    media_names accept_media_types; /* of textures and of the answer */
} media_recipe;

/** A recipe that asks for the original. */
void media_recipe_init(media_recipe *ret);
/** Frees the names. */
void media_recipe_done(media_recipe *recipe);

/** Adds a copy. RESOURCE_EXHAUSTED: no memory. */
rpc_code media_names_add(media_names *names, rpc_bytes name, rpc_status *reterr);
/** Frees them; none are left. */
void media_names_done(media_names *names);

/** Checks the recipe and brings it into its only form: preset applied, names sorted and each once,
 *  what says nothing removed. INVALID_ARGUMENT names the field. */
rpc_code media_recipe_settle(media_recipe *recipe, rpc_status *reterr);

/** The canonical form of a settled recipe: JSON, members sorted, no white space; "{}" asks for the
 *  original. Equal recipes give equal bytes.
 *  ret_text  MEDIA_RECIPE_ROOM bytes.
 *  INVALID_ARGUMENT: longer than that. */
rpc_code media_recipe_write(const media_recipe *recipe, char *ret_text, rpc_status *reterr);

/** Reads a recipe in JSON, members of the canonical form and `preset` in any order, and settles
 *  it. INVALID_ARGUMENT: what is wrong and where; an unknown member is wrong. */
rpc_code media_recipe_read(rpc_bytes json, media_recipe *ret, rpc_status *reterr);

/** True when a settled recipe asks for the original. */
bool media_recipe_is_original(const media_recipe *recipe);

/* ---- the asset ------------------------------------------------------------------------------- */

#define MEDIA_TYPE_ROOM      64
#define MEDIA_WHY_ROOM       320 /* for triangles, KTX2 and pictures that nobody knows together */
#define MEDIA_LICENCE_ROOM   2048
#define MEDIA_PROHIBITS_ROOM 96

/** What is in an asset. Of an image: bytes, textures 1 and its sizes. media_figures_done(). */
typedef struct media_figures {
    uint64_t bytes;
    uint64_t triangles, vertices; /* of all meshes, each once */
    uint32_t meshes, primitives, materials, textures, images, nodes, skins, joints, animations;
    uint32_t morph_targets;  /* of the mesh that has most */
    uint32_t texture_size;   /* px of the longest side of an image; 0: there is none */
    uint64_t texture_pixels; /* of all images */
    uint64_t mesh_bytes, image_bytes, animation_bytes;
    media_names extensions_required; /* sorted */
    char vrm[8];                     /* "", "0.x", "1.0" */
    /* What its author permits, as VRM has it: a JSON object in ASCII with the fields of meta that
     * speak of rights, sorted, long texts cut; for manifests. "": there is no VRM in it. */
    char licence[MEDIA_LICENCE_ROOM];
    /* The field of it by which nobody may modify the avatar, so that only the original can be had,
     * as "modification: prohibited"; "": it may be adapted. */
    char prohibits[MEDIA_PROHIBITS_ROOM];
} media_figures;

/** Frees the names. */
void media_figures_done(media_figures *figures);

#endif
