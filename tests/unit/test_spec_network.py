"""What a network may be asked for: rules, ports and addresses as text, and what they are in parts."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jailkit import Jail, JailSpec, Network, SpecError
from jailkit.spec import Port, Rule


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("public", Rule("public")),
        ("public:443", Rule("public", (443, 443))),
        ("10.0.0.0/8", Rule("10.0.0.0/8")),
        ("10.0.0.1", Rule("10.0.0.1/32")),
        ("10.0.0.1:53/udp", Rule("10.0.0.1/32", (53, 53), "udp")),
        ("10.0.0.0/8/tcp", Rule("10.0.0.0/8", None, "tcp")),
        ("2001:db8::1", Rule("2001:db8::1/128")),
        ("[2001:db8::]/32:80-90/tcp", Rule("2001:db8::/32", (80, 90), "tcp")),
        ("Example.COM.:443", Rule("example.com", (443, 443))),
        ("_dns.x-y.example", Rule("_dns.x-y.example")),
    ],
)
def test_a_rule_in_parts(text: str, rule: Rule) -> None:
    """A target, ports, a protocol; names in lower case, networks in the one way to write them."""
    assert Network(allow=[text]).rules == (rule,) == Network(deny=[text]).refused


@pytest.mark.parametrize(
    "text",
    [
        *("2130706433", "0x7f000001", "0177.0.0.1", "127.1", "10.0.0.1/8"),
        *("::ffff:127.0.0.1", "::ffff:0:0/96", "fe80::1%eth0"),
        *("a:0", "a:70000", "a:9-3", "a:80/icmp", "", " ", "a b"),
        *("*.example.com", "http://a/", "a/24", "-a", "a" * 64, "a\n"),
        *(None, 80, b"a", ["a"]),
    ],
)  # fmt: skip
def test_what_is_no_rule(text: Any) -> None:
    """An address in another way of writing is neither an address nor a name; the error names the field."""
    with pytest.raises(SpecError) as caught:
        Network(allow=[text])
    assert caught.value.field == "network.allow"


@given(st.ip_addresses(v=4), st.integers(0, 32), st.integers(1, 65535))
def test_every_network_is_a_rule(address: ipaddress.IPv4Address, length: int, port: int) -> None:
    """And is the same network in parts."""
    network = ipaddress.ip_network((int(address) >> (32 - length) << (32 - length), length))
    assert Network(allow=[f"{network}:{port}"]).rules == (Rule(str(network), (port, port)),)


@pytest.mark.parametrize(
    ("outside", "port"),
    [
        (8080, Port(8080, 80)),
        ("8080/udp", Port(8080, 80, protocol="udp")),
        ("192.0.2.1:0", Port(0, 80, "192.0.2.1")),
        ("0.0.0.0:53/udp", Port(53, 80, "0.0.0.0", "udp")),
    ],
)
def test_a_port_in_parts(outside: Any, port: Port) -> None:
    """The host's side as a number or a text; by default only the host reaches it."""
    assert Network(ports={outside: 80}).published == (port,)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("ports", value) for value in ({70000: 80}, {-1: 80}, {True: 80}, {"x": 80}, {80: 0}, {80: "80"})),
        *(("ports", value) for value in ({"[::1]:80": 80}, [80], 80)),
        ("ports", {8080: 80, "127.0.0.1:8080": 81}),
        *(("bandwidth", value) for value in (0, 1023, 2**32, -5, True, 1e6, "10M")),
        *(("allow", value) for value in ("public", ["public", "public"], 5)),
        *(("dns", value) for value in (["127.0.0.53"], ["a"], ["1.1.1.1"] * 4, "1.1.1.1", ["::1"])),
        *(("ip4", value) for value in ("10.0.0.0/8", "2001:db8::1", "127.0.0.1", "224.0.0.1", "0.0.0.0", "x", 5)),
        ("ip4", "169.254.1.1"),
        *(("ip6", value) for value in ("10.0.0.1", "::1", "fe80::1", "ff02::1", "::", "::ffff:10.0.0.1")),
        *(("ip4", value) for value in (["10.0.0.1", "10.0.0.1"], ["10.0.0.1", "::1"], [None], {"10.0.0.1": 1}.items())),
        ("ip4", [f"10.0.0.{number}" for number in range(1, 66)]),
        ("ip6", ["fd00::5", "FD00:0::5"]),
    ],
)  # fmt: skip
def test_what_is_refused(field: str, value: Any) -> None:
    """Each wrong field is named."""
    with pytest.raises(SpecError) as caught:
        Network(**{field: value})
    assert caught.value.field == f"network.{field}"


def test_no_list_is_public_and_an_empty_one_is_nothing() -> None:
    """The difference that a filter of somebody else's once missed."""
    assert Network().rules == (Rule("public"),)
    assert Network(allow=[]).rules == ()
    assert JailSpec(net=True).network == Network()
    assert JailSpec(net=False).network is JailSpec(net="host").network is None


@pytest.mark.parametrize("net", [0, 1, None, "nat", "HOST", {}, Network])
def test_what_is_no_network(net: Any) -> None:
    """Neither a number nor another word is one."""
    with pytest.raises(SpecError) as caught:
        JailSpec(net=net)
    assert caught.value.field == "net"


