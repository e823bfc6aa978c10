/* SPDX-License-Identifier: Apache-2.0 */
/** What somebody would try who runs in a worker. One list, for the worker and for the test. */
#ifndef DACM_ATTEMPTS_H
#define DACM_ATTEMPTS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct attempt {
    const char *name;
    bool (*succeeds)(void);
    bool depends; /* on the kernel's configuration: it may fail outside of a worker too */
} attempt;

extern const attempt attempts[];
extern const size_t attempt_count;

#endif
