"""A network with a way out comes and goes with its jail, and nobody in the jail can change it."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from tests.net.bed import WEB, Bed
from tests.net.remains import gone, left

pytestmark = [pytest.mark.requires("root", "python", "network"), pytest.mark.timeout(120)]


def test_nothing_is_left_of_a_network(world: Bed, user: bool) -> None:
    """After close: no interface, route, table or process; while it lives there is some of it."""
    code = """
    with Jail(net=jailkit.Network(ports={0: 80})) as jail:
        there = len(os.popen("ip link; ps -eo args | grep [/]pasta").read().splitlines())
    say([there, len(os.popen("ip link; ps -eo args | grep [/]pasta").read().splitlines())])
    """
    before, after = world.python(code, user=user)
    assert before > after
    assert left(world) == []


BREAKING = """
    import errno, gc, subprocess
    net = eval(sys.argv[1])
    jailkit.run(["true"], net=net)
    def count():
        done = subprocess.run(f"ip link; ps --ppid {os.getpid()} -o args | grep [/]pasta", shell=True, capture_output=True, text=True)
        files = [name for name in os.listdir("/tmp") if name.startswith(f"jailkit-files-{os.getpid()}-")]
        return done.stdout.count("mtu") + done.stdout.count("sh -c") + len(files)
    def descriptors():
        paths = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
        return {(path, os.readlink(path)) for path in paths if os.path.lexists(path)}
    before, said, open_before = count(), set(), descriptors()
    for at in range(1, 60):
        try:
            with failing(at):
                jail = Jail(net=net).start()
        except jailkit.LaunchError as error:
            said.add((error.phase, error.errno == errno.ENOBUFS))
            continue
        # Not before: an error would come to its end, which then leaves the rest to the kernel and does not wait for it.
        jail.close()
        break
    gc.collect()
    say([at > 6, sorted(said), count() - before, sorted(descriptors() - open_before)])
"""


@pytest.mark.parametrize("net", ["True", "jailkit.Network(name='pod')"], ids=["alone", "pod"])
def test_nothing_is_left_after_an_error_at_any_step(world: Bed, user: bool, net: str) -> None:
    """Whatever call of the set-up fails, the start does, with an address, and leaves nothing; there are many calls."""
    many, said, more, opened = world.python(BREAKING, net, user=user)
    assert (many, said, more, opened) == (True, [["network", True]], 0, [])
    assert gone(world) == []


def test_nothing_is_left_of_a_program_that_is_killed(world: Bed, user: bool) -> None:
    """After SIGKILL of the host program everything ends by itself; nobody has to start again for it."""
    code = """
    from tests.net.inside import *
    jails = [Jail(net=jailkit.Network(ports={0: 80})).start() for _ in range(2)]
    jails[0].popen(["sleep", "100"], timeout=100)
    print("there", flush=True)
    time.sleep(100)
    """
    lines = "\n".join(line.strip() for line in code.strip().splitlines())
    command = world.command(sys.executable, "-c", lines, user=user)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=world.environment()) as program:
        try:
            assert program.stdout is not None
            assert program.stdout.readline() == "there\n"
            assert left(world) != []
        finally:
            program.kill()
    assert gone(world) == []


def test_two_jails_cannot_have_one_address(world: Bed, user: bool) -> None:
    """An address that the caller names is had by one jail at a time on this host, and is the one of the jail."""
    code = """
    net = jailkit.Network(ip4="10.77.0.5", ip6="fd00:77::5", allow=["203.0.113.0/24"])
    with Jail(net=net) as jail:
        mine = [jail.addresses, list(dial(jail, ("203.0.113.80", 80)).values())]
        try:
            Jail(net=net).start()
        except jailkit.LaunchError as error:
            said = [error.phase, error.strerror]
    with Jail(net=net) as jail:
        say([mine, said, jail.addresses])
    """
    mine, said, again = world.python(code, user=user)
    assert mine == [["10.77.0.5", "fd00:77::5"], ["REACHED"]]
    assert said == ["network", "Address already in use"]
    assert again == ["10.77.0.5", "fd00:77::5"]
    assert left(world) == []


def test_jails_started_by_eight_threads(world: Bed, user: bool) -> None:
    """All at once, each with addresses of its own, each with a way out; the threads stay in the host's network."""
    code = """
    import concurrent.futures
    before = os.readlink("/proc/self/ns/net")
    def one(_):
        with Jail(net=True) as jail:
            there = jail.run(["curl", "-s", "http://203.0.113.80/"], timeout=90, text=True).stdout
            return jail.addresses[0], there.startswith("caller="), os.readlink("/proc/thread-self/ns/net") == before
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(one, range(16)))
    say([len({address for address, *_ in found}), sorted({(fine, same) for _, fine, same in found})])
    """
    different, fine = world.python(code, user=user)
    assert fine == [[True, True]]
    assert user or different > 1
    assert gone(world) == []


