"""A control group from a real systemd, which runs as PID 1 of namespaces inside a virtual machine of the test bed."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.patience import patient

pytestmark = [pytest.mark.requires("vm", "root", "systemd"), pytest.mark.timeout(120)]

USER = 1000
UNITS = "/run/test-units"
RUNTIME = f"/run/user/{USER}"
TOP = "/sys/fs/cgroup"

# Of systemd's own units those that a bus and a user's manager need, and no mount, no login, no network.
MINIMAL = {
    **{f"{name}.target": "[Unit]\nDefaultDependencies=no\n" for name in ("sysinit", "basic", "sockets", "shutdown")},
    "test.target": f"[Unit]\nDefaultDependencies=no\nRequires=dbus.socket dbus.service user@{USER}.service\n",
    "user@.service": (
        "[Service]\nUser=%i\nType=notify\nDelegate=yes\nExecStart=/lib/systemd/systemd --user\n"
        "Environment=XDG_RUNTIME_DIR=/run/user/%i\n"
    ),
}

# The group is joined before the cgroup namespace is made, so that it is the root of what systemd sees. Whoever made
# the namespaces stays outside: no process may be in a group that shares out controllers.
BOOT = """
echo 0 >"$1/cgroup.procs"
exec unshare -C sh -c 'umount /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup &&
exec env -i container=test PATH="$PATH" SYSTEMD_UNIT_PATH="$0" /lib/systemd/systemd --system --unit=test.target \
    --log-target=console --show-status=no' "$2"
