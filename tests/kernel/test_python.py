"""Python sessions: calls in fresh processes, values in and out, and what is known of how a call ended."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import jailkit
from jailkit import (
    Bind,
    CallFailed,
    CallResult,
    ExitReason,
    File,
    Jail,
    KiB,
    Level,
    Limits,
    MiB,
    PythonSession,
    RemoteError,
    SpecError,
)
from tests.inside import wait_for_file
from tests.patience import at_last, patient

pytestmark = pytest.mark.requires("userns", "python")

BOUND = patient(30)


@pytest.fixture
def py(sandbox: Jail) -> Iterator[PythonSession]:
    """A session in a jail with all defaults."""
    with sandbox.python(["json"], timeout=BOUND) as session:
        yield session


def test_a_function_of_a_module(py: PythonSession) -> None:
    """Positional and named arguments, and each value as it went in."""
    assert py.call("json:loads", '{"a": [1, 2]}') == {"a": [1, 2]}
    assert py.call("json:dumps", {"b": 1}, indent=None, sort_keys=True) == '{"b": 1}'
    assert py.call("os.path:join", "a", "b") == "a/b"
    odd = [1 << 70, -1, 0.1, math.inf, "\ud800\0", b"\xff", (1, (2,)), {1, "x"}, frozenset({b"y"}), {(1, 2): None}, 1j]
    assert py.call("builtins:list", odd) == odd
    assert py.exec("same = value", {"value": odd})["same"] == odd


def test_every_call_has_a_process_of_its_own(py: PythonSession) -> None:
    """And none has it twice; the interpreter that forks them stays."""
    pids = {py.call("os:getpid") for _ in range(5)}
    assert len(pids) == 5
    assert len({py.call("os:getppid") for _ in range(3)}) == 1
    assert py.starts == 1


def test_source_with_inputs_and_outputs(py: PythonSession) -> None:
    """What it binds comes back, but no function, no module and nothing with an underscore; or what was asked for."""
    source = "import os\ndef f(): return 1\n_hidden = 1\ntotal = sum(numbers)\nnumbers = numbers + [4]\n"
    assert py.exec(source, {"numbers": [1, 2, 3]}) == {"total": 6, "numbers": [1, 2, 3, 4]}
    assert py.exec("data.append(1)", {"data": []}, outputs=["data"]) == {"data": [1]}
    assert py.exec("a = __name__") == {"a": "__main__"}
    with pytest.raises(RemoteError, match="KeyError"):
        py.exec("a = 1", outputs=["b"])


STUDENT = b"""
calls = []
def add(a, b):
    calls.append((a, b))
    return a + b, len(calls)
def boom():
    raise ValueError("bo\\x1b[31mom")
def run_call():
    return "hidden by a method"
