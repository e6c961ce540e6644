"""From a spec to a live jail: compile once, start, and say what failed in the words of the plan."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import attrs

from jailkit import _native
from jailkit._errors import LaunchError
from jailkit._host import probe
from jailkit.plan import Host, Plan, Program, compile_plan, describe, hint, prepare
from jailkit.process import LiveJail, StartFailed
from jailkit.spec import Command, JailSpec

__all__ = ["Blueprint", "blueprint", "launch", "launch_errors", "make_spec", "program_for"]


@functools.lru_cache(maxsize=64, typed=True)
def _same_spec(**fields: Any) -> JailSpec:
    return JailSpec(**fields)


def make_spec(**fields: Any) -> JailSpec:
    """Make a spec, or find the one that was made of the same words: a loop asks for the same jail again and again.

    Raises:
        SpecError: A field is wrong.
    """
    try:
        return _same_spec(**fields)
    except TypeError:  # something unhashable was given where it does not belong: let the spec say what
        return JailSpec(**fields)


@attrs.frozen(eq=False)  # found again by identity
class Blueprint:
    """A spec, the facts of this host that matter for it, and what follows from both."""

    spec: JailSpec
    host: Host
    plan: Plan
    encoded: bytes = attrs.field(repr=False)


def blueprint(spec: JailSpec) -> Blueprint:
    """Compile a spec for this host.

    Raises:
        UnsupportedError: This host cannot give what the spec asks for by name.
    """
    return _compiled(spec, probe(spec))


@functools.lru_cache(maxsize=32)
def _compiled(spec: JailSpec, host: Host) -> Blueprint:
    plan = compile_plan(spec, host)
    return Blueprint(spec, host, plan, _native.encode_plan(plan.host_steps, plan.jail_steps))


def program_for(made: Blueprint, command: Command, *, alone: bool = False, watched: bool = False) -> Program:
    """Decide a command for a jail, or find what was decided when the same was asked for before.

    Raises:
        UnsupportedError: The jail has no such user, or this host cannot give one of the limits.
    """
    # What is large is not worth the memory.
    decide = _same_program if sum(map(len, command.argv)) < _SMALL else _same_program.__wrapped__
    return decide(made, command, alone, watched)


_SMALL = 4096


@functools.lru_cache(maxsize=256)
def _same_program(made: Blueprint, command: Command, alone: bool, watched: bool) -> Program:
    return prepare(command, made.spec, made.plan, made.host, alone=alone, watched=watched)


def launch(made: Blueprint) -> LiveJail:
    """Start a jail. It may not be ready yet: whoever uses it first learns whether a step has failed.

    Raises:
        LaunchError: ``jailkit-init`` could not be started.
    """
    area = made.host.id_area if made.plan.needs_id_slice else None
    live = LiveJail()
    with launch_errors(made):
        live.start(made.encoded, _native.Ids(area.first, area.slice, area.count) if area else None)
    return live


@contextlib.contextmanager
def launch_errors(made: Blueprint) -> Iterator[None]:
    """Turn the report of a jail that was not born into a `LaunchError` that knows the step."""
    try:
        yield
    except StartFailed as failed:
        raise _explained(made, failed) from failed.__cause__


def _explained(made: Blueprint, failed: StartFailed) -> LaunchError:
    steps = (*made.plan.host_steps, *made.plan.jail_steps)
    report = failed.report
    if report is None:
        words = "start jailkit-init" if failed.__cause__ else "wait for PID 1 of the jail"
        return LaunchError(phase="start", errno=failed.error, description=words, filename=_native.INIT_PATH)
    phase = "host" if report.phase == 1 else "jail"
    if not 0 <= report.step < len(steps):
        return LaunchError(phase=phase, errno=failed.error, description="read the plan or settle down")
    step = steps[report.step]
    return LaunchError(
        phase=phase,
        step=report.step,
        errno=failed.error,
        description=describe(step),
        hint=hint(step, failed.error, made.spec.writable),
        filename=step.path or None,
    )
