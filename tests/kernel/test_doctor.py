"""The doctor on this machine, as it is and with one gate after the other really closed."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import textwrap
from typing import Any

import pytest

import jailkit
from jailkit import _native

pytestmark = [pytest.mark.requires("userns", "python"), pytest.mark.timeout(180)]

DOCTOR = [sys.executable, "-m", "jailkit", "doctor", "--json"]
BOUND = 150
EPERM, ENOSYS = 1, 38
KILL = 0x80000000

# Refuses calls: words of "NUMBER:ACTION", where ACTION is an errno, or what a filter returns to kill;
# "NUMBER&MASK:ACTION" looks at the first argument. Then it becomes the program that follows "--".
CLOSE = textwrap.dedent("""
    import ctypes, os, struct, sys
    libc = ctypes.CDLL(None)
    words, program = sys.argv[1:sys.argv.index("--")], sys.argv[sys.argv.index("--") + 1:]
    code = [(0x20, 0, 0, 0)]
    for word in words:
        call, _, action = word.partition(":")
        number, _, mask = call.partition("&")
        action = int(action) if int(action) > 4095 else 0x50000 | int(action)
        if mask:
            code += [(0x15, 0, 4, int(number)), (0x20, 0, 0, 16), (0x45, 0, 1, int(mask, 16)), (6, 0, 0, action)]
            code += [(0x20, 0, 0, 0)]
        else:
            code += [(0x15, 0, 1, int(number)), (6, 0, 0, action)]
    code += [(6, 0, 0, 0x7fff0000)]
    kept = b"".join(struct.pack("=HBBI", *one) for one in code)
    kept = ctypes.create_string_buffer(kept, len(kept))
    given = struct.pack("@HP", len(code), ctypes.addressof(kept))
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, ctypes.create_string_buffer(given, len(given)), 0, 0) == 0
    os.execv(program[0], program)
""")
X86 = os.uname().machine == "x86_64"
CLONE, UNSHARE, CLONE3 = (56 if X86 else 220), (272 if X86 else 97), 435
LANDLOCK, FSOPEN = 444, 430
NEWUSER = 0x10000000


def ask(*prefix: str) -> tuple[dict[str, dict[str, Any]], subprocess.CompletedProcess[bytes]]:
    """Call the doctor behind a prefix; return its checks by name, and the command."""
    done = subprocess.run([*prefix, *DOCTOR], capture_output=True, timeout=BOUND, check=False, cwd="/")
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    assert done.returncode == (0 if report["ok"] else 1)
    assert report["ok"] == (report["checks"][-1]["state"] == "ok")
    return {check["name"]: check for check in report["checks"]}, done


@functools.cache
def undisturbed() -> dict[str, dict[str, Any]]:
    """Return the checks with no gate closed: the control."""
    return ask()[0]


def behind_filter(*words: str) -> dict[str, dict[str, Any]]:
    """Return the checks behind a filter as engines have it."""
    return ask(sys.executable, "-c", CLOSE, *words, "--")[0]


def in_namespaces(script: str, *flags: str) -> dict[str, dict[str, Any]]:
    """Return the checks in namespaces of our own, after a script."""
    return ask("unshare", *flags, "sh", "-c", f'set -e; {script}; exec "$@"', "sh")[0]


def test_it_says_what_running_a_jail_says() -> None:
    """The report is good exactly where a jail runs; here one does."""
    report = jailkit.doctor()
    assert jailkit.run(["/bin/true"]).ok
    assert report.ok
    assert report.checks[-1].name == "sandbox"
    assert report.caller == jailkit.Jail().plan.tier
    assert {
        check.name for check in report.checks if "every jail" in check.needed_by and check.state == "missing"
    } == set()


def test_what_it_calls_idmapped_is() -> None:
    """Where it says yes to every file system, a writable bind of root's is planned on one of them; elsewhere not."""
    check = jailkit.doctor()["idmapped-mounts"]
    try:
        bind = jailkit.Bind("/var/tmp", "/bound", writable=True)
        planned = jailkit.Jail(mounts=[bind]).plan.tier == "root"
    except jailkit.UnsupportedError:
        planned = False
    if check.state != "degraded":  # there it depends on the file system
        assert planned == (check.state == "ok")


