/* SPDX-License-Identifier: Apache-2.0 */
/* In place of libFuzzer: gives each file of the folders and files named to the target once, in
 * memory of exactly its size. Fails when there is none: a corpus that vanished is no success. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define INPUT_BYTES_MAX (64 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned replayed;

static int replay_file(const char *path, size_t size)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(size > 0 ? size : 1);
    int good = file && data && size <= INPUT_BYTES_MAX && fread(data, 1, size, file) == size;
    if (good) {
        fprintf(stderr, "%s\n", path); /* the last one named is the one that crashed */
        (void)LLVMFuzzerTestOneInput(data, size);
        replayed++;
    } else {
        fprintf(stderr, "fuzz: cannot read '%s'\n", path);
    }
    free(data);
    if (file)
        fclose(file);
    return good ? 0 : 1;
}

static int replay(const char *path);

static int replay_folder(const char *path)
{
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, NULL, alphasort);
    int failed = count < 0;
    for (int i = 0; i < count; i++) {
        char below[4096];
        snprintf(below, sizeof below, "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.')
            failed |= replay(below);
        free(entries[i]);
    }
    free(entries);
    return failed;
}

static int replay(const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0) {
        fprintf(stderr, "fuzz: there is no '%s'\n", path);
        return 1;
    }
    if (S_ISDIR(status.st_mode))
        return replay_folder(path);
    return replay_file(path, (size_t)status.st_size);
}

int main(int argc, char **argv)
{
    int failed = 0;
    for (int i = 1; i < argc; i++)
        failed |= replay(argv[i]);
    printf("%u inputs replayed\n", replayed);
    if (replayed == 0)
        fprintf(stderr, "fuzz: no input found; name files or folders\n");
    return failed || replayed == 0;
}
