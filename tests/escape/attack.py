"""What an attack is, as data, and how one is run: inside, without the protection, and against canaries on the host."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import textwrap
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
import pytest

import jailkit
from jailkit import ExitReason, Jail, Level
from tests.escape.canaries import Canaries
from tests.escape.prelude import ATTACK
from tests.inside import NAMESPACES, program
from tests.patience import patient

__all__ = [
    "BELOW_SHELL", "BOTH", "CGROUPS", "FACES", "HOST", "LEDGER", "NAMESPACE", "ROOT_ONLY", "WORKS", "Attack", "Jailed", "Row", "Unjailed",
    "everywhere", "only", "outcome_of", "perform",
]  # fmt: skip

WORKS = "POSSIBLE"
"""What a program says when the attack has done what it is for."""

SECONDS = patient(50)
"""Bound of one program. Nothing takes as long."""

FACES: Final[Mapping[str, Mapping[str, Any]]] = {
    "sandbox": {},
    "jail": {"level": Level.JAIL},
    "bare": {"seccomp": False, "landlock": False},
    "landlock": {"tier": "landlock"},
}
"""Who attacks: the payload's user of a SANDBOX, the superuser of a JAIL, a SANDBOX of mounts, ids, capabilities and
namespaces alone, which shows that the filter and Landlock are a second wall and not the only one; and, by
`tests.escape.bare_tier`, the payload where these two are the only walls."""


@attrs.frozen
class Unjailed:
    """A control outside of any jail.

    Attributes:
        prefix: What goes in front of the program.
        gentle: Whether the program is told to stop one step before the harm (`C["gentle"]`): open, and not write.
    """

    prefix: tuple[str, ...] = ()
    gentle: bool = True


@attrs.frozen
class Jailed:
    """A control in a jail that lacks the one protection: keywords of `Jail` over those of the attack."""

    options: Mapping[str, Any]


HOST: Final = Unjailed()
NAMESPACE: Final = Unjailed(NAMESPACES)
BELOW_SHELL: Final = Unjailed((*NAMESPACES, "sh", "-c", '"$@"; exit', "sh"))
"""As `NAMESPACE`, where PID 1 is somebody else, of the same user."""

CGROUPS: Final = Unjailed(("unshare", "-UrmpfiunC", "--mount-proc"))
"""As `NAMESPACE`, with a namespace of control groups as well."""

ROOT_ONLY: Final = ("root",)

Act = Callable[[Mapping[str, Any] | None, Canaries], str]
"""An attack in which the host plays a part: keywords for the jail, or None for the control outside; what came of it."""


@attrs.frozen(kw_only=True, eq=False)
class Attack:
    """One row.

    Attributes:
        id: The class of attack.
        name: What is attempted, in a few words; unique.
        code: The program: lines of Python that `say` one word, after `tests.escape.prelude.ATTACK`.
        act: Instead of `code`: a function of the host.
        refused: For each face that attacks, the words (outcomes) that are a failure of the attack.
        control: Where the attack works.
        works: The outcome of an attack that works.
        options: Keywords of `Jail`.
        needs: Requirements, see `tests.facts`.
        path: A path without which the host has nothing to attack: then the row is left out, and listed so.
        timeout: Seconds for the program in the jail; as in `Jail.run`.
    """

    id: str
    name: str
    refused: Mapping[str, str]
    control: Unjailed | Jailed = HOST
    code: str = ""
    act: Act | None = None
    works: str = WORKS
    options: Mapping[str, Any] | Callable[[Canaries], Mapping[str, Any]] = attrs.Factory(dict)
    needs: tuple[str, ...] = ()
    path: str = "/"
    timeout: float | None = None

    def keywords(self, canaries: Canaries, over: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keywords of the jail."""
        own = self.options(canaries) if callable(self.options) else self.options
        return {**own, **over}


@attrs.frozen
class Row:
    """What came of one attack by one face: a line of the table."""

    id: str
    name: str
    face: str
    outcome: str
    control: str
    canary: str
    verdict: str


LEDGER: list[Row] = []
"""All rows of this session, in the order in which they were run."""


