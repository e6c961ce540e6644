"""Checks of control groups, and of what the kernel counts."""

from __future__ import annotations

import errno as errnos
from typing import Any

from jailkit._doctor.checks import from_gate
from jailkit._doctor.facts import Facts
from jailkit._doctor.gates import Gate
from jailkit._doctor.report import Check
from jailkit._doctor.surroundings import flags, surroundings

__all__ = ["checks"]

_WANTED = ("memory", "pids", "cpu")
_LIMITS = ("limits.memory", "limits.swap", "limits.cpus", "a bound on processes of the whole jail")
_TRIED = "make an empty group below the caller's own, put a child into it, remove it; in each hierarchy"


def checks(facts: Facts) -> list[Check]:
    """Return the checks of control groups and counters, in their order."""
    return [_cgroups(facts), _kill(facts), _peak(facts), _swap(facts), _pressure(facts)]


def _all(facts: Facts) -> list[dict[str, Any]]:
    return list(facts.attempt("cgroups").data.get("hierarchies", ()))


def _writable(facts: Facts) -> list[dict[str, Any]]:
    return [one for one in _all(facts) if not one["errno"]]


def _layout(facts: Facts) -> str:
    versions = {one["version"] for one in _all(facts)}
    return {frozenset(): "none", frozenset((1,)): "v1", frozenset((2,)): "v2"}.get(frozenset(versions), "hybrid")


def _cgroups(facts: Facts) -> Check:
    here = _writable(facts)
    controllers = sorted({name for one in here for name in one["controllers"]})
    lacking = [name for name in _WANTED if name not in controllers]
    happened = f"layout {_layout(facts)}; " + (
        f"groups can be made, with {', '.join(controllers) or 'no controller'}" if here else _refusal(facts)
    )
    if not lacking:
        return Check(name="cgroups", state="ok", tried=_TRIED, happened=happened, needed_by=_LIMITS)
    return from_gate(
        _gate(facts, lacking),
        name="cgroups",
        tried=_TRIED,
        happened=happened,
        needed_by=_LIMITS,
        degraded=bool(controllers),
    )


def _refusal(facts: Facts) -> str:
    refused = [one for one in _all(facts) if one["errno"]]
    # Version 2, or the hierarchy of memory, says most.
    refused.sort(key=lambda one: (one["version"] != 2 or not one["controllers"], "memory" not in one["controllers"]))
    if not refused:
        tried = facts.attempt("cgroups")
        return "no hierarchy is mounted" if tried.ok else tried.said
    first = refused[0]
    return f"{first['step']} in {first['path']}: {errnos.errorcode.get(first['errno'], first['errno'])}"


def _gate(facts: Facts, lacking: list[str]) -> Gate:
    found = _all(facts)
    if not found:
        return Gate("no-cgroups", "no line of /proc/self/mountinfo is a control group file system",
                    "as root: mount -t cgroup2 none /sys/fs/cgroup", "none")  # fmt: skip
    engine = surroundings(facts).engine
    if any(one["read_only"] or one["errno"] == errnos.EROFS for one in found):
        return Gate("container-cgroups", "control groups are mounted read-only here",
                    flags(engine, "cgroups"),
                    "root of this container can bound and freeze its own processes; with cgroup v1 it can also reach "
                    "the files of its host's (do not)")  # fmt: skip
    if not _writable(facts):
        return _not_delegated(facts, f"the caller's own group is not its to write: {_refusal(facts)}")
    return _not_delegated(facts, f"not among the controllers of a writable hierarchy: {', '.join(lacking)}")


_V1_COST = "that user can make groups there; v1 was not meant to be handed to users, v2 is"
_V2_COST = (
    "that user may share out what is given to that group; processes of the group above leave it, or the controllers "
    "cannot be switched on"
)
_SYSTEMD = """\
start the program in a scope of its own:
systemd-run --user --scope -p Delegate=yes PROGRAM
or, for a service, in /etc/systemd/system/NAME.service.d/delegate.conf:
[Service]
Delegate=yes
or, for all users, as root, in /etc/systemd/system/user@.service.d/delegate.conf:
[Service]
Delegate=cpu cpuset io memory pids"""


