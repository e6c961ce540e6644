"""Every system call number is tried in a SANDBOX, and gets what the golden table says."""

from __future__ import annotations

import errno
import json
import platform
import time
from pathlib import Path

import pytest

import jailkit
from jailkit import Jail, Level, SeccompPolicy
from tests.compiled import compile_static
from tests.inside import as_namespace_root, inside, outside, public_directory
from tests.patience import patient

pytestmark = [pytest.mark.requires("userns", "python", "libseccomp"), pytest.mark.timeout(120)]
GOLDEN = json.loads((Path(__file__).parent / "golden" / f"default-{platform.machine()}.json").read_text())

# Each call with arguments that are all 0, in a child of its own, which a clock ends: some calls wait or end the caller.
# "refused" is one errno that a filter gives; a call that is let through may fail for any reason.
SWEEP = """
import signal
def one(number):
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        for fd in (0, 1, 2):
            os.dup2(write_end, fd)
        signal.setitimer(signal.ITIMER_REAL, 1)
        ctypes.set_errno(0)
        result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(0)] * 6)
        os.write(write_end, f"{result} {ctypes.get_errno()}".encode())
        os._exit(0)
    os.close(write_end)
    status = os.waitpid(child, 0)[1]
    text = os.read(read_end, 100).decode("latin-1").split()
    os.close(read_end)
    if len(text) != 2 or os.WIFSIGNALED(status):
        return f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "gone"
    return errno.errorcode.get(int(text[1]), "?") if text[0] == "-1" else "done"
numbers = json.loads(sys.argv[1])
say({str(number): one(number) for number in numbers})
"""
# They would not come back: fork and the like return twice; pause and sigreturn wait or jump.
# x86_64's uretprobe and uprobe: the kernel makes them by itself, and lets them through before any filter.
PROBES = {335, 336} if platform.machine() == "x86_64" else set()
TWICE = ("fork", "vfork", "clone", "rt_sigreturn")


@pytest.mark.parametrize("first", [0, 130, 260, 390])
def test_every_number_gets_what_the_table_says(first: int, sandbox: Jail) -> None:
    """What is refused there is refused by the kernel, and what is allowed comes through to it."""
    from jailkit._native import _seccomp

    context = _seccomp._Context(_seccomp._ARCHITECTURES[platform.machine()], 0x7FFF0000, native=True)
    left_out = {context.number(name) for name in TWICE}
    numbers = [at for at in range(first, first + 130) if at not in left_out | PROBES]
    found = inside(sandbox, SWEEP, json.dumps(numbers))
    for at in numbers:
        said = GOLDEN[str(at)]
        if said in ("EPERM", "ENOSYS"):
            assert found[str(at)] == said, (at, said)
    refused = [at for at in numbers if GOLDEN[str(at)] == "EPERM"]
    if refused:
        control = as_namespace_root(SWEEP, json.dumps([at for at in refused if at in HARMLESS]))
        assert all(said != "EPERM" for said in control.values()), control


# Refused numbers whose calls, with arguments that are all 0, do nothing to a machine: x86_64's unshare, setns,
# open_by_handle_at, process_vm_readv, bpf, and all after 424.
HARMLESS = {272, 308, 310, 321, *range(424, 450)} if platform.machine() == "x86_64" else set(range(424, 450))
HARMLESS -= {425, 426, 427, 438, 442}  # io_uring may be off on the host; the rest asks for more than it has


@pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers of x86 alone")
def test_numbers_of_other_architectures() -> None:
    """x32 calls are unknown, and a call of 32-bit code ends the process."""
    with Jail() as jail:
        x32 = [0x40000000 | at for at in (0, 1, 39, 57, 101, 512, 520)]
        assert set(inside(jail, SWEEP, json.dumps(x32)).values()) == {"ENOSYS"}


INT80 = """
#include <stdio.h>
int main(void) {
    int result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20) : "memory"); /* getpid, in the numbers of i386 */
    printf("%d", result > 0);
    return 0;
}
"""


@pytest.mark.requires("cc")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="an instruction of x86")
def test_a_call_of_32_bit_code_ends_the_process() -> None:
    """With the filter it dies of SIGSYS; without, on a kernel that has them, it is answered."""
    with public_directory() as folder:
        compile_static(INT80, folder, "int80")
        from jailkit import Bind

        bind = [Bind(folder, "/data")]
        with Jail(mounts=bind) as jail:
            result = jail.run(["/data/int80"])
            assert (result.signal, result.stdout) == (31, b"")
        with Jail(mounts=bind, seccomp=False) as open_jail:
            assert open_jail.run(["/data/int80"]).signal != 31


TIOCSTI = """
import pty
holder, terminal = pty.openpty()
os.setsid()
import fcntl
fcntl.ioctl(terminal, 0x540E, 0)  # TIOCSCTTY
def push(request):
    return said(libc.syscall(ctypes.c_long(16 if X86 else 29), ctypes.c_long(terminal), ctypes.c_long(request), b"x"))
say([push(0x5412), push(0x1_0000_5412), push(0xFFFF_FFFF_0000_5412 - (1 << 64))])
"""
WRAPPED = f"""
child = os.fork()
if child == 0:
    exec({TIOCSTI!r})
    sys.stdout.flush()
    os._exit(0)
os.waitpid(child, 0)
"""


