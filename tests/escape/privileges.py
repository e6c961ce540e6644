"""ATK-16 and ATK-30 to ATK-51: namespaces, ids, capabilities, calls that reach deep into the kernel, other processes."""

from __future__ import annotations

from tests.escape.attack import (
    BELOW_SHELL,
    HOST,
    NAMESPACE,
    ROOT_ONLY,
    Attack,
    Jailed,
    Unjailed,
    everywhere,
    only,
)

__all__ = ["ATTACKS"]

NO_FILTER = Jailed({"seccomp": False})


def one(
    identity: str, name: str, code: str, refused: dict[str, str], control: Unjailed | Jailed = HOST,
    needs: tuple[str, ...] = (), path: str = "/",
) -> Attack:  # fmt: skip
    """One row; the same order everywhere in this file."""
    return Attack(id=identity, name=name, code=code, refused=refused, control=control, needs=needs, path=path)


CLONE3 = """
arguments = (ctypes.c_uint64 * 11)(%s, 0, 0, 0, 17)
pid = raw("clone3", ctypes.addressof(arguments), ctypes.sizeof(arguments))
if pid == 0:
    os._exit(0)
if pid > 0:
    os.waitpid(pid, 0)
say("POSSIBLE" if pid > 0 else errno.errorcode[-pid])
"""
CLONE = """
pid = raw("clone", %s | 17, 0, 0, 0, 0)
if pid == 0:
    os._exit(0)
if pid > 0:
    os.waitpid(pid, 0)
say("POSSIBLE" if pid > 0 else errno.errorcode[-pid])
"""
USER_NAMESPACES = (
    one("ATK-30", "a user namespace by unshare", "say(call('unshare', 0x10000000))", everywhere("EPERM|ENOSPC")),
    one("ATK-30", "a user namespace by clone", CLONE % "0x10000000", everywhere("EPERM|ENOSPC")),
    one(
        "ATK-30", "a user namespace by clone, under bits that do not count", CLONE % "0x1_1000_0000",
        everywhere("EPERM|ENOSPC"),
    ),
    one(
        "ATK-30", "a user namespace by clone3, with its flags in memory", CLONE3 % "0x10000000",
        {"sandbox": "ENOSYS", "jail": "ENOSPC", "bare": "ENOSPC"},
    ),
    one(
        "ATK-41", "unshare by a number with high bits",
        "NR['high'] = NR['unshare'] | 1 << 32\nsay(call('high', 0x10000000))", everywhere("EPERM|ENOSPC|ENOSYS"),
    ),
    one(
        "ATK-30", "a higher limit of user namespaces, then one",
        """
        with contextlib.suppress(OSError):
            put("/proc/sys/user/max_user_namespaces", "100")
        say(call("unshare", 0x10000000))
        """,
        everywhere("EPERM|ENOSPC"),
    ),
    one(
        "ATK-32", "another map of ids",
        """
        uid = os.getuid()
        call("unshare", 0x10000000)
        say(attempt(lambda: os.write(os.open("/proc/self/uid_map", os.O_WRONLY), b"0 %d 1" % uid)))
        """,
        everywhere("EPERM|EACCES|EROFS"),
    ),
)  # fmt: skip
OTHER_NAMESPACES = tuple(
    one("ATK-30", f"a namespace by unshare: {name}", f"say(call('unshare', {flag}))", everywhere("EPERM"), NAMESPACE)
    for name, flag in (
        ("mounts", "0x20000"), ("processes", "0x20000000"), ("network", "0x40000000"), ("host name", "0x4000000"),
        ("interprocess communication", "0x8000000"), ("control groups", "0x2000000"), ("time", "0x80"),
    )
)  # fmt: skip
ENTERED = (
    one("ATK-30", "a namespace by clone: mounts", CLONE % "0x20000", everywhere("EPERM"), NAMESPACE),
    one("ATK-30", "a namespace by clone: network", CLONE % "0x40000000", everywhere("EPERM"), NAMESPACE),
    one(
        "ATK-34", "setns to the namespaces of PID 1, by its pidfd",
        "fd = raw('pidfd_open', 1, 0)\nsay(call('setns', fd, 0x08000000))", everywhere("EPERM|EACCES"), NAMESPACE,
    ),
    one(
        "ATK-34", "setns to the namespaces of PID 1, by /proc",
        "say(attempt(lambda: raw('setns', os.open('/proc/1/ns/net', os.O_RDONLY), 0)))", everywhere("EPERM|EACCES"),
        BELOW_SHELL,
    ),
    one(
        "ATK-34", "setns to its own network", "say(call('setns', os.open('/proc/self/ns/net', os.O_RDONLY), 0))",
        everywhere("EPERM"), NAMESPACE,
    ),
)  # fmt: skip

