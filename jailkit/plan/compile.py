"""From WANT to HOW: `compile_plan`. Pure: the same spec and host give the same plan."""

from __future__ import annotations

from collections.abc import Iterator

from jailkit._errors import UnsupportedError
from jailkit.plan import devices, identity, mounts, privileges, root
from jailkit.plan.bare import compile_bare
from jailkit.plan.bounds import bounds
from jailkit.plan.facts import Host
from jailkit.plan.groups import jail_group
from jailkit.plan.isolation import isolation
from jailkit.plan.landlock import landlock, refuse_unsupported_landlock
from jailkit.plan.network import enter_network, network_plan, open_names
from jailkit.plan.plan import Plan
from jailkit.plan.steps import Step
from jailkit.spec import JailSpec, Level, Limits

__all__ = ["compile_plan"]

_NONE = Limits()


def compile_plan(spec: JailSpec, host: Host) -> Plan:
    """Decide every step between a spec and a live jail.

    The order is the protection. As root, sources are opened with the caller's rights, before PID 1 exists; as an
    ordinary user they are opened by PID 1, because only there mounts may be made, with the same id and so the same
    rights. Then names, files, devices; the root is entered and the host's detached; the network namespace, made in the
    meantime, is entered; privileges go last. A network with a way out is made before all that, and entered before PID 1
    is there.

    Raises:
        UnsupportedError: The spec asks by name for what this host or this version cannot give.
    """
    if spec.tier == "landlock":
        return compile_bare(spec, host)
    _refuse_unsupported(spec, host)
    ids = identity.choose_ids(spec, host)
    bounded = bounds(_NONE, spec.bounded_limits, spec.level, ids.source, host.hard_limits)
    group = jail_group(spec.effective_limits, frozenset(spec.limits.named()), host)
    network = network_plan(spec, host)
    by_caller, by_pid1 = _sources(spec, host)
    return Plan(
        host_steps=(
            *by_caller,
            *devices.nodes(host),
            *enter_network(network),
            *identity.birth(spec, host, ids, group),
            *identity.network(spec),
        ),
        jail_steps=(
            *identity.join_groups(group),
            *by_pid1,
            *privileges.become_root_of_jail(ids, host),
            *privileges.names(spec),
            *root.base(spec, host),
            *root.root_tree(spec, host),
            *root.private_directories(spec, host),
            *devices.dev(spec, host),
            *devices.proc(spec),
            *mounts.attach_mounts(spec),
            *_enter(spec),
            *privileges.drop(spec, host),
            *landlock(spec, host),
        ),
        ids=ids,
        cwd=_cwd(spec),
        needs_id_slice=ids.source == "slice",
        tier=host.tier,
        isolation=isolation(spec, host, ids, bounded, group, network),
        group=group,
        network=network,
    )


def _sources(spec: JailSpec, host: Host) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """What is opened with the caller's rights, and what by PID 1."""
    sources = (*root.open_root(spec, host), *mounts.open_binds(spec, host), *open_names(spec, host))
    return (sources, ()) if host.id_area else ((), sources)


def _enter(spec: JailSpec) -> Iterator[Step]:
    yield from root.seal(spec)
    yield from root.enter()
    yield from identity.take_network(spec)


def _cwd(spec: JailSpec) -> str:
    return spec.cwd or (spec.effective_user.home if root.has_private_home(spec) else "/")


def _refuse_unsupported(spec: JailSpec, host: Host) -> None:
    if spec.tier not in (None, host.tier):
        raise UnsupportedError(
            f"tier={spec.tier!r}",
            f"what this process may do makes it tier {host.tier!r}",
            "leave tier out, or run as root for one and as an ordinary user for the other",
        )
    privileges.refuse_unsupported_filter(spec, host)
    refuse_unsupported_landlock(spec, host)
    if spec.level < Level.JAIL and spec.hostname != "jail":
        raise UnsupportedError(f"hostname={spec.hostname!r}", "level CHROOT shares the host's name", "use level JAIL")
