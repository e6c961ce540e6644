"""Every gate, on machines that are made up: `diagnose` decides from facts alone.

``golden_doctor/NAME.txt`` is what people read; written anew with ``JAILKIT_UPDATE_GOLDEN=1``.
"""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import attrs
import pytest

import jailkit
from jailkit._cli import command
from jailkit._doctor import apparmor_profile, checks_kernel
from jailkit._doctor.attempt import At, attempt
from jailkit._doctor.diagnose import diagnose
from jailkit._doctor.facts import BECOME, BROKE, KILLED, TIMED_OUT, Try, kernel_version
from jailkit._doctor.surroundings import flags, surroundings
from tests import leaks
from tests.doctors import (
    CASES,
    FILTERED,
    INIT,
    INSIDE,
    MAP,
    MASKED,
    STATUS,
    UNSHARE,
    healthy,
    userns_closed,
    with_settings,
)

FOLDER = Path(__file__).with_name("golden_doctor")
UPDATE = os.environ.get("JAILKIT_UPDATE_GOLDEN") == "1"


@pytest.mark.parametrize("case", CASES)
def test_each_gate_is_named(case: str) -> None:
    """From the failed attempt and what is around it: the gate, a fact, what opens it, and what that costs."""
    facts, name, state, remedy = CASES[case]
    check = diagnose(facts)[name]
    assert (check.state, check.gate) == (state, case.partition(" ")[0])
    text = f"{check.fact}\n{check.remedy}"
    assert remedy in text
    assert check.fact
    assert check.remedy
    assert check.cost
    assert check.tried


def test_nothing_is_wrong_where_all_works() -> None:
    """The control: the same facts with nothing changed."""
    report = diagnose(healthy())
    assert report.ok
    assert {check.state for check in report.checks} == {"ok"}
    assert [check.name for check in report.checks if check.gate or check.remedy or check.cost] == []


@pytest.mark.parametrize("case", [name for name, (facts, *_) in CASES.items() if not facts.attempt("sandbox").ok])
def test_the_jail_that_does_not_start_has_the_gate_of_its_cause(case: str) -> None:
    """Whoever looks at the last check alone learns the remedy."""
    facts, name, *_ = CASES[case]
    report = diagnose(facts)
    assert not report.ok
    if "every jail" in report[name].needed_by:
        assert report["sandbox"].gate == report[name].gate
        assert report["sandbox"].remedy == report[name].remedy
        verdict = str(report).split("\n\n")[-1].replace("\n", " ")
        assert f"In the way: {name} ({report[name].gate})" in verdict


def test_a_jail_that_fails_for_no_reason_known_is_still_a_failure() -> None:
    """That every attempt works by itself is no proof: the jail decides."""
    report = diagnose(healthy(sandbox=Try(errno.EIO, "open /usr", data={"hint": "look at the disk", "tier": "userns"})))
    assert not report.ok
    assert report["sandbox"].gate == "unknown"
    assert "look at the disk" in report["sandbox"].fact
    assert "EIO" in report["sandbox"].happened


def test_a_jail_that_runs_outweighs_an_attempt_that_fails() -> None:
    """On Ubuntu with the profile loaded this interpreter is refused, and jailkit-init is not."""
    facts = with_settings(userns_closed(errno.EACCES, MAP), restrict="1")
    facts = attrs.evolve(facts, tries={**facts.tries, "sandbox": Try(data={"tier": "userns"})})
    report = diagnose(facts)
    assert report.ok
    assert {check.state for check in report.checks} == {"ok", "degraded"}
    assert "jailkit-init may do what" in report["tmpfs"].fact


def test_settings_alone_close_no_gate() -> None:
    """Every setting is at its worst and every attempt works: it is trying that counts."""
    facts = with_settings(
        healthy(),
        restrict="1",
        debian="0",
        selinux="1",
        max_user="0",
        status=FILTERED,
        label="docker-default (enforce)",
        mountinfo=MASKED,
    )
    assert {check.state for check in diagnose(facts).checks} == {"ok"}


