"""ATK-70 to ATK-80: processes of the host, processes that will not die, ends that pretend to be others."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import textwrap
import time
from collections.abc import Mapping
from typing import Any

from jailkit import Jail, Limits
from tests import leaks
from tests.escape.attack import SECONDS, Attack, Jailed, everywhere, only, outcome_of
from tests.escape.canaries import Canaries
from tests.inside import program

__all__ = ["ATTACKS"]

REACH = tuple(
    Attack(id="ATK-78", name=f"the host's process: {name}", code=code, refused=everywhere(refused))
    for name, code, refused in (
        ("kill", "say(attempt(os.kill, C['pid'], 0 if C['gentle'] else 9))", "ESRCH"),
        ("kill of its group", "say(attempt(os.killpg, C['pid'], 0 if C['gentle'] else 9))", "ESRCH"),
        ("tgkill", "say(call('tgkill', C['pid'], C['pid'], 0 if C['gentle'] else 9))", "ESRCH"),
        ("pidfd_open", "say(call('pidfd_open', C['pid'], 0))", "ESRCH|EINVAL"),
        ("its niceness", "say(attempt(os.setpriority, os.PRIO_PROCESS, C['pid'], 0 if C['gentle'] else 19))", "ESRCH"),
        ("its processors", "say(attempt(lambda: os.sched_setaffinity(C['pid'], os.sched_getaffinity(C['pid']))))", "ESRCH"),
        ("its limits", "say(call('prlimit64', C['pid'], 7, 0 if C['gentle'] else words(9, 9), memory(16)))", "ESRCH|EPERM"),
        ("signals of a descriptor", "import fcntl\nends = os.pipe()\n"
         "say(attempt(fcntl.fcntl, ends[0], fcntl.F_SETOWN, C['pid']))", "ESRCH"),
        ("its session", "say(attempt(os.getsid, C['pid']))", "ESRCH"),
    )
)  # fmt: skip

# What stays behind sleeps under a name by which the host can find it.
STAYS = {
    "twice forked, in a session of its own": """
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.execv("/bin/sleep", ["sleep", sys.argv[1]])
            os._exit(0)
        """,
    "deaf to every signal that can be ignored": """
        if os.fork() == 0:
            os.setsid()
            for number in set(range(1, 65)) - {9, 19, 32, 33}:
                signal.signal(number, signal.SIG_IGN)
            libc.prctl(1, 0, 0, 0, 0)
            os.execv("/bin/sleep", ["sleep", sys.argv[1]])
        """,
    "below a reaper of its own": """
        if os.fork() == 0:
            os.setsid()
            libc.prctl(36, 1, 0, 0, 0)
            if os.fork() == 0:
                if os.fork() == 0:
                    os.execv("/bin/sleep", ["sleep", sys.argv[1]])
                os._exit(0)
            time.sleep(3600)
        """,
    "stopped": """
        pid = os.fork()
        if pid == 0:
            os.kill(os.getpid(), signal.SIGSTOP)
        os.waitpid(pid, os.WUNTRACED)
        """,
    "by twenty at once": """
        for _ in range(20):
            if os.fork() == 0:
                os.setsid()
                os.execv("/bin/sleep", ["sleep", sys.argv[1]])
        """,
}


def _named(token: str) -> list[int]:
    """Return the processes with a word on their command line."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/cmdline", "rb") as file:
                if token.encode() in file.read():
                    found.append(int(name))
    return found


def _stays(code: str) -> Any:
    def act(options: Mapping[str, Any] | None, canaries: Canaries) -> str:
        token = f"{canaries.token}99"
        # Closed standard streams: nobody waits for the end of a pipe.
        quiet = "import signal\nfor n in (0, 1, 2):\n    os.dup2(os.open('/dev/null', os.O_RDWR), n)\n"
        argv = program(quiet + textwrap.dedent(code), token)
        if options is None:
            before = leaks.children()
            subprocess.run(argv, timeout=SECONDS, check=True)
            left = _named(token)
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            leaks.reap(keep=before)
            return "POSSIBLE" if left else "nothing"
        with Jail(**options) as jail:
            ended = jail.run(argv, timeout=SECONDS)
            left = _named(token)
            # Without namespaces the order to die goes out before the end is reported, and is carried out soon after.
            deadline = time.monotonic() + SECONDS
            while left and options.get("tier") == "landlock" and time.monotonic() < deadline:
                left = _named(token)
            again = jail.run(["true"], timeout=SECONDS)
        assert ended.ok, ended
        assert again.ok, again
        return "POSSIBLE" if left else "nothing"

    return act


STAYERS = tuple(
    Attack(id="ATK-70", name=f"stays behind: {name}", act=_stays(code), refused=everywhere("nothing"))
    for name, code in STAYS.items()
)

