"""The honest list of the tier ``landlock``: the same names as with namespaces, and what stands behind each here."""

from __future__ import annotations

from jailkit.plan.denials import reported
from jailkit.plan.facts import Host
from jailkit.plan.protection import Protection, State
from jailkit.plan.seccomp import OF_ANY_FILES, OF_THE_CALLERS_FILES, OF_THE_HOSTS_IPC, SeccompFilter, filter_of
from jailkit.spec import JailSpec, SeccompPolicy

__all__ = ["bare_walls"]

_NEW_NAMESPACES = ("clone", "clone3", "unshare", "setns")
_ANY_SOCKET = ("socket", "socketpair")
_OTHERS = ("prlimit64", "setpriority", "ioprio_set", "sched_setaffinity", "sched_setparam", "sched_setscheduler")
_KEYS = SeccompPolicy.group_calls("keys")


def _opened(made: SeccompFilter, *calls: str) -> str:
    """Name those of some calls that the caller's own policy lets through without a look at their arguments."""
    checked = {one.call for one in made.conditions}
    through = [name for name, said in made.actions if name in calls and said in ("allow", "log")]
    return ", ".join(name for name in through if name not in checked)


def _filtered(name: str, fact: str, made: SeccompFilter, *calls: str, weak: str = "") -> Protection:
    """Return a protection that stands on the filter's refusal of some calls."""
    opened = _opened(made, *calls)
    state: State = "degraded" if opened or weak else "enforced"
    return Protection(name, state, "; ".join(part for part in (fact, weak, opened and f"{opened} opened") if part))


def bare_walls(spec: JailSpec, host: Host) -> tuple[Protection, ...]:
    """List the protections that are no limits."""
    lent = host.lent_id is not None
    made = filter_of(spec, lent=lent)
    assert made is not None  # noqa: S101 - compile_bare() refuses seccomp=False
    return (*_things(spec, host, made, lent=lent), *_rights(spec, host, made, lent=lent))


def _things(spec: JailSpec, host: Host, made: SeccompFilter, *, lent: bool) -> tuple[Protection, ...]:
    files = f"Landlock: the host's system and binds by path, writes to {host.private}"
    metadata = "that a path exists, and its size, owner and times, can be looked up anywhere (stat)"
    attributes = OF_ANY_FILES + (() if lent else OF_THE_CALLERS_FILES)
    processes = "no pid namespace: Landlock refuses signals and tracing; one kill(-1) in its domain ends all"
    numbers = "which process numbers exist can be seen, and nobody ends the jail if PID 1 and a guard are killed"
    ipc = "no IPC namespace: the filter refuses System V IPC and POSIX queues, and /dev/shm is out of reach"
    who = f"uid {host.lent_id} of the host, lent to all such jails of this program; it owns nothing else"
    user = Protection("users", "degraded", who) if lent else Protection("users", "absent", _own(host))
    sysvipc = SeccompPolicy.group_calls("sysvipc")
    return (
        _filtered("files", files, made, *attributes, weak=metadata),
        _filtered("processes", processes, made, *_OTHERS, weak=numbers),
        user,
        _network(spec, made),
        Protection("hostname", "absent", "no UTS namespace: it is the host's"),
        _filtered("ipc", ipc, made, *OF_THE_HOSTS_IPC, *sysvipc),
        Protection("devices", "enforced", "Landlock: null, zero, full, random and urandom of the host, no other"),
        Protection("proc", "enforced", "Landlock: nothing in /proc can be opened, a program's own part included"),
        Protection("cgroup view", "enforced", "Landlock: nothing in /sys can be opened"),
        _filtered("keyrings", "the filter refuses every call about keys", made, *_KEYS),
    )


def _own(host: Host) -> str:
    return f"programs run as the caller, uid {host.uid} of the host, with his groups"


def _network(spec: JailSpec, made: SeccompFilter) -> Protection:
    if spec.net == "host":
        return Protection("network", "absent", 'net="host": the host\'s stack, its loopback; no Unix sockets by path')
    fact = "the filter refuses every socket but a connected pair, Landlock TCP; there is no loopback"
    return _filtered("network", fact, made, *_ANY_SOCKET)


def _rights(spec: JailSpec, host: Host, made: SeccompFilter, *, lent: bool) -> tuple[Protection, ...]:
    policy = spec.effective_seccomp
    ordinary = lent or host.uid != 0
    nested = "the filter refuses new namespaces"
    rules = f"ABI {host.landlock}: files by path, devices, signals, abstract sockets"
    scope = "TCP as the host has it" if spec.net == "host" else "TCP ports, of which none is allowed"
    return (
        Protection("capabilities", "enforced", "none: capset(2) to nothing, and no exec gives any"),
        Protection("no_new_privs", "enforced", "prctl(PR_SET_NO_NEW_PRIVS), inherited by every program"),
        Protection(
            "ordinary user",
            "enforced" if ordinary else "absent",
            "programs run as an ordinary user" if ordinary else "programs run as uid 0 of this user namespace",
        ),
        _filtered("nested user namespaces", nested, made, *_NEW_NAMESPACES),
        Protection(
            "seccomp",
            "enforced",
            f"policy {policy}: {made.allowed} system calls, {len(made.conditions)} conditions on arguments"
            f"{reported(spec)}",
        ),
        Protection("landlock", "enforced", f"{rules}, {scope}; a domain of its own for each program"),
    )
