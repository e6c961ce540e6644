"""The files of /etc that a jail is given: enough for names to resolve without asking anybody."""

from __future__ import annotations

from jailkit.plan.facts import Host
from jailkit.plan.network import LOOPBACK_NAMES, resolvers, rule_names
from jailkit.spec import JailSpec

__all__ = ["generated_files", "network_files"]


def network_files(spec: JailSpec, host: Host) -> tuple[tuple[str, bytes | None], ...]:
    """Return the same for what a network with a way out says in place of anybody else: hosts(5), resolv.conf(5)."""
    if spec.network is None or host.uplink is None:
        return ()
    servers = "".join(f"nameserver {address}\n" for address in resolvers(spec.network, host.uplink))
    # In a pod they are another file's: None.
    hosts = (_hosts(spec) + rule_names(spec, host.uplink)).encode() if spec.network.name is None else None
    return (("hosts", hosts), ("resolv.conf", servers.encode()))


def _hosts(spec: JailSpec) -> str:
    return f"{LOOPBACK_NAMES}127.0.1.1 {spec.hostname}\n"


def generated_files(spec: JailSpec) -> tuple[tuple[str, bytes], ...]:
    """Return the names below /etc and the contents: passwd(5), group(5), hosts(5), hostname(5), nsswitch.conf(5)."""
    user = spec.effective_user
    users = {0: "root:x:0:0:root:/root:/bin/sh", 65534: "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin"}
    groups = {0: "root:x:0:", 65534: "nogroup:x:65534:"}
    if user.uid not in users:
        users[user.uid] = f"{user.name}:x:{user.uid}:{user.gid}:{user.name}:{user.home}:/bin/sh"
    groups.setdefault(user.gid, f"{user.name}:x:{user.gid}:")
    return (
        ("passwd", _lines(users)),
        ("group", _lines(groups)),
        ("hosts", _hosts(spec).encode()),
        ("hostname", f"{spec.hostname}\n".encode()),
        ("nsswitch.conf", b"passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n"),
    )


def _lines(entries: dict[int, str]) -> bytes:
    return "".join(f"{entries[number]}\n" for number in sorted(entries)).encode()
