"""Checks of what a network with a way out needs: some of it for everybody, some for root, some for ordinary users."""

from __future__ import annotations

import errno

from jailkit._doctor.checks import Simple, decide
from jailkit._doctor.facts import Facts, Try
from jailkit._doctor.gates import Gate, namespace_gate
from jailkit._doctor.report import Check

__all__ = ["checks"]

_BOTH = ("net=True",)
_ROOT = ("net=True of root",)
_USER = ("net=True of ordinary users",)
_UNKNOWN_KIND = (errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.ENOENT, errno.EINVAL)
_OWN = "RTM_NEWLINK", "NFT_MSG"


def _module_gate(facts: Facts, tried: Try, module: str, option: str) -> Gate:
    if not tried.step.startswith(_OWN) or tried.errno not in _UNKNOWN_KIND:
        return namespace_gate(facts, tried, "net")
    return Gate(
        "no-module",
        f"Linux {facts.release} has no {module} ({option}), or does not load it for this caller",
        f"as root of the machine:\nmodprobe {module}\nto keep it: echo {module} > /etc/modules-load.d/jailkit.conf",
        "the kernel's code behind it is in reach of whoever may make network namespaces",
    )


def _pasta_gate(_: Facts, tried: Try) -> Gate:
    return Gate(
        "not-installed",
        f"{tried.note or tried.said}; an ordinary user's network is carried by that program",
        "as root:\napt-get install passt   (Debian 12, Ubuntu 23.04 and newer)\ndnf install passt   (Fedora)",
        "a small program that runs as its caller",
    )


def _tun_gate(_: Facts, tried: Try) -> Gate:
    remedy = "as root of the machine:\nmodprobe tun\nchmod 666 /dev/net/tun   (what udev does)"
    if tried.errno in (errno.ENOENT, errno.ENODEV, errno.EPERM):
        remedy += "\nin a container, start it with the device: docker run --device /dev/net/tun …"
    return Gate(
        "no-tun",
        f"/dev/net/tun: {errno.errorcode.get(tried.errno, tried.said)}",
        remedy,
        "every user may make such interfaces in network namespaces of his own",
    )


def _pyroute2_gate(_facts: Facts, _tried: Try) -> Gate:
    return Gate(
        "not-installed",
        "this Python finds no package pyroute2, by which jailkit speaks to the kernel about networks",
        'pip install "jailkit[net]"',
        "a package of pure Python",
    )


_PYROUTE2 = Simple(
    name="pyroute2",
    attempt="pyroute2",
    tried="look for the package pyroute2",
    works="found",
    gate=_pyroute2_gate,
    needed_by=_BOTH,
)
_NFTABLES = Simple(
    name="nftables",
    attempt="nftables",
    tried="make a table of packet filters in a new network namespace",
    works="made",
    gate=lambda facts, tried: _module_gate(facts, tried, "nf_tables", "CONFIG_NF_TABLES, CONFIG_NF_TABLES_INET"),
    needed_by=_BOTH,
)
_VETH = Simple(
    name="veth",
    attempt="veth",
    tried="make a pair of interfaces in a new network namespace",
    works="made",
    gate=lambda facts, tried: _module_gate(facts, tried, "veth", "CONFIG_VETH"),
    needed_by=_ROOT,
)
_PASTA = Simple(
    name="pasta",
    attempt="pasta",
    tried="run pasta --version",
    works="{note}",
    gate=_pasta_gate,
    needed_by=_USER,
)
_TUN = Simple(name="tun", attempt="tun", tried="open /dev/net/tun", works="opened", gate=_tun_gate, needed_by=_USER)


def _for(facts: Facts, simple: Simple, tier: str) -> Check:
    """Decide a check that is about one kind of caller; what another lacks of it is nothing to him."""
    check = decide(facts, simple)
    if check.state == "ok" or facts.tier == tier:
        return check
    words = f"not needed by this caller; {check.happened}"
    return Check(name=simple.name, state="ok", tried=simple.tried, happened=words, needed_by=simple.needed_by)


def checks(facts: Facts) -> list[Check]:
    """Return the checks of networks, in their order."""
    return [
        decide(facts, _PYROUTE2),
        decide(facts, _NFTABLES),
        _for(facts, _VETH, "root"),
        _for(facts, _PASTA, "userns"),
        _for(facts, _TUN, "userns"),
    ]