CAPABILITIES = (
    one(
        "ATK-33", "capset to everything",
        """
        header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(*[0xFFFFFFFF, 0xFFFFFFFF, 0, 0x1FF, 0x1FF, 0])
        say(said(libc.capset(header, sets)))
        """,
        everywhere("EPERM"), NAMESPACE,
    ),
    one("ATK-33", "CAP_SYS_ADMIN as ambient", """
        header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        libc.capget(header, sets)
        sets[2], sets[5] = sets[1], sets[4]
        libc.capset(header, sets)
        say(said(libc.prctl(47, 2, 21, 0, 0)))
        """, everywhere("EPERM"), NAMESPACE),
    one("ATK-31", "groups dropped by setgroups", "say(attempt(os.setgroups, []))", everywhere("EPERM") | only(
        "EPERM|POSSIBLE", "jail"), HOST, ROOT_ONLY),
    one("ATK-33", "setuid to the superuser", "say(attempt(os.setuid, 0))", only("EPERM|EINVAL", "sandbox", "bare"), NAMESPACE),
    one("ATK-33", "setresgid to group 0", "say(attempt(os.setresgid, 0, 0, 0))", only("EPERM|EINVAL", "sandbox", "bare"),
        NAMESPACE),
    one("ATK-51", "another host name", "say(call('sethostname', b'pwned', 5))", everywhere("EPERM"), NAMESPACE),
    one("ATK-51", "another domain name", "say(call('setdomainname', b'pwned', 5))", everywhere("EPERM"), NAMESPACE),
    one("ATK-51", "the clock", "say(reached('settimeofday', 0, 0))", everywhere("EPERM"), HOST, ROOT_ONLY),
    one("ATK-40", "a higher priority", "say(attempt(os.setpriority, os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) - 1))",
        everywhere("EPERM|EACCES"), HOST, ROOT_ONLY),
    one("ATK-40", "real-time scheduling", "say(attempt(os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(1)))",
        everywhere("EPERM"), HOST, ROOT_ONLY),
    one("ATK-60", "a core file in spite of the limit", """
        import resource
        hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
        try:
            resource.setrlimit(resource.RLIMIT_CORE, (1 << 20, max(hard, 1 << 20) if hard >= 0 else hard))
            say("POSSIBLE")
        except ValueError:
            say("EPERM")
        """, everywhere("EPERM"), HOST, ROOT_ONLY),
)  # fmt: skip