"""


def test_the_functions_of_a_file(py: PythonSession, public: str) -> None:
    """Each in a fresh process: nothing is kept. Tracebacks show the lines of the file."""
    Path(f"{public}/student.py").write_bytes(STUDENT)
    for student in (py.load(f"{public}/student.py"), py.load(STUDENT, name="student")):
        assert student.add(1, 2) == (3, 1)
        assert student.add("a", b="b") == ("ab", 1)
        with pytest.raises(RemoteError) as caught:
            student.boom()
        error = caught.value
        assert (error.type_name, error.message) == ("ValueError", "bo\x1b[31mom")
        assert 'File "student.py", line 7, in boom\n    raise ValueError' in error.traceback
        assert "jailkit" not in error.traceback
        assert "\x1b" not in str(error)
        assert student.run_call("run_call").value == "hidden by a method"
        assert student.within(timeout=BOUND).add(1, 1) == (2, 1)
    with pytest.raises(RemoteError, match="SyntaxError"):
        py.load(b"def f(:\n").f()
    with pytest.raises(RemoteError, match="AttributeError"):
        py.load(STUDENT).missing()


def test_a_function_of_the_callers_own_module(sandbox: Jail, tmp_path: Path) -> None:
    """Its source goes along; it runs as somebody else, in another process."""
    module = tmp_path / "mine.py"
    module.write_text(
        "import os\ndef work(a, *, b=1):\n    return os.getuid(), os.getpid(), a + b, __name__\n"
        "def fail():\n    raise LookupError('not here')\n"
    )
    scope: dict[str, Any] = {}
    exec(
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('mine_for_a_jail', {str(module)!r})\n"
        "mine = importlib.util.module_from_spec(spec); sys.modules['mine_for_a_jail'] = mine\n"
        "spec.loader.exec_module(mine)\n",
        scope,
    )
    uid, pid, total, name = sandbox.call(scope["mine"].work, 2, b=3)
    assert (uid, total, name) == (1000, 5, "mine_for_a_jail")
    assert sandbox.call(scope["mine"].work, 1)[1] != pid
    with pytest.raises(RemoteError, match="LookupError: not here"):
        sandbox.call(scope["mine"].fail)
    with pytest.raises(SpecError):
        sandbox.call(lambda: 1)


def test_everything_about_a_call(py: PythonSession) -> None:
    """A result instead of an exception: for a value, an exception, and an end without an answer."""
    good = py.run_exec("import sys\nprint('out', end='')\nprint('err', end='', file=sys.stderr)\nx = 1")
    assert (good.value, good.error, good.reason, good.returncode) == ({"x": 1}, None, ExitReason.EXITED, 0)
    assert (good.stdout, good.stderr, good.truncated) == (b"out", b"err", False)
    assert good.ok
    assert good.check() == {"x": 1}
    assert 0 < good.usage.wall < BOUND
    assert (good.usage.memory_peak or 0) > 1 * MiB
    bad = py.run_exec("print('so far')\n1/0")
    assert isinstance(bad.error, RemoteError)
    assert (bad.error.type_name, bad.reason, bad.stdout, bad.ok) == (
        "ZeroDivisionError",
        ExitReason.EXITED,
        b"so far\n",
        False,
    )
    with pytest.raises(RemoteError):
        bad.check()
    ended = py.run_exec("import os\nos.write(1, b'bye')\nos._exit(3)")
    assert isinstance(ended.error, CallFailed)
    assert (ended.reason, ended.returncode, ended.stdout) == (ExitReason.EXITED, 3, b"bye")
    assert (ended.error.reason, ended.error.stdout) == (ExitReason.EXITED, b"bye")
    assert py.starts == 1


def ends(py: PythonSession, source: str, **bounds: Any) -> CallResult:
    """Run what does not answer, and then something that does."""
    result = py.within(**bounds).run_exec(source)
    assert not result.ok
    assert py.call("builtins:abs", -1) == 1
    return result


def test_a_timeout_ends_a_call(py: PythonSession) -> None:
    """In a loop, asleep, and when it ignores signals; and what it has written until then is there."""
    for source in ("while True: pass", "import time; time.sleep(3600)"):
        assert ends(py, source, timeout=0.2).reason is ExitReason.WALL_TIME
    stubborn = (
        "import os, signal\nfor n in range(1, 32):\n  try: signal.signal(n, signal.SIG_IGN)\n  except OSError: pass\n"
    )

    def written(seconds: float) -> bytes:
        result = ends(py, stubborn + "os.write(1, b'here')\nwhile True: pass", timeout=seconds)
        assert result.reason is ExitReason.WALL_TIME
        return result.stdout

    assert at_last(written, 0.5) == b"here"
    assert py.starts == 1
    with pytest.raises(CallFailed) as caught:
        py.within(timeout=0.1).exec("while True: pass")
    assert caught.value.reason is ExitReason.WALL_TIME


def test_limits_of_a_call(py: PythonSession) -> None:
    """Processor time, address space, size of files, descriptors, output: for this call, and not for the next one."""
    assert ends(py, "while True: pass", limits=Limits(cpu_seconds=1)).reason is ExitReason.CPU_TIME
    error = ends(py, "x = bytearray(10**9)", limits=Limits(address_space=256 * MiB)).error
    assert isinstance(error, RemoteError)
    assert error.type_name == "MemoryError"
    error = ends(py, "open('big', 'wb').write(bytes(10**6))", limits=Limits(file_size=100 * KiB)).error
    assert isinstance(error, RemoteError)
    assert "File too large" in error.message
    error = ends(py, "x = [open('/dev/null') for _ in range(100)]", limits=Limits(open_files=32)).error
    assert isinstance(error, RemoteError)
    assert "Too many open files" in error.message
    result = ends(py, "while True: print('x' * 1000)", limits=Limits(output=10 * KiB))
    assert (result.reason, result.truncated, len(result.stdout)) == (ExitReason.OUTPUT, True, 10 * KiB)
    assert py.exec("x = len(bytearray(10**8))")["x"] == 10**8
    assert py.starts == 1


def test_limits_of_a_session_hold_for_each_call(sandbox: Jail) -> None:
    """Those of one process for each anew; a session outlives the processor time of a call."""
    with sandbox.python(limits=Limits(cpu_seconds=1, output=100), timeout=BOUND) as py:
        # Little of it each time: ticks, which the limit counts, may be several times what was used.
        busy = "import time\nend = time.process_time() + 0.15\nwhile time.process_time() < end: pass\nok = 1"
        for _ in range(8):
            assert py.exec(busy)["ok"] == 1
        assert py.run_exec("while True: pass").reason is ExitReason.CPU_TIME
        assert py.run_exec("print('x' * 200)").reason is ExitReason.OUTPUT
        assert py.starts == 1


def test_preloaded_modules_are_there(sandbox: Jail) -> None:
    """Imported once, by the interpreter that forks; one that cannot be is an error at once, with its reason."""
    with sandbox.python(["decimal"], timeout=BOUND) as py:
        assert py.exec("import sys\na = 'decimal' in sys.modules\nb = 'tomllib' in sys.modules") == {
            "a": True,
            "b": False,
        }
    with pytest.raises(RemoteError, match="ModuleNotFoundError: No module named 'no_such_module'"):
        sandbox.python(["json", "no_such_module"])
    with pytest.raises(SpecError, match="preload"):
        sandbox.python("json")


def test_an_interpreter_that_is_not_there(sandbox: Jail) -> None:
    """The error is that of a command, and says how to have one."""
    with pytest.raises(jailkit.CommandNotFound, match="python_binds"):
        sandbox.python(interpreter="/opt/python9")
    with pytest.raises(CallFailed, match="did not start") as caught:
        sandbox.python(interpreter="/bin/false")
    assert caught.value.reason is ExitReason.EXITED
    with Jail(mounts=[File("/opt/python", b"#!/bin/sh\nexec 0<&-\necho last words\nsleep 3600\n", mode=0o755)]) as jail:
        with pytest.raises(CallFailed, match="last words") as caught:
            jail.python(interpreter="/opt/python")
        assert caught.value.reason is ExitReason.KILLED
    with pytest.raises(CallFailed, match="not ready in time"):
        sandbox.python(["time"], start_timeout=0)


def test_an_interpreter_of_the_root(sandbox: Jail) -> None:
    """One that is named: here, the system's."""
    with sandbox.python(interpreter="python3", timeout=BOUND) as py:
        assert py.call("builtins:abs", -2) == 2


