/* SPDX-License-Identifier: Apache-2.0 */
/** Files of tests: real avatars and pictures, whole. */
#ifndef DACM_TEST_MEDIA_FILES_H
#define DACM_TEST_MEDIA_FILES_H

#include "base.h"
#include "test.h"

/** malloc()ed; a file that cannot be read fails the test. */
uint8_t *file_bytes(const char *path, size_t *ret_size);
bool ends_with(const char *name, const char *end);

typedef void file_fn(const char *path, void *ctx);
/** Every glTF file (.glb, .gltf, .vrm, .vrma) of a folder; deep: of its folders too. */
void each_file(const char *folder, bool deep, file_fn *fn, void *ctx);

/** DACM_TEST_FULL=1: every file, every recipe. */
bool full(void);
typedef void avatar_fn(rpc_bytes source, const char *path, void *ctx);
/** Those real avatars (of one file) whose names end so, all of them if full(); every one of some
 *  must be there. */
void each_avatar(const char *const *some, size_t count, avatar_fn *fn, void *ctx);

#endif
