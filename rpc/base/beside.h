/* SPDX-License-Identifier: Apache-2.0 */
/** The programs of a build or an installation lie in one folder. Not installed. */
#ifndef DACM_BESIDE_H
#define DACM_BESIDE_H

#include <stdbool.h>
#include <string.h>
#include <unistd.h>

/** The path of a program beside the running one. False: this one's folder is not known, or the path
 *  does not fit. */
static inline bool rpc_path_beside(const char *name, char *ret, size_t size)
{
    const size_t name_size = strlen(name) + 1;
    const ssize_t got = size > name_size ? readlink("/proc/self/exe", ret, size - name_size) : -1;
    char *slash = got > 0 && (size_t)got < size - name_size ? memrchr(ret, '/', (size_t)got) : NULL;
    if (slash)
        memcpy(slash + 1, name, name_size);
    return slash != NULL;
}

#endif
