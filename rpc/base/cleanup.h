/* SPDX-License-Identifier: Apache-2.0 */
/** Scope cleanup for our own code; not installed. Initialise at the declaration and keep goto
 *  out of functions that use it. */
#ifndef DACM_RPC_CLEANUP_H
#define DACM_RPC_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/** RPC_CLEANUP(freep) T *p = NULL; calls freep(&p) at every way out of the scope. */
#define RPC_CLEANUP(fn) __attribute__((cleanup(fn)))
/** Moves a pointer out of a guarded variable: on success, ownership leaves. */
#define RPC_TAKE(p)                                                                                \
    __extension__({                                                                                \
        __typeof__(p) taken_ = (p);                                                                \
        (p) = NULL;                                                                                \
        taken_;                                                                                    \
    })
/** The same for a descriptor. */
static inline int rpc_take_fd(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}
/** Defines name(T **) for RPC_CLEANUP from a free function that takes T * or NULL. */
#define RPC_DEFINE_FREEP(name, type, free_fn)                                                      \
    __attribute__((unused)) static inline void name(type *p)                                       \
    {                                                                                              \
        if (*p)                                                                                    \
            free_fn(*p);                                                                           \
        *p = NULL;                                                                                 \
    }

static inline void rpc_cleanup_freep(void *p)
{
    void **pointer = (void **)p;
    free(*pointer);
    *pointer = NULL;
}
static inline void rpc_cleanup_closep(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}
static inline void rpc_cleanup_fclosep(FILE **file)
{
    if (*file)
        fclose(*file);
    *file = NULL;
}
#define RPC_AUTOFREE  RPC_CLEANUP(rpc_cleanup_freep)
#define RPC_AUTOCLOSE RPC_CLEANUP(rpc_cleanup_closep)

#endif
