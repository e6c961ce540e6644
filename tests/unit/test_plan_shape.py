"""Every plan is well-formed: pure, encodable, explained, and without a descriptor used before it exists."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given

from jailkit import _native
from jailkit._native._encode import _TEMPLATES
from jailkit.plan import Host, Step, compile_plan, describe, explain, step
from jailkit.spec import Bind, File, JailSpec, MiB, Tmpfs, User
from tests.plans import BARE, FILLS, GRID, QUICK, named, pairs, root_host, steps_of, user_host, where

OPS = set(_TEMPLATES)
MAPS = {"idmap", "proc_write", "newidmap"}
# What makes the nodes of /dev, for PID 1 to inherit.
NODES = {"fsopen", "fsconfig", "fsconfig_create", "fsmount", "mknod", "symlink", "mkdir", "setattr"}
# From the last map on. An ordinary user may join PID 1 only until it closes itself, which it does once released.
BESIDE = {
    False: ["join", "release", "unshare", "socket", "loopback", "open_namespace", "give"],
    "host": ["release"],
}
# What `path` is, where it is not a path.
NAMES = {"fsopen", "fsconfig", "fsconfig_flag", "idmap", "proc_write"}


@QUICK
@given(pairs())
def test_compiling_is_pure(pair: tuple[JailSpec, Host]) -> None:
    """The same spec and host give the same plan, from equal copies too, and it can be hashed."""
    spec, host = pair
    one, other = compile_plan(spec, host), compile_plan(attrs.evolve(spec), attrs.evolve(host))
    assert one == other
    assert hash(one) == hash(other)
    assert explain(one) == explain(other)


@pytest.mark.parametrize("changed", [{"writable": "ephemeral"}, {"net": "host"}, {"hostname": "x"}, {"level": "jail"}])
def test_another_spec_is_another_plan(changed: dict[str, str]) -> None:
    """No answer comes from a cache that looks at too little."""
    host = root_host()
    plan = compile_plan(JailSpec("/r"), host)
    assert compile_plan(JailSpec("/r", **changed), host) != plan  # type: ignore[arg-type]
    assert compile_plan(JailSpec("/r"), user_host()) != plan


@QUICK
@given(pairs())
def test_every_plan_can_be_encoded(pair: tuple[JailSpec, Host]) -> None:
    """Every op, flag and descriptor of a plan has a number in C, and the number of slots is enough."""
    plan = compile_plan(*pair)
    assert {one.op for one in steps_of(plan)} <= OPS
    encoded = _native.encode_plan(plan.host_steps, plan.jail_steps)
    assert len(encoded) >= 16 + 48 * len(steps_of(plan))


@QUICK
@given(pairs())
def test_descriptors_exist_before_they_are_used(pair: tuple[JailSpec, Host]) -> None:
    """A slot is filled exactly once, before any step that works on it; an unused one is not opened."""
    plan = compile_plan(*pair)
    born = where(list(plan.host_steps), "clone")[0] + 1
    common, used = follow(plan.host_steps[:born], set())
    # From its birth on PID 1 has a table of its own, a copy.
    for steps in (plan.host_steps[born:], plan.jail_steps):
        filled, more = follow(steps, set(common))
        used |= more
        assert filled - used - {"pid1"} <= common
    assert common - used <= {"pid1"}


def follow(steps: tuple[Step, ...], filled: set[str]) -> tuple[set[str], set[str | None]]:
    """Go through steps of one process; return which slots are filled afterwards, and which were used."""
    used: set[str | None] = set()
    for one in steps:
        assert one.at is None or one.at in filled, f"{one.op}: {one.at} is not there"
        used.add(one.at)
        if one.op in FILLS:
            assert one.slot is not None
            assert one.slot not in filled, f"{one.op} fills {one.slot} a second time"
            filled.add(one.slot)
        else:
            assert one.slot is None or one.slot in filled, f"{one.op}: {one.slot} is not there"
            used.add(one.slot)
    return filled, used


@QUICK
@given(pairs())
def test_no_path_leaves_its_root(pair: tuple[JailSpec, Host]) -> None:
    """A path never climbs; relative to a descriptor it is relative, and on the host it is absolute."""
    for one in steps_of(compile_plan(*pair)):
        if one.op in NAMES:
            assert "/" not in one.path
            continue
        assert ".." not in one.path.split("/"), one
        assert "//" not in one.path
        assert "\0" not in one.path
        if one.at is not None:
            assert not one.path.startswith("/"), one
        elif one.path:
            assert one.path.startswith("/") or (one.op, one.path) in {("pivot_root", "."), ("umount", ".")}, one


@QUICK
@given(pairs())
def test_phases_hold_what_they_may(pair: tuple[JailSpec, Host]) -> None:
    """Sources, nodes, PID 1, its ids, what is made beside it: nothing else is done with the rights of the caller."""
    spec, host = pair
    plan = compile_plan(spec, host)
    ops = [one.op for one in plan.host_steps]
    assert ops.count("clone") == 1
    # Born in its group, or the first to join it: nothing that the jail does is not counted.
    unified = [one.slot for one in plan.host_steps if one.op == "given"]
    assert unified == [one.at for one in plan.host_steps if one.op == "clone" and one.at]
    assert (plan.group is not None and plan.group.version == 2) == bool(unified)
    joined = [one.op for one in plan.jail_steps].count("enter_group")
    assert [one.op for one in plan.jail_steps[: 2 * joined]] == ["given", "enter_group"] * joined
    assert joined == (len(plan.group.directories) if plan.group and plan.group.version == 1 else 0)
    ops = [op for op in ops if op != "given"]
    born = ops.index("clone")
    nodes = [n for n, one in enumerate(plan.host_steps) if {one.slot, one.at} & {"dev", "dev.fs"}]
    first_node = nodes[0] if host.makes_nodes else born
    assert nodes == list(range(first_node, born)), "with the caller's rights, after all sources, before PID 1"
    assert {ops[n] for n in nodes} == (NODES if host.makes_nodes else set())
    assert set(ops[:first_node]) <= {"open_tree", "userns", "setattr"}
    assert {"clone", "userns", "unshare", "join", "release", "mknod"} & {one.op for one in plan.jail_steps} == set()
    # PID 1 has its ids before anything else is done, and before it may begin.
    last_map = max(number for number, op in enumerate(ops) if op in MAPS)
    assert set(ops[born + 1 : last_map + 1]) <= MAPS
    assert ops[last_map + 1 :] == BESIDE[spec.net]
    assert MAPS & {one.op for one in plan.jail_steps} == set()
    sources = {m.source for m in spec.mounts if isinstance(m, Bind)} | ({spec.root} if spec.root else set())
    opened = {one.path for one in plan.host_steps if one.op == "open_tree"}
    # As root with the caller's rights, before there is a jail; an ordinary user can make mounts in the jail alone.
    assert opened == (sources if host.id_area else set())


@QUICK
@given(pairs())
def test_what_is_given_is_taken(pair: tuple[JailSpec, Host]) -> None:
    """Descriptors come to PID 1 in the order in which they were sent, and it takes each for what it is."""
    plan = compile_plan(*pair)
    given_ = [one.at for one in plan.host_steps if one.op == "give"]
    taken = [one.slot for one in plan.jail_steps if one.op == "take"]
    assert given_ == taken == (["net"] if pair[0].net is False else [])


@QUICK
@given(pairs())
def test_every_step_is_explained(pair: tuple[JailSpec, Host]) -> None:
    """The text has each step's number, its words and its reason, and every protection."""
    plan = compile_plan(*pair)
    # Not splitlines(): paths may have line ends of every alphabet in them.
    text = explain(plan)
    for number, one in enumerate(steps_of(plan)):
        assert one.why.strip()
        assert f"{number:4}  {describe(one)}\n        because: {one.why}" in text
    for item in plan.isolation:
        assert f"{item.state:8}  {item.name}: {item.fact}" in text


