/* SPDX-License-Identifier: Apache-2.0 */
/** Media adaptation, step 2 of TR 33.721 solution #6: the avatar that fits the device.
 *
 *  A recipe says what the client can use; the same source and recipe give the same bytes. Nothing
 *  in this module keeps state: functions may be called from any thread, on different objects at
 *  the same time. Foreign bytes are read in a sandboxed process in production (docs/media.md). */
#ifndef DACM_MEDIA_H
#define DACM_MEDIA_H

#include "media_recipe.h"

/* ---- the variant ---- */

/** A made variant. Freed by media_result_done(). */
typedef struct media_result {
    uint8_t *bytes;
    size_t size;
    char media_type[MEDIA_TYPE_ROOM];
    media_figures source, figures;
    uint64_t triangles_asked; /* 0: no number was asked for */
    /* Why there are more triangles, pixels or bytes than asked; "": there are not. */
    char why[MEDIA_WHY_ROOM];
} media_result;

/** What is in an asset, in words and numbers; refuses what media_adapt() would refuse of the source
 *  itself. media_figures_done() frees it. */
rpc_code media_inspect(rpc_bytes source, media_figures *ret, rpc_status *reterr);

/** The names that a recipe may say of an asset, for people who write one: a JSON object in ASCII
 * with the arrays animations and morph_targets, each name once, in the order of the file. *ret is
 *  malloc'd. Errors are those of media_inspect(). */
rpc_code media_list_names(rpc_bytes source, char **ret, rpc_status *reterr);

/** Makes the variant of source that a settled recipe asks for. The same source and recipe give the
 *  same bytes. One thread, no state; takes memory in proportion to what the source decodes to:
 *  run it in the worker (media_worker.h), never in a server.
 *  INVALID_ARGUMENT     the source is broken: what and where
 *  FAILED_PRECONDITION  the recipe cannot be met: the client cannot decode what would remain, the
 *                       licence of the VRM prohibits modification, max_bytes is out of reach
 *  UNIMPLEMENTED        an extension or a kind of file that is not known
 *  RESOURCE_EXHAUSTED   larger than the limits, or no memory */
rpc_code media_adapt(
    rpc_bytes source, const media_recipe *recipe, media_result *ret, rpc_status *reterr);
void media_result_done(media_result *result);

#endif
