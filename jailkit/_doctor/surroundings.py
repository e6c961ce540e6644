"""Whether this is a container, by real signs, and the flags by which each engine opens a gate."""

from __future__ import annotations

import attrs

from jailkit._doctor.facts import INITIAL_NAMESPACES, Facts

__all__ = ["Surroundings", "flags", "surroundings"]

_GVISOR = "Linux version 4.4.0 #1 SMP Sun Jan 10 15:06:54 PST 2016"  # the text is fixed in its sources

_DOCKER = "docker run --security-opt "
_FLAGS = {
    ("docker", "seccomp"): f"{_DOCKER}seccomp=unconfined …",
    ("docker", "apparmor"): f"{_DOCKER}apparmor=unconfined …",
    ("docker", "proc"): f"{_DOCKER}systempaths=unconfined …",
    ("docker", "cgroups"): f"{_DOCKER}writable-cgroups=true …   (Docker 28 or newer, cgroup v2)",
    ("podman", "seccomp"): "podman run --security-opt seccomp=unconfined …",
    ("podman", "apparmor"): "podman run --security-opt apparmor=unconfined …",
    ("podman", "proc"): "podman run --security-opt unmask=ALL …",
    ("podman", "cgroups"): "podman run --cgroupns=private --security-opt unmask=/sys/fs/cgroup …",
    ("kubernetes", "seccomp"): "in the container's securityContext:\nseccompProfile: {type: Unconfined}",
    ("kubernetes", "apparmor"): "in the container's securityContext:\nappArmorProfile: {type: Unconfined}",
    ("kubernetes", "proc"): "in the pod's spec, and in the container's securityContext:\n"
    "hostUsers: false\nprocMount: Unmasked",
    ("kubernetes", "cgroups"): "the node's containerd with cgroup_writable = true for this runtime class "
    "(containerd 2.1 or newer)",
}

# Units of systemd close the same gates, and look like no container; see systemd.exec(5).
_UNIT = {
    "seccomp": "RestrictNamespaces=no, and no SystemCallFilter= without these calls",
    "proc": "ProtectKernelTunables=no and ProtectKernelLogs=no",
    "cgroups": "ProtectControlGroups=no",
}


@attrs.frozen
class Surroundings:
    """Where this process runs.

    Attributes:
        engine: ``""`` for none, ``docker``, ``podman``, ``kubernetes``, ``lxc``, ``nspawn``, ``wsl``, ``gvisor`` or
            ``other``.
        signs: What it is known by.
    """

    engine: str
    signs: str


def surroundings(facts: Facts) -> Surroundings:
    """Return where this is. A file of an image is no sign by itself: the image may be the root of a machine."""
    version = facts.setting("/proc/version")
    if version.startswith(_GVISOR) or "gVisor" in version:
        return Surroundings("gvisor", "/proc/version")
    pid = facts.setting("/proc/self/ns/pid")
    apart = [
        kind for kind, own in INITIAL_NAMESPACES.items() if facts.setting(f"/proc/self/ns/{kind}") not in ("", own)
    ]
    engine, sign = _engine(facts)
    if apart or (pid == "" and engine):
        words = " and ".join(f"the {kind} namespace is not the host's" for kind in apart) or "no /proc/self/ns"
        return Surroundings(engine or "other", f"{words}; {sign or 'no sign of an engine'}")
    if "microsoft" in facts.release.lower():
        return Surroundings("wsl", f"kernel {facts.release}")
    stale = f"; {sign} is left from an image" if sign else ""
    return Surroundings("", f"the pid and user namespaces are the machine's own{stale}")


def _engine(facts: Facts) -> tuple[str, str]:
    groups = facts.setting("/proc/1/cgroup") + facts.setting("/proc/self/mountinfo")
    named = facts.setting("$container")
    for engine, sign, there in (
        ("kubernetes", "KUBERNETES_SERVICE_HOST is set", facts.setting("$KUBERNETES_SERVICE_HOST")),
        ("kubernetes", "kubepods in its cgroup", "kubepods" in groups),
        ("podman", "/run/.containerenv", facts.setting("/run/.containerenv")),
        ("podman", "container=podman", named == "podman"),
        ("docker", "/.dockerenv", facts.setting("/.dockerenv")),
        ("docker", "/docker/ in its mounts or cgroup", "/docker/" in groups),
        ("lxc", f"container={named}", named.startswith("lxc")),
        ("nspawn", f"container={named}", named == "systemd-nspawn"),
        ("other", f"container={named}", named),
    ):
        if there:
            return engine, sign
    return "", ""


def flags(engine: str, gate: str) -> str:
    """Return how an engine opens one of ``seccomp``, ``apparmor``, ``proc`` and ``cgroups``, and nothing more."""
    if (engine, gate) in _FLAGS:
        return _FLAGS[engine, gate]
    if engine in ("gvisor", "wsl", "lxc", "nspawn"):
        return f"a setting of {engine}, by whoever runs this machine"
    lines = [f"{name}: {_FLAGS[name, gate]}" for name in ("docker", "podman", "kubernetes")]
    return "\n".join([*lines, *([f"a unit of systemd: {_UNIT[gate]}"] if gate in _UNIT else [])])
