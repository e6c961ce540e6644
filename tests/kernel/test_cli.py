"""The command as a shell sees it: streams, exit codes, signals, reports; each with a real jail."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import jailkit
from tests.leaks import children, reap
from tests.patience import patient

pytestmark = pytest.mark.requires("userns")

COMMAND = [sys.executable, "-m", "jailkit"]
BOUND = patient(30)


def jailkit_(*words: str, **keywords: Any) -> subprocess.CompletedProcess[bytes]:
    """Run the command to its end."""
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": BOUND, "cwd": "/", **keywords}
    return subprocess.run([*COMMAND, *words], check=False, **settings)


@contextlib.contextmanager
def started(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the command beside the test, with default signal actions, and leave nothing of it."""

    def default_signals() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)

    process = subprocess.Popen(
        [*COMMAND, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        cwd="/",
        preexec_fn=default_signals,  # noqa: PLW1509 - a child that inherits "ignored" would not be tested at all
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=BOUND)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--", "true"], 0, ""),
        (["--", "sh", "-c", "exit 7"], 7, ""),
        (["--", "sh", "-c", "exit 125"], 125, ""),
        (["--", "sh", "-c", "kill -TERM $$"], 143, ""),
        (["--", "sh", "-c", "kill -KILL $$"], 137, ""),
        (["--file-size", "4K", "--", "sh", "-c", "exec head -c 5000 /dev/zero > /tmp/f"], 153, ""),
        (["--bind", "/no/such/source:/data:optional", "--", "true"], 0, ""),
        (["--timeout", "200ms", "--", "sleep", "60"], 124, "jailkit: the program was ended: wall time"),
        (["--output", "1K", "--", "yes"], 137, "jailkit: the program was ended: output"),
        (["--", "no-such-program"], 127, "jailkit: program"),
        (["--", "/no/such/program"], 127, "jailkit: program"),
        (["--", "/etc/passwd"], 126, "jailkit: program"),
        (["--", "/tmp"], 126, "jailkit: program"),
        (["--cwd", "/no/such/directory", "--", "true"], 125, "jailkit: program"),
        (["--net", "nat", "--", "true"], 125, "jailkit: net=True"),
        (["--cgroup", "/no/such/group", "--", "true"], 125, "jailkit: control group /no/such/group"),
        (["--root", "/no/such/root", "--", "true"], 125, "jailkit: "),
        (["--bind", "/no/such/source:/data", "--", "true"], 125, "jailkit: "),
        (["--level", "vm", "--", "true"], 125, "jailkit: argument --level"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_exit_codes(words: list[str], code: int, said: str) -> None:
    """Each way to end has its code; what is no end of the program's own is explained on stderr, in one message."""
    done = jailkit_("run", *words)
    assert done.returncode == code, done.stderr
    if said:
        assert done.stderr.decode().startswith(said)
        assert b"Traceback" not in done.stderr
    else:
        assert done.stderr == b""


def test_the_exit_code_of_used_up_processor_time() -> None:
    """SIGXCPU counts ticks of the clock, the host nanoseconds: where ticks went by unseen, the host is first."""
    done = jailkit_("run", "--cpu-seconds", "1", "--", "sh", "-c", "while :; do :; done")
    assert done.returncode in (152, 137)
    assert done.stderr.decode().startswith("jailkit: the program was ended: cpu time")


def test_the_streams_are_those_of_the_caller() -> None:
    """Input is read, and both outputs come out apart."""
    done = jailkit_("run", "--", "sh", "-c", "cat; echo oops >&2", input=b"one\ntwo\0\xff")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"one\ntwo\0\xff", b"oops\n")


def test_a_long_stream_is_passed_through_and_not_counted() -> None:
    """More than Limits.output goes to a file of the caller; the program is not held back."""
    done = jailkit_("run", "--", "sh", "-c", "head -c 80000000 /dev/zero", stdout=subprocess.DEVNULL)
    assert (done.returncode, done.stderr) == (0, b"")


def test_output_within_its_limit_is_handed_on() -> None:
    """--output collects both streams and loses nothing below the limit."""
    done = jailkit_("run", "--output", "1M", "--", "sh", "-c", "cat; echo oops >&2; exit 3", input=b"x" * 100_000)
    assert (done.returncode, done.stdout, done.stderr) == (3, b"x" * 100_000, b"oops\n")


def test_closed_streams_do_no_harm() -> None:
    """A caller without any stream gets his exit code; no descriptor of the jail takes their place."""
    line = '"$@" <&- >&- 2>&-'
    words = [*COMMAND, "run", "--", "sh", "-c", "cat && exit 5"]
    assert subprocess.run(["sh", "-c", line, "sh", *words], timeout=BOUND, check=False, cwd="/").returncode == 5


def test_a_terminal_is_handed_on_but_not_controlled() -> None:
    """The program sees a terminal, which is not its controlling one: it cannot open /dev/tty."""
    ours, theirs = pty.openpty()
    try:
        check = "test -t 0 && test -t 1 && ! (: < /dev/tty) 2> /dev/null"
        done = jailkit_("run", "--", "sh", "-c", check, stdin=theirs, stdout=theirs, start_new_session=True)
        assert (done.returncode, done.stderr) == (0, b"")
        assert jailkit_("run", "--", "sh", "-c", check, stdin=subprocess.DEVNULL).returncode != 0
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_handed_on(number: signal.Signals) -> None:
    """The program may handle it, and decides itself how it ends."""
    script = f"trap 'echo caught; exit 3' {number.name[3:]}; echo ready; while :; do sleep 0.05; done"
    with started("run", "--", "sh", "-c", script) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        rest, _ = process.communicate(timeout=BOUND)
        assert (process.returncode, rest) == (3, b"caught\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("output", [[], ["--output", "1M"]], ids=["own streams", "collected"])
def test_a_program_without_a_handler_ends_by_the_signal(number: signal.Signals, output: list[str]) -> None:
    """Whoever asks is told by which."""
    with started(
        "run", *output, "--", "sh", "-c", f"echo > /proc/$$/comm; kill -{number.name[3:]} $$; sleep 60"
    ) as process:
        process.communicate(timeout=BOUND)
        assert process.returncode == 128 + number


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_second_signal_kills(number: signal.Signals) -> None:
    """A program that ignores the first does not survive the second, nor does what it has started."""
    script = f"trap 'echo no' {number.name[3:]}; sleep 60 & echo ready; while :; do wait; done"
    with started("run", "--", "sh", "-c", script) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        assert process.stdout.readline() == b"no\n"
        process.send_signal(number)
        process.communicate(timeout=BOUND)  # end of file: nobody holds the pipe any more
        assert process.returncode == 137


def test_the_jail_ends_with_the_command() -> None:
    """When the command is killed, nobody is left who holds its stdout, and no process of the jail."""
    others = children()
    with started("run", "--", "sh", "-c", "sleep 60 & echo ready; sleep 60") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.kill()
        assert process.stdout.read() == b""
    assert reap(keep=others) == {}


def test_a_report_has_the_result(tmp_path: Path) -> None:
    """Reason, codes, usage and isolation, for a program that has run."""
    path = tmp_path / "report.json"
    done = jailkit_("run", "--report", str(path), "--timeout", "300ms", "--", "sleep", "60")
    said = json.loads(path.read_text())
    assert done.returncode == said["exit_code"] == 124
    assert (said["reason"], said["argv"], said["error"]) == ("WALL_TIME", ["sleep", "60"], None)
    assert 0.3 <= said["usage"]["wall"] < BOUND
    assert {"files", "network", "limit: wall_seconds"} <= {item["name"] for item in said["isolation"]}


@pytest.mark.parametrize(
    ("words", "code", "kind"),
    [
        (["--", "no-such-program"], 127, "CommandNotFound"),
        (["--", "/tmp"], 126, "CommandNotExecutable"),
        (["--net", "nat", "--", "true"], 125, "UnsupportedError"),
        (["--root", "/no/such/root", "--", "true"], 125, "LaunchError"),
    ],
)
def test_a_report_has_the_failure(tmp_path: Path, words: list[str], code: int, kind: str) -> None:
    """It tells a program that was not there from one that ended with the same code."""
    path = tmp_path / "report.json"
    done = jailkit_("run", "--report", str(path), *words)
    said = json.loads(path.read_text())
    assert (done.returncode, said["exit_code"], said["error"]["type"]) == (code, code, kind)
    assert said["error"]["message"] in done.stderr.decode()


def test_a_report_that_cannot_be_written_stops_the_command() -> None:
    """Before the program runs, not after."""
    done = jailkit_("run", "--report", "/no/such/directory/report", "--", "echo", "ran")
    assert (done.returncode, done.stdout) == (125, b"")
    assert b"/no/such/directory/report" in done.stderr


def test_options_reach_the_jail(tmp_path: Path) -> None:
    """A few of each kind, seen from inside."""
    tmp_path.chmod(0o755)
    (tmp_path / "data").write_text("from the host")
    script = (
        "cat /in/data /copy; readlink /link; hostname; echo $A; id -u; id -g; pwd; ulimit -n; df -k /scratch | tail -1"
    )
    words = [
        "--bind",
        f"{tmp_path}:/in",
        "--file",
        f"{tmp_path}/data:/copy",
        "--symlink",
        "to:/link",
        "--hostname",
        "box",
    ]
    words += ["--env", "A=b", "--user", "1000", "--cwd", "/in", "--open-files", "77", "--tmpfs", "/scratch:size=1M"]
    done = jailkit_("run", *words, "--", "sh", "-c", script)
    assert (done.returncode, done.stderr) == (0, b"")
    said = done.stdout.decode().splitlines()
    assert said[:-1] == ["from the hostfrom the hostto", "box", "b", "1000", "1000", "/in", "77"]
    assert said[-1].split()[1] == "1024"


def test_explain_is_what_the_library_explains() -> None:
    """In words and as JSON, and nothing runs."""
    done = jailkit_("explain", "--hostname", "box", "--", "echo", "it has run")
    jail = jailkit.Jail(hostname="box")
    assert (done.returncode, done.stdout.decode(), done.stderr) == (0, jail.explain(), b"")
    said = json.loads(jailkit_("explain", "--hostname", "box", "--json").stdout)
    assert len(said["host_steps"]) == len(jail.plan.host_steps)
    assert [step["op"] for step in said["jail_steps"]] == [step.op for step in jail.plan.jail_steps]
    assert [step["number"] for step in said["host_steps"] + said["jail_steps"]] == list(
        range(len(jail.plan.host_steps) + len(jail.plan.jail_steps))
    )
    assert all(step["why"] for step in said["jail_steps"])
    assert [item["name"] for item in said["isolation"]] == [item.name for item in jail.isolation]


def test_explain_does_not_print_the_contents_of_files(tmp_path: Path) -> None:
    """What is printed ends up in logs."""
    secret = tmp_path / "secret"
    secret.write_text("s3cr3t")
    words = ["explain", "--file", f"{secret}:/secret"]
    for done in (jailkit_(*words), jailkit_(*words, "--json")):
        assert done.returncode == 0
        assert b"/secret" in done.stdout or b'"secret"' in done.stdout
        assert b"s3cr3t" not in done.stdout


def test_explain_says_what_this_host_cannot_do() -> None:
    """The same refusal as that of run, without building anything."""
    done = jailkit_("explain", "--net", "nat")
    assert (done.returncode, done.stdout) == (125, b"")
    assert b"net=True" in done.stderr


def test_nobody_reads_what_is_explained() -> None:
    """``jailkit explain | head`` is no error to print about."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = jailkit_("explain", stdout=writing)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")


def test_a_trace_names_every_phase() -> None:
    """In the order in which they happen, and nothing of it on stdout; without the option there is no word of it."""
    done = jailkit_("run", "--trace", "--", "sh", "-c", "sleep 0.2; echo done")
    assert done.returncode == 0
    assert done.stdout == b"done\n"
    said = done.stderr.decode()
    phases = re.findall(r"^([^\d\n]+?)(?:: \d+ steps)? +([\d.]+) ms$", said, flags=re.MULTILINE)
    names = ["decide", "build the jail", "start the program", "the program", "take the jail away", "all"]
    assert [name for name, _ in phases] == names
    times = [float(number) for _, number in phases]
    # Where the host is told late that it runs, part of its time is in the phase before.
    assert times[2] + times[3] > 190
    assert abs(sum(times[:-1]) - times[-1]) < 0.1
    assert jailkit_("run", "--", "true").stderr == b""