"""


class Machine:
    """A systemd, and the namespaces and the group that it runs in."""

    def __init__(self, group: str) -> None:
        """Boot it.

        Args:
            group: An empty group of cgroup v2.
        """
        self.group = group
        with open("/run/test-systemd.log", "wb") as log:
            self.outer = subprocess.Popen(
                ["unshare", "-pfm", "--kill-child", "--mount-proc", "sh", "-c", BOOT, "sh", group, UNITS],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def wait(self) -> None:
        """Wait until both managers are there."""
        deadline = time.monotonic() + patient(60)
        while not (os.path.exists(f"{RUNTIME}/bus") and self.says("is-active", "test.target") == "active"):
            assert time.monotonic() < deadline, Path("/run/test-systemd.log").read_text()
            time.sleep(0.2)
        # Where a login would put its processes: root's, and delegated to nobody.
        os.mkdir(f"{self.group}/session.scope")
        # The user's bus is started by its first caller. It stays, so it is no test's.
        call = f"from jailkit._bus import Bus; Bus('{RUNTIME}/bus', {patient(30)}).close()"
        with self.client(call, user=True) as first:
            assert first.communicate(timeout=patient(60)) == ("", "")

    def says(self, *words: str) -> str:
        """Ask the system's manager something."""
        argv = self.enter("systemctl", *words)
        return subprocess.run(argv, capture_output=True, text=True, timeout=patient(60), check=False).stdout.strip()

    def enter(self, *command: str) -> list[str]:
        """Put in front of a command what makes it a process of this machine."""
        (pid,) = Path(f"/proc/{self.outer.pid}/task/{self.outer.pid}/children").read_text().split()
        return ["nsenter", "-t", pid, "-p", "-m", "-C", *command]

    def client(self, code: str, *, user: bool, prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        """Start a program in a session of this machine, as root or as the user."""
        drop = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--inh-caps=-all") if user else ()
        join = ("sh", "-c", 'echo 0 >"$0/cgroup.procs" && exec "$@"', f"{self.group}/session.scope")
        return subprocess.Popen(
            [*join, *self.enter(*prefix, *drop, sys.executable, "-c", code)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/",
            env={"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": RUNTIME},
        )  # fmt: skip

    def scopes(self) -> list[str]:
        """Return the groups of jailkit, as the guest sees them."""
        return [os.path.join(top, name) for top, names, _ in os.walk(self.group) for name in names if "jailkit" in name]

    def end(self) -> None:
        """Kill it with all that it started."""
        self.outer.kill()
        self.outer.wait()
        deadline = time.monotonic() + patient(30)
        while os.path.isdir(self.group):
            for top, _, _ in os.walk(self.group, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(top)
            assert time.monotonic() < deadline


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """A systemd as root's, and one as a user's; afterwards the guest has none again, nor does it look so."""
    signs = [path for path in ("/run/systemd", "/run/dbus") if not os.path.exists(path)]
    os.makedirs(UNITS)
    for name, text in MINIMAL.items():
        Path(UNITS, name).write_text(text)
    for name in ("dbus.service", "dbus.socket"):
        shutil.copy(f"/lib/systemd/system/{name}", UNITS)
    os.makedirs(RUNTIME, exist_ok=True)
    os.chown(RUNTIME, USER, USER)
    group = f"{os.environ['JAILKIT_VM_CGROUP']}/machine"
    os.mkdir(group)
    made = Machine(group)
    try:
        made.wait()
        yield made
    finally:
        made.end()
        shutil.rmtree(UNITS)
        shutil.rmtree(RUNTIME)
        for path in signs:
            shutil.rmtree(path, ignore_errors=True)


USES = """
import os, signal, subprocess, sys
from jailkit._scope import transient_scope
mine = open("/proc/self/cgroup").read()
path = transient_scope(user={user})
assert transient_scope(user={user}) == path
assert open("/proc/self/cgroup").read() == mine, "the caller's process was moved"
assert open(path + "/cgroup.procs").read() == ""
controllers = open(path + "/cgroup.controllers").read().split()
open(path + "/cgroup.subtree_control", "w").write(" ".join("+" + name for name in controllers))
os.mkdir(path + "/jail")
open(path + "/jail/memory.max", "w").write("12345344")
program = subprocess.Popen(["sleep", "3600"])
if not {user}:  # a user may not take a process out of a session that is root's, but have one born in the group
    open(path + "/jail/cgroup.procs", "w").write(str(program.pid))
print(path, *controllers, flush=True)
sys.stdin.readline()
program.kill()
program.wait()
{end}
"""


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), signal.SIGKILL)", "sys.exit(0)"], ids=["killed", "ends"])
@pytest.mark.parametrize("user", [False, True], ids=["system", "user"])
def test_systemd_delegates_a_group(machine: Machine, user: bool, end: str) -> None:
    """With controllers, for as long as the host program lives, and the host program stays in its own group."""
    with machine.client(USES.format(user=user, end=end), user=user) as client:
        assert client.stdout is not None
        said = client.stdout.readline().split()
        assert said, client.communicate(timeout=patient(30))[1]
        path = machine.group + said[0].removeprefix(TOP)
        assert {"memory", "pids", "cpu"} <= set(said[1:])
        assert machine.scopes() == [path]
        assert Path(f"{path}/jail/memory.max").read_text() == "12345344\n"
        assert os.stat(f"{path}/cgroup.procs").st_uid == (USER if user else 0)
        client.communicate("\n", timeout=patient(30))
    deadline = time.monotonic() + patient(30)
    while machine.scopes():
        assert time.monotonic() < deadline, machine.says("status", "jailkit*")
        time.sleep(0.05)


REFUSED = """
import jailkit
from jailkit._scope import transient_scope
try:
    transient_scope(user={user})
except jailkit.UnsupportedError as error:
    print(error.missing)
    print(error.remedy)
"""


def refusal(machine: Machine, *, user: bool, manager: bool, prefix: tuple[str, ...] = ()) -> list[str]:
    """Return what is missing, and the remedy."""
    with machine.client(REFUSED.format(user=manager), user=user, prefix=prefix) as client:
        out, errors = client.communicate(timeout=patient(60))
    assert (client.returncode, errors) == (0, "")
    return out.splitlines()


def test_the_system_manager_obeys_root_alone(machine: Machine) -> None:
    """A user is told what to ask for."""
    missing, remedy = refusal(machine, user=True, manager=False)
    assert missing.startswith("systemd refuses: org.freedesktop.DBus.Error.")
    assert "manage-units" in remedy
    assert machine.scopes() == []


def test_no_process_of_another_pid_namespace_is_moved(machine: Machine) -> None:
    """Whose number means somebody else to systemd is noticed before it is asked."""
    missing, _ = refusal(machine, user=False, manager=False, prefix=("unshare", "-pf", "--mount-proc"))
    assert "pid namespace" in missing
    assert machine.scopes() == []