@pytest.mark.parametrize("op", sorted(OPS))
def test_every_op_has_words(op: str) -> None:
    """Nothing that C can do is without a sentence for the reader of an error."""
    assert describe(step(op, "because", slot="thing", at="place", path="name", text=b"\0" * 32, value=1)).strip()


def test_the_words_say_what_is_done() -> None:
    """A sentence has the operands of its step."""
    assert describe(step("attach", "", slot="a", at="root", path="b")) == "attach [a] at [root]/b"
    assert describe(step("mkdir", "", at="base", path="x", value=0o1777)) == "make directory [base]/x, mode 1777"
    words = describe(step("setattr", "", slot="a", value=("MOUNT_ATTR_RDONLY", "MOUNT_ATTR_NOSUID")))
    assert words == "set rdonly, nosuid on mount [a]"


def test_every_op_occurs_in_some_plan() -> None:
    """C has no word that no plan uses: what is never said is never tested."""
    said = {one.op for pair in (*GRID, *BARE) for one in steps_of(compile_plan(*pair))}
    assert said == OPS
    known = {words.split()[0] for words in _TEMPLATES.values()} - {"CALL"}
    assert {f"JK_OP_{name}" for name in known if name.isupper()} | {"JK_OP_CALL"} == set(
        _native.enum_names("jk_op").values()
    )


