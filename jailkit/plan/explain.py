"""A plan in words."""

from __future__ import annotations

import os

from jailkit.plan.groups import GroupPlan
from jailkit.plan.landlock import rights_in_words
from jailkit.plan.plan import Plan
from jailkit.plan.steps import Step

__all__ = ["describe", "explain"]

_SENTENCES = {
    "clone": "make PID 1 with {flags}",
    "release": "let PID 1 begin",
    "join": "enter the user namespace of PID 1",
    "unshare": "make a new namespace: {flags}",
    "socket": "open a socket [{slot}]",
    "loopback": "bring up the loopback interface",
    "open_namespace": "open [{slot}] of {path}",
    "give": "give PID 1 [{at}]",
    "take": "wait for [{slot}]",
    "setns": "enter [{at}]",
    "idmap": "write {path}: {map}",
    "proc_write": "write {text} to /proc/PID/{path}",
    "newidmap": "run {path} {words}",
    "userns": "make user namespace [{slot}] for an idmapped mount",
    "setgroups": "drop all supplementary groups",
    "setresgid": "become gid {value}",
    "setresuid": "become uid {value}",
    "propagation": "make the propagation of {path} {value}",
    "open_tree": "open mount [{slot}] of {where} ({flags})",
    "find": "open [{slot}] at {where}",
    "setattr": "set {value} on mount [{slot}]",
    "fsopen": "open a new {path} [{slot}]",
    "fsconfig": "configure [{slot}] {path}={text}",
    "fsconfig_flag": "configure [{slot}] {path}",
    "fsconfig_create": "create [{slot}]",
    "fsmount": "make mount [{slot}] ({value})",
    "attach": "attach [{slot}] at {where}",
    "mask": "hide {where}",
    "mkdir": "make directory {where}, mode {mode}",
    "mknod": "make device {where}, number {device}",
    "chown": "give {where} to {value}:{flags}",
    "target": "make mount point {where}",
    "symlink": "make link {where} -> {text}",
    "file": "make file {where}, {size} bytes, mode {mode}",
    "write": "write {text} to {where}",
    "check_device": "check that [{slot}] is device {device}",
    "fchdir": "enter [{slot}]",
    "pivot_root": "pivot_root to the current directory",
    "umount": "detach what is mounted at {path}",
    "chdir": "change directory to {path}",
    "sethostname": "set the host name to {text}",
    "cap_bound": "bound capabilities to {value}",
    "join_session_keyring": "begin a new session keyring",
    "prctl": "prctl({flags}, {value})",
    "given": "wait for [{slot}], which the host program makes",
    "enter_group": "join the control group made in {path}",
    "landlock_ruleset": "make Landlock rules [{slot}], which forbid what no rule below allows",
    "landlock_rule": "allow below [{slot}]: {rights}",
    "landlock_restrict": "put PID 1, and all that it starts, under the rules [{at}]",
    "filter": "keep a filter of system calls ({size} bytes{listener})",
    "open_path": "open [{slot}] at {path}",
    "prepare_guarded": "make ready to start programs, each with a guard, under the rules [{slot}]",
    "prepare": "make ready to start programs, with [{slot}] to find them",
}


def describe(step: Step) -> str:
    """Say in words what a step does.

    >>> describe(Step(op="mkdir", why="", at="root", path="etc", value=0o755))
    'make directory [root]/etc, mode 0755'
    """
    value = step.value if isinstance(step.value, int) else 0
    return (
        _SENTENCES[step.op]
        .format(
            slot=step.slot,
            at=step.at,
            path=step.path,
            where=_where(step),
            flags=_names(step.flags),
            value=_names(step.value),
            text=step.text.decode(errors="replace"),
            size=len(step.text),
            listener=", with a listener" if step.op == "filter" and step.flags else "",
            mode=f"{value:04o}",
            device=f"{os.major(value)}:{os.minor(value)}",
            words=step.text.replace(b"\0", b" ").decode(errors="replace").strip(),
            rights=rights_in_words(value) if step.op == "landlock_rule" else "",
            map=_map(step.text) if step.op == "idmap" else "",
        )
        .strip()
    )


def _where(step: Step) -> str:
    if step.at is None:
        return step.path
    return f"[{step.at}]/{step.path}" if step.path else f"[{step.at}]"


def _names(value: int | tuple[str, ...]) -> str:
    if isinstance(value, int):
        return str(value)
    return ", ".join(name.removeprefix("MOUNT_ATTR_").removeprefix("CLONE_").lower() for name in value) or "nothing"


def _map(text: bytes) -> str:
    lines = []
    for at in range(0, len(text), 16):
        inside, outside, count, relative = (int.from_bytes(text[at + n : at + n + 4], "little") for n in (0, 4, 8, 12))
        lines.append(f"{inside} -> {'own slice + ' if relative else ''}{outside} ({count})")
    return ", ".join(lines)


def explain(plan: Plan) -> str:
    """Print a plan: every step with its number, its words and its reason, then what is and is not in force."""
    lines = _group(plan.group) if plan.group else []
    lines += ["With the rights of the caller:"]
    lines += _listed(plan.host_steps, 0)
    lines += ["", "As PID 1 of the jail:"]
    lines += _listed(plan.jail_steps, len(plan.host_steps))
    lines += ["", f"What is in force (tier {plan.tier}):"]
    lines += [f"  {item.state:8}  {item.name}: {item.fact}" for item in plan.isolation]
    return "\n".join(lines) + "\n"


def _group(group: GroupPlan) -> list[str]:
    lines = [f"Before anything else, a control group (version {group.version}):"]
    lines += [f"      make a directory in {directory}" for directory in group.directories]
    for setting in group.settings:
        lines += [f"      write {setting.text!r} to {setting.file}", f"        because: limits.{setting.field}"]
    return [*lines, ""]


def _listed(steps: tuple[Step, ...], first: int) -> list[str]:
    return [f"{number:4}  {describe(step)}\n        because: {step.why}" for number, step in enumerate(steps, first)]
