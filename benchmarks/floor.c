/*
 * The floor: what a jail costs when its system calls are made by hand, by a small static program
 * with nothing around them. A launcher that costs much more than this spends the difference on
 * itself.
 *
 * One line of JSON per call:  {"mode": "all", "network": true, "ns": [2461010, ...]}
 * A sample runs from before the clone to after the wait, on CLOCK_MONOTONIC.
 * `--steps` adds "steps": the nanoseconds of each step of each launch. `--serve` makes one launch
 * per line of its input and answers each with its nanoseconds, so that it can be interleaved with
 * others.
 *
 * It must run as root: the parent writes a map of 65,536 ids that no one else uses.
 */
#define _GNU_SOURCE
#include "floor.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define ID_BASE 0x70000000u
#define ID_COUNT 65536u
#define SAMPLES_MAX 10000

struct world world = {.go_event = -1, .ready_event = -1, .live_pidfd = -1, .with_network = true};

static int64_t samples[SAMPLES_MAX];
static int64_t step_times[STEPS_MAX][SAMPLES_MAX];

static void die(const char *what) {
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void write_map(pid_t child, const char *file) {
    char path[64], text[64];
    snprintf(path, sizeof path, "/proc/%d/%s", child, file);
    int length = snprintf(text, sizeof text, "0 %u %u\n", ID_BASE, ID_COUNT);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, (size_t)length) != length)
        die(path);
    close(fd);
}

static void wait_for(int pidfd, const struct step *steps) {
    siginfo_t info;
    if (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED))
        die("waitid");
    if (world.report->error) {
        errno = world.report->error;
        die(steps[world.report->failed_step].name);
    }
    if (info.si_code != CLD_EXITED || info.si_status != 0) {
        fprintf(stderr, "floor: %s: status %d\n", world.program[0], info.si_status);
        exit(1);
    }
    close(pidfd);
}

