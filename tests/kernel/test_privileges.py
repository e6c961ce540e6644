"""A sandboxed program has no privilege and no way to one; the superuser of a jail has those that act on it alone."""

from __future__ import annotations

import os
import stat

import pytest

from jailkit import Bind, Jail, Level
from tests.compiled import compile_static
from tests.inside import as_namespace_root, inside, outside

pytestmark = pytest.mark.requires("userns", "python")

STATUS = """
fields = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines())
say({name: int(fields[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs")})
"""


def test_all_five_capability_sets_are_empty(sandbox: Jail) -> None:
    """Inheritable, permitted, effective, bounding, ambient: nothing is there and nothing can come."""
    assert as_namespace_root(STATUS)["CapEff"] > 0
    assert inside(sandbox, STATUS) == {
        "CapInh": 0, "CapPrm": 0, "CapEff": 0, "CapBnd": 0, "CapAmb": 0, "NoNewPrivs": 1
    }  # fmt: skip


def test_the_superuser_of_a_jail_cannot_administer_the_kernel() -> None:
    """No CAP_SYS_ADMIN, _PTRACE, _MODULE, _RAWIO, _BOOT or _TIME, no CAP_SYSLOG, no CAP_BPF."""
    with Jail(level=Level.JAIL) as jail:
        sets = inside(jail, STATUS)
    assert sets["CapEff"] == sets["CapPrm"] == sets["CapBnd"] > 0
    assert [cap for cap in (16, 17, 19, 21, 22, 25, 34, 39) if sets["CapBnd"] >> cap & 1] == []


CALLS = """
os.makedirs("/tmp/here", exist_ok=True)
new_user = ctypes.c_uint64 * 11
say({
    "mount": call("mount", b"none", b"/tmp/here", b"tmpfs", 0, 0),
    "bind": call("mount", b"/usr", b"/tmp/here", None, 4096, 0),
    "umount": call("umount2", b"/proc", 2),
    "pivot_root": call("pivot_root", b"/", b"/tmp/here"),
    "open_tree": call("open_tree", -100, b"/usr", 1),
    "fsopen": call("fsopen", b"tmpfs", 0),
    "unshare mnt": call("unshare", 0x20000),
    "unshare net": call("unshare", 0x40000000),
    "unshare pid": call("unshare", 0x20000000),
    "setns": attempt(lambda: libc.setns(os.open("/proc/self/ns/mnt", os.O_RDONLY), 0) and os.strerror(1)),
})
"""
REFUSED = ("mount", "bind", "umount", "pivot_root", "open_tree", "fsopen", "unshare mnt", "unshare net", "unshare pid")


def test_no_mount_and_no_namespace_can_be_made(jail: Jail) -> None:
    """By the old calls or the new ones, by the jail's superuser or a program of a SANDBOX."""
    control = as_namespace_root(CALLS)
    possible = [name for name in REFUSED if control[name] == "POSSIBLE"]
    assert {"mount", "bind", "open_tree", "fsopen", "unshare mnt", "unshare net", "unshare pid"} <= set(possible)
    tried = inside(jail, CALLS)
    assert {name: tried[name] for name in REFUSED} == dict.fromkeys(REFUSED, "EPERM")


NEST = """
def clone_user():
    pid = libc.syscall(ctypes.c_long(56 if X86 else 220), ctypes.c_long(0x10000000 | 17), None, None, None, None)
    if pid == 0:
        os._exit(0)
    if pid < 0:
        raise OSError(ctypes.get_errno(), "clone")
    os.waitpid(pid, 0)
say([attempt(clone_user), call("unshare", 0x10000000)])
"""


@pytest.mark.parametrize("level", list(Level))
def test_no_level_has_nested_user_namespaces(level: Level) -> None:
    """They would give every program the capabilities that most holes in the kernel ask for."""
    assert outside(NEST) == ["POSSIBLE", "POSSIBLE"]
    with Jail(level=level) as jail:
        assert set(inside(jail, NEST)) <= {"EPERM", "ENOSPC"}
        raised = "say(attempt(lambda: os.write(os.open('/proc/sys/user/max_user_namespaces', os.O_WRONLY), b'9')))"
        assert inside(jail, raised) in ("EROFS", "EACCES", "EPERM")
        assert set(inside(jail, NEST)) <= {"EPERM", "ENOSPC"}