def test_the_caller_is_left_as_he_was() -> None:
    """Nothing of all that is tried happens to the calling process."""

    def look() -> list[str]:
        names = sorted(os.listdir("/proc/self/ns"))
        with open("/proc/self/status") as file:
            status = [line for line in file if line.startswith(("Cap", "Seccomp", "NoNewPrivs", "Uid", "Groups"))]
        with open("/proc/self/mountinfo") as file:
            return [os.readlink(f"/proc/self/ns/{name}") for name in names] + status + file.readlines()

    before = look()
    jailkit.doctor()
    assert look() == before


def test_the_profile_is_for_the_program_that_is_started() -> None:
    """AppArmor goes by a path: it is that of the installed jailkit-init, without symbolic links."""
    done = subprocess.run(
        [*DOCTOR[:-1], "--apparmor-profile"], capture_output=True, timeout=BOUND, check=False, cwd="/"
    )
    assert done.returncode == 0
    assert f'"{os.path.realpath(_native.INIT_PATH)}"' in done.stdout.decode()
    assert os.access(_native.INIT_PATH, os.X_OK)


def test_a_filter_that_refuses_namespaces() -> None:
    """As the default filters of engines do: EPERM for unshare and clone, ENOSYS for clone3."""
    checks = behind_filter(f"{UNSHARE}:{EPERM}", f"{CLONE3}:{ENOSYS}", f"{CLONE}&{NEWUSER:x}:{EPERM}")
    for name in ("user-namespaces", "clone-namespaces", "mount-namespaces", "sandbox"):
        assert (checks[name]["state"], checks[name]["gate"]) == ("missing", "container-seccomp"), name
    assert "EPERM" in checks["user-namespaces"]["happened"]
    assert (checks["clone3"]["state"], checks["clone3"]["gate"]) == ("degraded", "container-seccomp")
    assert "seccomp=unconfined" in checks["sandbox"]["remedy"]
    assert checks["landlock"]["state"] == undisturbed()["landlock"]["state"], (
        "what the filter lets through is not blamed on it"
    )


@pytest.mark.requires("root")  # the same for every caller: once is enough
def test_a_filter_that_says_there_is_no_such_call() -> None:
    """ENOSYS from a filter is told from a kernel that is too old."""
    checks = behind_filter(f"{UNSHARE}:{ENOSYS}", f"{CLONE}&{NEWUSER:x}:{ENOSYS}", f"{CLONE3}:{ENOSYS}")
    assert checks["user-namespaces"]["gate"] == checks["sandbox"]["gate"] == "container-seccomp"


def test_a_filter_that_kills() -> None:
    """An attempt that is killed is an answer, and the others are made all the same."""
    checks = behind_filter(f"{UNSHARE}:{KILL}", f"{LANDLOCK}:{KILL}")
    assert checks["user-namespaces"]["gate"] == checks["landlock"]["gate"] == "container-seccomp"
    assert "SIGSYS" in checks["user-namespaces"]["happened"]
    assert checks["pidfd"]["state"] == "ok"


def test_a_filter_that_refuses_clone_alone() -> None:
    """Then unshare works, and a jail does not: what a jail needs is tried as a jail does it."""
    checks = behind_filter(f"{CLONE}&{NEWUSER:x}:{EPERM}", f"{CLONE3}:{ENOSYS}")
    assert checks["user-namespaces"]["state"] == "ok"
    assert (checks["clone-namespaces"]["state"], checks["clone-namespaces"]["gate"]) == ("missing", "container-seccomp")
    assert checks["sandbox"]["gate"] == "container-seccomp"


@pytest.mark.requires("root")  # the same for every caller: once is enough
def test_a_filter_that_refuses_the_mount_calls() -> None:
    """As filters do that are older than these calls."""
    checks = behind_filter(f"{FSOPEN}:{ENOSYS}")
    assert checks["user-namespaces"]["state"] == checks["mount-namespaces"]["state"] == "ok"
    for name in ("mount-api", "tmpfs", "proc", "sandbox"):
        assert (checks[name]["state"], checks[name]["gate"]) == ("missing", "container-seccomp"), name


