/* SPDX-License-Identifier: Apache-2.0 */
/** Files in memory that cross processes: nothing of them is used before nobody can change it. */
#ifndef DACM_MEDIA_MEMORY_FILE_INTERNAL_H
#define DACM_MEDIA_MEMORY_FILE_INTERNAL_H

#include "media_worker.h"

bool media__write_all(int file, rpc_bytes bytes);
/** False: it is not sealed (or no memory file): its bytes or size could change under a reader. */
bool media__sealed_size(int file, uint64_t *ret);
/** Of a sealed file of that size, above 0. media__unmap() it. */
bool media__map_sealed(int file, uint64_t size, rpc_bytes *ret);
void media__unmap(rpc_bytes bytes);

#endif