static int start_in_namespaces(const struct step *steps, int64_t *cloned) {
    int pidfd = -1;
    uint64_t network = world.with_network ? CLONE_NEWNET : 0;
    struct clone_args arguments = {
        .flags = CLONE_PIDFD | CLONE_NEWPID | (WITHOUT_PID & ~(uint64_t)CLONE_NEWNET) | network,
        .pidfd = (uint64_t)(uintptr_t)&pidfd,
        .exit_signal = SIGCHLD,
    };
    if (world.groups && world.unified) {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = (uint64_t)world.join;
    }
    pid_t child = (pid_t)syscall(SYS_clone3, &arguments, sizeof arguments);
    if (child < 0)
        die("clone3");
    if (child == 0) {
        /* The parent may die before it has written the maps: then so does this child. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        run_steps(steps);
    }
    *cloned = now();
    write_map(child, "uid_map");
    write_map(child, "gid_map");
    eventfd_write(world.go_event, 1);
    return pidfd;
}

/* Kept apart so that nothing of the caller lives in registers across vfork. */
__attribute__((noinline)) static int start_by_vfork(const struct step *steps) {
    pid_t child = vfork();
    if (child == 0)
        run_steps(steps);
    return child < 0 ? -1 : pidfd_open(child, 0);
}

static int64_t launch_walled(int64_t *cloned) {
    if (make_group() || open_streams())
        die("control group or pipes");
    int pidfd = start_in_namespaces(walled_steps, cloned);
    if (hear_streams())
        die("outputs");
    wait_for(pidfd, walled_steps);
    if (account() || remove_group())
        die("accounts of the control group");
    return now();
}

static int64_t launch(const struct step *steps, int64_t *begin, int64_t *cloned) {
    int pidfd;
    *begin = now();
    if (steps == walled_steps)
        return launch_walled(cloned);
    if (steps == ask_steps || steps == served_steps) {
        if (steps == ask_steps ? ask(world.asked) : ask_for_program(world.asked))
            die("ask");
        *cloned = *begin;
        return now();
    }
    if (steps == cold_steps) {
        pidfd = start_in_namespaces(steps, cloned);
    } else {
        /* After the first time this changes nothing, but a launcher has to ask each time. */
        if (steps == enter_steps && setns(world.live_pidfd, CLONE_NEWPID))
            die("setns");
        pidfd = start_by_vfork(steps);
        *cloned = *begin;
    }
    if (pidfd < 0)
        die("start");
    wait_for(pidfd, steps);
    return now();
}

static void start_live(void) {
    int64_t ignored;
    world.hold = true;
    world.live_pidfd = start_in_namespaces(cold_steps, &ignored);
    world.hold = false;
    struct pollfd ready = {.fd = world.ready_event, .events = POLLIN};
    if (poll(&ready, 1, 5000) != 1) {
        errno = world.report->error ? world.report->error : ETIMEDOUT;
        die(cold_steps[world.report->failed_step].name);
    }
}

/* A live jail whose PID 1 is asked for programs, over a socket whose other end it holds as `asked`. */
static void start_served(void) {
    int64_t ignored;
    int pair[2];
    if (make_group() || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        die("control group");
    world.asked = pair[1];
    world.live_pidfd = start_in_namespaces(served_steps, &ignored);
    close(pair[1]);
    world.asked = pair[0];
}

static void end_live(void) {
    siginfo_t info;
    syscall(SYS_pidfd_send_signal, world.live_pidfd, SIGKILL, NULL, 0);
    waitid(P_PIDFD, (id_t)world.live_pidfd, &info, WEXITED);
}

static void print_list(const int64_t *values, int count) {
    for (int i = 0; i < count; i++)
        printf("%s%" PRId64, i ? ", " : "[", values[i]);
    printf("]");
}

/* Step 0 is the clone, the last one is the program from the start of execve to the wait. */
static void keep_steps(int sample, const struct step *steps, int64_t begin, int64_t cloned, int64_t end) {
    int last = 0;
    while (steps[last + 1].name)
        last++;
    step_times[0][sample] = cloned - begin;
    for (int i = 0; i <= last; i++)
        step_times[i + 1][sample] = (i < last ? world.report->mark[i + 1] : end) - world.report->mark[i];
}

static void print_steps(const struct step *steps, int count) {
    printf(", \"steps\": {\"clone\": ");
    print_list(step_times[0], count);
    for (int i = 0; steps[i].name; i++) {
        printf(", \"%s\": ", steps[i].name);
        print_list(step_times[i + 1], count);
    }
    printf("}");
}

struct request {
    const char *mode;
    int count;
    bool with_steps;
    bool serve;
};

static void print_line(const struct request *request, const struct step *steps) {
    printf("{\"mode\": \"%s\", \"network\": %s, \"ns\": ", request->mode, world.with_network ? "true" : "false");
    print_list(samples, request->count);
    if (request->with_steps)
        print_steps(steps, request->count);
    printf("}\n");
}

__attribute__((noreturn)) static void usage(void) {
    fputs("usage: floor [--no-net] [--steps] [--serve | -n N] [all|vfork|enter|ask] [-- PROGRAM ...]\n"
          "       floor --groups DIRECTORY --filter FILE [--steps] [--serve | -n N] walls|live [-- PROGRAM ...]\n",
          stderr);
    exit(2);
}

static const struct step *steps_of(const char *mode) {
    if (!strcmp(mode, "all"))
        return cold_steps;
    if (!strcmp(mode, "vfork"))
        return vfork_steps;
    if (!strcmp(mode, "enter"))
        return enter_steps;
    if (!strcmp(mode, "ask"))
        return ask_steps;
    if (!strcmp(mode, "walls") && world.groups)
        return walled_steps;
    if (!strcmp(mode, "live") && world.groups)
        return served_steps;
    usage();
}

static void parse(int argc, char **argv, struct request *request) {
    static char true_path[] = "/bin/true";
    static char *standard[] = {true_path, NULL};
    static const struct option options[] = {
        {"no-net", no_argument, NULL, 'N'},       {"steps", no_argument, NULL, 's'},
        {"serve", no_argument, NULL, 'S'},        {"groups", required_argument, NULL, 'g'},
        {"filter", required_argument, NULL, 'f'}, {0}};
    int option;
    while ((option = getopt_long(argc, argv, "+n:", options, NULL)) != -1) {
        if (option == 'N')
            world.with_network = false;
        else if (option == 's')
            request->with_steps = true;
        else if (option == 'S')
            request->serve = true;
        else if (option == 'n')
            request->count = atoi(optarg);
        else if (option == 'g')
            world.groups = optarg;
        else if (option == 'f' && load_filter(optarg))
            die(optarg);
        else if (option != 'f')
            usage();
    }
    if (optind < argc && strcmp(argv[optind - 1], "--") != 0)
        request->mode = argv[optind++];
    if (optind < argc && !strcmp(argv[optind], "--"))
        optind++;
    world.program = optind < argc ? argv + optind : standard;
    if (request->count < 1 || request->count > SAMPLES_MAX)
        usage();
}

static void serve(const struct step *steps) {
    int64_t begin, cloned;
    while (getchar() == '\n') {
        int64_t end = launch(steps, &begin, &cloned);
        printf("%" PRId64 "\n", end - begin);
        fflush(stdout);
    }
}

static void measure(const struct step *steps, const struct request *request) {
    for (int i = 0; i < request->count; i++) {
        int64_t begin, cloned;
        int64_t end = launch(steps, &begin, &cloned);
        samples[i] = end - begin;
        keep_steps(i, steps, begin, cloned, end);
    }
    print_line(request, steps);
}

int main(int argc, char **argv) {
    struct request request = {.mode = "all", .count = 1};
    parse(argc, argv, &request);
    const struct step *steps = steps_of(request.mode);
    world.go_event = eventfd(0, EFD_CLOEXEC);
    world.ready_event = eventfd(0, EFD_CLOEXEC);
    world.report = mmap(NULL, sizeof *world.report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (world.go_event < 0 || world.ready_event < 0 || world.report == MAP_FAILED)
        die("set-up");
    world.unified = !access("/sys/fs/cgroup/cgroup.controllers", F_OK);
    if (steps == enter_steps)
        start_live();
    if (steps == served_steps)
        start_served();
    if (steps == ask_steps && (world.asked = start_asked(steps)) < 0)
        die("start");
    if (request.serve)
        serve(steps);
    else
        measure(steps, &request);
    if (steps == enter_steps || steps == served_steps)
        end_live();
    if (steps == served_steps && remove_group())
        die("control group");
    return 0;
}
