"""What a jail may send, decided without any network: which rules, in which order, and what is refused at the start."""

from __future__ import annotations

import importlib
import ipaddress
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jailkit import Network, UnsupportedError
from jailkit.plan import Host, NetworkPlan, Uplink, compile_plan, explain
from jailkit.spec import JailSpec, Joined, Level
from tests.plans import QUICK, root_host, steps_of, user_host, where

UPLINK = Uplink(
    means="veth",
    way6=True,
    own=("192.0.2.9", "10.5.5.5", "2001:db8:9::9"),
    resolvers=("192.0.2.53",),
    names=(
        ("good.test", ("198.51.100.1", "2001:db8::1")),
        ("lan.test", ("10.0.0.7",)),
        ("meta.test", ("169.254.169.254",)),
        ("gone.test", ()),
        ("self.test", ("192.0.2.9",)),
    ),
)
CLOSED = ("169.254.169.254", "169.254.0.1", "fe80::1", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", *UPLINK.own)
PRIVATE = ("10.1.2.3", "192.168.1.1", "172.16.0.1", "100.64.0.1", "127.0.0.1", "0.0.0.0", "224.0.0.1", "255.0.0.1")
PRIVATE6 = ("fd12::1", "fc00::1", "ff02::1", "::1", "64:ff9b::a9fe:a9fe", "::ffff:10.0.0.1")
PUBLIC = ("198.51.100.1", "8.8.8.8", "2001:db8::1", "2606:4700::1111")


def host(**facts: Any) -> Host:
    """Return a host with a way out."""
    base = user_host() if facts.get("means") == "pasta" else root_host()
    return attrs.evolve(base, uplink=attrs.evolve(UPLINK, **facts))


def planned(net: Any, **facts: Any) -> NetworkPlan:
    """Return what is decided for a network."""
    plan = compile_plan(JailSpec(net=net), host(**facts)).network
    assert plan is not None
    return plan


def lets(plan: NetworkPlan, address: str, port: int = 80, protocol: str = "tcp") -> bool:
    """Whether a packet is let through: the first rule that matches decides."""
    for way in plan.ways:
        fits = ipaddress.ip_address(address) in ipaddress.ip_network(way.to)
        if fits and (way.ports is None or way.ports[0] <= port <= way.ports[1]) and way.protocol in (None, protocol):
            return way.open
    return False


def test_by_default_what_is_public_is_open() -> None:
    """And what is not is not; the name server is asked on its port alone."""
    plan = planned(True)
    assert [address for address in PUBLIC if not lets(plan, address)] == []
    assert [address for address in (*CLOSED, *PRIVATE, *PRIVATE6) if lets(plan, address)] == []
    assert lets(plan, "192.0.2.53", 53, "udp")


@pytest.mark.parametrize("address", CLOSED)
def test_what_is_closed_is_opened_by_its_own_name_alone(address: str) -> None:
    """Not by everything, not by public, not by a name."""
    for allow in (["0.0.0.0/0", "::/0"], ["public"], ["0.0.0.0/1", "128.0.0.0/1", "2000::/3", "f000::/4"]):
        assert not lets(planned(Network(allow=allow)), address)
    assert lets(planned(Network(allow=[address])), address)
    assert not lets(planned(Network(allow=[address], deny=[address])), address)


RULES = st.lists(
    st.sampled_from(
        [
            "public",
            "public:443",
            "10.0.0.0/8",
            "10.1.2.3:80",
            "0.0.0.0/0",
            "::/0",
            "good.test:80",
            "198.51.100.0/24/udp",
        ]
    ),
    unique=True,
)


@QUICK
@given(RULES, RULES)
def test_what_is_denied_is_refused(allow: list[str], deny: list[str]) -> None:
    """Whatever is allowed beside it, a rule of `deny` wins; and nothing is open that no rule of `allow` opens."""
    plan = planned(Network(allow=allow, deny=deny, dns=[]))
    alone = planned(Network(allow=["0.0.0.0/0", "::/0"], deny=deny, dns=[]))
    one_by_one = [planned(Network(allow=[word], dns=[])) for word in allow]
    for address in (*PUBLIC, *PRIVATE, *PRIVATE6):
        for port, protocol in ((80, "tcp"), (443, "tcp"), (80, "udp")):
            assert not lets(plan, address, port, protocol) or lets(alone, address, port, protocol)
            if lets(plan, address, port, protocol):
                assert any(lets(one, address, port, protocol) for one in one_by_one)
    assert not any(lets(plan, address) for address in CLOSED)


def test_a_name_opens_what_it_was() -> None:
    """All addresses of it, on the ports of the rule; without a name server, which could be told things."""
    plan = planned(Network(allow=["good.test:443"]))
    assert lets(plan, "198.51.100.1", 443)
    assert lets(plan, "2001:db8::1", 443)
    assert not lets(plan, "198.51.100.1", 80)
    assert not lets(plan, "192.0.2.53", 53, "udp")


@pytest.mark.parametrize("name", ["lan.test", "meta.test", "self.test", "gone.test", "unheard.test"])
def test_a_name_does_not_open_what_is_private(name: str) -> None:
    """Nor one that is not there; denying it is fine where it has an address."""
    for allow in ([name], [name, "public"], [name, "0.0.0.0/0"] if name != "lan.test" else [name]):
        with pytest.raises(UnsupportedError, match=name):
            planned(Network(allow=allow))
    if name in ("lan.test", "meta.test"):
        (address,) = dict(UPLINK.names)[name]
        assert lets(planned(Network(allow=[name, address])), address)
        assert not lets(planned(Network(deny=[name])), address)


@pytest.mark.parametrize("means", ["veth", "pasta"])
def test_a_jail_is_born_in_its_network(means: str) -> None:
    """It is entered before PID 1 is made, and none is made, given or taken afterwards."""
    steps = steps_of(compile_plan(JailSpec(net=True), host(means=means)))
    (born,) = where(steps, "clone")
    entered = where(steps, "setns", flags=("CLONE_NEWNET",))
    assert len(entered) == 1
    assert entered[0] < born
    users = where(steps, "setns", flags=("CLONE_NEWUSER",))
    assert (len(users) == 1 and users[0] < entered[0]) if means == "pasta" else not users
    assert not [one for one in steps if one.op in ("unshare", "give", "take", "loopback")]


@pytest.mark.parametrize("level", [Level.CHROOT, Level.JAIL, Level.CONTAINER])
def test_the_superuser_of_a_jail_has_no_right_over_a_network_with_a_way_out(level: Level) -> None:
    """CAP_NET_ADMIN would mean nothing, and is taken away besides."""
    steps = steps_of(compile_plan(JailSpec(net=True, level=level), host()))
    kept = steps[where(steps, "cap_bound")[0]].value
    assert isinstance(kept, tuple)
    assert "CAP_NET_ADMIN" not in kept


def test_names_are_in_files_of_the_jail() -> None:
    """The host's name servers, and the names of the rules with their addresses."""
    steps = steps_of(compile_plan(JailSpec("/srv/root", net=Network(allow=["good.test", "public"])), host()))
    texts = {one.path: one.text.decode() for one in steps if one.op == "file" and one.path.startswith("files/")}
    assert texts["files/resolv.conf"] == "nameserver 192.0.2.53\n"
    assert "198.51.100.1 good.test\n2001:db8::1 good.test\n" in texts["files/hosts"]


@pytest.mark.parametrize(
    ("spec", "facts", "words"),
    [
        ({"net": True}, {"missing": (("pasta is not installed", "apt install passt"),)}, "apt install passt"),
        ({"net": True}, {"resolvers": (), "resolvers_out_of_reach": "127.0.0.53"}, "dns="),
        ({"net": True, "allow": ["raw_sockets"]}, {}, "raw_sockets"),
        ({"net": Network(), "tier": "landlock"}, {}, "landlock"),
    ],
)
def test_what_cannot_be_had_is_refused(spec: dict[str, Any], facts: dict[str, Any], words: str) -> None:
    """By the fact that is missing, with the remedy."""
    with pytest.raises(UnsupportedError) as caught:
        compile_plan(JailSpec(**spec), attrs.evolve(host(**facts), landlock=6))
    assert words in str(caught.value)


def test_nobody_gets_a_network_that_nobody_looked_for() -> None:
    """Facts without a way out are no way out: neither the host's network nor none is taken instead."""
    with pytest.raises(UnsupportedError, match="net=True"):
        compile_plan(JailSpec(net=True), root_host())


@pytest.mark.parametrize("means", ["veth", "pasta"])
def test_a_bound_on_the_speed_is_in_the_plan(means: str) -> None:
    """And in the list of what is isolated; without one there is none."""
    plan = compile_plan(JailSpec(net=Network(bandwidth=12345)), host(means=means))
    assert plan.network is not None
    assert plan.network.bandwidth == 12345
    (found,) = [one for one in plan.isolation if one.name == "network"]
    assert "at most 12345 bytes per second each way" in found.fact
    assert planned(True, means=means).bandwidth is None


def test_a_moved_interface_is_in_the_plan() -> None:
    """With addresses, lengths and gateway apart; IPv6 leads where it is told, which is nowhere."""
    net = Network(interface="eth7", ip4="10.9.9.5/24", ip6="fd09::5/64", gateway="10.9.9.1")
    plan = compile_plan(JailSpec(net=net), host(means="moved"))
    made = plan.network
    assert made is not None
    assert (made.interface, made.ip4, made.ip6, made.lengths) == ("eth7", ("10.9.9.5",), ("fd09::5",), (24, 64))
    assert (made.gateways, made.way6) == (("10.9.9.1",), False)
    (found,) = [one for one in plan.isolation if one.name == "network"]
    assert "the interface eth7" in found.fact
    assert len(where(steps_of(plan), "setns", flags=("CLONE_NEWNET",))) == 1


def test_addresses_are_each_written_in_one_way() -> None:
    """By that they are claimed. None named is one of the pool; without a way out pasta has none of IPv6."""
    whole = compile_plan(JailSpec(net=Network(ip4=["10.9.9.5", "10.9.9.6"], ip6="FD00:0:0::0005")), host())
    plan = whole.network
    assert plan is not None
    assert (plan.ip4, plan.ip6) == (("10.9.9.5", "10.9.9.6"), ("fd00::5",))
    assert "addresses: 10.9.9.5, 10.9.9.6, " in explain(whole)
    assert (planned(True).ip4, planned(True).ip6) == (None, None)
    assert planned(True, means="pasta", way6=False).ip6 == planned(True, has6=False).ip6 == ()
    assert planned(Network(ip6="fd00::5"), means="pasta", way6=False).ip6 == ("fd00::5",)


@pytest.mark.parametrize(
    ("fields", "facts", "words"),
    [
        ({"ip6": "fd00::5"}, {"has6": False}, "no IPv6"),
        ({"ip4": [], "dns": []}, {"way6": False}, "no way out"),
        ({"ip4": [], "allow": []}, {"way6": False, "means": "pasta"}, "no way out"),
        ({"ip4": []}, {}, "a version of IP that the jail has not: 192.0.2.53"),
        ({"ip4": ["10.9.9.5", "10.5.5.5"]}, {}, "10.5.5.5 is an address of this host"),
        ({"ip6": "2001:db8:9:0::9"}, {}, "2001:db8:9::9 is an address of this host"),
    ],
)
def test_addresses_that_cannot_be_had_are_refused(fields: dict[str, Any], facts: dict[str, Any], words: str) -> None:
    """By what is missing, before anything is made."""
    with pytest.raises(UnsupportedError) as caught:
        planned(Network(**fields), **facts)
    assert words in str(caught.value)


def test_one_version_alone_has_its_name_servers() -> None:
    """Those of the host that the jail has no address for are left out."""
    servers = {"resolvers": ("192.0.2.53", "2001:db8::53")}
    plan = compile_plan(JailSpec(net=Network(ip4=[])), host(**servers))
    texts = {one.path: one.text.decode() for one in steps_of(plan) if one.op == "file"}
    assert texts["files/resolv.conf"] == "nameserver 2001:db8::53\n"
    assert planned(Network(ip4=[], allow=[]), way6=False).ip4 == ()


@pytest.mark.parametrize("address", ["10.9.9.5", "fd00::5"])
def test_a_rule_about_an_address_is_encoded_once_for_all(address: str) -> None:
    """And is then the same, byte for byte, as one that was encoded for it."""
    rules = importlib.import_module("jailkit._network.rules")
    for encoded in (rules._mine, rules._away, rules._fine):
        assert rules._about(address, encoded) == encoded(address)


def test_a_gateway_without_an_interface_is_no_nat() -> None:
    """And the list of what is isolated does not speak of it."""
    plan = compile_plan(JailSpec(net=Network(ip4="10.9.9.5/24", gateway="10.9.9.1")), host())
    (found,) = [one for one in plan.isolation if one.name == "network"]
    assert "NAT" not in found.fact


def test_isolation_says_what_is_open() -> None:
    """By what means, and which rules; and that there is no IPv6, where there is none."""
    for means, word in (("veth", "NAT"), ("pasta", "pasta")):
        plan = compile_plan(JailSpec(net=Network(allow=["public:443"])), host(means=means, way6=False))
        (found,) = [one for one in plan.isolation if one.name == "network"]
        assert found.state == "enforced"
        assert all(text in found.fact for text in (word, "public", "IPv6"))
        assert "belongs to the host" in explain(plan)


@pytest.mark.parametrize("means", ["veth", "pasta"])
def test_a_jail_of_a_pod_is_bound_its_names(means: str) -> None:
    """The file is opened with the caller's rights, attached for reading, and does not say where the jail itself is."""
    spec = JailSpec(net=Network(name="shop", allow=["good.test"]), hostname="shelf")
    plan = compile_plan(spec, host(means=means, names_file="/tmp/there"))
    steps = steps_of(plan)
    (opened,) = where(steps, "open_tree", path="/tmp/there")
    (attached,) = where(steps, "attach", slot="net:hosts")
    (closed,) = where(steps, "setattr", slot="net:hosts")
    assert opened < closed < attached
    assert steps[closed].value == ("MOUNT_ATTR_RDONLY", "MOUNT_ATTR_NOSUID", "MOUNT_ATTR_NODEV")
    assert not where(steps, "file", path="files/hosts")
    assert plan.network is not None
    assert plan.network.pod is not None
    assert "good.test" in plan.network.pod.names
    assert "shelf" not in plan.network.pod.names
    assert "'shop'" in next(one.fact for one in plan.isolation if one.name == "network")


def test_a_root_that_can_be_written_to_keeps_its_names() -> None:
    """Nothing is bound over the /etc/hosts of the caller's directory."""
    spec = JailSpec("/srv/root", net=Network(name="shop"), writable="yes")
    made = attrs.evolve(host(names_file="/tmp/there"), idmapped=frozenset(["/srv/root"]))
    assert not where(steps_of(compile_plan(spec, made)), "open_tree", path="/tmp/there")


def test_reserved_ports_are_those_of_the_network() -> None:
    """A jail in the network of another one cannot open them; one whose network has them open has them too."""
    with pytest.raises(UnsupportedError, match="reserved_ports"):
        compile_plan(JailSpec(net=Joined(Network()), allow=["reserved_ports"]), host())
    plan = compile_plan(JailSpec(net=Joined(Network(), reserved_ports=True), allow=["reserved_ports"]), host())
    assert "shared" in next(one.fact for one in plan.isolation if one.name == "network")