def test_a_harmless_filter_is_blamed_for_nothing() -> None:
    """Seccomp: 2 alone is no gate; this is the control of the tests above."""
    checks = behind_filter(f"9999:{EPERM}")
    assert checks["sandbox"]["state"] == "ok"
    assert "container-seccomp" not in {check["gate"] for check in checks.values()}


def test_no_user_namespaces_are_left() -> None:
    """user.max_user_namespaces is 0, in a user namespace that this test made."""
    checks = in_namespaces("echo 0 > /proc/sys/user/max_user_namespaces", "-Ur")
    for name in ("user-namespaces", "clone-namespaces", "sandbox"):
        assert (checks[name]["state"], checks[name]["gate"]) == ("missing", "max-user-namespaces"), name
    assert "max_user_namespaces is 0" in checks["user-namespaces"]["fact"]
    assert "ENOSPC" in checks["user-namespaces"]["happened"]
    assert in_namespaces("true", "-Ur")["sandbox"]["state"] == "ok", "the control"


def test_no_namespaces_of_one_kind_are_left() -> None:
    """The gate is named by its kind: here of the network."""
    checks = in_namespaces("echo 0 > /proc/sys/user/max_net_namespaces", "-Ur")
    assert checks["user-namespaces"]["state"] == checks["pid-namespaces"]["state"] == "ok"
    assert (checks["net-namespaces"]["state"], checks["net-namespaces"]["gate"]) == ("missing", "max-net-namespaces")
    assert checks["sandbox"]["state"] == "missing"


def test_a_masked_proc() -> None:
    """Something is mounted below /proc, as engines do it, and the kernel gives no fresh one."""
    flags = ("-m",) if os.geteuid() == 0 else ("-Urm",)
    checks = in_namespaces("mount --bind /proc/sys /proc/sys", *flags)
    assert checks["user-namespaces"]["state"] == checks["tmpfs"]["state"] == "ok"
    for name in ("proc", "sandbox"):
        assert (checks[name]["state"], checks[name]["gate"]) == ("missing", "masked-proc"), name
    assert "/proc/sys" in checks["proc"]["fact"]
    assert "systempaths=unconfined" in checks["proc"]["remedy"]
    assert in_namespaces("true", *flags)["proc"]["state"] == "ok", "the control"


@pytest.mark.requires("root")
def test_in_a_chroot() -> None:
    """A plain directory as root: the kernel gives no user namespace, and doctor knows why."""
    script = textwrap.dedent("""
        new=$(mktemp -d); trap 'rm -rf --one-file-system "$new"' EXIT
        mount -t tmpfs none "$new"; mkdir "$new/root"
        for name in /*; do
            if [ -L "$name" ]; then cp -a "$name" "$new/root$name"
            elif [ -d "$name" ]; then mkdir "$new/root$name"; mount --rbind "$name" "$new/root$name"; fi
        done
        status=0; chroot "$new/root" "$@" || status=$?
        umount -l "$new"; exit $status
    """)
    checks = ask("unshare", "-m", "bash", "-c", script, "bash")[0]
    for name in ("user-namespaces", "sandbox"):
        assert (checks[name]["state"], checks[name]["gate"]) == ("missing", "chroot"), name
    assert undisturbed()["sandbox"]["state"] == "ok", "the control"


def test_it_has_a_bound() -> None:
    """What was not tried in time is reported as such, and not as missing for another reason."""
    report = jailkit.doctor(timeout=0)
    assert not report.ok
    assert {report[name].gate for name in ("user-namespaces", "landlock", "sandbox")} == {"slow"}


@pytest.mark.requires("network")
def test_what_a_network_needs_is_tried() -> None:
    """All of it is here. Without a program in PATH there is no pasta, which root does without."""
    names = ("pyroute2", "nftables", "veth", "pasta")
    checks, _ = ask()
    assert {name: checks[name]["state"] for name in names} == dict.fromkeys(names, "ok")
    checks, done = ask("env", "PATH=/none")
    needed = json.loads(done.stdout)["caller"] == "userns"
    assert (checks["pasta"]["state"], checks["pasta"]["gate"]) == (
        ("missing", "not-installed") if needed else ("ok", "")
    )
    assert needed or "not needed" in checks["pasta"]["happened"]
    assert checks["nftables"]["state"] == "ok"