FORKS = """
def bomb():
    for _ in range(40):
        if os.%s == 0:
            time.sleep(60)
            os._exit(0)
outcome = attempt(bomb)
say(outcome)
sys.stdout.flush()
os._exit(0)
"""
BOMBS = (
    Attack(
        id="ATK-71", name="forty processes", code=FORKS % "fork()", refused=only("EAGAIN", "sandbox", "bare"),
        options={"limits": Limits(processes=16)}, control=Jailed({"limits": Limits(processes=200)}),
    ),
    Attack(
        id="ATK-71", name="forty threads", refused=only("EAGAIN", "sandbox", "bare"),
        options={"limits": Limits(processes=16)}, control=Jailed({"limits": Limits(processes=200)}),
        code="""
        import threading
        threading.stack_size(65536)
        outcome = "POSSIBLE"
        for _ in range(40):
            try:
                threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
            except RuntimeError:
                outcome = "EAGAIN"
        say(outcome)
        sys.stdout.flush()
        os._exit(0)
        """,
    ),
    Attack(
        id="ATK-73", name="forty dead children that nobody waits for", refused=only("EAGAIN", "sandbox", "bare"),
        options={"limits": Limits(processes=16)}, control=Jailed({"limits": Limits(processes=200)}),
        code="""
        def flood():
            for _ in range(40):
                if os.fork() == 0:
                    os._exit(0)
        say(attempt(flood))
        sys.stdout.flush()
        os._exit(0)
        """,
    ),
)  # fmt: skip


# The reason of an end is what the host saw. Each program claims to be ended by the clock; the control is.
def _spoof(ends: str) -> Any:
    def act(options: Mapping[str, Any] | None, canaries: Canaries) -> str:
        del canaries
        if options is None:
            return outcome_of(_run({}, "time.sleep(60)", timeout=0.5))
        return outcome_of(_run(options, ends, timeout=SECONDS))

    return act


def _run(options: Mapping[str, Any], code: str, timeout: float) -> Any:
    with Jail(**options) as jail:
        return jail.run(program("import signal\n" + code), timeout=timeout)


SPOOFS = tuple(
    Attack(
        id="ATK-80", name=f"a false reason: {name}", act=_spoof(code), refused=everywhere(refused), works="wall time",
    )
    for name, code, refused in (
        ("exit code 137", "os._exit(137)", "exited 137"),
        ("exit code 124 and the words of a clock", "print('Killed', file=sys.stderr, flush=True)\nos._exit(124)",
         "exited 124 Killed"),
        ("SIGKILL by its own hand", "os.kill(os.getpid(), 9)", "signaled SIGKILL"),
        ("SIGXCPU by its own hand", "os.kill(os.getpid(), signal.SIGXCPU)", "signaled SIGXCPU"),
    )
)  # fmt: skip


# Neither ends by itself: the clock does it.
def _endless(code: str) -> Any:
    def act(options: Mapping[str, Any] | None, canaries: Canaries) -> str:
        del canaries
        if options is None:  # the same program, with an end
            done = subprocess.run(
                program("import signal\nseconds = 0\n" + code), capture_output=True, timeout=SECONDS, check=False
            )
            return "POSSIBLE" if done.stdout == b'"POSSIBLE"\n' else str(done)
        return outcome_of(_run(options, "seconds = 3600\n" + code, timeout=1.5))

    return act


ENDLESS = tuple(
    Attack(id=identity, name=f"no end: {name}", act=_endless(code), refused=everywhere("wall time"))
    for identity, name, code in (
        ("ATK-75", "deaf to every signal", "for n in set(range(1, 65)) - {9, 19, 32, 33}:\n    signal.signal(n, signal.SIG_IGN)\n"
         "os.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(seconds)\nsay('POSSIBLE')"),
        ("ATK-75", "a handler that does not return",
         "signal.signal(signal.SIGTERM, lambda *_: time.sleep(seconds))\nos.kill(os.getpid(), signal.SIGTERM)\nsay('POSSIBLE')"),
        ("ATK-77", "stopped by its own hand", "seconds and os.kill(os.getpid(), signal.SIGSTOP)\nsay('POSSIBLE')"),
        ("ATK-104", "waits for a fifo", "os.chdir('/tmp')\nname = f'fifo-{os.getpid()}'\nos.mkfifo(name)\n"
         "fd = os.open(name, os.O_RDONLY | (0 if seconds else os.O_NONBLOCK))\nos.unlink(name)\nsay('POSSIBLE')"),
        ("ATK-104", "a child waits for its parent, and the parent for its child",
         "ends = os.pipe()\nif os.fork() == 0:\n    seconds and os.read(ends[0], 1)\n    os._exit(0)\nos.wait()\nsay('POSSIBLE')"),
    )
)  # fmt: skip

ATTACKS = REACH + STAYERS + BOMBS + SPOOFS + ENDLESS
