"""The system calls of Linux in groups, and what each profile says of them: a table to read, with a reason for each row.

A name that exists on one of the two machines only (x86_64, aarch64) is without effect on the other. The table follows
the kernel's own up to Linux 6.17; what a later kernel adds is answered with ENOSYS, as by a kernel that lacks it.
"""

from __future__ import annotations

from typing import Final

import attrs

__all__ = ["ALWAYS", "GROUPS", "KNOWN", "PROFILES", "Group", "profile_actions"]

PROFILES: Final = ("default", "strict", "empty")


@attrs.frozen
class Group:
    """Some calls that stand or fall together.

    Attributes:
        name: What they are about.
        default: What the profile ``default`` says: ``allow``, ``check`` (depends on the arguments) or the refusal.
        strict: What the profile ``strict`` says.
        why: The reason.
        calls: Their names.
    """

    name: str
    default: str
    strict: str
    why: str
    calls: tuple[str, ...]


def _group(name: str, default: str, strict: str, why: str, calls: str) -> Group:
    return Group(name, default, strict, why, tuple(calls.split()))


ALWAYS: Final = ("execve", "exit_group", "write")
"""In force is a filter before the program begins: these begin it, or report that it could not be begun."""

GROUPS: Final = (
    _group("start", "allow", "allow", "jailkit begins the program with them, whatever the profile", " ".join(ALWAYS)),
    _group(
        "files",
        "allow",
        "allow",
        "which files there are is decided by the mounts and by Landlock",
        "read readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 close close_range lseek access faccessat"
        " faccessat2 stat fstat lstat newfstatat statx statfs fstatfs getdents getdents64 getcwd chdir fchdir readlink"
        " readlinkat rename renameat renameat2 mkdir mkdirat rmdir unlink unlinkat link linkat symlink symlinkat"
        " truncate ftruncate fallocate fsync fdatasync sync syncfs sync_file_range fadvise64 readahead sendfile"
        " copy_file_range splice tee vmsplice umask utime utimes futimesat utimensat dup dup2 dup3 fcntl pipe pipe2"
        " cachestat",
    ),
    _group(
        "file modes and nodes",
        "check",
        "check",
        "no set-id file can be left in a directory of the host; the file is its owner's, and that may be the caller",
        "open openat creat chmod fchmod fchmodat fchmodat2 mknod mknodat",
    ),
    _group(
        "openat2",
        "ENOSYS",
        "ENOSYS",
        "its mode lies in memory, where no filter sees it; callers fall back to openat",
        "openat2",
    ),
    _group(
        "owners and attributes",
        "allow",
        "EPERM",
        "bounded by the ids of the jail; a program that computes has no use for them",
        "chown fchown lchown fchownat setxattr lsetxattr fsetxattr getxattr lgetxattr fgetxattr listxattr llistxattr"
        " flistxattr removexattr lremovexattr fremovexattr setxattrat getxattrat listxattrat removexattrat"
        " name_to_handle_at",
    ),
    _group("locks", "allow", "EPERM", "a lock on a shared file tells one jail of another", "flock"),
    _group(
        "watching files",
        "allow",
        "EPERM",
        "watches count against all jails of one host user",
        "inotify_init inotify_init1 inotify_add_watch inotify_rm_watch",
    ),
    _group(
        "memory",
        "allow",
        "allow",
        "acts on the program itself",
        "mmap mprotect munmap brk mremap msync mincore madvise remap_file_pages pkey_mprotect pkey_alloc pkey_free"
        " membarrier mlock mlock2 mlockall munlock munlockall mseal map_shadow_stack",
    ),
    _group(
        "files in memory",
        "allow",
        "EPERM",
        "a program can be executed from them that no mount has",
        "memfd_create memfd_secret execveat",
    ),
    _group(
        "processes",
        "allow",
        "allow",
        "bounded by the pid namespace",
        "fork vfork exit wait4 waitid kill tkill tgkill getpid getppid gettid getpgid getpgrp getsid setpgid setsid"
        " set_tid_address set_robust_list get_robust_list restart_syscall rseq pidfd_open pidfd_send_signal"
        " process_mrelease rt_sigqueueinfo rt_tgsigqueueinfo",
    ),
    _group("new processes", "check", "check", "a new process, and no new namespace", "clone"),
    _group(
        "clone3", "ENOSYS", "ENOSYS", "its flags lie in memory, where no filter sees them; libc uses clone", "clone3"
    ),
    _group(
        "users",
        "allow",
        "allow",
        "bounded by the jail's ids and its empty set of capabilities",
        "getuid geteuid getgid getegid getresuid getresgid getgroups setuid setgid setreuid setregid setresuid"
        " setresgid setfsuid setfsgid setgroups capget capset",
    ),
    _group(
        "signals",
        "allow",
        "allow",
        "acts on the program itself",
        "rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigsuspend sigaltstack signalfd"
        " signalfd4 pause",
    ),
    _group(
        "time",
        "allow",
        "allow",
        "reads clocks, sets alarms of its own",
        "nanosleep clock_nanosleep clock_gettime clock_getres gettimeofday time times alarm getitimer setitimer"
        " timer_create timer_settime timer_gettime timer_getoverrun timer_delete timerfd_create timerfd_settime"
        " timerfd_gettime",
    ),
    _group(
        "waiting",
        "allow",
        "allow",
        "for descriptors, for each other",
        "poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 eventfd"
        " eventfd2 futex futex_waitv futex_wake futex_wait futex_requeue",
    ),
    _group(
        "old asynchronous I/O",
        "allow",
        "EPERM",
        "data bases use it; each of its operations is one that exists as a call",
        "io_setup io_destroy io_getevents io_submit io_cancel io_pgetevents",
    ),
    _group(
        "scheduling",
        "allow",
        "allow",
        "without a capability it only lowers",
        "sched_yield sched_getparam sched_getscheduler sched_get_priority_max sched_get_priority_min"
        " sched_rr_get_interval sched_getaffinity sched_getattr getpriority ioprio_get getcpu",
    ),
    _group(
        "changing the scheduling",
        "allow",
        "EPERM",
        "of any process of the jail's user",
        "sched_setparam sched_setscheduler sched_setaffinity sched_setattr setpriority ioprio_set",
    ),
    _group(
        "facts",
        "allow",
        "allow",
        "of the system and of the program's own use of it",
        "uname sysinfo getrusage getrlimit setrlimit getrandom",
    ),
    _group("limits of processes", "check", "check", "its own; PID 1 has the same user and must keep its", "prlimit64"),
    _group("machine", "allow", "allow", "the program's own registers", "arch_prctl set_thread_area get_thread_area"),
    _group(
        "own rules",
        "allow",
        "allow",
        "a program may confine itself further",
        "seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self",
    ),
    _group("settings of a process", "check", "check", "a list of harmless ones", "prctl"),
    _group("old behaviours", "check", "check", "plain Linux, and no switch that makes attacks easier", "personality"),
    _group("devices", "check", "check", "nothing can be typed into a terminal that others read from", "ioctl"),
    _group("sockets", "check", "EPERM", "Unix, IPv4, IPv6 and the routing netlink; nothing rare", "socket socketpair"),
    _group(
        "talking",
        "allow",
        "EPERM",
        "over a socket that there is",
        "connect accept accept4 bind listen getsockname getpeername setsockopt getsockopt sendto recvfrom sendmsg"
        " recvmsg sendmmsg recvmmsg shutdown",
    ),
    _group(
        "message queues",
        "allow",
        "EPERM",
        "POSIX ones, of the jail's own IPC namespace",
        "mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr",
    ),
    _group(
        "sysvipc",
        "EPERM",
        "EPERM",
        "Allow(sysvipc=True)",
        "shmget shmat shmctl shmdt semget semop semctl semtimedop msgget msgsnd msgrcv msgctl",
    ),
    _group(
        "ptrace",
        "EPERM",
        "EPERM",
        "Allow(ptrace=True): looking into other processes",
        "ptrace process_vm_readv process_vm_writev process_madvise kcmp pidfd_getfd",
    ),
    _group("nested", "check", "check", "Allow(nested=True): a new namespace is new rights", "unshare"),
    _group("namespaces of others", "EPERM", "EPERM", "nobody enters another's", "setns"),
    _group(
        "mount",
        "EPERM",
        "EPERM",
        "Allow(mount=True)",
        "mount umount2 pivot_root open_tree open_tree_attr move_mount fsopen fsconfig fsmount fspick mount_setattr",
    ),
    _group("chroot", "EPERM", "EPERM", "for the superuser of a jail below SANDBOX", "chroot"),
    _group("file handles", "EPERM", "EPERM", "opens a file without a way to it", "open_by_handle_at"),
    _group(
        "io_uring",
        "EPERM",
        "EPERM",
        "makes calls that no filter sees",
        "io_uring_setup io_uring_enter io_uring_register",
    ),
    _group("keys", "EPERM", "EPERM", "keyrings are no namespace", "add_key request_key keyctl"),
    _group(
        "kernel programs",
        "EPERM",
        "EPERM",
        "the widest ways into the kernel",
        "bpf perf_event_open userfaultfd fanotify_init fanotify_mark",
    ),
    _group(
        "memory of the machine",
        "EPERM",
        "EPERM",
        "where pages lie is the host's affair",
        "mbind set_mempolicy get_mempolicy set_mempolicy_home_node move_pages migrate_pages",
    ),
    _group(
        "administration",
        "EPERM",
        "EPERM",
        "of the whole machine",
        "init_module finit_module delete_module kexec_load kexec_file_load reboot swapon swapoff acct quotactl"
        " quotactl_fd syslog sethostname setdomainname settimeofday clock_settime clock_adjtime adjtimex vhangup"
        " lookup_dcookie iopl ioperm modify_ldt",
    ),
    _group(
        "mounts of the host",
        "ENOSYS",
        "ENOSYS",
        "tell more than /proc does; new, and callers fall back",
        "statmount listmount lsm_get_self_attr lsm_set_self_attr lsm_list_modules file_getattr file_setattr",
    ),
    _group(
        "dead",
        "EPERM",
        "EPERM",
        "no program of today makes them",
        "uselib ustat sysfs _sysctl create_module get_kernel_syms query_module nfsservctl getpmsg putpmsg afs_syscall"
        " tuxcall security epoll_ctl_old epoll_wait_old vserver",
    ),
)

KNOWN: Final = frozenset(name for group in GROUPS for name in group.calls)


def profile_actions(profile: str) -> dict[str, str]:
    """Return what a profile says of each call: ``allow``, ``check``, or how it is refused."""
    if profile == "empty":
        return {name: "allow" if name in ALWAYS else "EPERM" for name in sorted(KNOWN)}
    return {name: getattr(group, profile) for group in GROUPS for name in group.calls}
