"""Runs in the child that `collect` starts: makes every attempt, reads the settings, prints all of it as JSON."""

from __future__ import annotations

import json
import os
import sys
import time

import attrs

import jailkit
from jailkit._doctor import attempts_cgroups, attempts_kernel, attempts_mounts, attempts_network, attempts_users
from jailkit._doctor.attempt import At, Attempt, attempt

__all__ = ["main"]

_ATTEMPTS = {
    **attempts_users.ATTEMPTS,
    **attempts_mounts.ATTEMPTS,
    **attempts_kernel.ATTEMPTS,
    **attempts_cgroups.ATTEMPTS,
    **attempts_network.ATTEMPTS,
}
_EACH = 10.0
_JAIL = 30.0

_FILES = (
    "/proc/self/status",
    "/proc/self/mountinfo",
    "/proc/self/uid_map",
    "/proc/self/attr/current",
    "/proc/1/cgroup",
    "/proc/cmdline",
    "/proc/swaps",
    "/proc/version",
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/unprivileged_userns_clone",
    "/proc/sys/kernel/yama/ptrace_scope",
    *(f"/proc/sys/user/max_{name}_namespaces" for name in ("user", "mnt", "pid", "net", "uts", "ipc", "cgroup")),
    "/sys/fs/selinux/enforce",
    "/sys/kernel/security/lsm",
    "/sys/module/apparmor/parameters/enabled",
)
_LINKS = ("/proc/self/ns/pid", "/proc/self/ns/user", "/proc/self/root")
_MARKS = ("/.dockerenv", "/run/.containerenv", "/run/systemd/system", "/run/systemd/container")
_VARIABLES = ("KUBERNETES_SERVICE_HOST", "container")


def _sandbox(at: At) -> str:
    """Run a program in a jail with all defaults: nothing else proves that it can be done."""
    at("make the plan")
    jail = jailkit.Jail()
    at.data["tier"] = jail.plan.tier
    try:
        at("start the jail")
        with jail:
            at("run /bin/true")
            result = jail.run(["/bin/true"], timeout=20)
    except jailkit.LaunchError as error:
        at(error.description)
        at.data.update(phase=error.phase, hint=error.hint or "")
        raise
    if not result.ok:
        raise ValueError(f"it ended: {result.reason.name}, return code {result.returncode}")
    return ", ".join(f"{one.name} {one.state}" for one in result.isolation if one.state != "enforced")


def _settings() -> dict[str, str]:
    found = {}
    for path in _FILES:
        try:
            with open(path, errors="backslashreplace") as file:
                found[path] = file.read(65536).strip("\n\0")
        except OSError:
            continue
    for path in _LINKS:
        try:
            found[path] = os.readlink(path)
        except OSError:
            continue
    found |= {path: "there" for path in _MARKS if os.path.exists(path)}
    return found | {f"${name}": os.environ[name] for name in _VARIABLES if name in os.environ}


def main() -> int:
    """Print the facts. The first argument is the number of seconds after which no attempt is begun."""
    deadline = time.monotonic() + float(sys.argv[1])
    wide = os.geteuid() == 0
    attempts: dict[str, tuple[Attempt, float]] = {name: (one, _EACH) for name, one in _ATTEMPTS.items()}
    if not wide:
        del attempts["user-as-nobody"]
    attempts["sandbox"] = (_sandbox, _JAIL)
    tries = {}
    for name, (one, seconds) in attempts.items():
        left = deadline - time.monotonic()
        if left > 0:
            tries[name] = attrs.asdict(attempt(one, min(seconds, left)))
    json.dump({"settings": _settings(), "tries": tries}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