def test_what_a_call_may_be_told(py: PythonSession) -> None:
    """Plain data: anything else is the caller's mistake, and says where."""
    with pytest.raises(SpecError, match="cannot cross"):
        py.call("builtins:len", object())
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(SpecError, match="contains itself"):
        py.call("builtins:len", cycle)
    with pytest.raises(SpecError, match="too large"):
        py.call("builtins:len", bytes(17 * MiB))
    with pytest.raises(RemoteError, match=r"ValueError: a value of type .*cannot cross"):
        py.call("builtins:object")
    assert py.call("builtins:len", bytes(15 * MiB)) == 15 * MiB
    assert len(py.call("builtins:bytes", 15 * MiB)) == 15 * MiB


def test_random_numbers(sandbox: Jail) -> None:
    """Others in each call, also of what was preloaded; the same where a seed is given."""
    with sandbox.python(["random", "uuid"], timeout=BOUND) as py:
        assert len({py.call("random:random") for _ in range(4)}) == 4
        assert len({str(py.exec("import uuid\nx = str(uuid.uuid4())")["x"]) for _ in range(3)}) == 3
        seeded = py.within(seed=7)
        assert seeded.call("random:random") == seeded.call("random:random")
        assert seeded.call("random:random") != py.within(seed=8).call("random:random")


