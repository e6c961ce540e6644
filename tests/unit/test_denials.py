"""What is told of refused calls: filters with a listener, words, remedies."""

from __future__ import annotations

import struct
from typing import Any

import attrs
import pytest
from hypothesis import given, settings

from jailkit import Allow, Denial, JailSpec, Level, Network, SeccompPolicy, UnsupportedError, _native
from jailkit.plan import compile_plan, divided, filter_of
from jailkit.plan.denials import notices
from jailkit.process import denials
from jailkit.spec._calls import KNOWN
from tests.bpf import verdict
from tests.plans import FILTER, root_host, user_host
from tests.strategies import ALLOW, POLICIES

libseccomp = pytest.mark.requires("libseccomp")
OPEN = ("allow", "log")


def code_of(**fields: Any) -> tuple[bytes, bytes]:
    """Compile the filter of a spec, and what closes it."""
    wanted = filter_of(JailSpec(**fields))
    assert wanted is not None
    first, closing = divided(wanted) if wanted.reported else (wanted, None)
    return _native.compile_filter(first), _native.compile_filter(closing) if closing and closing.actions else b""


def both(filters: tuple[bytes, bytes], number: int, arguments: tuple[int, ...] = ()) -> str:
    """Return what the kernel does when both are loaded: of two words, the stricter."""
    order = ("kill", "EPERM", "ENOSYS", "tell", "log", "allow")
    said = {verdict(code, number, arguments, _machine()) for code in filters if code}
    return min(said, key=order.index)


def _machine() -> str:
    import platform

    return platform.machine()


# --- the filter ------------------------------------------------------------------------------------------------------


@libseccomp
@settings(max_examples=40)
@given(policy=POLICIES, allow=ALLOW)
def test_a_listener_opens_nothing(policy: SeccompPolicy, allow: Allow) -> None:
    """Whatever the policy, a call that is refused without a listener is refused or told of with one."""
    plain, closing = code_of(seccomp=policy, allow=allow)
    assert closing == b""
    told = code_of(seccomp=policy, allow=allow, report_denials=True)
    for number in range(480):
        before, now = verdict(plain, number, (), _machine()), both(told, number)
        if before in OPEN:
            assert now in (before, "tell")
        elif before == "EPERM":
            assert now in ("tell", "EPERM")
        else:
            assert now == before


@libseccomp
@pytest.mark.parametrize("profile", ["default", "strict", "empty"])
def test_what_hands_the_listener_over_is_closed_again(profile: str) -> None:
    """The two calls that are needed for it end as the policy says; nobody is told of them."""
    plain, _ = code_of(seccomp=profile)
    first, closing = code_of(seccomp=profile, report_denials=True)
    for number in _native.call_numbers(("sendmsg", "seccomp")).values():
        assert verdict(first, number, (), _machine()) == "allow"
        assert both((first, closing), number) == verdict(plain, number, (), _machine())


@libseccomp
def test_what_is_watched_follows_from_the_spec() -> None:
    """A jail without a way out tells of connections; one on the host's network has nothing to tell."""
    numbers = _native.call_numbers(("connect", "bind"))

    def said(**fields: Any) -> tuple[str, str]:
        code, _ = code_of(report_denials=True, **fields)
        return tuple(verdict(code, numbers[name], (), _machine()) for name in ("connect", "bind"))  # type: ignore[return-value]

    assert said() == ("tell", "tell")
    assert said(net="host") == ("allow", "allow")
    assert said(allow=["reserved_ports"]) == ("tell", "allow")
    assert said(level=Level.JAIL, seccomp=True) == ("tell", "allow")


# --- the plan --------------------------------------------------------------------------------------------------------


def test_a_plan_without_it_is_untouched() -> None:
    """Who does not ask pays nothing: no flag, no second filter, no word in the honest list."""
    host = root_host(seccomp=FILTER, landlock=7)
    plan = compile_plan(JailSpec(), host)
    filters = [step for step in plan.jail_steps if step.op == "filter"]
    assert [step.flags for step in filters] == [0, 0]
    assert not any("waits for the host program" in protection.fact for protection in plan.isolation)
    assert notices(JailSpec()) is None


