"""Checks of the kernel: its version, single system calls, the walls a process sets up, and settings worth a look."""

from __future__ import annotations

import errno

from jailkit._doctor.checks import EVERY, Simple, decide, from_gate
from jailkit._doctor.facts import Facts, Try, kernel_version
from jailkit._doctor.gates import Gate, syscall_gate
from jailkit._doctor.report import Check
from jailkit._doctor.surroundings import surroundings

__all__ = ["calls", "machine", "settings", "walls"]

OLDEST = (5, 15)
_LANDLOCK_ADDS = {
    2: (5, 19, "moving files between directories"),
    3: (6, 2, "truncating files"),
    4: (6, 7, "TCP ports"),
    5: (6, 10, "ioctl on devices"),
    6: (6, 12, "signals and abstract sockets"),
}
_LSM = "/sys/kernel/security/lsm"
_CORE = "/proc/sys/kernel/core_pattern"
_YAMA = "/proc/sys/kernel/yama/ptrace_scope"


def machine(facts: Facts) -> list[Check]:
    """Return the checks of what the rest stands on."""
    return [_version(facts), _architecture(facts), _container(facts)]


def _version(facts: Facts) -> Check:
    words = {"name": "kernel", "tried": "uname(2)", "happened": f"Linux {facts.release}", "needed_by": (EVERY,)}
    if kernel_version(facts.release) >= OLDEST:
        return Check(state="ok", **words)  # type: ignore[arg-type] # mypy joins the values to object
    gate = Gate(
        "kernel",
        f"Linux {facts.release} is older than 5.15",
        "Debian 11: apt-get install -t bullseye-backports linux-image-amd64; otherwise a newer release",
        "a restart",
    )
    return from_gate(gate, **words)  # type: ignore[arg-type]


def _architecture(facts: Facts) -> Check:
    words = {"name": "architecture", "tried": "uname(2)", "happened": facts.machine, "needed_by": (EVERY,)}
    if facts.machine in ("x86_64", "aarch64"):
        return Check(state="ok", **words)  # type: ignore[arg-type]
    gate = Gate(
        "architecture", f"jailkit is made and tested for x86_64 and aarch64, not {facts.machine}", "none", "none"
    )
    return from_gate(gate, degraded=True, **words)  # type: ignore[arg-type]


def _container(facts: Facts) -> Check:
    where = surroundings(facts)
    tried = "look at the numbers of the namespaces, and then for signs of an engine"
    if not where.engine:
        return Check(name="container", state="ok", tried=tried, happened=f"none: {where.signs}")
    gate = Gate(
        where.engine,
        where.signs,
        "none is needed where the checks below are ok; where they are not, each names the one flag that it needs (one "
        "gate may hide the next: run the doctor again behind each). Do not use --privileged",
        "every flag weakens the container by what it names, and by no more",
    )
    return from_gate(
        gate, name="container", tried=tried, happened=f"inside one: {where.engine}", needed_by=(), degraded=True
    )


# --- single calls -------------------------------------------------------------------------------------------------


def _call(name: str, tried: str, since: str, *needed_by: str) -> Simple:
    return Simple(
        name=name,
        attempt=name,
        tried=tried,
        works="works",
        gate=lambda facts, tried: syscall_gate(facts, tried, since),
        needed_by=needed_by,
    )


_CALLS = (
    _call("openat2", "open a path with RESOLVE_BENEATH", "Linux 5.6", EVERY),
    _call("pidfd", "open a pidfd of a child and wait for it", "Linux 5.4", EVERY),
    _call("close-range", "close a descriptor with close_range(2)", "Linux 5.9", EVERY),
)


def calls(facts: Facts) -> list[Check]:
    """Return the checks of single system calls."""
    return [*(decide(facts, call) for call in _CALLS), _clone3(facts)]


def _clone3(facts: Facts) -> Check:
    check = decide(facts, _call("clone3", "make a child with clone3(2)", "Linux 5.3", "birth inside the control group"))
    if check.state == "ok" or facts.attempt("clone3").errno != errno.ENOSYS:
        return check
    # Engines answer ENOSYS on purpose: a filter cannot look at its arguments, and libraries fall back on clone.
    gate = Gate(check.gate, check.fact, check.remedy, check.cost)
    return from_gate(
        gate,
        name=check.name,
        tried=check.tried,
        happened=f"{check.happened}; jails are started with clone(2) instead",
        needed_by=check.needed_by,
        degraded=True,
    )


# --- walls --------------------------------------------------------------------------------------------------------


def walls(facts: Facts) -> list[Check]:
    """Return the checks of what SANDBOX sets up around a program."""
    seccomp = _call(
        "seccomp", "set a filter that refuses one system call, and make it", "Linux 3.5", "seccomp", "SANDBOX"
    )
    notify = _call("seccomp-notify", "ask for SECCOMP_RET_USER_NOTIF", "Linux 5.0", "result.denials")
    return [_landlock(facts), decide(facts, seccomp), decide(facts, notify), _libseccomp(facts)]


