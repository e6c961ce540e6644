"""The options for the network: what of `Network` a shell's user may say."""

from __future__ import annotations

import argparse
import functools
from typing import Any

from jailkit import Allow, Jail, Network, SpecError
from jailkit._cli import values
from jailkit._cli.output import say

__all__ = ["FIELDS", "add_network", "net_of", "switches_of", "tell_ports"]

_KINDS = {"none": False, "nat": True, "host": "host"}
_NOTHING = "none"
FIELDS = {
    "network.ip4": "--ip4",
    "network.ip6": "--ip6",
    "network.dns": "--dns",
    "network.ports": "--publish",
    "network.allow": "--allow",
    "network.deny": "--deny",
    "network.bandwidth": "--bandwidth",
    "network.interface": "--interface",
    "network.gateway": "--gateway",
}
"""Names of fields as the library's errors have them, and what the user of a shell calls the same thing."""


def _refused(word: str, fields: dict[str, Any]) -> argparse.ArgumentTypeError | None:
    """Return the error for a word that no network takes."""
    try:
        Network(**fields)
    except SpecError as error:
        return values.refusal(word, error.allowed)
    return None


def _in_list(field: str, word: str) -> str:
    if word != _NOTHING and (refused := _refused(word, {field: [word]})):
        raise refused
    return word


def _allowed(word: str) -> list[str]:
    """Read what is a rule by its looks, and else switches: a switch that is misspelt must not become a host name."""
    looks = word in ("public", _NOTHING) or any(sign in word for sign in ".:/")
    return [_in_list("allow", word)] if looks else values.switches(word)


def _published(word: str) -> tuple[str, int]:
    outside, _, rest = word.rpartition(":")
    inside, slash, protocol = rest.partition("/")
    pair = (outside + slash + protocol, int(inside) if inside.isascii() and inside.isdecimal() else -1)
    if not outside:
        raise values.refusal(word, "[ADDRESS:]PORT:PORT[/tcp or /udp], the host's port and that of the jail")
    if refused := _refused(word, {"ports": dict([pair])}):
        raise refused
    return pair


def _speed(word: str) -> int:
    amount = values.size(word)
    if refused := _refused(word, {"bandwidth": amount}):
        raise refused
    return amount


_LISTS: dict[str, tuple[str, str, Any, str]] = {
    "dns": ("--dns", "ADDRESS", functools.partial(_in_list, "dns"), "name server that the jail may ask, or none"),
    "ports": (
        "--publish",
        "[ADDRESS:]PORT:PORT[/PROTOCOL]",
        _published,
        "put a port of the jail (the second) behind one of the host (the first; 0 for any), of 127.0.0.1 by default",
    ),
    "ip4": ("--ip4", "ADDRESS[/LENGTH]", values.text, "IPv4 address of the jail, or none at all"),
    "ip6": ("--ip6", "ADDRESS[/LENGTH]", values.text, "the same of IPv6"),
    "deny": ("--deny", "RULE", functools.partial(_in_list, "deny"), "what may not be reached, whatever is allowed"),
}
_SINGLE: dict[str, tuple[str, str, Any, str]] = {
    "bandwidth": ("--bandwidth", "SIZE", _speed, "bytes per second that the jail may send, and that it may receive"),
    "interface": ("--interface", "NAME", values.text, "move an interface of the host into the jail, as root"),
}


def add_network(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add = parser.add_argument_group("network").add_argument
    add(
        "--net",
        choices=_KINDS,
        default="none",
        help="an own network with a loopback alone (default), an own one with a way out, or that of the host; the "
        "options below are for nat",
    )
    add(
        "--allow",
        metavar="RULE or NAME[,NAME]",
        type=_allowed,
        action="extend",
        default=[],
        help="what may be reached (TARGET[:PORT[-PORT]][/PROTOCOL], where TARGET is public, an address, a network or a "
        "host name; with a dot, a colon or a slash in it; default: public; or none); or open one thing of the sandbox: "
        + ", ".join(Allow.names()),
    )
    for name, (option, metavar, read, text) in _LISTS.items():
        add(option, metavar=metavar, type=read, action="append", default=[], dest=f"network.{name}", help=text)
    add(
        "--gateway",
        metavar="ADDRESS",
        action="append",
        default=[],
        dest="network.gateway",
        help="next hop of --interface; without one, the host's address towards a jail whose own is not translated",
    )
    for name, (option, metavar, read, text) in _SINGLE.items():
        add(option, metavar=metavar, type=read, dest=f"network.{name}", help=text)


def switches_of(options: argparse.Namespace) -> list[str]:
    """Return what of ``--allow`` are switches of the sandbox."""
    return [word for word in options.allow if word in Allow.names()]


def net_of(options: argparse.Namespace) -> Any:
    """Return what was asked for: False, True, ``host`` or a `Network`.

    Raises:
        SpecError: Options contradict each other.
    """
    fields: dict[str, Any] = {name: _list(getattr(options, f"network.{name}"), name) for name in (*_LISTS, "gateway")}
    fields["allow"] = _list([word for word in options.allow if word not in Allow.names()], "allow")
    fields |= {name: getattr(options, f"network.{name}") for name in _SINGLE}
    given = {name: value for name, value in fields.items() if value is not None}
    if not given:
        return _KINDS[options.net]
    if options.net != "nat":
        raise SpecError(f"network.{next(iter(given))}", next(iter(given.values())), "nothing without --net nat")
    return Network(**given)


def _list(words: list[Any], name: str) -> Any:
    """Return what was given of a list; ``none`` is an empty one, no word is the default."""
    if not words:
        return None
    if _NOTHING in words:
        if len(words) > 1:
            raise SpecError(f"network.{name}", words, "none, or what it is, and not both")
        return []
    if name == "ports" and len({outside for outside, _ in words}) < len(words):
        raise SpecError("network.ports", [outside for outside, _ in words], "each port of the host once")
    return dict(words) if name == "ports" else words


def tell_ports(jail: Jail) -> None:
    """Say which ports were free, of those for which any was asked."""
    asked = jail.spec.network.published if jail.spec.network else ()
    for wanted, port in zip(asked, jail.ports, strict=True):
        if not wanted.number:
            say(f"port {port.inside} of the jail is {port.address}:{port.number}/{port.protocol} of the host")