@pytest.mark.parametrize(("kernel", "count"), [((5, 15), 1), ((6, 1), 2)])
def test_a_plan_with_it_says_so(kernel: tuple[int, int], count: int) -> None:
    """The filter gets a listener, what closes it comes behind, and the honest list says who answers."""
    for tier in (None, "landlock"):
        host = user_host(seccomp=FILTER, landlock=7)
        plan = compile_plan(JailSpec(report_denials=True, tier=tier), attrs.evolve(host, kernel=kernel))
        first, second = [step for step in plan.jail_steps if step.op == "filter"]
        assert isinstance(first.flags, tuple)
        assert first.flags[0] == "SECCOMP_FILTER_FLAG_NEW_LISTENER"
        assert len(first.flags) == count
        assert second.flags == 0
        (seccomp,) = [protection for protection in plan.isolation if protection.name == "seccomp"]
        assert "waits for the host program" in seccomp.fact


@pytest.mark.parametrize(
    ("fields", "facts"),
    [
        ({"level": Level.JAIL}, {"seccomp": None}),
        ({}, {"seccomp": None}),
        ({}, {"notifies": False}),
        ({"tier": "landlock"}, {"notifies": False}),
    ],
)
def test_who_cannot_tell_does_not_start(fields: dict[str, Any], facts: dict[str, Any]) -> None:
    """Asked for by name, it is there or the jail is refused, with what is missing."""
    host = user_host(**{"seccomp": FILTER, "landlock": 7, **facts})
    with pytest.raises(UnsupportedError) as caught:
        compile_plan(JailSpec(report_denials=True, **fields), host)
    assert "report_denials" in str(caught.value)


# --- the words -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields", [{}, {"seccomp": "strict"}, {"tier": "landlock"}, {"tier": "landlock", "net": "host"}]
)
def test_every_remedy_is_an_argument_of_a_jail(fields: dict[str, Any]) -> None:
    """What is printed can be pasted: it makes another spec, and the filter is wider for it."""
    spec = JailSpec(report_denials=True, **fields)
    found = notices(spec)
    assert found is not None
    assert {call for call, _ in found.remedies} == set(KNOWN)
    words = {remedy for _, remedy in found.remedies} | {remedy for _, remedy in found.families}
    words |= {found.outside.format(host) for host in ("10.0.0.1:80", "[2001:db8::1]:443") if found.watched}
    for remedy in words - {""}:
        changed = eval(f"dict({remedy})", {"Allow": Allow, "Network": Network, "SeccompPolicy": SeccompPolicy})
        assert attrs.evolve(spec, **changed) != spec


ADDRESSES = {
    "IPv4": (struct.pack("=H", 2) + struct.pack("!H4B", 80, 10, 0, 0, 1), ("10.0.0.1", 80)),
    "IPv6": (struct.pack("=H", 10) + struct.pack("!HI", 443, 0) + bytes(15) + b"\1", ("::1", 443)),
    "a path": (struct.pack("=H", 1) + b"/run/x\0", ("'/run/x'", None)),
    "an abstract name": (struct.pack("=H", 1) + b"\0x\0", ("'@x'", None)),
    "what steers a terminal": (struct.pack("=H", 1) + b"/\x1b[2J\n", (r"'/\x1b[2J\n'", None)),
    "nothing": (b"", ("", None)),
    "a part": (struct.pack("=H", 2) + b"\0", ("", None)),
    "something else": (struct.pack("=H", 99) + bytes(126), ("", None)),
}


@pytest.mark.parametrize(("address", "expected"), ADDRESSES.values(), ids=ADDRESSES)
def test_an_address_is_read_with_distrust(address: bytes, expected: tuple[str, int | None]) -> None:
    """Whatever lies in a program's memory becomes printable words, or none."""
    assert denials._parse(address) == expected


def test_what_is_outside() -> None:
    """The jail's own loopback is inside, by whatever name; everything else is beyond it."""
    for host in ("127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1"):
        assert denials._outside(host, 80, "x") is None
    assert denials._outside("", None, "x") is None
    assert denials._outside("10.0.0.1", 80, "x {}") == ("connect to 10.0.0.1:80", "x 10.0.0.1:80")
    assert denials._outside("::ffff:10.0.0.1", 80, "x") == ("connect to 10.0.0.1:80", "x")
    assert denials._outside("2001:db8::1", 80, "x") == ("connect to [2001:db8::1]:80", "x")


def test_a_denial_in_words() -> None:
    """It says what, how often, and what to do."""
    assert str(Denial(call="setns", what="setns", count=1, remedy="")) == "setns was refused"
    many = Denial(call="connect", what="connect to 10.0.0.1:80", count=3, remedy='net=Network(allow=["10.0.0.1:80"])')
    assert str(many) == 'connect to 10.0.0.1:80 was refused 3 times; allow it with net=Network(allow=["10.0.0.1:80"])'
