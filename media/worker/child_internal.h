/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DACM_MEDIA_CHILD_INTERNAL_H
#define DACM_MEDIA_CHILD_INTERNAL_H

#include "media_child.h"
#include "sandbox_internal.h"
#include "wire_internal.h"

#include <sys/types.h>

enum { MEDIA__FILES = 3 }; /* source, result, answer: in this order */

/** The life of a child, from its fork() to its end.
 *  files  its own, by any numbers.  parent  the fork server, whose death is its own. */
_Noreturn void media__child_run(const media__job_packet *job, const int files[MEDIA__FILES],
    const media__filter *filter, pid_t parent, const media_child_work *work);
/** Only shuts itself in: exits with 0, or with 1 and a sentence written to why. */
_Noreturn void media__child_try(const media__filter *filter, int why);

#endif
