"""ATK-60 to ATK-68 and ATK-133: what /proc, /sys and the environment tell, and settings of the kernel."""

from __future__ import annotations

from tests.escape.attack import NAMESPACE, ROOT_ONLY, Attack, Jailed, everywhere, only

__all__ = ["ATTACKS"]

SETTINGS = tuple(
    Attack(
        id="ATK-60" if name == "kernel/core_pattern" else "ATK-61", name=f"a setting of the kernel: {name}",
        path=f"/proc/sys/{name}", needs=ROOT_ONLY, refused=everywhere("EACCES|EROFS|EPERM"),
        code=f"say(attempt(put, '/proc/sys/{name}', {text!r}))",
    )
    for name, text in (
        ("kernel/core_pattern", "|/tmp/x"), ("kernel/modprobe", "/tmp/x"), ("kernel/panic", "1"), ("kernel/sysrq", "511"),
        ("kernel/randomize_va_space", "0"), ("kernel/kptr_restrict", "0"), ("kernel/perf_event_paranoid", "-1"),
        ("vm/panic_on_oom", "1"), ("vm/overcommit_memory", "2"), ("vm/drop_caches", "3"), ("fs/protected_symlinks", "0"),
        ("fs/suid_dumpable", "1"), ("fs/file-max", "10"), ("fs/binfmt_misc/register", ":x:M::x::/tmp/x:"),
    )
)  # fmt: skip
NAMESPACED = tuple(
    Attack(
        id="ATK-68", name=f"a setting of the namespace: {name}", path=f"/proc/sys/{name}", control=NAMESPACE,
        refused=only("EACCES|EROFS|EPERM", "sandbox", "bare"), code=f"say(attempt(put, '/proc/sys/{name}', {text!r}))",
    )
    for name, text in (
        ("net/ipv4/ip_default_ttl", "77"), ("net/ipv4/ping_group_range", "0 1"), ("kernel/shmmax", "1"),
        ("kernel/msgmax", "1"), ("user/max_user_namespaces", "9"), ("fs/mqueue/msg_max", "9"),
    )
)  # fmt: skip
SWITCHES = (
    Attack(
        id="ATK-61", name="the magic keys by /proc/sysrq-trigger", path="/proc/sysrq-trigger", needs=ROOT_ONLY,
        refused=everywhere("EACCES|EROFS|EPERM"), code="say(attempt(put, '/proc/sysrq-trigger', 'h'))",
    ),
    Attack(
        id="ATK-61", name="interrupts sent elsewhere", path="/proc/irq", needs=ROOT_ONLY,
        refused=everywhere("EACCES|EROFS|EPERM|nothing"),
        code="""
        outcome = "nothing"
        for top, _, names in os.walk("/proc/irq"):
            if "smp_affinity" in names and outcome == "nothing":
                outcome = attempt(put, top + "/smp_affinity", "1")
        say(outcome)
        """,
    ),
    Attack(
        id="ATK-63", name="out of its control group", path="/sys/fs/cgroup", needs=ROOT_ONLY,
        refused=everywhere("ENOENT"),
        code="""
        ways = ["/sys/fs/cgroup/memory/cgroup.procs", "/sys/fs/cgroup/cgroup.procs"]
        answers = [attempt(put, way, str(os.getpid())) for way in ways]
        say("POSSIBLE" if "POSSIBLE" in answers else answers[0])
        """,
    ),
    Attack(
        id="ATK-62", name="any release_agent", needs=ROOT_ONLY, path="/sys/fs/cgroup/memory/release_agent",
        refused=everywhere("nothing"),
        code="""
        agents = [top for top, _, names in os.walk("/sys/fs/cgroup") if "release_agent" in names]
        say(found(agents and attempt(put, agents[0] + "/release_agent", "/tmp/x") == "POSSIBLE"))
        """,
    ),
)  # fmt: skip
READ = tuple(
    Attack(
        id="ATK-64", name=f"read: {path}", path=path, needs=ROOT_ONLY, refused=everywhere(refused),
        code=f"""
        fd = -1
        try:
            fd = os.open({path!r}, os.O_RDONLY | os.O_NONBLOCK)
            say("POSSIBLE" if os.read(fd, 8192) else "empty")
        except OSError as error:
            say("POSSIBLE" if error.errno == errno.EAGAIN else errno.errorcode[error.errno])
        """,
    )
    for path, refused in (
        ("/proc/kcore", "EACCES|EPERM|ENOENT"), ("/proc/kmsg", "EACCES|EPERM|ENOENT"), ("/proc/slabinfo", "EACCES|EPERM"),
        ("/proc/vmallocinfo", "EACCES|EPERM"), ("/proc/timer_list", "EACCES|EPERM"), ("/proc/interrupts", "empty"),
        ("/proc/keys", "empty"), ("/proc/key-users", "empty"), ("/proc/kpagecount", "EACCES|EPERM"),
        ("/proc/pagetypeinfo", "EACCES|EPERM"), ("/dev/mem", "ENOENT"), ("/dev/kmsg", "ENOENT"),
        ("/sys/kernel/notes", "ENOENT"), ("/sys/class/net/lo/mtu", "ENOENT"), ("/sys/devices/system/cpu/online", "ENOENT"),
    )
)  # fmt: skip
TELLS = (
    Attack(
        id="ATK-64", name="addresses of the kernel in /proc/kallsyms", path="/proc/kallsyms", needs=ROOT_ONLY,
        refused=everywhere("nothing"),
        code="say(found(any(int(line.split()[0], 16) for line in open('/proc/kallsyms'))))",
    ),
    Attack(
        id="ATK-65", name="the environment of the host's processes", refused=everywhere("nothing"),
        code="""
        seen = b""
        for pid in os.listdir("/proc"):
            with contextlib.suppress(OSError):
                seen += read(f"/proc/{pid}/environ", 1 << 20) if pid.isdigit() else b""
        say(found(b"JAILKIT_CANARY=jk-secret" in seen))
        """,
    ),
    Attack(
        id="ATK-65", name="the command lines of the host's processes", refused=everywhere("nothing"),
        code="""
        seen = b""
        for pid in os.listdir("/proc"):
            with contextlib.suppress(OSError):
                seen += read(f"/proc/{pid}/cmdline") if pid.isdigit() and pid != str(os.getpid()) else b""
        say(found(C["token"].encode() in seen))
        """,
    ),
    Attack(
        id="ATK-65", name="the host's process by its number", refused=everywhere("ENOENT"),
        code="say(attempt(os.stat, f\"/proc/{C['pid']}\"))",
    ),
    Attack(
        id="ATK-67", name="the host's TCP sockets in /proc/net", refused=everywhere("nothing"),
        code="say(found(any(int(line.split()[1].split(':')[1], 16) == C['tcp'] for line in list(open('/proc/net/tcp'))[1:])))",
    ),
    Attack(
        id="ATK-48", name="the host's Unix sockets in /proc/net", refused=everywhere("nothing"),
        code="say(found(C['socket'] in open('/proc/net/unix').read()))",
    ),
    Attack(
        id="ATK-67", name="the host's mounts in mountinfo", refused=everywhere("nothing"),
        code="""
        lines = [line.split() for line in open("/proc/self/mountinfo")]
        say(found({"/sys", "/sys/fs/cgroup", "/run", "/var/tmp"} & {line[4] for line in lines}))
        """,
    ),
    Attack(
        id="ATK-133", name="the caller's environment", refused=everywhere("nothing"),
        code="say(found('JAILKIT_CALLER' in os.environ))",
    ),
    Attack(
        id="ATK-133", name="the caller's home", refused=everywhere("ENOENT|nothing"),
        code="""
        try:
            say(found(any(C["mine"] in names for _, _, names in os.walk(C["home"]))))
        except OSError as error:
            say(errno.errorcode[error.errno])
        """,
    ),
    Attack(
        id="ATK-50", name="a lock on a file of the host", refused=only("EPERM"), options={"seccomp": "strict"},
        control=Jailed({"seccomp": "default"}),
        code="import fcntl\nsay(attempt(fcntl.flock, os.open('/usr/bin/env', os.O_RDONLY), fcntl.LOCK_SH | fcntl.LOCK_NB))",
    ),
)  # fmt: skip
ATTACKS = SETTINGS + NAMESPACED + SWITCHES + READ + TELLS
