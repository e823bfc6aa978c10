/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this module share. */
#ifndef DACM_MEDIA_INTERNAL_H
#define DACM_MEDIA_INTERNAL_H

#include "media.h"

enum {
    media__morph_groups_all = MEDIA_MORPHS_ARKIT | MEDIA_MORPHS_OCULUS_VISEMES |
                              MEDIA_MORPHS_VRM_EXPRESSIONS,
};

#endif
