"""What a program is refused is told, and nothing is opened by it."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import jailkit
from jailkit import DEVNULL, Allow, ExitReason, Jail, SeccompPolicy
from tests.facts import holds
from tests.inside import PRELUDE, inside
from tests.patience import patient

pytestmark = pytest.mark.requires("userns", "python", "libseccomp")

PROBES = {
    "ptrace": "call('ptrace', 0, 0, 0, 0)",
    "shmget": "call('shmget', 0, 4096, 0o1600)",
    "unshare": "call('unshare', 0x10000000)",
    "socket": "attempt(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, 0)",
    "bind": "attempt(socket.socket().bind, ('127.0.0.1', 80))",
    "get_mempolicy": "said(libc.syscall(ctypes.c_long(239 if X86 else 236), *[ctypes.c_long(0)] * 5))",
}
"""A call that is refused, and how to make it so that it works once its remedy is given."""


def denials_of(jail: Jail, code: str) -> tuple[jailkit.Denial, ...]:
    """Run Python in a jail; return what it was refused."""
    result = jail.run(["python3", "-c", f"{PRELUDE}\nimport socket\n{code}"], timeout=patient(60))
    assert result.ok, result.stderr
    return result.denials


@pytest.mark.parametrize("call", PROBES)
def test_a_refusal_comes_with_what_allows_it(call: str) -> None:
    """The same error as without the report, the call and its remedy by name; with the remedy it works untold."""
    code = f"import socket\nsay({PROBES[call]})"
    with Jail() as jail:
        before = inside(jail, code)
    assert before in ("EPERM", "EACCES")
    with Jail(report_denials=True) as jail:
        assert inside(jail, code) == before
        (denial,) = denials_of(jail, PROBES[call])
    assert (denial.call, denial.count) == (call, 1)
    opened: dict[str, Any] = eval(f"dict({denial.remedy})", {"Allow": Allow, "SeccompPolicy": SeccompPolicy})
    with Jail(report_denials=True, **opened) as jail:
        assert inside(jail, code) == "POSSIBLE"
        assert denials_of(jail, PROBES[call]) == ()


CONNECT = """
def connect(host, family=socket.AF_INET):
    with socket.socket(family) as sock:
        return attempt(sock.connect, (host, 80))
assert connect("127.0.0.1") == connect("::1", socket.AF_INET6) == "ECONNREFUSED"
assert {connect("10.0.0.1"), connect("10.0.0.1"), connect("2001:db8::1", socket.AF_INET6)} == {"ENETUNREACH"}
with socket.socket() as sock:
    assert said(libc.connect(sock.fileno(), ctypes.c_void_p(16), 16)) == "EFAULT"
with socket.socket() as one, socket.socket() as two:
    one.bind(("127.0.0.1", 0)); one.listen()
    two.connect(one.getsockname())
    print(two.getpeername() == one.getsockname())
"""


@pytest.mark.requires("ipv6")
def test_a_connection_to_the_outside_is_told() -> None:
    """Where there is no way out, who wanted to go where is in the result; the jail's own loopback works, and is not."""
    with Jail(report_denials=True) as jail:
        first, second = denials_of(jail, CONNECT)
    assert str(first) == 'connect to 10.0.0.1:80 was refused 2 times; allow it with net=Network(allow=["10.0.0.1:80"])'
    assert second.what == "connect to [2001:db8::1]:80"


def test_nothing_is_told_to_who_has_not_asked() -> None:
    """The list is empty, whatever was refused."""
    with Jail() as jail:
        assert denials_of(jail, "call('unshare', 0x10000000)") == ()


@pytest.fixture(autouse=True, scope="module")
def _first() -> None:
    """Have what a process keeps from its first jail without namespaces on: a shell that looks after directories."""
    if holds("landlock6"):
        jailkit.run(["true"], tier="landlock")


@pytest.mark.parametrize("tier", [None, pytest.param("landlock", marks=pytest.mark.requires("landlock6"))])
def test_of_a_jail_for_one_program(tier: Any) -> None:
    """It works for `run` too, in every tier, and for what the program has started."""
    code = f"{PRELUDE}\nif os.fork():\n os.wait()\nprint(call('unshare', 0x10000000))"
    result = jailkit.run(["python3", "-c", code], report_denials=True, tier=tier, text=True)
    assert result.stdout == "EPERM\n" * 2
    assert [(denial.call, denial.count) for denial in result.denials] == [("unshare", 2)]
    assert bool(result.denials[0].remedy) == (tier is None)  # no namespace can be had in that tier


def test_a_policy_without_sockets_stays_closed() -> None:
    """What hands the listener over is not left open: sendmsg is refused as without the report, and is not told."""
    for report in (False, True):
        with Jail(seccomp="strict", report_denials=report) as jail:
            assert inside(jail, "say(call('sendmsg', 0, 0, 0))") == "EPERM"
            assert denials_of(jail, "call('sendmsg', 0, 0, 0)") == ()
    with Jail(report_denials=True) as jail:
        assert inside(jail, "say(call('sendmsg', 0, 0, 0))") == "ENOTSOCK"


def test_each_program_of_a_jail_has_its_own_list() -> None:
    """Programs that run side by side, waited for or watched, are told apart."""
    results: dict[str, tuple[str, ...]] = {}

    def one(jail: Jail, call: str) -> None:
        results[call] = tuple(denial.call for denial in denials_of(jail, PROBES[call]))

    with Jail(report_denials=True) as jail:
        threads = [threading.Thread(target=one, args=(jail, call)) for call in ("ptrace", "shmget", "unshare")]
        for thread in threads:
            thread.start()
        with jail.popen(["python3", "-c", f"{PRELUDE}\ncall('unshare', 0)\ncall('setns', 0, 0)"]) as process:
            process.communicate()
            watched = process.result().denials
        for thread in threads:
            thread.join()
    assert results == {call: (call,) for call in ("ptrace", "shmget", "unshare")}
    assert [denial.call for denial in watched] == ["unshare", "setns"]
    assert watched[1].remedy == ""


def test_a_flood_of_refusals_is_bounded() -> None:
    """A program that is refused all the time fills no list, and ends when it is told to."""
    code = """
for number in range(1300):
    attempt(socket.socket, 20 + number % 200, 9)
"""
    with Jail(report_denials=True) as jail:
        found = denials_of(jail, code)
        assert len(found) == 65
        assert sum(denial.count for denial in found) == 1300
        assert found[-1].call == ""
        endless = f"{PRELUDE}\ncall('unshare', 0x10000000)\nprint('begun', flush=True)\nwhile True: call('setns', 0, 0)"
        with jail.popen(["python3", "-c", endless], text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            process.kill()
            result = process.result()
        assert result.reason is ExitReason.KILLED
        assert result.denials[0].call == "unshare"
        assert jail.run(["true"]).ok


def test_a_program_that_waits_for_an_answer_ends_with_its_jail() -> None:
    """Closing a jail in the middle of refusals neither hangs nor leaves anything."""
    jail = Jail(report_denials=True).start()
    for _ in range(3):
        jail.popen(
            ["python3", "-c", f"{PRELUDE}\nwhile True: call('unshare', 0x10000000)"], stdout=DEVNULL, stderr=DEVNULL
        )
    jail.close()
    assert jail.closed
