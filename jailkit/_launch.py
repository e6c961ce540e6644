"""From a spec to a live jail: compile once, start, and say what failed in the words of the plan."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from jailkit import _native
from jailkit._errors import LaunchError, SpecError, UnsupportedError
from jailkit._host import probe
from jailkit._network import Annex, Beside, names_file
from jailkit.plan import (
    Host,
    Plan,
    Program,
    Setting,
    compile_plan,
    describe,
    hint,
    modify,
    on_terminal,
    prepare,
    prepare_terminal,
)
from jailkit.process import (
    DEVNULL,
    PIPE,
    GroupError,
    LiveJail,
    Once,
    PrivateDirectory,
    PrivateError,
    StartFailed,
    Stream,
    group_failure,
    new_name,
)
from jailkit.spec import Command, JailSpec, Joined, Limits, Pty, Terminal, User, terminal_of

__all__ = [
    "Blueprint",
    "blueprint",
    "blueprint_beside",
    "explained",
    "launch",
    "make_spec",
    "modified",
    "once_for",
    "program_for",
    "with_terminal",
]


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
    beside: Callable[[], LiveJail] | None = attrs.field(default=None, repr=False)
    """Finds the jail whose network this one is to be in."""


def blueprint(spec: JailSpec) -> Blueprint:
    """Compile a spec for this host.

    Raises:
        UnsupportedError: This host cannot give what the spec asks for by name.
    """
    host = probe(spec)
    if isinstance(spec.net, Joined):
        raise UnsupportedError("net=other", "a spec alone does not say which jail that is", "give Jail the jail itself")
    wanted = spec.network
    if wanted is not None and wanted.name is not None and host.uplink is not None:
        uplink = attrs.evolve(host.uplink, names_file=names_file(wanted.name, spec.hostname))
        host = attrs.evolve(host, uplink=uplink)
    if spec.tier == "landlock":  # a directory for each jail, so a plan for each jail
        return _compiled.__wrapped__(spec, attrs.evolve(host, private=new_name(lent=host.lent_id is not None)))
    return _compiled(spec, host)


def blueprint_beside(spec: JailSpec, other: Blueprint, live: Callable[[], LiveJail]) -> Blueprint:
    """Compile a spec for a jail in the network of another one: what was found out for that one holds for it too.

    Raises:
        UnsupportedError: This host cannot give what the spec asks for by name.
    """
    host = attrs.evolve(probe(spec), uplink=other.host.uplink)
    return attrs.evolve(_compiled(spec, host), beside=live)


@functools.lru_cache(maxsize=32)
def _compiled(spec: JailSpec, host: Host) -> Blueprint:
    plan = compile_plan(spec, host)
    try:
        return Blueprint(spec, host, plan, _native.encode_plan(plan.host_steps, plan.jail_steps))
    except ValueError as error:
        raise UnsupportedError(f"{len(spec.mounts)} mounts", str(error), "bind a common parent directory") from None


@functools.lru_cache(maxsize=32)
def modified(made: Blueprint, limits: Limits) -> tuple[Blueprint, tuple[Setting, ...]]:
    """Decide a change of a live jail's limits: the blueprint from then on, and what its control group is told.

    Raises:
        UnsupportedError: It cannot be made.
    """
    plan, spec, settings = modify(made.plan, made.spec, limits, made.host)
    return attrs.evolve(made, plan=plan, spec=spec), settings


def program_for(
    made: Blueprint,
    argv: Sequence[Any],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    user: int | User | None = None,
    limits: Limits | None = None,
    timeout: float | None = None,
    detach: bool = False,
    alone: bool = False,
    watched: bool = False,
) -> Program:
    """Decide a program for a jail, or find what was decided when the same was asked for before.

    Raises:
        SpecError: A word of it is wrong.
        UnsupportedError: The jail has no such user, or this host cannot give one of the limits.
    """
    variables = tuple(env.items()) if env else ()
    rest = (cwd, user, limits, timeout, detach, alone, watched)
    try:
        # What is large is not worth the memory. (The length of a path object is a TypeError too.)
        if isinstance(argv, list | tuple) and sum(map(len, argv)) < _SMALL:
            return _same_program(made, tuple(argv), variables, *rest)
    except TypeError:
        pass  # something unhashable was given where it does not belong: let the spec say what
    return _program(made, argv, variables, *rest)


_SMALL = 4096


def _program(
    made: Blueprint,
    argv: Any,
    env: Any,
    cwd: str | None,
    user: int | User | None,
    limits: Limits | None,
    timeout: float | None,
    detach: bool,
    alone: bool,
    watched: bool,
) -> Program:
    asked = limits or Limits()
    if timeout is not None:
        asked = Limits(wall_seconds=timeout).over(asked)
    command = Command(argv, env=env, cwd=cwd, user=user, limits=asked, detach=detach)
    return prepare(command, made.spec, made.plan, made.host, alone=alone, watched=watched)


_same_program = functools.lru_cache(maxsize=256, typed=True)(_program)


def with_terminal(
    made: Blueprint, program: Program, pty: Pty, user: int | User | None, streams: tuple[Any, Any, Any]
) -> tuple[Program, tuple[Program, Terminal] | None]:
    """Return the program as it is on a terminal of its own, how that is opened and its size; or as it was, and None.

    Raises:
        SpecError: `pty` makes no sense, or streams were given beside it.
        UnsupportedError: The jail has no terminals.
    """
    size = terminal_of(pty)
    if size is None:
        return program, None
    for name, stream, usual in zip(("stdin", "stdout", "stderr"), streams, (DEVNULL, PIPE, PIPE), strict=True):
        if stream not in (None, PIPE, usual):
            raise SpecError(name, stream, "nothing beside pty: all three streams are the terminal")
    owner = Command(["x"], user=user).user
    return on_terminal(program), (prepare_terminal(owner, made.spec, made.plan, made.host), size)


def once_for(
    made: Blueprint,
    live: LiveJail,
    argv: Sequence[Any],
    *,
    input: bytes | str | None = None,  # noqa: A002 - as in subprocess
    streams: tuple[Stream, Stream, Stream],
    text: bool = False,
    pty: Pty = False,
    user: int | User | None = None,
    **words: Any,
) -> Once:
    """Decide a program that runs to its end in one go; `words` are those of `program_for`.

    Raises:
        SpecError: A word of it is wrong.
        UnsupportedError: The jail has no such user and no terminals, or this host cannot give one of the limits.
    """
    data = input.encode() if isinstance(input, str) else input
    if data is not None:
        streams = (PIPE, *streams[1:])
    program = program_for(made, argv, user=user, **words)
    terminal = None
    if pty is not False:
        program, terminal = with_terminal(made, program, pty, user, streams)
    return Once(live, program, streams, data=data, text=text, isolation=made.plan.isolation, terminal=terminal)


def launch(made: Blueprint) -> LiveJail:
    """Return a jail that is ready to be started.

    Raises:
        ClosedError: It is to be in the network of another one that is not live.
    """
    area = made.host.id_area if made.plan.needs_id_slice else None
    ids = _native.Ids(area.first, area.slice, area.count) if area else None
    private = PrivateDirectory(made.plan.private, made.plan.ids.pid1) if made.plan.private else None
    annex: Annex | Beside | None = Annex(made.plan.network) if made.plan.network else None
    if made.beside:
        annex = Beside(made.beside().annex)
    return LiveJail(made.encoded, ids, made.plan.group, private, annex)


def explained(made: Blueprint, failed: StartFailed) -> LaunchError:
    """Turn the report of a jail that was not born into an error that knows the step."""
    steps = (*made.plan.host_steps, *made.plan.jail_steps)
    report, cause = failed.report, failed.__cause__
    if isinstance(cause, GroupError):
        return group_failure(cause)
    if isinstance(cause, PrivateError):
        return LaunchError(
            phase="start", errno=failed.error, description="make the private directory", filename=made.plan.private
        )
    if made.plan.network and isinstance(cause, OSError) and report is None:
        return LaunchError(
            phase="network", errno=failed.error, description=f"make the jail's network: {cause.strerror}"
        )
    if report is None:
        words = "start jailkit-init" if cause else "wait for PID 1 of the jail"
        advice = "limits.memory is too small for the jail itself" if failed.out_of_memory else None
        return LaunchError(
            phase="start", errno=failed.error, description=words, hint=advice, filename=_native.INIT_PATH
        )
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