def _not_delegated(facts: Facts, fact: str) -> Gate:
    code = "no-cgroup-delegation"
    v1 = {name: one["path"] for one in _all(facts) if one["version"] == 1 for name in one["controllers"]}
    v1 = {name: v1[name] for name in _WANTED if name in v1}
    if v1:
        lines = [f"mkdir {path}/jailkit && chown -R {facts.uid} {path}/jailkit" for path in v1.values()]
        lines += [f"echo PID > {path}/jailkit/cgroup.procs" for path in v1.values()]
        remedy = "\n".join(["as root, with the PID of the program that makes jails:", *lines])
        if facts.setting("/run/systemd/system"):
            remedy += "\nor start the machine with the boot parameter systemd.unified_cgroup_hierarchy=1"
        return Gate(code, f"{fact}; {', '.join(v1)} belong to v1", remedy, _V1_COST)
    if facts.setting("/run/systemd/system"):
        return Gate(code, fact, _SYSTEMD, "that user may share out what is given to its own group, and no more")
    own = next((one["path"] for one in _all(facts) if one["version"] == 2), "/sys/fs/cgroup")
    remedy = (
        f"as root, with the PID of the program that makes jails:\nmkdir {own}/jailkit\n"
        f"echo '+memory +pids +cpu' > {own}/cgroup.subtree_control\n"
        f"chown -R {facts.uid} {own}/jailkit\necho PID > {own}/jailkit/cgroup.procs"
    )
    return Gate(code, f"{fact}; no systemd runs here that could delegate", remedy, _V2_COST)


def _has_file(facts: Facts, *names: str) -> str:
    return next((f"{one['path']}: {name}" for one in _writable(facts) for name in names if name in one["files"]), "")


def _file(facts: Facts, name: str, files: tuple[str, ...], since: str, instead: str, *needed_by: str) -> Check:
    tried = f"look for {' or '.join(files)} in the group that was made"
    found = _has_file(facts, *files)
    if found:
        return Check(name=name, state="ok", tried=tried, happened=f"there, in {found}", needed_by=needed_by)
    if not _writable(facts):
        gate = _gate(facts, list(_WANTED))
        happened = "no group could be made to look into"
    else:
        gate = Gate("kernel", f"Linux {facts.release}, layout {_layout(facts)}; {since}", "see there", instead)
        happened = "not there"
    return from_gate(
        gate, name=name, tried=tried, happened=happened, needed_by=needed_by, degraded=bool(_writable(facts))
    )


def _kill(facts: Facts) -> Check:
    since = "the file is one of v2, from Linux 5.14 on"
    instead = "without it a jail is killed by its pid namespace alone, which is enough for what has not left it"
    return _file(facts, "cgroup-kill", ("cgroup.kill",), since, instead, "a second way to kill all of a jail")


def _peak(facts: Facts) -> Check:
    files = ("memory.peak", "memory.max_usage_in_bytes")
    since = "memory.peak is a file of v2, from Linux 5.19 on, where the memory controller is switched on for the group"
    instead = "without it the peak is that of the largest process, and not of all together"
    return _file(facts, "memory-peak", files, since, instead, "usage: the peak of a whole jail")


def _swap(facts: Facts) -> Check:
    name, needed_by = "swap-accounting", ("limits.swap", "limits.memory on a machine with swap")
    if len(facts.setting("/proc/swaps").splitlines()) < 2:
        return Check(name=name, state="ok", tried="read /proc/swaps", happened="not needed: this machine has no swap",
                     needed_by=needed_by)  # fmt: skip
    since = (
        "for v1, the boot parameter swapaccount=1; for v2, the memory controller has to be switched on for the group"
    )
    return _file(facts, name, ("memory.swap.max", "memory.memsw.limit_in_bytes"), since,
                 "without it a limit on memory can be exceeded by what is swapped", *needed_by)  # fmt: skip


def _pressure(facts: Facts) -> Check:
    tried, needed_by = "read /proc/pressure/memory", ("measuring stalls; no jail needs it",)
    found = facts.attempt("pressure")
    if found.ok:
        return Check(name="pressure", state="ok", tried=tried, happened="can be read", needed_by=needed_by)
    off = found.errno == errnos.EOPNOTSUPP
    gate = Gate(
        "boot-parameter" if off else "not-compiled",
        "the kernel was started with it off" if off else "this kernel has no CONFIG_PSI, or /proc does not show it",
        "the boot parameter psi=1" if off else "a kernel with it",
        "a restart, and a little time at each task switch",
    )
    return from_gate(gate, name="pressure", tried=tried, happened=found.said, needed_by=needed_by)
