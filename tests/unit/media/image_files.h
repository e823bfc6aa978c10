/* SPDX-License-Identifier: Apache-2.0 */
/** Files as the tests of pictures use them. */
#ifndef DACM_TEST_IMAGE_FILES_H
#define DACM_TEST_IMAGE_FILES_H

#include "base.h"
#include "test.h"

#include <sys/stat.h>

typedef struct file_bytes_t {
    uint8_t *data;
    size_t size;
} file_bytes_t;

/** Fails the test where there is no such file. */
static inline file_bytes_t file_read(const char *path)
{
    FILE *file = fopen(path, "rb");
    struct stat about = {0};
    if (!file || fstat(fileno(file), &about) != 0)
        fail_msg("%s cannot be read", path);
    file_bytes_t bytes = {malloc((size_t)about.st_size + 1), 0};
    bytes.size = fread(bytes.data, 1, (size_t)about.st_size, file);
    fclose(file);
    return bytes;
}

static inline rpc_bytes file_view(const file_bytes_t *file)
{
    return rpc_bytes_of(file->data, file->size);
}

static inline void file_done(file_bytes_t *file)
{
    free(file->data);
    file->data = NULL;
}

#endif
