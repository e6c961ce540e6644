/* replay.c: inputs from files, for compilers without libFuzzer. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int argc, char **argv) {
    for (int n = 1; n < argc; n++) {
        FILE *file = fopen(argv[n], "rb");
        uint8_t *data = malloc(1 << 20);
        if (!file || !data)
            return 2;
        size_t size = fread(data, 1, 1 << 20, file);
        uint8_t *exact = realloc(data, size ? size : 1);
        fprintf(stderr, "%s\n", argv[n]); /* the last one is the one that failed */
        LLVMFuzzerTestOneInput(exact, size);
        free(exact);
        fclose(file);
    }
    return 0;
}
