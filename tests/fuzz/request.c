/*
 * request.c: whatever arrives at the control socket of PID 1 is answered; nothing is read out of bounds, and no
 * descriptor stays.
 *
 * Input: how many descriptors come with the message, TAPE answers of the kernel, the size of the message (two bytes),
 * the message, and the contents of the memory file.
 */
#include "init/serve.h"
#include "kernel.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static int kept; /* the namespace that is ready for the next program */
    struct run run;
    if (size < TAPE + 3)
        return 0;
    size_t wanted = data[TAPE + 1] | (size_t)data[TAPE + 2] << 8, rest = size - TAPE - 3;
    const uint8_t *bytes = data + TAPE + 3;
    tape = (struct tape){data + 1, TAPE, 0};
    message = (struct message){bytes, bytes, wanted < rest ? wanted : rest, 0, data[0] % 8};
    message.file = bytes + message.size;
    message.file_size = rest - message.size;
    if (setjmp(left)) { /* PID 1 has ended: so have its descriptors, all but the one that this process remembers */
        close_all();
        return 0;
    }
    if (take_request(&run, data[0] < 128))
        free_run(&run);
    kept = open_descriptors();
    if (kept > 1)
        abort();
    return 0;
}