DEEP = tuple(
    one("ATK-43", name, code, refused, control, needs, path)
    for name, code, refused, control, needs, path in (
        ("bpf: a map", "say(call('bpf', 0, words(0x400000002, 0x100000008, 0, 0, 0, 0, 0, 0, 0), 72))",
         everywhere("EPERM"), HOST, ROOT_ONLY, "/"),
        ("perf_event_open: the whole machine",
         "say(call('perf_event_open', words(1 | 112 << 32, 0, *[0] * 14), -1, 0, -1, 0))",
         everywhere("EPERM|EACCES"), HOST, ROOT_ONLY, "/proc/sys/kernel/perf_event_paranoid"),
        ("userfaultfd", "say(call('userfaultfd', 1))", only("EPERM"), NO_FILTER, (), "/proc/sys/vm/unprivileged_userfaultfd"),
        ("fanotify of a whole mount", "say(call('fanotify_init', 0, 0))", everywhere("EPERM"), HOST, ROOT_ONLY, "/"),
        ("fanotify without privilege", "say(call('fanotify_init', 0x200, 0))", only("EPERM"), NO_FILTER, (), "/"),
        ("swapon", "say(reached('swapon', b'/nonexistent', 0, beyond=['ENOENT']))", everywhere("EPERM"), HOST, ROOT_ONLY,
         "/proc/swaps"),
        ("reboot, with a wrong key", "say(reached('reboot', 1, 2, 3, 0, beyond=['EINVAL']))", only("EPERM", "sandbox", "bare", "jail"),
         HOST, ROOT_ONLY, "/"),
        ("init_module", "say(reached('init_module', 0, 0, b'', beyond=['ENOEXEC', 'EFAULT']))", everywhere("EPERM"), HOST,
         ROOT_ONLY, "/proc/modules"),
        ("the kernel's log by syslog", "say(call('syslog', 3, memory(4096), 4096))", everywhere("EPERM"), HOST, ROOT_ONLY, "/"),
        ("quotactl of a file system", "say(reached('quotactl', 0x80000800, b'/dev/vda', 0, 0, beyond=['ESRCH', 'ENOENT', 'ENOSYS', 'ENODEV', 'ENOTBLK']))",
         only("EPERM"), NO_FILTER, (), "/proc/sys/fs/quota"),
        ("io_uring", "say(call('io_uring_setup', 8, memory(200)))", only("EPERM"), HOST, (), "/proc/sys/kernel/io_uring_disabled"),
        ("a key for others to find", "say(call('add_key', b'user', b'jailkit-attack', b'x', 1, -2))", only("EPERM"), NO_FILTER,
         (), "/proc/keys"),
        ("a key asked for by request_key", "say(reached('request_key', b'user', b'jailkit-attack', 0, 0, beyond=['ENOKEY']))",
         only("EPERM"), NO_FILTER, (), "/proc/keys"),
        ("where the pages of memory lie", "say(call('get_mempolicy', memory(8), 0, 0, 0, 0))", only("EPERM"), NO_FILTER, (),
         "/sys/devices/system/node"),
        ("pages moved between nodes", "say(call('move_pages', 0, 0, 0, 0, 0, 0))", only("EPERM"), NO_FILTER, (),
         "/sys/devices/system/node"),
        ("no more random addresses", "say(call('personality', 0x40000))", only("EPERM"), HOST, (), "/"),
        ("all that is readable executable", "say(call('personality', 0x400000))", only("EPERM"), HOST, (), "/"),
        ("the table of mounts by listmount", "say(call('listmount', words(32, 2**64 - 1, 0, 0), memory(800), 100, 0))",
         only("ENOSYS"), NO_FILTER, (), "/"),
        ("ports of the processor by iopl", "say(call('iopl', 3))", everywhere("EPERM|ENOSYS"), HOST, ROOT_ONLY, "/dev/port"),
        ("the limits of PID 1", "say(call('prlimit64', 1, 7, words(64, 64), 0))", only("EPERM"), BELOW_SHELL, (), "/"),
    )
)  # fmt: skip

