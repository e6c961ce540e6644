"""Whichever step of a plan fails, exactly that one is reported, and nothing is left of the rest."""

from __future__ import annotations

import errno
import os
from typing import Any

import attrs
import pytest

import jailkit
from jailkit import Bind, Dev, File, JailSpec, Level, Proc, Symlink, Tmpfs, _native
from jailkit._launch import Blueprint, blueprint
from jailkit.plan import Step, describe
from tests import leaks
from tests.inside import public_directory, small_root

pytestmark = [pytest.mark.requires("userns"), pytest.mark.timeout(180)]

MISSING = "/no/such/directory"


def failing(like: Step) -> Step:
    """Return a step that cannot succeed, in the place of another."""
    return Step(op="chdir", why=f"fails in the place of: {like.why}", path=MISSING)


def broken(made: Blueprint, index: int) -> Blueprint:
    """Return the same blueprint with one step that fails."""
    host, jail = list(made.plan.host_steps), list(made.plan.jail_steps)
    steps, at = (host, index) if index < len(host) else (jail, index - len(host))
    steps[at] = failing(steps[at])
    plan = attrs.evolve(made.plan, host_steps=tuple(host), jail_steps=tuple(jail))
    return attrs.evolve(made, plan=plan, encoded=_native.encode_plan(plan.host_steps, plan.jail_steps))


def check_every_step(spec: JailSpec) -> None:
    """Break each step in turn, and see what is said and what is left."""
    made = blueprint(spec)
    with jailkit.Jail.from_spec(spec) as whole:
        assert whole.run(["true"]).ok or spec.root  # nothing else is wrong with it
    before = leaks.snapshot()
    host_steps, count = len(made.plan.host_steps), len(made.plan.host_steps) + len(made.plan.jail_steps)
    for index in range(count):
        jail = jailkit.Jail.from_spec(spec)
        jail._blueprint = broken(made, index)
        with pytest.raises(jailkit.LaunchError) as caught:
            jail.start()
        error = caught.value
        words = describe(Step(op="chdir", why="", path=MISSING))
        expected = ("host" if index < host_steps else "jail", index, errno.ENOENT, words, MISSING)
        assert (error.phase, error.step, error.errno, error.description, error.filename) == expected
        assert words in str(error)
        assert "ENOENT" in str(error)
        jail.close()
        del caught, error
        assert leaks.left_since(before) == [], f"step {index}"
    assert count > 30
    assert jailkit.run(["true"]).ok


@pytest.mark.parametrize("level", [Level.CHROOT, Level.JAIL, Level.SANDBOX])
def test_of_the_host_view(level: Level) -> None:
    """A jail with no directory of its own."""
    check_every_step(JailSpec(level=level))


@pytest.mark.parametrize("writable", ["no", "ephemeral", "yes"])
def test_of_a_root_directory(writable: Any) -> None:
    """A root of the caller with a mount of each kind in it, and the root is as it was."""
    with public_directory() as path:
        root = f"{path}/root"
        os.mkdir(root)
        binds = small_root(root)
        mounts: tuple[Any, ...] = (
            *binds, Bind("/no/such/source", "/maybe", optional=True), Tmpfs("/tmp/scratch", size=1 << 20),
            Tmpfs("/tmp/more"), File("/tmp/file", b"x"), Proc("/tmp/proc"), Dev("/tmp/dev"),
        )  # fmt: skip
        mounts = (*binds, Tmpfs("/tmp")) if writable == "yes" else (*mounts, Symlink("/link", "tmp"))
        check_every_step(JailSpec(root, writable=writable, level=Level.JAIL, mounts=mounts))


def test_of_a_run_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """`run` sends its request before the jail is ready; the error is the same, and nothing is left."""
    made = blueprint(JailSpec())
    before = leaks.snapshot()
    count = len(made.plan.host_steps) + len(made.plan.jail_steps)
    for index in range(0, count, 3):
        with monkeypatch.context() as patch:
            patch.setattr("jailkit._connected.blueprint", lambda spec, index=index: broken(blueprint(spec), index))
            with pytest.raises(jailkit.LaunchError) as caught:
                jailkit.run(["true"])
        assert (caught.value.step, caught.value.errno) == (index, errno.ENOENT)
        del caught
        assert leaks.left_since(before) == [], f"step {index}"


def test_a_program_that_is_missing_is_no_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without jailkit-init there is an error of the start, which names it."""
    monkeypatch.setattr(_native, "INIT_PATH", "/no/such/jailkit-init")
    before = leaks.snapshot()
    for start in (jailkit.Jail().start, lambda: jailkit.run(["true"])):
        with pytest.raises(jailkit.LaunchError) as caught:
            start()
        assert (caught.value.phase, caught.value.step, caught.value.errno) == ("start", None, errno.ENOENT)
        del caught
    assert leaks.left_since(before) == []
