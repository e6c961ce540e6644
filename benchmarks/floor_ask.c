/*
 * The hand-overs of a program in a live jail, without the jail: the measuring process asks a second one, which starts
 * the program, hears of its end by a signal, waits for it and answers. What a launcher with a process inside costs at
 * least, whatever its jail is made of.
 */
#define _GNU_SOURCE
#include "floor.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static char stack[32768] __attribute__((aligned(16)));

static int born(void *steps) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    run_steps(steps);
    return 127;
}

int ends_of_programs(void) {
    sigset_t ended;
    sigemptyset(&ended);
    sigaddset(&ended, SIGCHLD);
    sigprocmask(SIG_BLOCK, &ended, NULL);
    return signalfd(-1, &ended, SFD_NONBLOCK | SFD_CLOEXEC);
}

int start_program(const struct step *steps) {
    return clone(born, stack + sizeof stack, CLONE_VM | SIGCHLD, (void *)steps);
}

__attribute__((noreturn)) static void serve_requests(int sock, const struct step *steps) {
    char bytes[REQUEST];
    int status, signals = ends_of_programs();
    for (;;) {
        struct pollfd ready[2] = {{sock, POLLIN, 0}, {signals, POLLIN, 0}};
        struct signalfd_siginfo ignored;
        poll(ready, 2, -1);
        if (ready[1].revents && read(signals, &ignored, sizeof ignored) > 0)
            while (waitpid(-1, &status, WNOHANG) > 0)
                if (send(sock, bytes, ANSWER, MSG_NOSIGNAL) < 0)
                    _exit(1);
        if (ready[0].revents && recv(sock, bytes, sizeof bytes, 0) <= 0)
            _exit(0);
        if (ready[0].revents && start_program(steps) < 0)
            _exit(1);
    }
}

int start_asked(const struct step *steps) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return -1;
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        serve_requests(pair[1], steps);
    }
    close(pair[1]);
    return child < 0 ? -1 : pair[0];
}

int ask(int sock) {
    char bytes[REQUEST] = {0};
    struct pollfd answer = {sock, POLLIN, 0};
    if (send(sock, bytes, sizeof bytes, MSG_NOSIGNAL) < 0 || poll(&answer, 1, -1) != 1)
        return -1;
    return recv(sock, bytes, sizeof bytes, 0) == ANSWER ? 0 : -1;
}
