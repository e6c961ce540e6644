"""A control group from systemd, for a host process that was delegated none: a transient scope.

systemd owns the tree of control groups where it runs, and hands parts of it to whoever asks (see "Control Group APIs
and Delegation" in its documentation, and systemd.scope(5)). A scope holds processes that exist already and lasts while
it has one. The caller's own process stays where it is, so a process of no other use is put there, the keeper.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import subprocess
import threading
from typing import Any

from jailkit._errors import UnsupportedError

__all__ = ["transient_scope"]

_FEATURE = "a control group from systemd"
_SECONDS = 30.0
"""How long systemd may take for all of it. It takes milliseconds; this is for a machine that just boots."""
_SYSTEM_BUS = "unix:path=/run/dbus/system_bus_socket"
_DELEGATE = "give a delegated control group by name instead: cgroup= or JAILKIT_CGROUP"
_REMEDIES = {
    "AccessDenied": "polkit or the policy of the bus refuses it: let this user have the action "
    "org.freedesktop.systemd1.manage-units, or use the user manager",
    "InteractiveAuthorizationRequired": "polkit asks for a password: let this user have the action "
    "org.freedesktop.systemd1.manage-units, or use the user manager",
    "ServiceUnknown": "no systemd is on this bus: start its manager (systemctl start user@UID.service for a user)",
    "NameHasNoOwner": "no systemd is on this bus: start its manager (systemctl start user@UID.service for a user)",
}


def transient_scope(*, user: bool) -> str:
    """Return the path of a delegated cgroup v2 group that systemd made for this process.

    Made on first use, one for each process and manager, and the same for every thread. systemd removes it when this
    process ends, however it ends, and everything of it is gone: the keeper in its leaf ``keeper`` reads a pipe that
    only this process writes to. A process that is forked off makes a scope of its own.

    The scope's ``Delegate=yes`` is all that it asks for: it sets no limits, and protects from nothing.

    Args:
        user: Ask the manager of this user (``systemd --user``) instead of the system's, which obeys root.

    Returns:
        A directory below the mount of cgroup v2: no process is in it, its controllers can be shared out.

    Raises:
        UnsupportedError: There is no cgroup v2, no bus, no systemd on it, no Python package jeepney; systemd or
            polkit refuses; or this process is in another pid namespace than systemd, which would take another one.
    """
    with _lock:
        scope = _scopes.get(user)
        if scope is not None and not scope.alive():
            _scopes.pop(user).close()
            scope = None
        if scope is None:
            scope = _scopes[user] = _Scope(user)
        return scope.path


class _Scope:
    """One scope, and the keeper in it."""

    def __init__(self, user: bool) -> None:
        """Make both.

        Raises:
            UnsupportedError: As above.
        """
        mount = _cgroup2_mount()
        address = _bus_address(user)
        # Of a session of its own: no Ctrl-C reaches it. The shell, because it is on every system at this path.
        self._keeper = subprocess.Popen(
            ["jailkit-keeper", "-c", "read _"], executable="/bin/sh", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, bufsize=0, cwd="/", env={}, start_new_session=True,
        )  # fmt: skip
        try:
            unit = _start(address, self._keeper.pid)
            self.path = _found(mount, self._keeper.pid, unit)
            self._make_leaf()
        except BaseException:
            self.close()
            raise

    def _make_leaf(self) -> None:
        try:
            os.makedirs(f"{self.path}/keeper", exist_ok=True)
            with open(f"{self.path}/keeper/cgroup.procs", "w") as file:
                file.write(str(self._keeper.pid))
        except OSError as error:
            raise UnsupportedError(_FEATURE, f"{self.path} is not this user's: {error}", _DELEGATE) from error

    def alive(self) -> bool:
        """Whether the group is still there for who wants to use it."""
        return self._keeper.poll() is None and os.path.isdir(self.path)

    def close(self) -> None:
        """End the keeper, and with it the scope as soon as it is empty."""
        if self._keeper.stdin is not None:
            self._keeper.stdin.close()
        self._keeper.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._keeper.wait(_SECONDS)

    def disown(self) -> None:
        """After a fork, in the child: the keeper is the parent's, and so is its pipe."""
        if self._keeper.stdin is not None:
            self._keeper.stdin.close()
        self._keeper.returncode = 0  # no child of this process: nothing to wait for, nothing to warn of