def test_root_is_asked_about_ordinary_users_too() -> None:
    """What root may and others may not is said by itself, and does not make the report of root a bad one."""
    facts = with_settings(
        healthy(user_as_nobody=Try(errno.EPERM, UNSHARE), sandbox=Try(data={"tier": "root"})),
        debian="0",
        status=STATUS.format(caps="1ffffffffff", seccomp="0"),
    )
    report = diagnose(attrs.evolve(facts, uid=0))
    assert report.ok
    assert report.caller == "root"
    assert report["user-namespaces"].state == "ok"
    assert report["user-namespaces-as-user"].gate == "unprivileged-userns-clone"
    alone = attrs.evolve(healthy(user_as_nobody=Try(errno.EPERM, BECOME)), uid=0)
    assert diagnose(alone)["user-namespaces-as-user"].gate == "no-other-id"


def test_what_another_caller_needs_is_not_missed() -> None:
    """Root's jails have a pair of interfaces, an ordinary user's have pasta: each is asked for his own."""
    none = Try(errno.ENOENT, "look")
    user = diagnose(healthy(veth=none))
    root = diagnose(healthy(pasta=none, tun=none, sandbox=Try(data={"tier": "root"})))
    assert {check.state for check in (*user.checks, *root.checks)} == {"ok"}
    assert "not needed by this caller" in root["pasta"].happened


@pytest.mark.parametrize(
    ("settings", "engine"),
    [
        ({}, ""),
        ({"dockerenv": "there"}, ""),
        ({"dockerenv": "there", **INSIDE}, "docker"),
        ({"podman": "there", **INSIDE}, "podman"),
        ({"dockerenv": "there", "kubernetes": "10.0.0.1", **INSIDE}, "kubernetes"),
        ({"container": "lxc", **INSIDE}, "lxc"),
        ({"container": "systemd-nspawn", **INSIDE}, "nspawn"),
        (INSIDE, "other"),
        ({"version": "Linux version 4.4.0 #1 SMP Sun Jan 10 15:06:54 PST 2016"}, "gvisor"),
    ],
)
def test_where_it_runs(settings: dict[str, str], engine: str) -> None:
    """Known by the numbers of namespaces; a file that an image brought along does not make a container of a machine."""
    assert surroundings(with_settings(healthy(), **settings)).engine == engine


def test_windows_is_known_by_its_kernel() -> None:
    """WSL has the machine's own namespaces."""
    assert surroundings(attrs.evolve(healthy(), release="5.15.153.1-microsoft-standard-WSL2")).engine == "wsl"


@pytest.mark.parametrize("engine", ["", "docker", "podman", "kubernetes", "lxc", "gvisor", "other"])
@pytest.mark.parametrize("gate", ["seccomp", "apparmor", "proc", "cgroups"])
def test_flags_open_one_gate_and_not_all(engine: str, gate: str) -> None:
    """The least that does it is named, never --privileged."""
    assert flags(engine, gate)
    assert "privileged" not in flags(engine, gate)


@pytest.mark.parametrize(
    "name", ["healthy", *(case for case in ("apparmor-userns", "container-seccomp", "masked-proc"))]
)
def test_golden(name: str) -> None:
    """What people read, word by word."""
    text = str(diagnose(CASES[name][0] if name in CASES else healthy())) + "\n"
    path = FOLDER / f"{name}.txt"
    if UPDATE:
        path.write_text(text)
    assert text == path.read_text()


FIELDS = {"name", "state", "tried", "happened", "gate", "fact", "remedy", "cost", "needed_by"}


@pytest.mark.parametrize("case", CASES)
def test_the_json_keeps_its_form(case: str) -> None:
    """The same keys and the same names of checks on every host, in the same order."""
    found = json.loads(json.dumps(diagnose(CASES[case][0]).to_dict()))
    assert found.keys() == {"schema", "ok", "caller", "checks", "apparmor_profile"}
    assert found["schema"] == 1
    assert found["caller"] in ("root", "userns")
    assert [check["name"] for check in found["checks"]] == [check.name for check in diagnose(healthy()).checks]
    assert len({check["name"] for check in found["checks"]}) == len(found["checks"])
    for check in found["checks"]:
        assert check.keys() == FIELDS
        assert check["state"] in ("ok", "degraded", "missing")
        assert all(isinstance(check[field], str) for field in FIELDS - {"needed_by"})
        assert bool(check["gate"]) == (check["state"] != "ok")


