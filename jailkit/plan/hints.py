"""What to do about a step that failed: from the pair of step and errno, because the errno alone misleads."""

from __future__ import annotations

import errno

from jailkit.plan.steps import Step

__all__ = ["hint"]

_USERNS = (
    "this host does not let this user make user namespaces: look at /proc/sys/user/max_user_namespaces, at "
    "kernel.unprivileged_userns_clone (Debian) and, inside a container, at the engine's seccomp filter; "
    "`jailkit doctor` finds out which it is"
)
_WITHOUT = (
    '; tier="landlock" needs no namespaces, and lacks a root, a network, a host name, users, mounts and a /proc of the '
    "jail's own"
)
_APPARMOR = (
    "user namespaces are made but have no rights, as AppArmor does it on Ubuntu "
    "(kernel.apparmor_restrict_unprivileged_userns): the installed jailkit-init needs an AppArmor profile with "
    "the rule `userns,`, which `jailkit doctor --apparmor-profile` prints"
)
_HINTS: dict[tuple[str, int], str] = {
    ("clone", errno.EPERM): _USERNS,
    ("clone", errno.ENOSPC): "too many user namespaces exist; see /proc/sys/user/max_user_namespaces",
    ("clone", errno.EAGAIN): "the limit on processes of this user (RLIMIT_NPROC) is reached",
    ("clone", errno.EINVAL): "this kernel lacks one of the namespaces",
    ("idmap", errno.EPERM): _APPARMOR,
    ("proc_write", errno.EACCES): _APPARMOR,
    ("idmap", errno.EACCES): _APPARMOR,
    ("propagation", errno.EACCES): _APPARMOR,
    ("unshare", errno.ENOSPC): "too many network namespaces exist; see /proc/sys/user/max_net_namespaces",
    ("newidmap", errno.ENOENT): "the program is missing: apt install uidmap",
    ("newidmap", errno.EPERM): "newuidmap refused: /etc/subuid and /etc/subgid must grant this user the range",
    (
        "pivot_root",
        errno.EINVAL,
    ): "the root of this process is not a mount point, as in a plain chroot: start from a mount namespace",
    (
        "userns",
        errno.EPERM,
    ): "this process may not make user namespaces with other ids; it lacks CAP_SETUID or CAP_SETGID",
}


def hint(step: Step, error: int, writable: str) -> str | None:
    """Return advice for a failed step, or None."""
    if step.op == "attach" and error == errno.ENOENT and writable == "yes":
        return (
            f'with writable="yes" nothing is made in the root: create /{step.path} in it, or use writable="ephemeral"'
        )
    if step.op == "open_tree" and error == errno.ENOENT and step.at is None:
        return f"{step.path} does not exist on the host"
    if step.op == "open_tree" and error == errno.EINVAL and step.at is None:
        return f"there are mounts below {step.path} which an ordinary user may not leave out"
    if step.op == "fsmount" and error == errno.EPERM and step.slot == "proc":
        return "parts of /proc are hidden here, as in a container: the kernel gives no fresh one (mount too revealing)"
    advice = _HINTS.get((step.op, error))
    no_namespaces = advice in (_USERNS, _APPARMOR) or (step.op, error) == ("clone", errno.ENOSPC)
    return f"{advice}{_WITHOUT}" if no_namespaces else advice
