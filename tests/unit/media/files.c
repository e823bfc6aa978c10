/* SPDX-License-Identifier: Apache-2.0 */
#include "files.h"

#include <dirent.h>
#include <sys/stat.h>

uint8_t *file_bytes(const char *path, size_t *ret_size)
{
    FILE *file = fopen(path, "rb");
    struct stat about = {0};
    if (!file || fstat(fileno(file), &about) != 0)
        fail_msg("%s cannot be read", path);
    uint8_t *bytes = malloc((size_t)about.st_size + 1);
    *ret_size = fread(bytes, 1, (size_t)about.st_size, file);
    fclose(file);
    return bytes;
}

bool ends_with(const char *name, const char *end)
{
    const size_t size = strlen(name), wanted = strlen(end);
    return size >= wanted && strcmp(name + size - wanted, end) == 0;
}

static bool is_gltf(const char *name)
{
    return ends_with(name, ".glb") || ends_with(name, ".gltf") || ends_with(name, ".vrm") ||
           ends_with(name, ".vrma");
}

void each_file(const char *folder, bool deep, file_fn *fn, void *ctx)
{
    DIR *dir = opendir(folder);
    if (!dir)
        fail_msg("%s cannot be read", folder);
    for (struct dirent *entry; (entry = readdir(dir));) {
        char path[4096];
        struct stat about;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (entry->d_name[0] == '.' || stat(path, &about) != 0)
            continue;
        if (S_ISDIR(about.st_mode) && deep)
            each_file(path, true, fn, ctx);
        else if (S_ISREG(about.st_mode) && is_gltf(entry->d_name))
            fn(path, ctx);
    }
    closedir(dir);
}

/* ---- real avatars ---------------------------------------------------------------------------- */

bool full(void)
{
    const char *wanted = getenv("DACM_TEST_FULL");
    return wanted && strcmp(wanted, "1") == 0;
}

typedef struct choice {
    const char *const *some;
    size_t count, found;
    avatar_fn *fn;
    void *ctx;
} choice;

static void choose(const char *path, void *ctx)
{
    choice *c = ctx;
    size_t size = 0;
    bool named = false;
    for (size_t i = 0; i < c->count; i++)
        named |= ends_with(path, c->some[i]);
    if (!named && !full())
        return;
    uint8_t *file = file_bytes(path, &size);
    c->fn(rpc_bytes_of(file, size), path, c->ctx);
    free(file);
    c->found += named;
}

void each_avatar(const char *const *some, size_t count, avatar_fn *fn, void *ctx)
{
    choice c = {some, count, 0, fn, ctx};
    each_file(test_data("avatars"), false, choose, &c);
    assert_int_equal(c.found, count);
}
