"""What is told of refused calls, and what would open each: docs/decisions/0015. Reporting only; the filter decides."""

from __future__ import annotations

import functools

import attrs

from jailkit.spec import Allow, JailSpec, Level, Network, SeccompPolicy

__all__ = ["Notices", "notices", "reported", "watched_calls"]

_BY_SWITCH = {"sysvipc": ("sysvipc",), "ptrace": ("ptrace",), "nested": ("nested",), "mount": ("mount", "nested")}
"""Groups of calls that a switch of `Allow` opens; a mount is possible in namespaces of the program's own only."""

_CLONE = ("clone",)
"""Refused when it asks for new namespaces, which a switch opens."""

_HOPELESS = ("administration", "namespaces of others", "chroot", "file handles", "dead", "io_uring")
"""Groups of calls that need a right which no program of a SANDBOX has, that go around the filter, or are no more."""

_FIRST_FREE_PORT = 1024


@attrs.frozen(cache_hash=True)
class Notices:
    """What the host program is told of, and how it puts that into words.

    Attributes:
        remedies: For each call that the filter may refuse, its name and the argument of `Jail` that opens it, or "".
        watched: Calls that are told of although the filter allows them: ``connect`` where there is no way out, ``bind``
            where ports are reserved. They go on after that, and the kernel decides.
        outside: The argument that opens the way to one address and port.
        ports: The argument that opens reserved ports.
        families: Numbers of socket families, and the argument that opens them.
        packets: The argument that lets packets through to one address, port and protocol.
        first_port: The first port that is not reserved.
    """

    remedies: tuple[tuple[str, str], ...]
    watched: tuple[str, ...]
    outside: str = 'net=Network(allow=["{}"])'
    ports: str = "allow=Allow(reserved_ports=True)"
    families: tuple[tuple[int, str], ...] = ()
    packets: str = ""
    first_port: int = _FIRST_FREE_PORT


def reported(spec: JailSpec) -> str:
    """Say, behind what the filter does, that it is not alone in it."""
    return "; a refused call waits for the host program, which answers EPERM" if spec.report_denials else ""


def watched_calls(spec: JailSpec) -> tuple[str, ...]:
    """Name the calls whose failure can be told from their arguments and the spec."""
    if not spec.report_denials or spec.net is not False or spec.tier == "landlock":
        return ()
    reserved = spec.level >= Level.SANDBOX and not spec.allow.reserved_ports
    return ("connect", "bind") if reserved else ("connect",)


@functools.lru_cache(maxsize=64)
def notices(spec: JailSpec) -> Notices | None:
    """Decide what is told of a jail's refused calls; None where nothing is."""
    policy = spec.effective_seccomp
    if not spec.report_denials or policy is None:
        return None
    bare = spec.tier == "landlock"
    opened = {call: _switch(*names) for group, names in _BY_SWITCH.items() for call in SeccompPolicy.group_calls(group)}
    if bare:  # where most switches are refused
        opened = {call: _switch("ptrace") for call in SeccompPolicy.group_calls("ptrace")}
        opened |= dict.fromkeys((*_CLONE, *SeccompPolicy.group_calls("sysvipc", "nested", "mount")), "")
    else:
        opened |= dict.fromkeys(_CLONE, _switch("nested"))
    hopeless = dict.fromkeys(SeccompPolicy.group_calls(*_HOPELESS), "")
    remedies = {call: _added(policy, call) for call in policy.actions()} | hopeless | opened
    families = {17: _switch("raw_sockets")} if not bare else {}
    if bare and spec.net is False:
        families = dict.fromkeys((2, 10), 'net="host"')
    return Notices(
        tuple(sorted(remedies.items())), watched_calls(spec), families=tuple(families.items()), packets=_opened(spec)
    )


def _opened(spec: JailSpec) -> str:
    if spec.network == Network():
        return 'net=Network(allow=["public", "{}"])'
    denied = spec.network is not None and spec.network.deny
    return f'the Network of the jail with allow=[..., "{{}}"]{" and less in deny" if denied else ""}'


def _switch(*names: str) -> str:
    assert set(names) <= set(Allow.names())  # noqa: S101 - words of the table above
    return f"allow=Allow({', '.join(f'{name}=True' for name in names)})"


def _added(policy: SeccompPolicy, call: str) -> str:
    profile = "" if policy.profile == "default" else f'"{policy.profile}"'
    start = "the SeccompPolicy of the jail" if policy.changes else f"SeccompPolicy({profile})"
    return f'seccomp={start}.add("{call}")'
