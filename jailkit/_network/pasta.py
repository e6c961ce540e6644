"""The way out of an ordinary user's jail: pasta(1), which speaks for it with sockets of the user's own."""

from __future__ import annotations

import contextlib
import errno
import selectors
import subprocess
import time

from jailkit._errors import UnsupportedError
from jailkit._network.netlink import first_of
from jailkit._network.rules import as_the_first
from jailkit._network.space import Space
from jailkit._network.veth import INSIDE, addresses_of
from jailkit.plan import NetworkPlan
from jailkit.spec import Port

__all__ = ["Pasta"]

_SECONDS = 20.0

# The end of the file is the end of the host program, or of the jail. No reaping before: the number stays pasta's.
_SCRIPT = """
trap '' HUP INT TERM QUIT
exec 3<&0 </dev/null >/dev/null
"$@" 3<&- &
exec 2>/dev/null
read -r line <&3
kill -9 $!
wait
"""


class Pasta:
    """The process, and the shell that ends it when this program is gone."""

    def __init__(self, plan: NetworkPlan) -> None:
        """Start nothing yet."""
        self._plan = plan
        self._shell: subprocess.Popen[bytes] | None = None

    def open(self, space: Space, ports: tuple[Port, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Start it, and wait for its interface in the jail; return the gateways' and the jail's addresses.

        Raises:
            OSError: It ended, or did not come; its last words are the message.
            UnsupportedError: The kernel cannot translate the addresses that pasta does not carry.
        """
        gateways, own = addresses_of(self._plan, 1)
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", _SCRIPT, "jailkit", *self._command(space, gateways, own, ports)],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PATH": "/usr/bin:/bin"},
            cwd="/",
            start_new_session=True,
        )
        self._wait(space)
        _as_one(space, own)
        return gateways, own

    def _command(
        self, space: Space, gateways: tuple[str, ...], own: tuple[str, ...], ports: tuple[Port, ...]
    ) -> list[str]:
        assert space.helper is not None  # noqa: S101 - an ordinary user's has one
        here = f"/proc/{space.helper.pid}/ns"
        words = [self._plan.pasta, "--foreground", "--quiet", "--stderr", "--no-map-gw", "--ns-ifname", INSIDE]
        words += ["--no-dhcp", "--no-dhcpv6", "--no-ra", "--netmask", "255.255.255.0"]
        # The jail is told of name servers by a file; pasta complains about those that it finds itself.
        words += ["--dns", "none"]
        carried = [one for one in gateways if self._plan.way6 or ":" not in one]
        for gateway in carried:
            words += ["--address", first_of(own, gateway), "--gateway", gateway]
        if len(carried) == 1:
            words.append("--ipv6-only" if ":" in carried[0] else "--ipv4-only")
        # Without a bound on the speed packets are as large as they can be, larger than a small bucket holds.
        words += ["--mtu", "1500"] if self._plan.bandwidth else []
        words += ["--tcp-ns", "none", "--udp-ns", "none"]
        for protocol in ("tcp", "udp"):
            specs = [f"{one.address}/{one.number}:{one.inside}" for one in ports if one.protocol == protocol]
            words += [word for spec in specs or ["none"] for word in (f"--{protocol}-ports", spec)]
        return [*words, "--userns", f"{here}/user", "--netns", f"{here}/net"]

    def _wait(self, space: Space) -> None:
        assert self._shell is not None  # noqa: S101 - for mypy
        assert self._shell.stderr is not None  # noqa: S101
        deadline = time.monotonic() + _SECONDS
        with selectors.DefaultSelector() as ended:
            ended.register(self._shell.stderr, selectors.EVENT_READ)
            while not space.route.has(INSIDE):
                if ended.select(0.005) or time.monotonic() > deadline:
                    raise OSError(errno.EIO, f"pasta gave no network: {self._last_words()}")

    def _last_words(self) -> str:
        assert self._shell is not None  # noqa: S101 - for mypy
        _, said = self._shell.communicate(timeout=_SECONDS)  # closes its stdin: it ends
        return said.decode(errors="replace").strip()[-300:]

    def close(self) -> None:
        """End it. Safe to call again."""
        shell, self._shell = self._shell, None
        if shell is not None:
            with contextlib.suppress(subprocess.TimeoutExpired, ValueError):
                shell.communicate(timeout=_SECONDS)

    def disown(self) -> None:
        """Let go: it is the parent's of this process."""
        if self._shell is not None:
            for pipe in (self._shell.stdin, self._shell.stderr):
                if pipe is not None:
                    pipe.close()
            self._shell.returncode = 0  # nobody here may wait for it
        self._shell = None


def _as_one(space: Space, own: tuple[str, ...]) -> None:
    """Have all addresses of a version leave as the first: pasta takes the last source it has seen for the jail's."""
    if len({":" in one for one in own}) == len(own):
        return
    try:
        space.filter.transact(*as_the_first(INSIDE, own))
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EOPNOTSUPP):
            raise
        raise UnsupportedError(
            "several addresses of one version of IP, for an ordinary user",
            "this kernel has no nft_nat (CONFIG_NFT_NAT), or may not load it",
            "modprobe nft_nat, or one address of each version",
        ) from error