@pytest.mark.requires("root", "cc")
def test_a_set_id_program_gives_nothing(public: str) -> None:
    """In a bind of the host it runs with the ids of whoever runs it."""
    source = '#include <stdio.h>\n#include <unistd.h>\nint main(void) { printf("%d", geteuid()); return 0; }'
    path = compile_static(source, public, "whoami")
    os.chown(path, 0, 0)
    os.chmod(path, 0o755 | stat.S_ISUID | stat.S_ISGID)
    import subprocess

    assert subprocess.run([path], user=65534, capture_output=True, check=True).stdout == b"0"
    for level in (Level.JAIL, Level.SANDBOX):
        with Jail(level=level, user=1000, mounts=[Bind(public, "/data"), Bind(public, "/lent", as_owner=True)]) as jail:
            assert jail.run(["/data/whoami"]).stdout == b"1000"
            assert jail.run(["/lent/whoami"]).stdout == b"1000"


# --- /proc and the settings of the kernel ------------------------------------------------------------------------

SECRETS = """
paths = ("kcore", "keys", "key-users", "timer_list", "interrupts", "sched_debug", "latency_stats", "sysrq-trigger",
         "acpi", "asound", "scsi")
def look(path):
    if os.path.isdir(path):
        return os.listdir(path)
    return read(path, 1)
found = {}
for name in paths:
    with contextlib.suppress(OSError):
        found[name] = bool(look("/proc/" + name))
say(found)
"""


def test_what_tells_of_the_host_is_hidden_in_proc(jail: Jail) -> None:
    """The files are there and empty, or not to be read."""
    assert outside(SECRETS).get("interrupts")
    assert not any(inside(jail, SECRETS).values())


SETTINGS = """
found = []
for top, folders, files in os.walk(sys.argv[1]):
    for name in files:
        path = os.path.join(top, name)
        with contextlib.suppress(OSError):
            os.close(os.open(path, os.O_WRONLY))
            found.append(path)
say(found)
"""


def test_no_setting_of_the_kernel_can_be_opened_for_writing(sandbox: Jail) -> None:
    """Every file below /proc/sys was tried, and the switches beside it."""
    assert len(as_namespace_root(SETTINGS, "/proc/sys")) > 20
    assert inside(sandbox, SETTINGS, "/proc/sys") == []
    code = "say([attempt(os.open, '/proc/' + name, os.O_WRONLY) for name in ('sysrq-trigger', 'irq', 'mtrr')])"
    assert "POSSIBLE" not in inside(sandbox, code)


NAMESPACED = tuple(
    f"/proc/sys/{name}" for name in ("net/", "user/", "fs/mqueue/", "kernel/shm", "kernel/msg", "kernel/sem")
)
NAMESPACED += tuple(
    f"/proc/sys/kernel/{name}" for name in ("auto_msgmni", "hostname", "domainname", "ns_last_pid", "pid_max")
)


def test_the_superuser_of_a_jail_changes_no_setting_of_the_host() -> None:
    """What he can write, if anything, belongs to a namespace of the jail."""
    with Jail(level=Level.JAIL) as jail:
        writable = inside(jail, SETTINGS, "/proc/sys")
        assert [path for path in writable if not path.startswith(NAMESPACED)] == []
        code = "say(attempt(lambda: os.write(os.open('/proc/sysrq-trigger', os.O_WRONLY), b'h')))"
        assert inside(jail, code) in ("POSSIBLE", "EACCES", "EPERM", "EROFS", "EIO", "ENOENT")
        with Jail(level=Level.JAIL, net="host") as shared:
            assert inside(shared, SETTINGS, "/proc/sys/net") == []


@pytest.mark.parametrize(
    ("path", "text"), [("/proc/sys/net/ipv4/ip_default_ttl", "77"), ("/proc/sys/kernel/pid_max", "4321")]
)
def test_a_setting_of_the_jail_stays_in_the_jail(path: str, text: str) -> None:
    """The host's value is the same before and after."""
    with open(path) as file:
        before = file.read()
    with Jail(level=Level.JAIL) as jail:
        write = "say(attempt(lambda: os.write(os.open(sys.argv[1], os.O_WRONLY), sys.argv[2].encode())))"
        inside(jail, write, path, text)
    with open(path) as file:
        assert file.read() == before
    assert before.strip() != text
