/* SPDX-License-Identifier: Apache-2.0 */
/** Files of tests: real avatars and pictures, whole. */
#ifndef DACM_TEST_MEDIA_FILES_H
#define DACM_TEST_MEDIA_FILES_H

#include "test.h"

/** malloc()ed; a file that cannot be read fails the test. */
uint8_t *file_bytes(const char *path, size_t *ret_size);
bool ends_with(const char *name, const char *end);

typedef void file_fn(const char *path, void *ctx);
/** Every glTF file (.glb, .gltf, .vrm, .vrma) of a folder; deep: of its folders too. */
void each_file(const char *folder, bool deep, file_fn *fn, void *ctx);

#endif
