"""The whole request for a jail: cross-field rules, defaults, and the nature of a value."""

from __future__ import annotations

import pickle
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jailkit._errors import SpecError
from jailkit.spec import Bind, JailSpec, Level, Limits, Tmpfs, User
from tests.strategies import (
    BAD_ENVIRONMENT_VALUES,
    BAD_ENVIRONMENTS,
    BAD_HOST_PATHS,
    BAD_HOSTNAMES,
    BAD_IDS,
    ENVIRONMENTS,
    IDS,
    LEVELS,
    LIMITS,
    MOUNT_LISTS,
    TARGETS,
    commands,
    jail_specs,
    mounts,
    users,
)

VALUES = st.one_of(jail_specs(), commands(), LIMITS, users(), mounts())


@given(VALUES)
def test_specs_are_values(value: Any) -> None:
    """A valid spec is hashable, and equal to a copy that was validated again."""
    twin = attrs.evolve(value)
    assert twin is not value
    assert (twin, hash(twin)) == (value, hash(value))


@given(VALUES)
def test_specs_cross_processes(value: Any) -> None:
    """An unpickled spec is equal to the original."""
    assert pickle.loads(pickle.dumps(value)) == value


@given(VALUES, st.data())
def test_specs_are_frozen(value: Any, data: st.DataObject) -> None:
    """No field changes after it was checked, and no misspelt one appears."""
    names = [field.name for field in attrs.fields(type(value))]
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(value, data.draw(st.sampled_from([*names, "misspelt"])), None)


@given(jail_specs(), jail_specs())
def test_specs_compare_by_their_fields(one: JailSpec, other: JailSpec) -> None:
    """Two specs are equal exactly when all their fields are."""
    same = attrs.astuple(one, recurse=False) == attrs.astuple(other, recurse=False)
    assert (one == other) is same


def test_the_documented_defaults() -> None:
    """A spec of nothing is the strictest one."""
    spec = JailSpec()
    assert (spec.root, spec.level, spec.net, spec.writable) == (None, Level.SANDBOX, False, "no")
    assert (spec.mounts, spec.hostname, spec.user, spec.limits) == ((), "jail", None, Limits())
    assert (spec.env, spec.cwd, spec.seccomp, spec.landlock) == ((), None, None, None)


def test_everything_but_the_root_is_named() -> None:
    """A call reads without the order of a dozen fields in mind."""
    with pytest.raises(TypeError):
        JailSpec("/srv", Level.JAIL)  # type: ignore[call-arg]


@given(jail_specs())
def test_effective_limits_leave_no_question(spec: JailSpec) -> None:
    """Every limit is decided, and what was asked for is kept."""
    effective = spec.effective_limits
    assert None not in attrs.astuple(effective)
    assert all(getattr(effective, name) == getattr(spec.limits, name) for name in spec.limits.named())


@given(LEVELS)
def test_only_a_sandbox_runs_as_an_ordinary_user_by_default(level: Level) -> None:
    """At lower levels programs are the jail's superuser unless a user is asked for."""
    expected = User(1000) if level is Level.SANDBOX else User(0)
    assert JailSpec(level=level).effective_user == expected


@given(LEVELS, IDS)
def test_the_user_asked_for_is_the_user(level: Level, uid: int) -> None:
    """A number is enough, 0 included, at every level."""
    assert JailSpec(level=level, user=uid).effective_user == User(uid)


@pytest.mark.parametrize("level", Level)
def test_levels_are_read_by_name(level: Level) -> None:
    """A level can be written as text in any case, as on a command line."""
    names = (level.name, level.name.lower(), level.name.title())
    assert [JailSpec(level=name).level for name in names] == [level] * 3


def test_levels_are_ordered() -> None:
    """Each level contains the one before it."""
    assert [level.name for level in sorted(Level)] == ["CHROOT", "JAIL", "CONTAINER", "SANDBOX"]


@given(TARGETS, st.data())
def test_no_two_mounts_have_one_target(target: str, data: st.DataObject) -> None:
    """Of two mounts at one place one would be hidden, so that is refused, however it is spelt."""
    first, second = data.draw(mounts(st.just(target))), data.draw(mounts(st.just(target + "/")))
    others = [mount for mount in data.draw(MOUNT_LISTS) if mount.target != target]
    with pytest.raises(SpecError) as caught:
        JailSpec(mounts=[first, *others, second])
    assert (caught.value.field, caught.value.value) == ("mounts", target)