def test_threads_take_turns(py: PythonSession) -> None:
    """One session from many threads: every call gets its own answer."""
    answers: dict[int, Any] = {}

    def work(number: int) -> None:
        for _ in range(3):
            answers[number] = py.call("builtins:divmod", number, 1000)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
    assert answers == {number: divmod(number, 1000) for number in range(8)}


def test_interrupt_ends_the_call_that_runs(sandbox: Jail, py: PythonSession) -> None:
    """From another thread; the next call is served."""

    def interrupt() -> None:
        wait_for_file(sandbox, "/tmp/begun")
        py.interrupt()

    thread = threading.Thread(target=interrupt)
    thread.start()
    result = py.run_exec("open('/tmp/begun', 'w').close()\nimport time; time.sleep(3600)")
    thread.join()
    assert (result.reason, result.ok) == (ExitReason.KILLED, False)
    assert py.call("builtins:abs", -1) == 1


def test_after_the_end(sandbox: Jail) -> None:
    """A session that is closed, or whose jail is, says so."""
    with sandbox.python(timeout=BOUND) as py:
        pass
    py.close()
    assert py.closed
    with pytest.raises(jailkit.ClosedError):
        py.call("os:getpid")
    with Jail() as jail:
        other = jail.python(timeout=BOUND)
    assert other.closed
    with pytest.raises(jailkit.ClosedError):
        other.call("os:getpid")
    with pytest.raises(jailkit.ClosedError):
        jail.python()


def test_a_forked_copy_of_a_session_is_inert(py: PythonSession) -> None:
    """It neither calls nor kills."""
    before = py.call("os:getppid")
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            py.call("os:getpid")
        except jailkit.ClosedError:
            py.close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert py.call("os:getppid") == before


@pytest.mark.parametrize("level", [Level.JAIL, Level.CONTAINER], ids=lambda level: level.name.lower())
def test_other_levels(level: Level) -> None:
    """A session works where its user is the jail's superuser too."""
    with Jail(level=level) as jail, jail.python(timeout=BOUND) as py:
        assert py.call("os:getuid") == 0
        assert py.run_exec("open('/tmp/x', 'w').write('x')").ok
        assert py.call("os:listdir", "/tmp") == []
        assert py.starts == 1


def test_a_program_can_be_started_by_a_call(py: PythonSession) -> None:
    """With its own streams, as on any machine."""
    source = (
        "import subprocess\nx = subprocess.run(['echo', 'hello'], capture_output=True).stdout\n"
        "subprocess.run(['echo', 'out'])"
    )
    result = py.run_exec(source)
    assert (result.value, result.stdout) == ({"x": b"hello\n"}, b"out\n")


def test_files_put_there_are_for_every_call(sandbox: Jail, public: str) -> None:
    """What the host puts into the jail stays; what a bind brings is the host's, and is not tidied."""
    os.mkdir(f"{public}/shared", 0o777)
    os.chmod(f"{public}/shared", 0o777)
    with sandbox.python(timeout=BOUND) as py:
        sandbox.put(b"data", "/tmp/data")
        for _ in range(2):
            assert py.exec("x = open('/tmp/data').read()\nopen('/tmp/mine', 'x').close()") == {"x": "data"}
        py.run_exec("import os; os.kill(os.getppid(), 9)")
        assert sorted(py.call("os:listdir", "/tmp")) == ["data"]
        assert py.starts == 2
    Path(f"{public}/shared/precious").write_text("x")
    with Jail(mounts=[Bind(f"{public}/shared", "/tmp/shared")]) as jail, jail.python(timeout=BOUND) as py:
        assert py.exec("x = open('/tmp/shared/precious').read()\nopen('/tmp/y', 'w').close()")["x"] == "x"
        assert py.call("os:listdir", "/tmp") == ["shared"]
    assert Path(f"{public}/shared/precious").read_text() == "x"
