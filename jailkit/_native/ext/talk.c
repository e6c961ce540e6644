/*
 * talk.c: bytes in, bytes out, and the report of the end, in one call: every call that gives the interpreter lock back
 * can cost a switch interval of each busy thread. What to do with a full buffer or a deadline is Python's to decide.
 */
#include "ext.h"

#include <time.h>

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* A host program that took back SIGPIPE's default must not die of a program that closed its stdin. */
static ssize_t write_quietly(int fd, const char *bytes, size_t size) {
    const struct timespec at_once = {0, 0};
    sigset_t pipe_signal, before;
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
    ssize_t written = write(fd, bytes, size);
    int error = errno;
    if (written < 0 && error == EPIPE && !sigismember(&before, SIGPIPE))
        sigtimedwait(&pipe_signal, NULL, &at_once);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return written;
}

static void feed(struct jk_stream *input) {
    ssize_t written = write_quietly(input->fd, input->buffer + input->used, input->size - input->used);
    if (written > 0)
        input->used += (uint64_t)written;
    if ((written < 0 && errno != EAGAIN && errno != EINTR) || input->used == input->size)
        input->ended = 1;
}

static void drink(struct jk_stream *output) {
    ssize_t size = read(output->fd, output->buffer + output->used, output->size - output->used);
    if (size > 0)
        output->used += (uint64_t)size;
    else if (size == 0 || (errno != EAGAIN && errno != EINTR))
        output->ended = 1;
}

static int open_stream(const struct jk_stream *stream) {
    return stream->fd >= 0 && !stream->ended && stream->used < stream->size ? stream->fd : -1;
}

/* After the end: all that was written is in the pipes, and nobody is left to wait for. 1: a buffer is full. */
static int drain(struct jk_run *run) {
    for (int n = 1; n < 3; n++) {
        struct jk_stream *output = &run->stream[n];
        struct pollfd ready = {open_stream(output), POLLIN, 0};
        while (ready.fd >= 0 && poll(&ready, 1, 0) > 0) {
            drink(output);
            ready.fd = open_stream(output);
        }
        if (output->fd >= 0 && !output->ended && output->size && output->used == output->size)
            return 1;
    }
    return 0;
}

static int listen_to(struct jk_run *run) {
    struct jk_report report;
    int fd, heard = jk_take(run->channel, &report, &fd);
    close_fd(&fd);
    if (heard == -EAGAIN || heard == -EINTR)
        return 0;
    return heard == 1 && jk_keep(run, &report) ? JK_EVENT_REPORT : JK_EVENT_LOST;
}

static int serve_ready(struct jk_run *run, const struct pollfd *ready) {
    int events = 0;
    if (ready[0].revents)
        feed(&run->stream[0]);
    for (int n = 1; n < 3; n++) {
        struct jk_stream *output = &run->stream[n];
        if (ready[n].revents)
            drink(output);
        if (output->fd >= 0 && !output->ended && output->size && output->used == output->size)
            events |= JK_EVENT_FULL;
    }
    return ready[3].revents ? events | listen_to(run) : events;
}

int jk_talk(struct jk_run *run, int timeout_ms) {
    int64_t deadline = timeout_ms < 0 ? -1 : now_ms() + timeout_ms;
    int events = run->got_report ? JK_EVENT_REPORT : 0;
    while (!events) {
        if (run->stream[0].ended) /* all of the input is written, and its end is for the program to see */
            close_fd(&run->stream[0].fd);
        struct pollfd ready[4] = {{open_stream(&run->stream[0]), POLLOUT, 0},
                                  {open_stream(&run->stream[1]), POLLIN, 0},
                                  {open_stream(&run->stream[2]), POLLIN, 0},
                                  {run->channel, POLLIN, 0}};
        int64_t left = deadline < 0 ? -1 : deadline - now_ms();
        int count = poll(ready, 4, deadline < 0 ? -1 : left > 0 ? (int)left : 0);
        if (count < 0)
            return errno == EINTR ? JK_EVENT_SIGNAL : -errno;
        events = count == 0 ? JK_EVENT_TIMEOUT : serve_ready(run, ready);
    }
    if ((events & (JK_EVENT_REPORT | JK_EVENT_LOST)) && drain(run))
        events |= JK_EVENT_FULL;
    return events;
}

int64_t jk_syscall(int number, int64_t a, int64_t b, int64_t c, int64_t d, int64_t e, int64_t f) {
    long result = syscall(number, a, b, c, d, e, f);
    return result < 0 ? -errno : result;
}
