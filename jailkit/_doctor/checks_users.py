"""Checks of namespaces, and of who the caller is to them."""

from __future__ import annotations

from jailkit._doctor.checks import EVERY, Simple, decide, from_gate
from jailkit._doctor.facts import BECOME, Facts
from jailkit._doctor.gates import Gate, namespace_gate, user_gate
from jailkit._doctor.report import Check

__all__ = ["checks"]

_RANGE = ("ids beside the caller's own at levels JAIL and CONTAINER, for ordinary users",)

_USER = Simple(
    name="user-namespaces",
    attempt="user",
    tried="make a user namespace and write its id map",
    works="made, with rights in it",
    gate=user_gate,
    needed_by=(EVERY,),
)
_CLONE = Simple(
    name="clone-namespaces",
    attempt="clone",
    tried="make a process in new user, mount, pid, UTS and IPC namespaces with one clone(2)",
    works="made",
    gate=user_gate,
    needed_by=(EVERY,),
)
_KINDS = {
    "mount": (EVERY,),
    "pid": (EVERY,),
    "net": ("net=False", "net=True"),
    "uts": ("hostname", "every jail from level JAIL on"),
    "ipc": ("every jail from level JAIL on",),
    "cgroup": (EVERY,),
}


def _namespace(facts: Facts, kind: str, needed_by: tuple[str, ...]) -> Check:
    simple = Simple(
        name=f"{kind}-namespaces",
        attempt=kind,
        tried=f"make a {kind} namespace in a new user namespace",
        works="made",
        gate=lambda facts, tried: namespace_gate(facts, tried, kind),
        needed_by=needed_by,
    )
    return decide(facts, simple)


def _nobody(facts: Facts) -> Check:
    """Whether an ordinary user can do it: what root is asked by those who cannot try themselves."""
    same = facts.uid != 0
    if not same and facts.attempt("user-as-nobody").step == BECOME:
        gate = Gate(
            "no-other-id", "this user namespace has no id of an ordinary user", "none is needed in here", "none"
        )
        return from_gate(
            gate,
            name="user-namespaces-as-user",
            tried="become an ordinary user (uid 65534)",
            happened=facts.attempt("user-as-nobody").said,
            needed_by=("jails of ordinary users",),
            degraded=True,
        )
    simple = Simple(
        name="user-namespaces-as-user",
        attempt="user" if same else "user-as-nobody",
        tried="the same as the ordinary user that the caller is"
        if same
        else "the same as an ordinary user (uid 65534)",
        works="made, with rights in it",
        gate=lambda facts, tried: user_gate(_as_user(facts), tried),
        needed_by=("jails of ordinary users",),
    )
    return decide(facts, simple)


def _as_user(facts: Facts) -> Facts:
    """Return the facts without the capabilities: Debian's setting is about those who have none."""
    import attrs  # noqa: PLC0415 - here alone

    status = facts.setting("/proc/self/status")
    lines = [line for line in status.splitlines() if not line.startswith("CapEff")]
    return attrs.evolve(facts, settings={**facts.settings, "/proc/self/status": "\n".join(lines)})


def _id_range(facts: Facts) -> Check:
    name, tried = "id-range", "have newuidmap and newgidmap write a map with ids from /etc/subuid and /etc/subgid"
    found = facts.attempt("id-range")
    if facts.tier == "root":
        return Check(name=name, state="ok", tried="look at the capabilities of the caller", needed_by=_RANGE,
                     happened="not needed: this caller maps ids by itself")  # fmt: skip
    if found.ok:
        return Check(name=name, state="ok", tried=tried, happened=f"written: {found.note}", needed_by=_RANGE)
    return from_gate(_range_gate(facts), name=name, tried=tried, happened=found.said, needed_by=_RANGE, degraded=False)


def _range_gate(facts: Facts) -> Gate:
    tried = facts.attempt("id-range")
    grant = f"usermod --add-subuids 200000-265535 --add-subgids 200000-265535 USER   (for uid {facts.uid})"
    if tried.data.get("programs") is False:
        return Gate("not-installed", "newuidmap and newgidmap are not in PATH",
                    f"as root:\napt-get install uidmap\n{grant}",
                    "two set-uid programs on this machine")  # fmt: skip
    if not all(tried.data.get("ranges", ())):
        missing = [
            path for path, found in zip(("/etc/subuid", "/etc/subgid"), tried.data["ranges"], strict=True) if not found
        ]
        return Gate("no-id-range", f"{' and '.join(missing)} grant uid {facts.uid} nothing", f"as root:\n{grant}",
                    "that user owns those ids from then on; no other user may have them")  # fmt: skip
    if not facts.attempt("user").ok:
        return user_gate(facts, facts.attempt("user"))
    if facts.status("NoNewPrivs") == "1":
        return Gate("no-new-privs", "NoNewPrivs in /proc/self/status is 1: set-id programs gain no rights",
                    "start the caller without it (docker: no --security-opt no-new-privileges; systemd: "
                    "NoNewPrivileges=no; kubernetes: allowPrivilegeEscalation: true)",
                    "set-id programs work for everything that is started there")  # fmt: skip
    return Gate("unknown", f"newuidmap or newgidmap said: {tried.note}", "see newuidmap(1); do the two programs have "
                "their set-uid bit or file capabilities, and lie on a file system without nosuid?", "none")  # fmt: skip


def checks(facts: Facts) -> list[Check]:
    """Return the checks of namespaces and ids, in their order."""
    loopback = Simple(
        name="loopback",
        attempt="loopback",
        tried="switch the loopback of a new network namespace on",
        works="on",
        gate=lambda facts, tried: namespace_gate(facts, tried, "net"),
        needed_by=("net=False", "net=True"),
    )
    return [
        decide(facts, _USER),
        _nobody(facts),
        decide(facts, _CLONE),
        *(_namespace(facts, kind, needed) for kind, needed in _KINDS.items()),
        decide(facts, loopback),
        _id_range(facts),
    ]
