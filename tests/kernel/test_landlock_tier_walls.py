"""The tier without namespaces: network, IPC, limits, and the places that it is for."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

import jailkit
from jailkit import ExitReason, Jail, Limits, SeccompPolicy, UnsupportedError
from tests.inside import inside, outside
from tests.kernel.test_doctor import CLONE, CLONE3, CLOSE, ENOSYS, EPERM, NEWUSER, UNSHARE
from tests.patience import patient

pytestmark = [pytest.mark.requires("python", "landlock6", "libseccomp"), pytest.mark.timeout(180)]

BOUND = patient(30)


@pytest.fixture(autouse=True, scope="module")
def _first() -> None:
    """Have what a process keeps from its first jail of this tier on: the shell that looks after its directories."""
    jailkit.run(["true"], tier="landlock")


# --- network and IPC ----------------------------------------------------------------------------------------------

REACH = """
import socket
tcp, path, name = sys.argv[1:]
def pair():
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    a.sendto(b"x", path)
found = {
    "tcp": attempt(socket.create_connection, ("127.0.0.1", int(tcp)), 10),
    "bind": attempt(lambda: socket.socket().bind(("127.0.0.1", 0))),
    "udp": attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9))),
    "path": attempt(lambda: socket.socket(socket.AF_UNIX).connect(path)),
    "abstract": attempt(lambda: socket.socket(socket.AF_UNIX).connect(b"\\0" + name.encode())),
    "datagrams": attempt(socket.socketpair, socket.AF_UNIX, socket.SOCK_DGRAM),
    "pair": attempt(socket.socketpair),
}
say(found)
"""


@pytest.fixture
def services(public: str) -> Iterator[tuple[str, str, str]]:
    """A service of the host on TCP, at a path, and at an abstract name; all of them answer."""
    name, path = f"canary-{secrets.token_hex(8)}", f"{public}/socket"
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as by_path:
        by_path.bind(path)
        os.chmod(path, 0o777)
        by_path.listen()
        with socket.socket(socket.AF_UNIX) as abstract:
            abstract.bind(b"\0" + name.encode())
            abstract.listen()
            yield str(tcp.getsockname()[1]), path, name


def test_no_service_is_in_reach(bare: Jail, services: tuple[str, str, str]) -> None:
    """By default no socket can be made but a connected pair; the same lines outside reach all of them."""
    found = inside(bare, REACH, *services)
    assert {name for name, said in found.items() if said == "POSSIBLE"} == {"pair"}
    assert set(outside(REACH, *services).values()) == {"POSSIBLE"}


def test_landlock_stands_behind_the_filter(services: tuple[str, str, str]) -> None:
    """Where the caller's policy opens socket(2), TCP and abstract sockets are still closed; the report says less."""
    with Jail(tier="landlock", seccomp=SeccompPolicy().add("socket")) as jail:
        found = inside(jail, REACH, *services)
        states = {item.name: item.state for item in jail.isolation}
    assert (found["tcp"], found["bind"], found["abstract"]) == ("EACCES", "EACCES", "EPERM")
    assert found["path"] == found["udp"] == "POSSIBLE"
    assert states["network"] == "degraded"


def test_the_hosts_network(services: tuple[str, str, str]) -> None:
    """Asked for by name it is there, and sockets at paths and abstract names are not."""
    with Jail(tier="landlock", net="host") as jail:
        found = inside(jail, REACH, *services)
        assert {item.name: item.state for item in jail.isolation}["network"] == "absent"
    assert {name for name, said in found.items() if said == "POSSIBLE"} == {"tcp", "bind", "udp", "pair"}


def test_ipc_of_the_host_is_out_of_reach(bare: Jail) -> None:
    """No queue, no shared memory, no key of the host."""
    code = """
calls = {"shmget": (29 if X86 else 194, 0, 4096, 0o1600), "add_key": (248 if X86 else 217, 0, 0, 0, 0),
         "mq_open": (240 if X86 else 180, 0, 0o102, 0o600, 0)}
say([said(libc.syscall(*map(ctypes.c_long, words))) for words in calls.values()]
    + [attempt(open, "/dev/shm/x", "w"), call("unshare", 0x10000000)])
"""
    assert inside(bare, code) == ["EPERM", "EPERM", "EPERM", "EACCES", "EPERM"]


# --- limits, and places without namespaces ------------------------------------------------------------------------


def test_limits_hold(bare: Jail) -> None:
    """What setrlimit(2) bounds, the clock and the output are bounded as in every tier."""
    assert bare.run(["sh", "-c", "yes | head -c 100000 > f"], limits=Limits(file_size=1000)).returncode != 0
    assert bare.run(["sh", "-c", "while :; do :; done"], limits=Limits(cpu_seconds=1), timeout=BOUND).reason in (
        ExitReason.CPU_TIME, ExitReason.SIGNALED,
    )  # fmt: skip
    assert bare.run(["yes"], limits=Limits(output=10_000), timeout=BOUND).reason is ExitReason.OUTPUT
    assert bare.run(["sleep", "3600"], timeout=0.2).reason is ExitReason.WALL_TIME


def test_the_filter_is_closed_to_the_letter(bare: Jail) -> None:
    """No program has a capability or can gain one, and each is under a filter and no_new_privs."""
    code = "say([libc.prctl(39, 0, 0, 0, 0), libc.prctl(21, 0, 0, 0, 0), os.getuid(), os.geteuid()])"
    # PR_GET_SECCOMP would be 2, asked in mode 2 where the filter allows prctl.
    uid = bare.plan.ids.pid1
    assert inside(bare, code) == [1, 2, uid, uid]
    assert uid != 0 or os.geteuid() != 0


WITHOUT = """
import jailkit
try:
    print(jailkit.run(["true"]).ok)
except jailkit.JailkitError as error:
    print('tier="landlock"' in str(error))
words = "echo inside; cat /etc/shadow; cat /proc/self/status || echo no proc"
result = jailkit.run(["sh", "-c", words], tier="landlock")
print(result.stdout)
"""


@pytest.mark.parametrize("place", ["filter", "no user namespaces"])
def test_where_no_namespace_can_be_had(place: str) -> None:
    """Behind a container's filter, and with none left to make: the default fails and names this tier, which works."""
    command = [sys.executable, "-W", "error", "-c", WITHOUT]
    if place == "filter":
        words = (f"{UNSHARE}:{EPERM}", f"{CLONE3}:{ENOSYS}", f"{CLONE}&{NEWUSER:x}:{EPERM}")
        command = [sys.executable, "-c", CLOSE, *words, "--", *command]
    else:
        script = 'set -e; echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"'
        command = ["unshare", "-Ur", "sh", "-c", script, "sh", *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd="/")
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["True", r"b'inside\nno proc\n'"]


@pytest.mark.requires("root")
def test_root_without_the_right_to_become_somebody_else_is_refused() -> None:
    """The jail's user would be the host's root."""
    code = "import jailkit; jailkit.run(['true'], tier='landlock')"
    drop = ["setpriv", "--bounding-set=-setuid", "--inh-caps=-all", sys.executable, "-c", code]
    done = subprocess.run(drop, capture_output=True, text=True, timeout=60, check=False, cwd="/")
    assert "CAP_SETUID" in done.stderr
    assert "UnsupportedError" in done.stderr


def test_nothing_is_chosen_silently() -> None:
    """Without a word about it a jail has namespaces, and asked for another tier's things this one refuses."""
    assert Jail().plan.tier in ("root", "userns")
    with pytest.raises(UnsupportedError):
        _ = Jail("/srv", tier="landlock").plan
