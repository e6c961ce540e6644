/*
 * host.c: whatever a PID 1 in hostile hands says, the host comes to an end with it: no descriptor stays open, no
 * process is signalled, no call waits for ever.
 *
 * Input: which conversation it is, then messages: how many descriptors of which kind, size (two bytes), bytes. The
 * descriptor of a process is that of this one: a signal to it would be noticed.
 */
#include "ext/ext.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>

enum { MESSAGES = 16, PATIENCE = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int some_descriptor(int kind) {
    return kind == 0   ? open("/dev/null", O_RDWR | O_CLOEXEC)
           : kind == 1 ? (int)syscall(SYS_pidfd_open, getpid(), 0)
                       : eventfd(0, EFD_CLOEXEC);
}

static void say(int sock, const uint8_t *bytes, size_t size, int count, int kind) {
    int fds[6];
    for (int n = 0; n < count; n++)
        fds[n] = some_descriptor(kind);
    if (count > 0)
        jk_send(sock, bytes, size, fds, count);
    else
        send(sock, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    for (int n = 0; n < count; n++)
        close(fds[n]);
}

static void say_all(int sock, const uint8_t *data, size_t size) {
    for (int n = 0; n < MESSAGES && size >= 3; n++) {
        size_t length = data[1] | (size_t)data[2] << 8;
        length = length < size - 3 ? length : size - 3;
        length = length < 4096 ? length : 4096;
        say(sock, data + 3, length, data[0] % 7, data[0] / 7 % 3);
        data += 3 + length;
        size -= 3 + length;
    }
}

static void jail_hears(int sock) {
    struct jk_jail jail = {sock, -1, -1, -1, 0};
    struct jk_report report;
    int turns = 0;
    while (jk_hear(&jail, &report, 0) == 1)
        if (++turns > PATIENCE || report.kind > JK_REPORT_FAILED)
            abort();
    jk_end(&jail, 0);
}

static void run_talks(struct jk_run *run) {
    char buffer[16];
    run->stream[1].buffer = buffer;
    run->stream[1].size = sizeof buffer;
    for (int turns = 0; !(jk_talk(run, 0) & (JK_EVENT_REPORT | JK_EVENT_LOST | JK_EVENT_TIMEOUT)); turns++) {
        run->stream[1].used = 0;
        if (turns > PATIENCE)
            abort();
    }
}

static void run_hears(int sock, int what) {
    struct jk_run run = {sock, -1, -1, -1, 0, {0}, {{-1, 0, 0, 0, 0}, {-1, 0, 0, 0, 0}, {-1, 0, 0, 0, 0}}};
    if (what & 1)
        jk_wait_exec(&run, 0);
    if (what & 2)
        jk_take_file(&run, 0);
    if (what & 4)
        run_talks(&run);
    if (run.got_report && run.report.kind != JK_REPORT_FAILED && run.report.kind != JK_REPORT_EXITED)
        abort();
    jk_close(&run);
}

static int lowest_free(void) {
    int fd = dup(0);
    close(fd);
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    int pair[2], before = lowest_free();
    if (size < 1 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return 0;
    say_all(pair[1], data + 1, size - 1);
    if (data[0] & 16) /* else it is silent from here on */
        close_fd(&pair[1]);
    if (data[0] & 8)
        jail_hears(pair[0]);
    else
        run_hears(pair[0], data[0]);
    close_fd(&pair[1]);
    if (lowest_free() != before)
        abort();
    return 0;
}