OTHERS = tuple(
    one("ATK-44", f"PID 1: {name}", code, everywhere(refused), BELOW_SHELL)
    for name, code, refused in (
        ("its memory by process_vm_readv", "here, there = words(memory(8), 8), None\n"
         "maps = attempt(read, '/proc/1/maps')\nlow = 0\n"
         "if maps == 'POSSIBLE':\n    low = int(read('/proc/1/maps').split(b'-')[0], 16)\n"
         "remote = (ctypes.c_uint64 * 2)(low, 8)\n"
         "say(call('process_vm_readv', 1, here, 1, ctypes.addressof(remote), 1, 0))", "EPERM"),
        ("its memory by /proc", "say(attempt(os.open, '/proc/1/mem', os.O_RDWR))", "EACCES|EPERM"),
        ("its descriptors by pidfd_getfd", "say(call('pidfd_getfd', raw('pidfd_open', 1, 0), 0, 0))", "EPERM"),
        ("its descriptors by /proc", "say(attempt(os.open, '/proc/1/fd/0', os.O_RDONLY))", "EACCES|EPERM"),
        ("compared by kcmp", "say(call('kcmp', 1, os.getpid(), 1, 0, 0))", "EPERM"),
        ("traced by PTRACE_SEIZE", "say(call('ptrace', 0x4206, 1, 0, 0))", "EPERM|EACCES"),
        ("its environment", "say(attempt(read, '/proc/1/environ'))", "EACCES|EPERM"),
        ("its address space", "say(attempt(read, '/proc/1/maps'))", "EACCES|EPERM"),
        ("its system call", "say(attempt(read, '/proc/1/syscall'))", "EACCES|EPERM|ENOENT"),
        ("its auxiliary vector", "say(attempt(read, '/proc/1/auxv'))", "EACCES|EPERM"),
        ("its score at want of memory", "say(attempt(put, '/proc/1/oom_score_adj', '1000'))", "EACCES|EPERM|EROFS"),
        ("its pages marked", "say(attempt(put, '/proc/1/clear_refs', '1'))", "EACCES|EPERM|EROFS|ENOENT"),
    )
)  # fmt: skip
SIBLING = """
def victim():
    libc.prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)
    time.sleep(100)
pid = os.fork()
if pid == 0:
    victim()
try:
    say(%s)
finally:
    os.kill(pid, 9)
    os.waitpid(pid, 0)
"""
SIBLINGS = tuple(
    one("ATK-44", f"a sibling: {name}", SIBLING % code, only("EPERM"), Jailed({"allow": ["ptrace"]}))
    for name, code in (
        ("traced", "call('ptrace', 0x4206, pid, 0, 0)"),
        ("its descriptor taken", "call('pidfd_getfd', raw('pidfd_open', pid, 0), 0, 0)"),
        ("compared", "call('kcmp', pid, os.getpid(), 1, 0, 0)"),
    )
)

FAMILIES = (
    one(
        "ATK-41", "a socket of netlink, for the audit", "say(call('socket', 16, 3, 4))", only("EPERM"), NO_FILTER,
    ),
    one(
        "ATK-41", "a socket of netlink, with bits that do not count", "say(call('socket', 16 | 1 << 32, 3, 4))",
        only("EPERM"), NO_FILTER,
    ),
    one("ATK-41", "a socket of packets", "say(call('socket', 17, 3, 0))", everywhere("EPERM") | only("EPERM|POSSIBLE", "jail"),
        NAMESPACE),
    one("ATK-120", "a raw socket", "say(call('socket', 2, 3, 1))", only("EPERM", "sandbox", "bare"), NAMESPACE),
)  # fmt: skip
SYSTEM_V = tuple(
    Attack(
        id="ATK-46", name=f"of the host's IPC: {name}", code=f"say({code})", refused=everywhere(refused), options={"allow": ["sysvipc"]},
    )
    for name, code, refused in (
        ("shared memory", "call('shmget', C['key'], 0, 0)", "ENOENT"),
        ("semaphores", "call('semget', C['key'], 0, 0)", "ENOENT"),
        ("a message queue", "call('msgget', C['key'], 0)", "ENOENT"),
        ("a POSIX message queue", "call('mq_open', b'/' + C['ipc'].encode(), os.O_RDONLY)", "ENOENT"),
    )
)  # fmt: skip

ATTACKS = (
    USER_NAMESPACES + OTHER_NAMESPACES + ENTERED + CAPABILITIES + DEEP + OTHERS + SIBLINGS + FAMILIES + SYSTEM_V
)  # fmt: skip