def test_a_network_is_a_value() -> None:
    """Equal when made of the same words, hashable, and printable in the words that make it."""
    net = Network(allow=["a:1"], ports={80: 80}, ip4="10.0.0.1")
    assert net == Network(allow=("a:1",), ports={80: 80}, ip4="10.0.0.1")
    assert len({net, Network(allow=["a:1"], ports={80: 80}, ip4=["10.0.0.1"]), Network()}) == 2
    assert Network(ip4=[]) != Network(ip6=[]) != Network()


@pytest.mark.parametrize("net", [False, "host"])
def test_a_jail_without_a_way_out_shares_nothing(net: Any) -> None:
    """It is refused when it is asked for, before anything is started; the words say what to ask for instead."""
    with pytest.raises(SpecError, match="allow"):
        Jail(net=Jail(net=net))


def test_the_network_of_another_jail_is_in_the_spec() -> None:
    """By value, without the jail; whoever shares with a jail that shares is in the network of the first."""
    first = Jail(net=Network(allow=["10.0.0.1"]), allow=["reserved_ports"])
    second, third = Jail(net=first), Jail(net=Jail(net=first))
    assert first.spec.network == second.spec.network == third.spec.network
    assert second.spec == third.spec == JailSpec(net=second.spec.net)
    assert second.spec != first.spec


@pytest.mark.parametrize("name", ["", "a b", "-a", "a/b", "a.b", "a" * 64, 3, b"a", "a\n"])
def test_what_is_no_name_of_a_pod(name: Any) -> None:
    """It is part of a file's name, and a label as of a host name."""
    with pytest.raises(SpecError, match=r"network\.name"):
        Network(name=name)
    assert Network(name="a" * 63).name == "a" * 63


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"interface": "eth7"}, "ip4"),
        ({"interface": "eth7", "ip4": "10.9.9.5"}, "ip4"),
        ({"interface": "eth7", "ip6": "fd09::5"}, "ip6"),
        ({"interface": "eth7", "ip4": "10.9.9.5/24", "ports": {80: 80}}, "ports"),
        ({"ip4": "10.9.9.5/24"}, "ip4"),
        ({"interface": "eth7", "ip4": [], "ip6": []}, "ip4"),
        ({"interface": "eth7", "ip4": ["10.9.9.5/24", "10.9.9.6"]}, "ip4"),
        ({"ip4": ["10.9.9.5/24", "10.9.8.5"], "gateway": "10.9.9.1"}, "ip4"),
        ({"ip4": ["10.9.9.5/24", "10.9.9.1/24"], "gateway": "10.9.9.1"}, "gateway"),
        ({"ip4": [], "gateway": "10.9.9.1"}, "ip4"),
        ({"ip4": [], "ports": {80: 80}}, "ports"),
        ({"ip4": [], "ip6": []}, "ip6"),
        ({"ip4": "10.9.9.5/33", "interface": "eth7"}, "ip4"),
        ({"ip4": "10.9.9.5/0", "interface": "eth7"}, "ip4"),
        ({"gateway": "10.9.9.1"}, "ip4"),
        ({"ip4": "10.9.9.5", "gateway": "10.9.9.1"}, "ip4"),
        ({"ip4": "10.9.9.5/24", "gateway": "10.9.8.1"}, "gateway"),
        ({"ip4": "10.9.9.5/24", "gateway": "10.9.9.5"}, "gateway"),
        ({"ip4": "10.9.9.5/24", "gateway": "10.9.9.255"}, "gateway"),
        ({"ip4": "10.9.9.5/24", "gateway": "10.9.9.0"}, "gateway"),
        ({"ip6": "fd09::5/64", "gateway": "fe80::1"}, "gateway"),
        ({"ip4": "10.9.9.5/24", "gateway": ["10.9.9.1", "10.9.9.2"]}, "gateway"),
        ({"ip4": "10.9.9.5/24", "gateway": "router"}, "gateway"),
        ({"ip4": "10.9.9.5/24", "gateway": 5}, "gateway"),
        *(
            ({"ip4": "10.9.9.5/24", "interface": name}, "interface")
            for name in ("", "lo", "..", "a/b", "a b", "x" * 16, "a:1", "%d", 7)
        ),
    ],
)
def test_what_does_not_fit_an_interface_or_a_gateway(fields: dict[str, Any], wrong: str) -> None:
    """A length where one is needed and nowhere else, a gateway that is a neighbour; the error names the field."""
    with pytest.raises(SpecError) as caught:
        Network(**fields)
    assert caught.value.field == f"network.{wrong}"


@pytest.mark.parametrize(
    "fields",
    [
        {"interface": "eth7", "ip4": "10.9.9.5/24"},
        {"interface": "eth7", "ip4": "10.9.9.4/31", "gateway": "10.9.9.5"},
        {"interface": "eth7", "ip6": "fd09::5/64", "gateway": "fe80::1"},
        {"interface": "eth7", "ip4": "10.9.9.5/24", "ip6": "fd09::5/64", "gateway": ["10.9.9.1", "fd09::1"]},
        {"ip4": "10.9.9.5/24", "gateway": "10.9.9.1", "ports": {80: 80}},
        {"interface": "eth7", "ip4": ["10.9.9.5/24", "10.8.8.5/24"], "ip6": [], "gateway": "10.8.8.1"},
        {"ip4": ["10.9.9.5/24", "10.9.9.6/24"], "ip6": ["fd00::5"], "gateway": "10.9.9.1"},
    ],
)
def test_what_fits(fields: dict[str, Any]) -> None:
    """A gateway alone is a tuple of one; the value can be a key."""
    made = Network(**fields)
    assert isinstance(made.gateway, tuple)
    assert hash(made) == hash(Network(**fields))
