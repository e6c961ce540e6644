"""What is taken from PID 1, and so from every program, before the first one runs."""

from __future__ import annotations

from collections.abc import Iterator

from jailkit._errors import UnsupportedError
from jailkit.plan.facts import Host
from jailkit.plan.identity import Ids
from jailkit.plan.steps import Step, step
from jailkit.spec import JailSpec, Level

__all__ = [
    "become_root_of_jail",
    "drop",
    "filter_code",
    "filters",
    "granted",
    "names",
    "refuse_unsupported_filter",
    "refuse_unsupported_report",
]

# The superuser of a jail, as container engines bound it. Without CAP_SYS_ADMIN above all: with it, a mount that was
# made read-only outside could be made writable inside (mount_setattr(2)).
SUPERUSER = (
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
)


def become_root_of_jail(ids: Ids, host: Host) -> Iterator[Step]:
    """Let PID 1 leave the caller's ids, which it was born with."""
    if ids.source != "one":
        # PID 1 makes files from here on: they belong to ids of the jail.
        why = "PID 1 is the jail's root, no longer the caller"
        yield step("setgroups", why)
        yield step("setresgid", why, value=ids.pid1)
        yield step("setresuid", why, value=ids.pid1)
    yield step("prctl", "no program of the jail may look into PID 1", flags=("PR_SET_DUMPABLE",), value=0)
    if host.keyrings:
        yield step("join_session_keyring", "the caller's keys are inherited otherwise, and can be read")


def names(spec: JailSpec) -> Iterator[Step]:
    """Give the jail its name."""
    if spec.level >= Level.JAIL:
        yield step("sethostname", "the jail's own name", text=spec.hostname.encode())


def refuse_unsupported_filter(spec: JailSpec, host: Host) -> None:
    """Refuse a filter or a switch that was asked for by name and cannot be had.

    Raises:
        UnsupportedError: No filter can be made here; or a capability is asked for that means nothing.
    """
    if spec.seccomp and host.seccomp is None:
        raise UnsupportedError(
            f"seccomp={spec.effective_seccomp}",
            "libseccomp.so.2 cannot be loaded, or the kernel has no filters of system calls",
            "apt install libseccomp2, on a kernel with CONFIG_SECCOMP_FILTER",
        )
    refuse_unsupported_report(spec, host)
    for name in granted(spec):
        if spec.net == "host":
            raise UnsupportedError(
                f'{name} with net="host"',
                "the host's network does not listen to the capabilities of a jail",
                "use net=False, or run the program outside",
            )


def refuse_unsupported_report(spec: JailSpec, host: Host) -> None:
    """Refuse to tell of refusals where nobody can.

    Raises:
        UnsupportedError: It is asked for, and there is no filter, or none that tells.
    """
    lacks = (
        (not spec.effective_seccomp, "there is no filter of system calls that could tell", "seccomp=True"),
        (host.seccomp is None, "libseccomp.so.2 cannot be loaded, so there is no filter", "apt install libseccomp2"),
        (not host.notifies, "the kernel has no filters with a listener", "Linux 5.15, and no container that hides it"),
    )
    for wrong, why, remedy in lacks:
        if spec.report_denials and wrong:
            raise UnsupportedError("report_denials=True", why, remedy)


def filter_code(spec: JailSpec, host: Host) -> tuple[bytes, bytes] | None:
    """Return the two parts of the filter that programs are under; None for none."""
    return host.seccomp if spec.effective_seccomp else None


def filters(spec: JailSpec, host: Host) -> Iterator[Step]:
    """Have PID 1 keep the filter until it and its programs can load it."""
    first, second = filter_code(spec, host) or (b"", b"")
    if spec.report_denials and first:
        why = "each program loads it just before its exec: all else is done by then, and it listens for itself"
        yield step("filter", why, text=first, flags=_listener(host))
    elif first:
        why = "PID 1 loads it once, when it needs no more, and everything inherits it"
        yield step("filter", why, text=first, value=1)
    if second:
        closes = "closes what only the handing over of the listener needs"
        why = "what PID 1 needs, each program loses just before its exec: all else is done by then"
        yield step("filter", closes if spec.report_denials else why, text=second)


_WAITS_KILLABLE = (5, 19)


def _listener(host: Host) -> tuple[str, ...]:
    # Without the second, a call that a signal interrupts is told of again and again.
    later = ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",) if host.kernel >= _WAITS_KILLABLE else ()
    return ("SECCOMP_FILTER_FLAG_NEW_LISTENER", *later)


def granted(spec: JailSpec) -> tuple[str, ...]:
    """Name the capabilities that `Allow` gives to every program, whoever runs it."""
    wanted = {"CAP_NET_BIND_SERVICE": spec.allow.reserved_ports, "CAP_NET_RAW": spec.allow.raw_sockets}
    return tuple(name for name, given in wanted.items() if given)


def drop(spec: JailSpec, host: Host) -> Iterator[Step]:
    """Bound what any program can ever have; last, because PID 1 needed the rest until here."""
    sandbox = spec.level >= Level.SANDBOX
    keep = granted(spec) if sandbox else SUPERUSER + (("CAP_NET_ADMIN",) if spec.net is False else ())
    why = "no program can ever have a capability" if sandbox else "the superuser of a jail, no more"
    if sandbox and keep:
        why = f"no program can ever have another capability: {', '.join(spec.allow.named())} asked for"
    yield step("cap_bound", why, value=keep)
    if sandbox or filter_code(spec, host):
        why = "no exec can raise a privilege" if sandbox else "without it no program may load a filter"
        yield step("prctl", why, flags=("PR_SET_NO_NEW_PRIVS",), value=1)
    yield from filters(spec, host)
