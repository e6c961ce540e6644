"""What stands in the way, what opens it, and what that costs: from a failed attempt and the settings around it."""

from __future__ import annotations

import errno

import attrs

from jailkit._doctor.facts import BROKE, KILLED, TIMED_OUT, Facts, Try
from jailkit._doctor.surroundings import flags, surroundings

__all__ = ["Gate", "mount_gate", "namespace_gate", "proc_gate", "syscall_gate", "user_gate"]

APPARMOR = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"
DEBIAN = "/proc/sys/kernel/unprivileged_userns_clone"
SELINUX = "/sys/fs/selinux/enforce"
LABEL = "/proc/self/attr/current"
_REFUSED = (errno.EPERM, errno.EACCES)


@attrs.frozen
class Gate:
    """One thing in the way; the fields are those of `Check`."""

    gate: str
    fact: str
    remedy: str
    cost: str


def _apparmor(facts: Facts, tried: Try) -> Gate:
    label = tried.data.get("label") or ""
    seen = f"{APPARMOR} is {facts.setting(APPARMOR) or 'not readable'}"
    if label:
        seen += f", and in the new user namespace the process is confined by {label!r}"
    return Gate(
        "apparmor-userns",
        seen,
        "as root:\n"
        "jailkit doctor --apparmor-profile > /etc/apparmor.d/jailkit-init\n"
        "apparmor_parser -r /etc/apparmor.d/jailkit-init\n"
        "or for all programs, until the next boot:\n"
        "sysctl kernel.apparmor_restrict_unprivileged_userns=0",
        f"the profile goes by a path: whoever may write {facts.init} may make user namespaces, with the kernel's code "
        "behind them in reach; install jailkit where root alone may write. The sysctl opens that to every program",
    )


def _seccomp(facts: Facts, fact: str) -> Gate:
    engine = surroundings(facts).engine
    return Gate(
        "container-seccomp",
        f"{fact}; Seccomp in /proc/self/status is {facts.status('Seccomp') or 'not readable'}",
        flags(engine, "seccomp")
        + "\nor a profile of your own: the engine's default one, and clone, clone3, unshare, setns, mount, umount2, "
        "pivot_root,\nmount_setattr, open_tree, move_mount, fsopen, fsconfig, fsmount, sethostname, keyctl",
        "without a filter all system calls of the kernel are in reach of everything in this container; a profile of "
        "your own gives away no more than the calls named",
    )


def _no_more(facts: Facts, kind: str) -> Gate:
    path = f"/proc/sys/user/max_{kind}_namespaces"
    value = facts.setting(path)
    here = value == "0"
    fact = f"{path} is {value or 'not readable'}" + (
        "" if here else "; that many exist, or a user namespace above this one allows fewer"
    )
    return Gate(
        f"max-{kind}-namespaces",
        fact,
        f"as root of the machine:\nsysctl user.max_{kind}_namespaces=65536\n"
        f"to keep it: echo user.max_{kind}_namespaces=65536 > /etc/sysctl.d/60-jailkit.conf",
        "every user may make such namespaces; the kernel's code behind them is then in reach of every user",
    )


def _debian(facts: Facts) -> Gate:
    return Gate(
        "unprivileged-userns-clone",
        f"{DEBIAN} is {facts.setting(DEBIAN)}",
        "as root of the machine:\nsysctl kernel.unprivileged_userns_clone=1\n"
        "to keep it: echo kernel.unprivileged_userns_clone=1 > /etc/sysctl.d/60-jailkit.conf",
        "every user may make user namespaces; the kernel's code behind them is then in reach of every user",
    )


def _selinux(facts: Facts) -> Gate:
    return Gate(
        "selinux",
        f"{SELINUX} is 1, and this process is {facts.setting(LABEL) or 'of an unknown type'}",
        "as root, see which rule is missing, and allow it:\nausearch -m avc -ts recent | audit2allow -M jailkit\n"
        "semodule -i jailkit.pp",
        "every process of that type may do the same",
    )


def _chrooted(facts: Facts) -> Gate | None:
    table = facts.setting("/proc/self/mountinfo")
    if not table or any(line.split()[4] == "/" for line in table.splitlines()):
        return None
    return Gate(
        "chroot",
        "no line of /proc/self/mountinfo is about /: this process was put into a directory by chroot(2), and from such "
        "a place the kernel gives no user namespaces and swaps no root",
        "start from a mount namespace whose root is that directory:\n"
        "unshare --mount sh -c 'mount --bind DIR DIR && cd DIR && pivot_root . . && umount -l . && exec PROGRAM'",
        "none",
    )


def _old(facts: Facts, what: str) -> Gate:
    return Gate(
        "kernel",
        f"Linux {facts.release} has no {what}, or was built without",
        "a kernel of 5.15 or newer with namespaces (every distribution's own)",
        "a restart",
    )


def _unknown(tried: Try) -> Gate:
    return Gate(
        "unknown",
        f"nothing that is known here explains it: {tried.note or tried.said}",
        "see dmesg and the audit log of the host for this moment",
        "none",
    )


def _common(facts: Facts, tried: Try, what: str) -> Gate | None:
    """Return what can be told from the errno alone."""
    if tried.errno == KILLED:
        return _seccomp(facts, f"the attempt was ended by {tried.note}, as a filter does")
    if tried.errno == TIMED_OUT:
        return Gate("slow", "it was not over in time", "run the doctor again with more time, on a quieter host", "none")
    if tried.errno in (errno.ENOSYS, errno.EINVAL, errno.ENODEV) and not _is_filtered(facts):
        return _chrooted(facts) or _old(facts, what)
    return _unknown(tried) if tried.errno == BROKE else None


