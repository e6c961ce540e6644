"""A small world of network namespaces: a host, an internet with web and name servers, a LAN, a cloud's metadata.

Nothing of it is in the machine's own network. The "host" is the namespace in which programs that use jailkit run.

    internet                       host                     LAN
    198.51.100.1, 2001:db8::1 ---- eth0  198.51.100.2
    203.0.113.80, .53                    2001:db8::2
    2001:db8:1::80                 lan0  192.168.50.1  ---- 192.168.50.7
    169.254.169.254
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

from tests.patience import patient

__all__ = ["USER", "Bed", "bed"]

HERE = os.path.dirname(os.path.abspath(__file__))
USER = 65534

WEB, WEB6, DNS, LAN, METADATA = "203.0.113.80", "2001:db8:1::80", "203.0.113.53", "192.168.50.7", "169.254.169.254"
NAMES = (
    f"web.test={WEB}",
    f"web6.test={WEB6}",
    f"lan.test={LAN}",
    f"metadata.test={METADATA}",
    "other.test=203.0.113.81",
)
_HOST = f"""
ip link set lo up
ip link add eth0 type veth peer name up0 netns $INTERNET
ip link add lan0 type veth peer name up0 netns $LAN
ip addr add 198.51.100.2/24 dev eth0
ip addr add 2001:db8::2/64 dev eth0 nodad
ip addr add 192.168.50.1/24 dev lan0
ip link set eth0 up
ip link set lan0 up
ip route add default via 198.51.100.1
ip route add default via 2001:db8::1
ip route add 169.254.169.254/32 via 198.51.100.1
echo 1 >/proc/sys/net/ipv4/ip_forward
echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
mount -t tmpfs none /mnt
mknod -m 666 /mnt/tun c 10 200
mount --bind /mnt/tun /dev/net/tun
echo "nameserver {DNS}" >/mnt/resolv.conf
mount --bind /mnt/resolv.conf /etc/resolv.conf
"""
_INTERNET = """
ip link set lo up
ip addr add 198.51.100.1/24 dev up0
ip addr add 2001:db8::1/64 dev up0 nodad
ip link set up0 up
for address in 203.0.113.80/32 203.0.113.81/32 203.0.113.53/32 169.254.169.254/32; do ip addr add $address dev lo; done
for address in 2001:db8:1::80/128 2001:db8:1::53/128; do ip addr add $address dev lo nodad; done
"""
_LAN = """
ip link set lo up
ip addr add 192.168.50.7/24 dev up0
ip link set up0 up
ip route add default via 192.168.50.1
"""
_WAIT = ("sh", "-c", "echo ready; exec cat")


class Bed:
    """The world while it is there."""

    def __init__(self, host: int, internet: int, lan: int) -> None:
        self.host, self.internet, self.lan = host, internet, lan
        self.holders: list[int] = []

    def command(self, *words: str, place: int | None = None, user: bool = False) -> list[str]:
        """Return a command that runs on the host of this world, as root or as an ordinary user."""
        enter = ["nsenter", f"--net=/proc/{place or self.host}/ns/net", f"--mount=/proc/{place or self.host}/ns/mnt"]
        drop = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--inh-caps=-all"]
        return [*enter, "--wd=/", *(drop if user else ()), *words]

    def sh(self, script: str, *, place: int | None = None) -> str:
        """Run a shell script there; every command of it must work."""
        done = subprocess.run(
            self.command("sh", "-e", "-c", script, place=place),
            capture_output=True, text=True, timeout=patient(60), check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def environment(self) -> dict[str, str]:
        """Return the environment of programs that use jailkit there: what can be imported here can be there."""
        paths = os.pathsep.join(path for path in sys.path if path)
        return {"PATH": os.environ["PATH"], "PYTHONPATH": paths, "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}

    def program(self, code: str, *arguments: str, user: bool = False) -> subprocess.Popen[str]:
        """Start lines of Python that use jailkit on the host."""
        lines = f"from tests.net.inside import *\n{textwrap.dedent(code)}"
        command = self.command(sys.executable, "-c", lines, *arguments, user=user)
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=self.environment())

    def python(self, code: str, *arguments: str, user: bool = False) -> Any:
        """Run lines of Python that use jailkit on the host; return what they `say`."""
        lines = f"from tests.net.inside import *\n{textwrap.dedent(code)}"
        done = subprocess.run(
            self.command(sys.executable, "-c", lines, *arguments, user=user),
            capture_output=True, text=True, timeout=patient(120), check=False, env=self.environment(),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    def links(self) -> list[str]:
        """Name the interfaces of the host."""
        return [one["ifname"] for one in json.loads(self.sh("ip -j link"))]


@contextlib.contextmanager
def bed() -> Iterator[Bed]:
    """Make the world, and end it."""
    with contextlib.ExitStack() as stack:
        holders = []

        def hold(*command: str) -> subprocess.Popen[str]:
            pipe = subprocess.PIPE
            holder = stack.enter_context(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True))
            stack.callback(holder.kill)
            holders.append(holder.pid)
            assert holder.stdout is not None
            assert holder.stdout.readline() == "ready\n"
            return holder

        host, internet, lan = (hold("unshare", "-n", "-m", *_WAIT) for _ in range(3))
        made = Bed(host.pid, internet.pid, lan.pid)
        made.holders = holders
        made.sh(_HOST.replace("$INTERNET", str(internet.pid)).replace("$LAN", str(lan.pid)))
        made.sh(_INTERNET, place=internet.pid)
        made.sh(_LAN, place=lan.pid)
        serve = (sys.executable, "-I", "-S", f"{HERE}/server.py", *NAMES)
        for place in (internet.pid, lan.pid, host.pid):
            hold(*made.command(*serve, place=place))
        yield made