def _landlock(facts: Facts) -> Check:
    name, tried = "landlock", "ask for the ABI, then forbid reading files and read one"
    needed_by = ("landlock", "the landlock tier", "SANDBOX's second wall")
    found = facts.attempt("landlock")
    if not found.ok:
        gate = _landlock_gate(facts, found)
        return from_gate(gate, name=name, tried=tried, happened=found.said, needed_by=needed_by)
    abi = int(found.data.get("abi", 0))
    lacking = [(since, what) for number, (*since, what) in _LANDLOCK_ADDS.items() if number > abi]
    happened = f"ABI {abi}; the read was refused"
    if not lacking:
        return Check(name=name, state="ok", tried=tried, happened=happened, needed_by=needed_by)
    words = ", ".join(f"{what} (Linux {major}.{minor})" for (major, minor), what in lacking)
    gate = Gate("kernel", f"ABI {abi} has no rules for {words}", "a newer kernel", "a restart")
    return from_gate(gate, name=name, tried=tried, happened=happened, needed_by=needed_by, degraded=True)


def _landlock_gate(facts: Facts, found: Try) -> Gate:
    modules = facts.setting(_LSM)
    if found.errno == errno.EOPNOTSUPP:
        asked = [word for word in facts.setting("/proc/cmdline").split() if word.startswith(("lsm=", "security="))]
        fact = f"compiled in, but not switched on; modules: {modules or 'not readable'}"
        fact += f"; boot parameter {asked[-1]}" if asked else ""
        return Gate(
            "boot-parameter",
            fact,
            "add landlock to the boot parameter, in /etc/default/grub:\n"
            f'GRUB_CMDLINE_LINUX="lsm=landlock,{modules or "lockdown,yama,apparmor,bpf"}"\n'
            "then, as root: update-grub && reboot",
            "a restart; programs that set no rules see no difference",
        )
    if found.errno == errno.ENOSYS and facts.status("Seccomp") != "2":
        return Gate(
            "not-compiled",
            f"Linux {facts.release} was built without CONFIG_SECURITY_LANDLOCK, or is older than 5.13",
            "a kernel with it: Debian 12, Ubuntu 22.04, Fedora 35 and newer have it",
            "a restart",
        )
    return syscall_gate(facts, found, "Linux 5.13")


def _libseccomp(facts: Facts) -> Check:
    name, tried, found = "libseccomp", "load libseccomp.so.2", facts.attempt("libseccomp")
    if found.ok:
        return Check(
            name=name, state="ok", tried=tried, happened=f"version {found.note}", needed_by=("seccomp", "SANDBOX")
        )
    gate = Gate(
        "not-installed",
        f"the dynamic linker says: {found.note}",
        "as root:\napt-get install libseccomp2   (Debian, Ubuntu)\ndnf install libseccomp   (Fedora)\n"
        "apk add libseccomp   (Alpine)",
        "a small library",
    )
    return from_gate(gate, name=name, tried=tried, happened="not loaded", needed_by=("seccomp", "SANDBOX"))


# --- settings worth a look ----------------------------------------------------------------------------------------


def settings(facts: Facts) -> list[Check]:
    """Return the checks of settings of the machine that no attempt shows."""
    return [_core(facts), _yama(facts)]


def _core(facts: Facts) -> Check:
    pattern = facts.setting(_CORE)
    tried, needed_by = f"read {_CORE}", ("crashes inside a jail stay inside",)
    if not pattern.startswith("|"):
        return Check(name="core-pattern", state="ok", tried=tried, happened=repr(pattern), needed_by=needed_by)
    gate = Gate(
        "core-pattern",
        "it begins with |: for a crash in a jail, too, the kernel starts that program as root on the host, and hands "
        "it what the jailed program has in its memory",
        "as root:\nsysctl kernel.core_pattern=core",
        "crashes of all programs of this machine are no longer collected by it",
    )
    return from_gate(gate, name="core-pattern", tried=tried, happened=repr(pattern), needed_by=needed_by, degraded=True)


def _yama(facts: Facts) -> Check:
    scope = facts.setting(_YAMA)
    needed_by = ("a second wall between programs of one user",)
    if scope not in ("", "0"):
        return Check(
            name="yama", state="ok", tried=f"read {_YAMA}", happened=f"ptrace_scope {scope}", needed_by=needed_by
        )
    gate = Gate(
        "not-compiled" if not scope else "yama",
        f"{_YAMA} is {scope or 'not there: this kernel has no Yama, or it is not in lsm='}",
        "a kernel with CONFIG_SECURITY_YAMA, and yama in its boot parameter lsm="
        if not scope
        else "as root:\nsysctl kernel.yama.ptrace_scope=1",
        "debuggers can then attach to children only",
    )
    happened = "any program may trace any other of its user; a jail is still apart by its pid and user namespaces"
    return from_gate(gate, name="yama", tried=f"read {_YAMA}", happened=happened, needed_by=needed_by, degraded=True)