def everywhere(words: str) -> dict[str, str]:
    """Refused with one of some words to the three faces with namespaces."""
    return dict.fromkeys(("sandbox", "jail", "bare"), words)


def BOTH(words: str) -> dict[str, str]:  # noqa: N802 - reads as a value in the tables
    """Refused with one of some words to a SANDBOX and to the superuser of a JAIL."""
    return dict.fromkeys(("sandbox", "jail"), words)


def only(words: str, *faces: str) -> dict[str, str]:
    """Refused to some faces; the others may, because it is theirs. Default: the sandbox."""
    return dict.fromkeys(faces or ("sandbox",), words)


def outcome_of(result: jailkit.Result[bytes]) -> str:
    """Return one word for what a program came to: what it says, if it ended well, or how it ended."""
    if result.ok:
        return str(json.loads(result.stdout))
    if result.reason is ExitReason.EXITED:
        return f"exited {result.returncode} {result.stderr.decode(errors='replace')[-300:]}".rstrip()
    if result.reason is ExitReason.SIGNALED:
        return f"signaled {result.signal_name}"
    return str(result.reason.value)


def _program(attack: Attack, facts: Mapping[str, Any]) -> list[str]:
    return program(ATTACK + textwrap.dedent(attack.code), json.dumps(facts))


def _outside(attack: Attack, how: Unjailed, canaries: Canaries) -> str:
    facts = {**canaries.facts, "gentle": how.gentle}
    done = subprocess.run(
        [*how.prefix, *_program(attack, facts)],
        capture_output=True, timeout=SECONDS, check=False, close_fds=False, stdin=subprocess.DEVNULL, cwd=canaries.room,
    )  # fmt: skip
    if done.returncode:
        return f"exited {done.returncode} {done.stderr.decode(errors='replace')[-300:]}"
    return str(json.loads(done.stdout))


def _in_jail(attack: Attack, options: Mapping[str, Any], canaries: Canaries) -> str:
    argv = _program(attack, {**canaries.facts, "gentle": False, "bare tier": options.get("tier") == "landlock"})
    with Jail(**options) as jail:
        result: jailkit.Result[bytes] = jail.run(argv, timeout=attack.timeout or SECONDS)
        said = outcome_of(result)
        assert jail.run(["true"], timeout=SECONDS).ok, "the jail goes on"
    return said


_controls: dict[str, str] = {}


def _control(attack: Attack, canaries: Canaries) -> str:
    if attack.name not in _controls:
        how = attack.control
        if isinstance(how, Jailed):
            options = attack.keywords(canaries, how.options)
            said = attack.act(options, canaries) if attack.act else _in_jail(attack, options, canaries)
        else:
            said = attack.act(None, canaries) if attack.act else _outside(attack, how, canaries)
        _controls[attack.name] = said
    return _controls[attack.name]


@functools.cache
def _must_work() -> bool:
    return os.environ.get("JAILKIT_MUST_WORK") == "1"


def perform(attack: Attack, face: str, canaries: Canaries) -> None:
    """Run an attack and its control, look at the canaries and at the next jail, and write a row."""
    control = _control(attack, canaries)
    before = canaries.sing()
    options = attack.keywords(canaries, FACES[face])
    said = attack.act(options, canaries) if attack.act else _in_jail(attack, options, canaries)
    changed = canaries.changed(before)
    next_jail = jailkit.run(["true"], timeout=SECONDS).ok
    counted = control == attack.works
    held = said in attack.refused[face].split("|") and not changed and next_jail
    verdict = "held" if held and counted else "not counted" if held else "BROKEN"
    LEDGER.append(Row(attack.id, attack.name, face, said, control, changed or "unchanged", verdict))
    assert said in attack.refused[face].split("|"), f"{attack.name}: {said}"
    assert not changed, f"{attack.name}: on the host {changed}"
    assert next_jail, f"{attack.name}: no jail starts any more"
    if not counted:
        words = f"{attack.name}: without the protection it came to {control}, not {attack.works}: proves nothing here"
        if _must_work():
            pytest.fail(words, pytrace=False)
        pytest.skip(words)