@given(MOUNT_LISTS)
def test_mounts_keep_their_order(given_mounts: list[Any]) -> None:
    """The order of mounts is the caller's; any iterable will do."""
    assert JailSpec(mounts=iter(given_mounts)).mounts == tuple(given_mounts)


def test_the_hosts_own_system_is_never_writable() -> None:
    """Without a root there is nothing that writes could go to, but a layer of the jail's own."""
    with pytest.raises(SpecError, match=r"^writable: 'yes' .* root is None"):
        JailSpec(writable="yes")
    assert JailSpec(writable="ephemeral").root is None
    assert JailSpec("/srv", writable="yes").writable == "yes"


@given(ENVIRONMENTS)
def test_one_environment_is_one_value(env: dict[str, str]) -> None:
    """A mapping, its pairs and any order of them give equal specs."""
    spec = JailSpec(env=env)
    assert dict(spec.env) == env
    assert list(spec.env) == sorted(spec.env)
    pairs = [list(pair) for pair in reversed(env.items())]
    assert JailSpec(env=pairs) == spec  # type: ignore[arg-type]


@given(BAD_ENVIRONMENTS)
def test_an_environment_that_execve_cannot_take_is_refused(env: Any) -> None:
    """Names without text or with an equals sign, and anything but text, are found at once."""
    with pytest.raises(SpecError, match=r"^env: "):
        JailSpec(env=env)


@given(BAD_ENVIRONMENT_VALUES)
def test_a_bad_value_is_told_with_its_name(value: str) -> None:
    """The message points at the variable."""
    with pytest.raises(SpecError, match=r"^env\['B'\]: "):
        JailSpec(env={"A": "1", "B": value})


@given(BAD_HOSTNAMES)
def test_hostnames_follow_rfc_1123(name: Any) -> None:
    """What is no hostname on any network is none in a jail."""
    with pytest.raises(SpecError) as caught:
        JailSpec(hostname=name)
    assert (caught.value.field, caught.value.value) == ("hostname", name)


@pytest.mark.parametrize("name", ["a", "0", "a-b", "a.b.c", "a" * 63, "ab." * 21 + "c"])
def test_hostnames_up_to_64_bytes_are_taken(name: str) -> None:
    """The bounds of labels and of the whole name are inclusive."""
    assert JailSpec(hostname=name).hostname == name


@given(BAD_HOST_PATHS)
def test_roots_and_directories_are_absolute(path: Any) -> None:
    """A relative path would depend on where the host program happens to be."""
    with pytest.raises(SpecError, match=r"^root: .* an absolute path"):
        JailSpec(path)
    with pytest.raises(SpecError, match=r"^cwd: .* an absolute path"):
        JailSpec(cwd=path)


@given(BAD_IDS)
def test_a_user_is_a_number_or_a_user(user: Any) -> None:
    """Names of the host's users mean nothing in a jail."""
    with pytest.raises(SpecError, match=r"^user: "):
        JailSpec(user=user)


BAD_VALUES: dict[str, list[Any]] = {
    "level": ["", "jails", "SANDBOX ", 1, 4, True, None, b"jail", []],
    "net": [0, 1, None, "none", "HOST", b"host", []],
    "writable": [True, False, None, "", "NO", "maybe", []],
    "mounts": [None, 5, "/usr", b"/usr", Bind("/usr")],
    "limits": [None, {}, {"processes": 4}, 5],
    "seccomp": [0, 1, "yes", []],
    "landlock": [0, 1, "yes", []],
}


@pytest.mark.parametrize(("field", "value"), [(field, bad) for field, values in BAD_VALUES.items() for bad in values])
def test_a_bad_value_is_refused_by_name(field: str, value: Any) -> None:
    """Every field refuses what it cannot mean and says what it would take."""
    with pytest.raises(SpecError) as caught:
        JailSpec(**{field: value})
    assert (caught.value.field, caught.value.value) == (field, value)
    assert caught.value.allowed


@pytest.mark.parametrize("value", ["/usr", ("/usr", "/usr"), None, Bind])
def test_what_is_no_mount_is_refused_among_mounts(value: Any) -> None:
    """A path or a pair of paths is not taken for a bind."""
    with pytest.raises(SpecError) as caught:
        JailSpec(mounts=[Tmpfs("/tmp"), value])
    assert (caught.value.field, caught.value.value) == ("mounts", value)