def test_a_check_is_found_by_its_name() -> None:
    """And one that does not exist is an error."""
    report = diagnose(healthy())
    assert report["landlock"].name == "landlock"
    with pytest.raises(KeyError):
        report["no such check"]


def test_the_profile_names_one_path() -> None:
    """What means something to AppArmor is escaped: a directory called * must not open the gate to its neighbours."""
    assert apparmor_profile("/opt/a b/jailkit-init").splitlines()[1] == (
        'profile jailkit-init "/opt/a b/jailkit-init" flags=(unconfined) {'
    )
    assert '"/opt/\\*\\"/x"' in apparmor_profile('/opt/*"/x')
    assert diagnose(healthy()).apparmor_profile == apparmor_profile(INIT)


@pytest.mark.parametrize(
    ("release", "version"), [("6.12.0-1-amd64", (6, 12)), ("5.15", (5, 15)), ("6.18.44-x+", (6, 18)), ("odd", (0, 0))]
)
def test_versions_of_kernels(release: str, version: tuple[int, int]) -> None:
    """Two numbers, whatever follows."""
    assert kernel_version(release) == version
    assert checks_kernel.OLDEST == (5, 15)


def _fails(at: At) -> None:
    at("a step")
    raise OSError(errno.EXDEV, "no")


def _breaks(at: At) -> None:
    at("a step")
    raise ValueError("odd")


def _dies(_: At) -> None:
    os.kill(os.getpid(), 31)


def _hangs(_: At) -> None:
    os.read(os.pipe()[0], 1)


def test_an_attempt_always_ends_in_an_answer() -> None:
    """By an errno, by an exception, by a signal or not at all; and nothing of it is left."""
    answers = [attempt(one, 30) for one in (lambda _: "done", _fails, _breaks, _dies)]
    assert [answer.errno for answer in answers] == [0, errno.EXDEV, BROKE, KILLED]
    assert answers[0].note == "done"
    assert answers[1].said == "a step: EXDEV"
    assert answers[2].said == "a step: ValueError: odd"
    assert answers[3].said.endswith("SIGSYS")
    assert attempt(_hangs, 0.05).errno == TIMED_OUT
    # What looks after control groups may be a child by now, and lives on.
    assert not [what for what in leaks.children().values() if what.startswith("Z")]


def test_the_command_says_what_the_report_says(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Text or JSON; exit code 0 where a SANDBOX can be run, else 1."""
    good, bad = diagnose(healthy()), diagnose(CASES["masked-proc"][0])
    for report, code in ((good, 0), (bad, 1)):
        monkeypatch.setattr(command, "doctor", lambda report=report: report)
        assert command.main(["doctor"]) == code
        assert capfd.readouterr().out == f"{report}\n"
        assert command.main(["doctor", "--json"]) == code
        assert json.loads(capfd.readouterr().out) == report.to_dict()
    assert command.main(["doctor", "--apparmor-profile"]) == 0
    assert capfd.readouterr().out == apparmor_profile()


def test_the_library_does_not_pay_for_the_doctor() -> None:
    """Nothing that makes attempts is imported with jailkit."""
    import subprocess
    import sys

    code = "import sys, jailkit; print([m for m in sys.modules if m.startswith('jailkit._doctor.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, cwd="/")
    assert set(eval(done.stdout)) == {f"jailkit._doctor.{name}" for name in ("apparmor", "entry", "report")}


def test_no_interpreter_no_doctor(monkeypatch: pytest.MonkeyPatch) -> None:
    """An embedded Python may not know its own path: that is said, with what to do instead."""
    monkeypatch.setattr("sys.executable", "")
    with pytest.raises(jailkit.UnsupportedError, match=r"sys\.executable"):
        jailkit.doctor()
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(jailkit.UnsupportedError, match="return code 1"):
        jailkit.doctor()
