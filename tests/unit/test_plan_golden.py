"""Whole plans, word by word: what a change of the compiler does to them is seen in its diff.

Each case is one spec on one made-up host. ``golden/NAME.txt`` is what `explain` prints; ``golden/NAME.jsonl`` has the
steps as data, one on a line, constants by name, nothing in it of the machine that the tests run on. Both are written
anew by::

    JAILKIT_UPDATE_GOLDEN=1 python -m pytest tests/unit/test_plan_golden.py

Read the diff before it is committed: each line is something that happens on somebody's machine.
"""

from __future__ import annotations

import difflib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from jailkit.plan import Host, Plan, Step, compile_plan, explain
from jailkit.spec import UNLIMITED, Bind, JailSpec, Level, Limits, MiB, Tmpfs, User
from tests.plans import FILTER, ONE_OF_EACH, entries, node_host, root_host, sub_host, user_host

FOLDER = Path(__file__).with_name("golden")
UPDATE = os.environ.get("JAILKIT_UPDATE_GOLDEN") == "1"

_LINKS = (("bin", "usr/bin"), ("lib", "usr/lib"), ("lib64", "usr/lib64"), ("sbin", "usr/sbin"))
_HARD = (("RLIMIT_NPROC", 4096), ("RLIMIT_STACK", -1))
_FACTS: dict[str, Any] = {
    "system": _LINKS,
    "etc": ("alternatives", "ld.so.cache"),
    "hard_limits": _HARD,
    "landlock": 7,
    "seccomp": FILTER,
}
_OLD_FACTS: dict[str, Any] = {"system": (("bin", ""), ("lib", "")), "etc": (), "staging": "/mnt"}
_ROOT = node_host(**_FACTS, idmapped=frozenset({"/srv/root", "/srv/data", "/srv/out", "/srv/lent"}))
_ONE = user_host(**_FACTS)
_SUB = sub_host(**_FACTS)

_NO_LINK = tuple(mount for mount in ONE_OF_EACH if mount.target != "/link")

CASES: dict[str, tuple[JailSpec, Host]] = {
    "sandbox-host-view-root": (JailSpec(), _ROOT),
    "sandbox-host-view-user": (JailSpec(), _ONE),
    "sandbox-host-view-ephemeral-net-host": (JailSpec(writable="ephemeral", net="host"), _ONE),
    "container-dir-root": (
        JailSpec("/srv/root", level=Level.CONTAINER, mounts=ONE_OF_EACH, hostname="box.example"),
        _ROOT,
    ),
    "container-dir-subid": (JailSpec("/srv/root", level=Level.CONTAINER, user=1000), _SUB),
    "jail-dir-ephemeral-user": (
        JailSpec("/srv/root", level=Level.JAIL, writable="ephemeral", mounts=ONE_OF_EACH, user=User(7, 8)),
        _ONE,
    ),
    "jail-dir-yes-root": (
        JailSpec("/srv/root", level=Level.JAIL, writable="yes", mounts=_NO_LINK, net="host"),
        _ROOT,
    ),
    "sandbox-dir-yes-user": (JailSpec("/srv/root", writable="yes", cwd="/work"), _ONE),
    "chroot-dir-root-unlimited": (
        JailSpec("/srv/root", level=Level.CHROOT, limits=Limits(disk=UNLIMITED, core=UNLIMITED, cpu_seconds=1.5)),
        root_host(**_FACTS),
    ),
    "chroot-old-layout-subid": (
        JailSpec(
            level=Level.CHROOT,
            mounts=(Bind("/srv/data"), Tmpfs("/srv/data/tmp"), Tmpfs("/tmp", size=MiB)),
            limits=Limits(disk=3 * MiB),
        ),
        sub_host(**_OLD_FACTS),
    ),
}


def data_of(step: Step) -> dict[str, Any]:
    """Return a step without its reason, and without what says nothing."""
    fields = ("op", "slot", "at", "path", "flags", "value", "optional", "keep")
    found = {name: getattr(step, name) for name in fields}
    if step.op in ("filter", "landlock_ruleset"):
        found["text"] = step.text.hex()
    elif step.op in ("idmap", "userns"):
        found["map"] = entries(step.text)
    else:
        found["text"] = step.text.decode("utf-8", "backslashreplace")
    return {name: value for name, value in found.items() if value not in (None, "", 0, (), [])}


def data(plan: Plan) -> str:
    """Return a plan as lines of JSON: a head, the steps of the host's phase, those of the jail's."""
    ids = plan.ids
    head = {
        "uids": ids.uids,
        "gids": ids.gids,
        "setgroups": ids.setgroups,
        "pid1": ids.pid1,
        "source": ids.source,
        "cwd": plan.cwd,
        "needs_id_slice": plan.needs_id_slice,
        "tier": plan.tier,
    }
    lines = [head]
    lines += [{"phase": "host", **data_of(step)} for step in plan.host_steps]
    lines += [{"phase": "jail", **data_of(step)} for step in plan.jail_steps]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def differences(old: str, new: str, name: str) -> list[str]:
    """Return the unified diff of two texts."""
    return list(difflib.unified_diff(old.splitlines(), new.splitlines(), f"golden/{name}", "now", lineterm="", n=1))


@pytest.mark.parametrize("form", ["txt", "jsonl"])
@pytest.mark.parametrize("case", CASES)
def test_plans_are_what_they_were(case: str, form: str) -> None:
    """A plan changes only on purpose."""
    plan = compile_plan(*CASES[case])
    now = explain(plan) if form == "txt" else data(plan)
    path = FOLDER / f"{case}.{form}"
    if UPDATE:
        FOLDER.mkdir(exist_ok=True)
        path.write_text(now)
    assert differences(path.read_text(), now, path.name) == []


def test_no_golden_file_is_left_over() -> None:
    """Each file belongs to a case; that of a renamed one would be read by nobody."""
    expected = {f"{case}.{form}" for case in CASES for form in ("txt", "jsonl")}
    assert {path.name for path in FOLDER.iterdir()} == expected


def test_the_cases_are_told_apart() -> None:
    """No two cases have the same plan, and a difference in one word is found."""
    plans = [data(compile_plan(*pair)) for pair in CASES.values()]
    assert len(set(plans)) == len(CASES)
    assert differences(plans[0], plans[0].replace("MOUNT_ATTR_NODEV", "MOUNT_ATTR_NOEXEC", 1), "x") != []
    assert set(Level) == {spec.level for spec, _ in CASES.values()}