def _is_filtered(facts: Facts) -> bool:
    """Whether a filter answers what the kernel itself would answer with EINVAL."""
    return facts.attempt("filtered").errno not in (errno.EINVAL, TIMED_OUT, BROKE)


def _restricted(facts: Facts, tried: Try) -> bool:
    return facts.setting(APPARMOR) == "1" or str(tried.data.get("label", "")).startswith("unprivileged_userns")


def user_gate(facts: Facts, tried: Try) -> Gate:
    """Return why no user namespace could be made, or none with rights in it."""
    if _is_filtered(facts) and tried.step.startswith(("unshare", "clone")):
        asked = facts.attempt("filtered")
        return _seccomp(facts, f"{asked.said}, where the kernel itself says EINVAL: a filter answered")
    if found := _common(facts, tried, "user namespaces"):
        return found
    if tried.errno == errno.ENOSPC:
        return _no_more(facts, "user")
    if tried.step.startswith("clone") and facts.attempt("user").ok:
        return _seccomp(facts, f"{tried.said}, and unshare(CLONE_NEWUSER) works")
    # The order is that of the kernel: chroot and Debian's patch before the security modules.
    if tried.errno == errno.EPERM and tried.step.startswith(("unshare", "clone")):
        if chrooted := _chrooted(facts):
            return chrooted
        if facts.setting(DEBIAN) == "0" and not facts.wide:
            return _debian(facts)
    if tried.errno in _REFUSED and _restricted(facts, tried):
        return _apparmor(facts, tried)
    if tried.errno in _REFUSED and facts.setting(SELINUX) == "1":
        return _selinux(facts)
    return _unknown(tried)


def namespace_gate(facts: Facts, tried: Try, kind: str) -> Gate:
    """Return why one more namespace could not be made in a new user namespace."""
    if not facts.attempt("user").ok:
        return user_gate(facts, facts.attempt("user"))
    if found := _common(facts, tried, f"{kind} namespaces"):
        return found
    if tried.errno == errno.ENOSPC:
        return _no_more(facts, {"mount": "mnt"}.get(kind, kind))
    if tried.errno in _REFUSED and _restricted(facts, tried):
        return _apparmor(facts, tried)
    if tried.errno == errno.EPERM and facts.status("Seccomp") == "2":
        return _seccomp(facts, tried.said)
    return _selinux(facts) if tried.errno == errno.EACCES and facts.setting(SELINUX) == "1" else _unknown(tried)


def mount_gate(facts: Facts, tried: Try, what: str) -> Gate:
    """Return why something could not be mounted in new namespaces."""
    if not facts.attempt("mount").ok:
        return namespace_gate(facts, facts.attempt("mount"), "mount")
    label = facts.setting(LABEL)
    if tried.errno in _REFUSED and _restricted(facts, tried):
        return _apparmor(facts, tried)
    if tried.errno == errno.EACCES and "(enforce)" in label:
        return Gate(
            "container-apparmor",
            f"this process is confined by the AppArmor profile {label!r}",
            flags(surroundings(facts).engine, "apparmor"),
            "AppArmor no longer bounds what this container does; files and mounts of the host stay apart by namespaces",
        )
    if tried.errno == errno.EACCES and facts.setting(SELINUX) == "1":
        return _selinux(facts)
    if tried.errno in (errno.EPERM, errno.ENOSYS) and facts.status("Seccomp") == "2":
        return _seccomp(facts, tried.said)
    return _common(facts, tried, what) or _unknown(tried)


def proc_gate(facts: Facts, tried: Try) -> Gate:
    """Return why no fresh procfs could be mounted."""
    covered = _covered(facts)
    if tried.errno == errno.EPERM and tried.step.startswith(("fsconfig", "fsmount")) and covered:
        return Gate(
            "masked-proc",
            f"parts of /proc are covered here ({', '.join(covered[:6])}{', …' if len(covered) > 6 else ''}), so the "
            "kernel gives no fresh one, which would show them (mount too revealing)",
            flags(surroundings(facts).engine, "proc"),
            "what the engine hides of /proc (kcore, keys, sysrq-trigger, sys) is open to root of this container; the "
            "jails mask the same for themselves",
        )
    return mount_gate(facts, tried, "procfs")


def _covered(facts: Facts) -> list[str]:
    """Return what is mounted below /proc, but for what is mounted there on every machine."""
    found = []
    for line in facts.setting("/proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        place, kind = before.split()[4], after.split()[0]
        if place.startswith("/proc/") and kind not in ("autofs", "binfmt_misc"):
            found.append(place)
    return found


def syscall_gate(facts: Facts, tried: Try, since: str) -> Gate:
    """Return why a single system call does not work; `since` says which kernel has it."""
    if tried.errno == KILLED or (tried.errno in (errno.ENOSYS, errno.EPERM) and facts.status("Seccomp") == "2"):
        return _seccomp(facts, tried.said)
    if tried.errno == errno.ENOSYS:
        return Gate("kernel", f"Linux {facts.release}; the call came with {since}", "a newer kernel", "a restart")
    return _common(facts, tried, since) or _unknown(tried)