def test_nothing_is_typed_into_a_terminal(sandbox: Jail) -> None:
    """TIOCSTI is refused with any bits above those that the kernel reads."""
    control = outside(WRAPPED)
    assert control == ["POSSIBLE"] * 3 or "EIO" in control  # dev.tty.legacy_tiocsti may be off
    assert inside(sandbox, WRAPPED) == ["EPERM"] * 3


SETUID = """
def make(how):
    os.umask(0)
    with contextlib.suppress(OSError):
        os.unlink("/tmp/it")
    if how == "open":
        os.close(os.open("/tmp/it", os.O_CREAT | os.O_WRONLY, 0o4755))
    else:
        os.close(os.open("/tmp/it", os.O_CREAT | os.O_WRONLY, 0o755))
        os.chmod("/tmp/it", 0o2755 if how == "chmod" else 0o755)
say([attempt(make, how) for how in ("plain", "open", "chmod")])
"""


def test_no_set_id_file_is_made(sandbox: Jail) -> None:
    """Neither by open nor by chmod; without the filter, both."""
    assert inside(sandbox, SETUID) == ["POSSIBLE", "EPERM", "EPERM"]
    with Jail(seccomp=False) as jail:
        assert inside(jail, SETUID) == ["POSSIBLE"] * 3


PRLIMIT = "say(attempt(__import__('resource').prlimit, 1, 7, (1, 1)))"


def test_the_limits_of_pid_1_are_out_of_reach(sandbox: Jail) -> None:
    """A program has the same user as PID 1 and may not take its descriptors away; its own limits it may lower."""
    assert inside(sandbox, PRLIMIT) == "EPERM"
    assert inside(sandbox, "import resource; resource.setrlimit(7, (9, 9)); say(resource.getrlimit(7))") == [9, 9]


def test_the_filter_comes_last() -> None:
    """With a policy that allows next to nothing a program is found, begun, and the failure to begin is reported."""
    import jailkit

    with Jail(seccomp="empty") as jail:
        result = jail.run(["true"])
        assert not result.ok  # its loader may not even map memory
        with pytest.raises(jailkit.CommandNotFound):
            jail.run(["/no/such/program"])
        with pytest.raises(jailkit.CommandNotExecutable) as caught:
            jail.run(["/etc/passwd"])
        assert caught.value.errno == errno.EACCES


def test_policies_of_the_caller() -> None:
    """What is added works, what is removed fails as asked, and a program may be killed for it."""
    call = "say(attempt(os.getxattr, '/tmp', 'user.x'))"
    with Jail(seccomp="strict") as jail:
        assert inside(jail, call) == "EPERM"
        assert inside(jail, "import socket; say(attempt(socket.socket))") == "EPERM"
    with Jail(seccomp=SeccompPolicy("strict").add("getxattr", "socket").log("flock")) as jail:
        assert inside(jail, call) in ("ENODATA", "EOPNOTSUPP")
        assert inside(jail, "import socket; say(attempt(socket.socket))") == "POSSIBLE"
    with Jail(seccomp=SeccompPolicy().remove("getxattr", refusal="kill")) as jail:
        assert jail.run(["/usr/bin/python3", "-c", "import os; os.getxattr('/tmp', 'user.x')"]).signal == 31


def test_a_superuser_with_a_filter() -> None:
    """Below SANDBOX it is there by name, leaves chroot, and takes the calls that no jail has use for."""
    code = "say([attempt(os.chroot, '/'), call('bpf', 0, 0, 0), call('unshare', 0)])"
    with Jail(level=Level.JAIL, seccomp=True) as jail:
        assert inside(jail, code) == ["POSSIBLE", "EPERM", "EPERM"]
    with Jail(level=Level.JAIL) as jail:
        assert inside(jail, code)[2] == "POSSIBLE"


def filters_of(status: str) -> int:
    """Return how many filters a process is under, by its status file."""
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    return int(fields["Seccomp_filters"]) if fields["Seccomp"] == "2" else 0


@pytest.mark.parametrize(("policy", "count"), [(None, 1), ("strict", 2), (False, 0)])
def test_a_program_is_filtered_whenever_it_comes(policy: bool | str | None, count: int) -> None:
    """Before PID 1 was ready for it, and after; by default PID 1 is under the same filter as its programs."""
    cat = ["cat", "/proc/self/status"]
    assert filters_of(jailkit.run(cat, text=True, seccomp=policy).stdout) == count
    with Jail(seccomp=policy) as jail:
        assert filters_of(jail.run(cat, text=True).stdout) == count
        deadline = time.monotonic() + patient(10)
        while filters_of(status_of(jail.pid)) != bool(count):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        assert filters_of(jail.run(cat, text=True).stdout) == count


def status_of(pid: int) -> str:
    """Read the status of a process of the host."""
    with open(f"/proc/{pid}/status") as file:
        return file.read()
