/* SPDX-License-Identifier: Apache-2.0 */
#include "memory_file_internal.h"

#include "cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#ifndef MFD_NOEXEC_SEAL /* newer than Debian's header */
#define MFD_NOEXEC_SEAL 0x8U
#endif

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static rpc_code failed(rpc_status *reterr, const char *what)
{
    return rpc_status_set(
        reterr, RPC_UNAVAILABLE, "media: cannot %s: %s; try again", what, strerror(errno));
}

/** Never to be executed, where the kernel knows (6.3; some are set to refuse all others). */
static int create(void)
{
    const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    const int file = memfd_create("dacm-media", flags | MFD_NOEXEC_SEAL);
    return file < 0 && errno == EINVAL ? memfd_create("dacm-media", flags) : file;
}

int media_source_open(rpc_status *reterr)
{
    const int file = create();
    if (file < 0)
        failed(reterr, "make a file in memory");
    return file;
}

rpc_code media_source_write(int source, rpc_bytes bytes, rpc_status *reterr)
{
    return media__write_all(source, bytes) ? RPC_OK : failed(reterr, "write to a file in memory");
}

rpc_code media_source_seal(int source, rpc_status *reterr)
{
    return fcntl(source, F_ADD_SEALS, SEALS) == 0 ? RPC_OK
                                                  : failed(reterr, "seal a file in memory");
}

bool media__write_all(int file, rpc_bytes bytes)
{
    while (bytes.size > 0) {
        const ssize_t wrote = write(file, bytes.data, bytes.size);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return false;
        bytes = rpc_bytes_of(bytes.data + wrote, bytes.size - (size_t)wrote);
    }
    return true;
}

bool media__sealed_size(int file, uint64_t *ret)
{
    struct stat st;
    const int seals = fcntl(file, F_GET_SEALS);
    if (seals < 0 || (seals & SEALS & ~F_SEAL_SEAL) != (SEALS & ~F_SEAL_SEAL) ||
        fstat(file, &st) != 0 || st.st_size < 0)
        return false;
    *ret = (uint64_t)st.st_size;
    return true;
}

bool media__map_sealed(int file, uint64_t size, rpc_bytes *ret)
{
    void *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, file, 0);
    if (data == MAP_FAILED)
        return false;
    *ret = rpc_bytes_of(data, size);
    return true;
}

void media__unmap(rpc_bytes bytes)
{
    if (bytes.size == 0)
        return;
    void *data = NULL;
    memcpy(&data, &bytes.data, sizeof data); /* it was mapped by us */
    munmap(data, bytes.size);
}