@pytest.mark.many
def test_a_hundred_jails_at_once(world: Bed) -> None:
    """Started by eight threads, each has its own address, and the last one a way out as the first has."""
    code = """
    import concurrent.futures
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        jails = list(pool.map(lambda _: Jail(net=True).start(), range(100)))
        said = [list(dial(jail, ("203.0.113.80", 80)).values())[0] for jail in (jails[0], jails[-1])]
        different = len({jail.addresses for jail in jails})
        list(pool.map(Jail.close, jails))
    say([different, said])
    """
    assert world.python(code) == [100, ["REACHED", "REACHED"]]
    assert left(world) == []


CHANGE = """
import fcntl, socket, struct
def tell(protocol, kind, flags, body):
    with socket.socket(16, socket.SOCK_RAW, protocol) as sock:
        sock.settimeout(20)
        sock.send(struct.pack("=IHHII", 16 + len(body), kind, flags | 5, 1, 0) + body)
        answer = struct.unpack_from("=IHHIIi", sock.recv(4096))
        if answer[1] == 2 and answer[5]:
            raise OSError(-answer[5], "netlink")
def down():
    fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sH22x", b"eth0", 0))
def setting():
    open("/proc/sys/net/ipv4/ip_forward", "w").write("1")
address = struct.pack("=BBBBI", 2, 8, 0, 254, 2) + struct.pack("=HH4s", 8, 2, bytes([10, 9, 8, 7]))
flush = struct.pack("=BBH", 0, 0, 2560)
say({
    "the interface down": attempt(down),
    "an address": attempt(tell, 0, 20, 0x600, address),
    "the rules": attempt(tell, 12, 0x10, 0, flush),
    "a setting": attempt(setting),
    "a raw socket": attempt(socket.socket, socket.AF_INET, socket.SOCK_RAW, 255),
    "packets": attempt(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, 0),
})
"""


def test_the_superuser_of_a_jail_has_no_right_over_its_network(world: Bed, user: bool) -> None:
    """At level JAIL, without any filter: the network is the host's. Control: one that is the jail's own."""
    code = f"""
    def attempts(net):
        with Jail(level="jail", net=net) as jail:
            result = jail.run(program({CHANGE!r}), text=True)
            return json.loads(result.stdout) if result.ok else result.stderr
    say([attempts(True), attempts(False)])
    """.replace("\n    ", "\n")
    mine, control = world.python(code, user=user)
    assert set(mine.values()) <= {"EPERM", "EACCES", "EROFS"}, mine
    assert {"POSSIBLE"} <= set(control.values()), control


def test_raw_sockets_are_refused(world: Bed) -> None:
    """They would go round the rules; the error says what to do instead."""
    code = """
    try:
        Jail(net=True, allow=["raw_sockets"]).start()
    except jailkit.UnsupportedError as error:
        say(error.remedy)
    """
    assert "ping" in world.python(code)


def test_reserved_ports_are_opened_by_name(world: Bed, user: bool) -> None:
    """Port 80 of the jail's own network is for those who were allowed it."""
    code = """
    bind = program("import socket; say(attempt(socket.socket().bind, ('', 80)))")
    say([jailkit.run(bind, net=True, allow=allow, text=True).stdout.strip() for allow in ([], ["reserved_ports"])])
    """
    assert world.python(code, user=user) == ['"EACCES"', '"POSSIBLE"']


