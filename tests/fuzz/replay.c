/*
 * Runs a fuzz target over the files of a corpus folder, so that every input ever found is an ordinary
 * test with any compiler. Each file is tried whole and cut short at every length up to 64 bytes.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

enum { LARGEST = 1 << 20, CUTS = 64 };

static int replay(const char *folder, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(LARGEST);
    if (file == NULL || data == NULL) {
        perror(path);
        return -1;
    }
    size_t size = fread(data, 1, LARGEST, file);
    (void)LLVMFuzzerTestOneInput(data, size); /* always 0 */
    for (size_t cut = 0; cut < size && cut < CUTS; cut++)
        (void)LLVMFuzzerTestOneInput(data, cut);
    free(data);
    fclose(file);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s CORPUS-FOLDER\n", argv[0]);
        return 2;
    }
    DIR *dir = opendir(argv[1]);
    if (dir == NULL) {
        perror(argv[1]);
        return 2;
    }
    size_t count = 0;
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        if (entry->d_name[0] == '.')
            continue;
        if (replay(argv[1], entry->d_name) != 0)
            return 1;
        count++;
    }
    closedir(dir);
    printf("%zu inputs\n", count);
    return count > 0 ? 0 : 1; /* an empty corpus proves nothing */
}
