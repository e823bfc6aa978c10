/* SPDX-License-Identifier: Apache-2.0 */
/** What the files of the pictures share: image_*.c. Inside the module. */
#ifndef DACM_MEDIA_IMAGE_CODEC_H
#define DACM_MEDIA_IMAGE_CODEC_H

#include "image.h"

/** INVALID_ARGUMENT "image: …": what is wrong and where. */
rpc_code media__image_bad(rpc_status *reterr, const char *format, ...) RPC_PRINTF(2, 3);
/** RESOURCE_EXHAUSTED. */
rpc_code media__image_no_memory(rpc_status *reterr);

/** "PNG", "JPEG", "WebP", "KTX2". */
const char *media__image_kind_name(media__image_kind kind);

/** Orientation of EXIF data (a TIFF file, without "Exif\0\0"), 1 to 8; 1 where it says none or is
 *  damaged: what a picture looks like is not worth refusing it. */
uint32_t media__exif_orientation(rpc_bytes exif);

#endif
