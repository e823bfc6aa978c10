/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this module share. */
#ifndef DACM_MEDIA_INTERNAL_H
#define DACM_MEDIA_INTERNAL_H

#include "media.h"

#endif