def test_a_host_that_hands_on_nothing_says_so(world: Bed) -> None:
    """The host's own settings are neither changed nor worked round: an error names the one that is missing."""
    code = """
    def settings():
        names = ("ipv4/ip_forward", "ipv4/conf/eth0/forwarding", "ipv4/conf/lo/route_localnet", "ipv6/conf/all/forwarding")
        return [open(f"/proc/sys/net/{name}").read() for name in names]
    before = settings()
    with Jail(net=jailkit.Network(ports={0: 80})):
        during = settings()
    open("/proc/sys/net/ipv4/ip_forward", "w").write("0")
    try:
        Jail(net=True).start()
    except jailkit.UnsupportedError as error:
        said = [error.feature, error.remedy]
    finally:
        closed = open("/proc/sys/net/ipv4/ip_forward").read()
        open("/proc/sys/net/ipv4/ip_forward", "w").write("1")
    say([said, closed, before == during])
    """
    said, closed, same = world.python(code)
    assert said[0] == "net=True"
    assert "sysctl net.ipv4.ip_forward=1" in said[1]
    assert (closed, same) == ("0\n", True)


def test_name_servers_on_the_hosts_loopback(world: Bed) -> None:
    """Only the host can ask them, so the start is refused with the remedy; named servers are what the jail gets."""
    code = """
    open("/etc/resolv.conf", "w").write("nameserver 127.0.0.1\\n")
    try:
        Jail(net=True).start()
    except jailkit.UnsupportedError as error:
        said = error.remedy
    with Jail(net=jailkit.Network(dns=["203.0.113.53"])) as jail:
        found = dial(jail, ("web.test", 80))
    open("/etc/resolv.conf", "w").write("nameserver 203.0.113.53\\n")
    say([said, list(found.values())])
    """
    remedy, found = world.python(code)
    assert "dns=" in remedy
    assert found == ["REACHED"]


def test_a_host_without_a_name_server(world: Bed, user: bool) -> None:
    """Has no names, and addresses as any other."""
    world.sh("echo >/etc/resolv.conf")
    try:
        found = world.python(
            "with Jail(net=True) as jail:\n    say(dial(jail, ('203.0.113.80', 80), ('web.test', 80)))", user=user
        )
    finally:
        world.sh("echo nameserver 203.0.113.53 >/etc/resolv.conf")
    assert list(found.values()) == ["REACHED", "no such name"]


def test_a_forked_child_leaves_the_network_to_its_parent(world: Bed, user: bool) -> None:
    """The end of the child changes nothing, and its copies of descriptors keep nothing alive."""
    code = """
    with Jail(net=True) as jail:
        child = os.fork()
        if child == 0:
            time.sleep(100)
            os._exit(0)
        said = list(dial(jail, ("203.0.113.80", 80)).values())
    links = os.popen("ip link; ps -eo args | grep [/]pasta").read().count("jk")
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    say([said, links])
    """
    assert world.python(code, user=user) == [["REACHED"], 0]
    assert gone(world) == []


def test_isolation_says_what_is_open(world: Bed, user: bool) -> None:
    """One line of the list: by what means, and which rules."""
    code = """
    found = {}
    for net in (True, jailkit.Network(allow=["203.0.113.80:80"])):
        found[str(net)] = [(one.state, one.fact) for one in Jail(net=net).isolation if one.name == "network"]
    say(list(found.values()))
    """
    (public,), (one,) = world.python(code, user=user)
    assert public[0] == one[0] == "enforced"
    assert "public" in public[1]
    assert WEB in one[1]


def test_root_inside_has_the_jails_network(world: Bed) -> None:
    """In the block interfaces and addresses are those of the jail; the way in by `attach` is in test_network.py."""
    code = """
    with Jail(net=jailkit.Network()) as jail:
        with jail.inside():
            inside = sorted(name for _, name in socket.if_nameindex())
        say([inside, jail.addresses[0] in jail.run(["cat", "/proc/net/fib_trie"], text=True).stdout])
    """
    inside, known = world.python(f"import socket\n{textwrap.dedent(code)}")
    assert known
    assert inside == world.python("""
    with Jail(net=jailkit.Network()) as jail:
        script = "import socket; print(*sorted(name for _, name in socket.if_nameindex()))"
        say(jail.run(["python3", "-c", script], text=True).stdout.split())
    """)