@pytest.mark.parametrize("pair", [GRID[0], GRID[-1]])
def test_what_is_optional_is_few(pair: tuple[JailSpec, Host]) -> None:
    """A step whose failure is no error is one that the spec or the host's layout made so; protections never are."""
    steps = steps_of(compile_plan(*pair))
    assert {one.op for one in steps if one.optional} == {"open_tree"}
    paths = {one.path for one in steps if one.optional}
    assert paths - {"/srv/maybe"} == {p for p in paths if p.startswith(("/usr", "/bin", "/lib", "/sbin", "/etc"))}
    assert {one.op for one in steps if one.keep} <= {"file", "mkdir"}


def bind_steps(bind: Bind, host: Host) -> list[Step]:
    """Return the steps that work on the source of a bind."""
    return [one for one in steps_of(compile_plan(JailSpec(mounts=[bind]), host)) if one.slot == "bind:0"]


def test_an_optional_bind_may_be_missing_and_no_other() -> None:
    """``optional`` is on the step that opens the source, and only where the spec says so."""
    assert [one.optional for one in bind_steps(Bind("/srv/x"), user_host())[:1]] == [False]
    assert [one.optional for one in bind_steps(Bind("/srv/x", optional=True), user_host())[:1]] == [True]


def test_contents_and_sizes_arrive_as_given() -> None:
    """The bytes of a file, the size and mode of a tmpfs, and the owner of the home are those of the spec."""
    mounts = (File("/f", b"\0\xff", mode=0o400), Tmpfs("/t", size=3 * MiB, mode=0o711))
    steps = steps_of(compile_plan(JailSpec(mounts=mounts, user=User(7, 8)), root_host()))
    assert len(where(steps, "file", at="base", text=b"\0\xff", value=0o400)) == 1
    config = {one.path: one.text for one in steps if one.op == "fsconfig" and one.slot == "tmpfs:1.fs"}
    assert (config["size"], config["mode"]) == (b"%d" % (3 * MiB), b"711")
    # Whatever is made for the jail's user is given to it: a uid and a gid of the jail.
    given_away = {steps[n].path: (steps[n].value, steps[n].flags) for n in where(steps, "chown", at="base")}
    assert given_away == {"home": (7, 8), "files/0": (7, 8)}
    assert (config["uid"], config["gid"]) == (b"7", b"8")


def test_generated_files_name_the_user_of_the_jail() -> None:
    """Root, nobody and the jail's user are in passwd and group, each once; hosts and hostname have the jail's name."""
    user = User(1000, 100, name="student", home="/home/student")
    steps = steps_of(compile_plan(JailSpec(user=user, hostname="box"), user_host()))
    files = {f"{one.at}/{one.path}": one.text.decode() for one in steps if one.op == "file" and one.keep}
    files = {name.removeprefix("root/"): text for name, text in files.items()}
    assert "student:x:1000:100:student:/home/student:/bin/sh\n" in files["etc/passwd"]
    assert [line.split(":")[0] for line in files["etc/passwd"].splitlines()] == ["root", "student", "nobody"]
    assert [line.split(":")[2] for line in files["etc/group"].splitlines()] == ["0", "100", "65534"]
    assert "127.0.1.1 box\n" in files["etc/hosts"]
    assert files["etc/hostname"] == "box\n"


@pytest.mark.parametrize("target", ["/etc/passwd", "/etc/hosts"])
def test_a_file_of_the_caller_replaces_a_generated_one(target: str) -> None:
    """What the spec puts at a name is not put there twice."""
    steps = steps_of(compile_plan(JailSpec(mounts=[File(target, "mine")]), root_host()))
    name = target.rpartition("/")[2]
    assert [one for one in steps if one.op == "file" and one.path.endswith(name)] == []
    assert len(where(steps, "attach", at="root", path=target[1:])) == 1


def test_private_directories_give_way_to_mounts() -> None:
    """Where the spec has a mount of its own at /tmp or the home, the private one is left out."""
    mounts = [Tmpfs("/tmp"), Bind("/srv/home", "/home/jail")]
    for given_, expected in (([], 1), (mounts, 0)):
        steps = steps_of(compile_plan(JailSpec(mounts=given_), root_host()))  # type: ignore[arg-type]
        assert len(where(steps, "mkdir", at="base", path="tmp")) == expected
        assert len(where(steps, "mkdir", at="base", path="home")) == expected


def test_flags_of_mounts_are_spelt_as_the_kernel_does() -> None:
    """The tests of mounts look for names: those are the names that plans use."""
    said = {name for pair in GRID for one in steps_of(compile_plan(*pair)) for name in named(one.value)}
    expected = {f"MOUNT_ATTR_{name}" for name in ("RDONLY", "NOSUID", "NODEV", "NOEXEC", "IDMAP")}
    assert expected <= said