_scopes: dict[bool, _Scope] = {}
_lock = threading.Lock()


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 - the parent's may be held by a thread that does not exist here
    _lock = threading.Lock()
    for scope in _scopes.values():
        scope.disown()
    _scopes.clear()


def _at_exit() -> None:
    for scope in _scopes.values():
        scope.close()
    _scopes.clear()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)


def _cgroup2_mount() -> tuple[str, str]:
    """Return where cgroup v2 is mounted, and which of its directories is seen there."""
    try:
        with open("/proc/self/mountinfo") as file:
            mounts = [line.split(" - ") for line in file]
    except OSError as error:
        raise UnsupportedError(_FEATURE, f"no /proc of this pid namespace: {error}", _DELEGATE) from error
    for mount, kind in mounts:
        if kind.startswith("cgroup2 "):
            root, point = mount.split()[3:5]
            return point, root.rstrip("/")
    raise UnsupportedError(
        _FEATURE, "cgroup v2 is not mounted", f"boot with systemd.unified_cgroup_hierarchy=1, or {_DELEGATE}"
    )


def _bus_address(user: bool) -> str:
    if not user:
        return os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or _SYSTEM_BUS
    address = os.environ.get("DBUS_SESSION_BUS_ADDRESS")
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    return address or f"unix:path={runtime}/bus"


def _start(address: str, keeper: int) -> str:
    """Have a scope made with the keeper in it; return the name of its unit."""
    try:
        from jailkit import _bus as bus  # noqa: PLC0415 - what it needs is an extra
    except ImportError as error:
        raise UnsupportedError(
            _FEATURE, f"the Python package {error.name} is missing", f"pip install 'jailkit[systemd]', or {_DELEGATE}"
        ) from error
    try:
        connection = bus.Bus(bus.socket_of(address), _SECONDS)
    except bus.BusError as error:
        hint = f"install dbus and start it; for a user also loginctl enable-linger. Or {_DELEGATE}"
        raise UnsupportedError(_FEATURE, f"no message bus: {error}", hint) from error
    with contextlib.closing(connection):
        try:
            return _asked(connection, bus, keeper)
        except bus.BusError as error:
            raise UnsupportedError(_FEATURE, f"systemd does not answer: {error}", _DELEGATE) from error
        except bus.BusRefusal as error:
            remedy = _REMEDIES.get(error.name.rpartition(".")[2])
            missing = f"systemd refuses: {error.name}: {error.text}"
            raise UnsupportedError(_FEATURE, missing, f"{remedy}; or {_DELEGATE}" if remedy else _DELEGATE) from error


def _asked(connection: Any, bus: Any, keeper: int) -> str:
    seen = connection.pid_seen()
    if seen != os.getpid():
        missing = f"systemd is in another pid namespace: it would take process {keeper} of that one"
        raise UnsupportedError(_FEATURE, missing, _DELEGATE)
    properties = [
        ("Description", ("s", f"Jails of process {seen}")),
        ("Delegate", ("b", True)),
        ("CollectMode", ("s", "inactive-or-failed")),  # leave no failed unit behind
        ("TasksMax", ("t", 2**64 - 1)),  # systemd has a default, and it would be shared by all jails
    ]
    name = f"jailkit-{seen}.scope"
    try:
        outcome = connection.start_scope(name, keeper, properties)
    except bus.BusRefusal as error:
        # The scope of a process that had this number, which one of its jails has outlived for a moment.
        if not error.name.endswith(".UnitExists"):
            raise
        name = f"jailkit-{seen}-{os.urandom(4).hex()}.scope"
        outcome = connection.start_scope(name, keeper, properties)
    if outcome != "done":
        raise UnsupportedError(_FEATURE, f"systemd's job for {name} ended as {outcome}", _DELEGATE)
    return name


def _found(mount: tuple[str, str], keeper: int, unit: str) -> str:
    """Return the directory of the group that the keeper is in, which must be the scope's."""
    point, root = mount
    with open(f"/proc/{keeper}/cgroup") as file:
        groups = [line.rstrip("\n").split(":", 2) for line in file]
    path = next((path for number, names, path in groups if (number, names) == ("0", "")), "")
    if os.path.basename(path) != unit or not path.startswith(f"{root}/"):
        missing = f"the keeper is in {path or 'no group'}, which is not {unit} of the tree at {point}"
        raise UnsupportedError(_FEATURE, missing, _DELEGATE)
    return point + path[len(root) :]
