"""The files of a jail: what the caller gave is shown as asked, never changed, and nothing else of the host is left."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given

from jailkit._errors import UnsupportedError
from jailkit.plan import Host, compile_plan
from jailkit.spec import UNLIMITED, Bind, Dev, File, JailSpec, Limits, Mount, Proc, Symlink, Tmpfs, User, Writable
from tests.plans import (
    CREATES,
    GRID,
    QUICK,
    ROOTS,
    TIERS,
    attached,
    is_below,
    named,
    pairs,
    paths_of,
    root_host,
    steps_of,
    user_host,
    where,
)

FINAL = {"fchdir", "pivot_root", "umount", "chdir"}


def slots_at(pair: tuple[JailSpec, Host], target: str) -> list[str]:
    """Return the slots that are attached at a path of the jail, first to last."""
    steps = steps_of(compile_plan(*pair))
    return [one.slot or "" for one in steps if (one.op, one.at, one.path) == ("attach", "root", target[1:])]


@QUICK
@given(pairs())
def test_every_mount_is_attached_once_in_order(pair: tuple[JailSpec, Host]) -> None:
    """Each bind, tmpfs and file of the spec lands at its target, a later one over an earlier one; links are made."""
    spec = pair[0]
    steps = steps_of(compile_plan(*pair))
    landed = []
    for number, mount in enumerate(spec.mounts):
        if isinstance(mount, Symlink):
            found = where(steps, "symlink", at="root", path=mount.target[1:], text=mount.to.encode())
        elif isinstance(mount, Bind | Tmpfs | File):
            slot = f"{type(mount).__name__.lower()}:{number}"
            found = where(steps, "attach", at="root", path=mount.target[1:], slot=slot)
            assert len(where(steps, "attach", slot=slot)) == 1
        else:
            continue
        assert len(found) == 1, mount
        landed += found
    assert landed == sorted(landed)


@pytest.mark.parametrize("target", ["/proc", "/dev", "/elsewhere"])
@pytest.mark.parametrize("kind", [Proc, Dev])
def test_proc_and_dev_are_where_they_were_asked_for(kind: type[Proc | Dev], target: str) -> None:
    """The last thing at the target of a `Proc` is a /proc, and at that of a `Dev` a /dev."""
    for tier in TIERS.values():
        spec = JailSpec(mounts=[kind(target)])
        steps = steps_of(compile_plan(spec, tier()))
        slot = slots_at((spec, tier()), target)[-1]
        copied = {one.slot: one.at for one in steps if one.op == "open_tree"}
        name = kind.__name__.lower()
        assert name in {slot, copied.get(slot)}
        states = {one.slot: state.top for one, state in attached(compile_plan(spec, tier()))}
        assert slot == name or "MOUNT_ATTR_RDONLY" in states[slot]


@QUICK
@given(pairs())
def test_the_directory_of_the_caller_is_never_written_to(pair: tuple[JailSpec, Host]) -> None:
    """Nothing is made in it, not even a mount point: an overlay is over it, or what is attached there must exist."""
    spec, host = pair
    steps = steps_of(compile_plan(spec, host))
    for one in steps:
        if one.op in CREATES:
            assert one.at in {"base", "root", "etc", "dev", "proc"}, one
            assert spec.writable != "yes" or one.at not in {"root", "etc"}, one
    if spec.root and spec.writable != "yes":
        (opened,) = where(steps, "open_tree", path=spec.root, slot="source")
        (sealed,) = where(steps, "setattr", slot="source", at=None)
        (attach,) = where(steps, "attach", slot="source")
        assert opened < sealed < attach
        assert "MOUNT_ATTR_RDONLY" in named(steps[sealed].value)
        assert "AT_RECURSIVE" in named(steps[sealed].flags)
        (over,) = where(steps, "fsmount", slot="root", at="root.fs")
        assert steps[where(steps, "fsopen", slot="root.fs")[0]].path == "overlay"
        assert attach < over < min(n for n, one in enumerate(steps) if one.at == "root")


@QUICK
@given(pairs())
def test_nothing_is_made_in_a_bind(pair: tuple[JailSpec, Host]) -> None:
    """Once a bind is attached, no step makes anything at or below its target."""
    spec = pair[0]
    binds = {f"bind:{number}": mount.target for number, mount in enumerate(spec.mounts) if isinstance(mount, Bind)}
    there: list[str] = []
    for one in steps_of(compile_plan(*pair)):
        if one.op == "attach" and one.slot in binds:
            there.append(binds[one.slot])
        elif one.op in CREATES and one.at in ("root", "etc"):
            path = f"/{one.path}" if one.at == "root" else f"/etc/{one.path}"
            assert [bind for bind in there if is_below(path, bind)] == [], one


@QUICK
@given(pairs())
def test_binds_are_as_writable_as_asked(pair: tuple[JailSpec, Host]) -> None:
    """What is not writable is read-only in every part before it can be reached, and the same for noexec."""
    spec = pair[0]
    seen = 0
    for one, state in attached(compile_plan(*pair)):
        kind, _, number = (one.slot or "").partition(":")
        if kind != "bind":
            continue
        bind = spec.mounts[int(number)]
        assert isinstance(bind, Bind)
        assert state.recursive
        seen += 1
        for name, wanted in (("MOUNT_ATTR_RDONLY", not bind.writable), ("MOUNT_ATTR_NOEXEC", bind.noexec)):
            assert (name in state.whole, name in state.top) == (wanted, wanted), bind
    assert seen == sum(isinstance(mount, Bind) for mount in spec.mounts)


@QUICK
@given(pairs())
@example(GRID[-1])
@example(GRID[0])
def test_every_mount_is_nosuid_and_nodev(pair: tuple[JailSpec, Host]) -> None:
    """Whatever is attached, in all its parts; but verified character devices, and terminals, have to be devices."""
    steps = steps_of(compile_plan(*pair))
    verified = {one.slot for one in steps if one.op == "check_device"}
    devices: set[str | None] = {"pts"}
    if pair[1].makes_nodes:
        # The nodes are in one file system, and whatever shows it shows them.
        devices |= {"dev"} | {one.slot for one in steps if one.op == "open_tree" and one.at == "dev"}
    for one, state in attached(compile_plan(*pair)):
        assert "MOUNT_ATTR_NOSUID" in state.whole, one
        assert "MOUNT_ATTR_NODEV" in state.whole or one.slot in verified | devices, one
        if one.slot in verified | {"pts", "proc"} or (one.slot == "dev" and pair[1].makes_nodes):
            assert "MOUNT_ATTR_NOEXEC" in state.whole, one


@QUICK
@given(pairs())
def test_attributes_are_never_cleared(pair: tuple[JailSpec, Host]) -> None:
    """No mount is made more permissive than it came."""
    for one in steps_of(compile_plan(*pair)):
        assert [name for name in named(one.value) if name.startswith("-")] == [], one
        assert one.op not in {"fsmount", "setattr"} or not isinstance(one.value, int) or one.value == 0


@QUICK
@given(pairs())
def test_the_root_is_read_only_when_it_is_to_be(pair: tuple[JailSpec, Host]) -> None:
    """``writable="no"`` seals the root after the last mount point is made in it, and nothing else does."""
    spec, host = pair
    steps = steps_of(compile_plan(spec, host))
    seals = [n for n in where(steps, "setattr", slot="root") if "MOUNT_ATTR_RDONLY" in named(steps[n].value)]
    assert len(seals) == (spec.writable == "no")
    for seal in seals:
        last = max(n for n, one in enumerate(steps) if one.at == "root")
        assert last < seal < where(steps, "pivot_root")[0]


@QUICK
@given(pairs())
def test_the_root_is_entered_and_the_host_is_let_go(pair: tuple[JailSpec, Host]) -> None:
    """Into the root, pivot, detach the old one, start at /: these four, in this order, and no mount after them."""
    steps = steps_of(compile_plan(*pair))
    first = where(steps, "pivot_root")[0] - 1
    enter = steps[first : first + 4]
    assert [(one.op, one.slot, one.path) for one in enter] == [
        ("fchdir", "root", ""),
        ("pivot_root", None, "."),
        ("umount", None, "."),
        ("chdir", None, "/"),
    ]
    assert named(enter[2].flags) == ("MNT_DETACH",)
    assert len([one for one in steps if one.op in FINAL - {"fchdir"}]) == 3
    assert {one.op for one in steps[first + 4 :]} <= {
        *("take", "setns", "cap_bound", "prctl", "filter"),
        *("find", "landlock_ruleset", "landlock_rule", "landlock_restrict"),
    }


@QUICK
@given(pairs())
def test_the_jail_is_private_before_anything_is_attached(pair: tuple[JailSpec, Host]) -> None:
    """No mount shows up on the host, and none of the host's shows up later in the jail."""
    steps = steps_of(compile_plan(*pair))
    (private,) = where(steps, "propagation", path="/", value=("MS_PRIVATE",))
    assert where(steps, "clone")[0] < private < where(steps, "attach")[0]
    assert named(steps[where(steps, "clone")[0]].flags).count("CLONE_NEWNS") == 1


@QUICK
@given(pairs())
def test_nothing_is_opened_under_the_staging_directory(pair: tuple[JailSpec, Host]) -> None:
    """Where the tmpfs lies over the host's files, those cannot be opened any more: sources are opened before."""
    spec, host = pair
    steps = steps_of(compile_plan(spec, host))
    (attach,) = where(steps, "attach", slot="base", path=host.staging)
    late = [one.path for one in steps[attach:] if one.op == "open_tree" and one.at is None]
    assert [path for path in late if is_below(path, host.staging)] == []
    assert set(late).isdisjoint(paths_of(spec) - {"/", "/usr", "/etc/resolv.conf"} - {f"/{n}" for n, _ in host.system})


@QUICK
@given(pairs())
def test_every_tmpfs_is_bounded(pair: tuple[JailSpec, Host]) -> None:
    """``disk`` is the size of the one tmpfs behind everything private; only UNLIMITED leaves it open."""
    spec, host = pair
    steps = steps_of(compile_plan(spec, host))
    sizes: dict[str | None, float] = {one.slot: math.inf for one in steps if (one.op, one.path) == ("fsopen", "tmpfs")}
    for one in steps:
        if one.op == "fsconfig" and one.path == "size":
            sizes[one.slot] = int(one.text.removesuffix(b"k")) * (1024 if one.text.endswith(b"k") else 1)
    expected: dict[str | None, float | None] = {"base.fs": spec.effective_limits.disk}
    if host.makes_nodes:
        expected["dev.fs"] = 64 * 1024
    for number, mount in enumerate(spec.mounts):
        if isinstance(mount, Tmpfs) and mount.size is not None:
            expected[f"tmpfs:{number}.fs"] = mount.size
    assert sizes == expected
    inodes = {one.slot for one in steps if one.op == "fsconfig" and one.path == "nr_inodes"}
    named = {"base.fs"} if spec.effective_limits.inodes != math.inf else set()
    assert inodes == {slot for slot, size in sizes.items() if size != math.inf} | named
    # Each file system is made after its last option, and mounted after that.
    for slot in sizes:
        ops = [one.op for one in steps if one.slot == slot or (one.op, one.at) == ("fsmount", slot)]
        assert [ops[0], *ops[-2:]] == ["fsopen", "fsconfig_create", "fsmount"]
        assert set(ops[1:-2]) <= {"fsconfig", "fsconfig_flag"}


@QUICK
@given(pairs())
def test_every_tmpfs_has_an_owner(pair: tuple[JailSpec, Host]) -> None:
    """What the caller asked for belongs to the jail's user, as an option or by chown; what is behind it to PID 1."""
    spec, host = pair
    steps = steps_of(compile_plan(spec, host))
    user = spec.effective_user
    options: dict[str | None, dict[str, bytes]] = {}
    for one in steps:
        if one.op == "fsconfig":
            options.setdefault(one.slot, {})[one.path] = one.text
    assert options["base.fs"].keys() <= {"mode", "size", "nr_inodes"}
    for number, mount in enumerate(spec.mounts):
        if isinstance(mount, Tmpfs) and mount.size is not None:
            assert options[f"tmpfs:{number}.fs"] == {
                "mode": b"%o" % mount.mode,
                "uid": b"%d" % user.uid,
                "gid": b"%d" % user.gid,
                "size": b"%d" % mount.size,
                "nr_inodes": b"%d" % max(1024, mount.size // 8192),
            }
        elif isinstance(mount, Tmpfs | File):
            op, name = ("file", f"files/{number}") if isinstance(mount, File) else ("mkdir", f"tmpfs-{number}")
            (made,) = where(steps, op, at="base", path=name, value=mount.mode)
            (owned,) = where(steps, "chown", at="base", path=name, value=user.uid, flags=user.gid)
            (shown,) = where(steps, "open_tree", at="base", path=name)
            assert made < owned < shown


@QUICK
@given(pairs())
def test_a_file_stays_as_it_was_given(pair: tuple[JailSpec, Host]) -> None:
    """It belongs to the jail's user, who could change its mode and then its contents: its mount is read-only."""
    states = {one.slot: state for one, state in attached(compile_plan(*pair))}
    for number, mount in enumerate(pair[0].mounts):
        if isinstance(mount, File):
            assert "MOUNT_ATTR_RDONLY" in states[f"file:{number}"].whole


NODES = {"null": 0x103, "zero": 0x105, "full": 0x107, "random": 0x108, "urandom": 0x109, "tty": 0x500}


@pytest.mark.parametrize("pair", GRID[::7])
def test_devices_are_what_they_are_called(pair: tuple[JailSpec, Host]) -> None:
    """Six nodes, made with the number that the kernel gives them or compared with it, where nobody can add to them."""
    steps = steps_of(compile_plan(*pair))
    (born,) = where(steps, "clone")
    for name, number in NODES.items():
        if pair[1].makes_nodes:
            # A character device that everybody may read and write.
            (made,) = where(steps, "mknod", at="dev", path=name, value=number, flags=0o020666)
            assert where(steps, "fsmount", slot="dev")[0] < made < born
            continue
        slot = f"dev:{name}"
        (opened,) = where(steps, "open_tree", slot=slot, path=f"/dev/{name}")
        (check,) = where(steps, "check_device", slot=slot, value=number)
        (closed,) = where(steps, "setattr", slot=slot)
        assert set(named(steps[closed].value)) == {"MOUNT_ATTR_NOSUID", "MOUNT_ATTR_NOEXEC"}
        (attach,) = where(steps, "attach", slot=slot, at="dev", path=name)
        assert opened < check < closed < attach
    assert len(where(steps, "check_device") + where(steps, "mknod")) == len(NODES)
    (sealed,) = where(steps, "setattr", slot="dev")
    assert named(steps[sealed].value) == ("MOUNT_ATTR_RDONLY",)
    assert sealed > max(n for n, one in enumerate(steps) if one.at == "dev" and one.op in CREATES)
    # Made where devices can be opened: in the host's user namespace, before there is another.
    assert (sealed < born) == pair[1].makes_nodes


@pytest.mark.parametrize("pair", GRID[::7])
def test_proc_is_fresh(pair: tuple[JailSpec, Host]) -> None:
    """It is made for the jail's own pid namespace, never taken from the host, and kept for PID 1."""
    steps = steps_of(compile_plan(*pair))
    (made,) = where(steps, "fsmount", slot="proc", at="proc.fs")
    assert len(where(steps, "fsopen", slot="proc.fs", path="proc")) == 1
    assert made < where(steps, "attach", slot="proc")[0]
    assert [one.path for one in steps if one.op == "open_tree" and one.at is None and is_below(one.path, "/proc")] == []
    (kept,) = where(steps, "prepare")
    copies = {one.slot for one in steps if one.op == "open_tree" and one.at == "proc"}
    assert steps[kept].slot in {"proc", *copies}


@pytest.mark.parametrize("inner", [Proc("/data/in"), Dev("/data/in")])
def test_a_view_below_a_bind_is_not_hidden_by_it(inner: Mount) -> None:
    """Mounts come in the order of the spec: a /proc inside a directory that was bound before is over it."""
    for tier in TIERS.values():
        steps = steps_of(compile_plan(JailSpec(mounts=(Bind("/srv/data", "/data"), inner)), tier()))
        assert where(steps, "attach", slot="bind:0") < where(steps, "attach", at="root", path="data/in")


@pytest.mark.parametrize(("root", "writable"), ROOTS)
def test_no_link_is_made_in_a_directory_of_the_caller(root: str | None, writable: Writable) -> None:
    """Below an earlier bind, and in a root that is the caller's own, a link is refused: it would stay there.

    A bind that comes later lies over the link.
    """
    host = root_host(idmapped={"/srv/root", "/srv/data"})
    link, bind, other = Symlink("/data/link", "x"), Bind("/srv/data", "/data", writable=True), Bind("/srv/data", "/dat")
    with pytest.raises(UnsupportedError, match="Symlink"):
        compile_plan(JailSpec(root, writable=writable, mounts=[bind, link]), host)
    orders: tuple[tuple[Mount, ...], ...] = ((link,), (link, bind), (link, other), (other, link))
    for mounts in orders:
        spec = JailSpec(root, writable=writable, mounts=mounts)
        if writable == "yes":
            with pytest.raises(UnsupportedError, match="Symlink"):
                compile_plan(spec, host)
            continue
        steps = steps_of(compile_plan(spec, host))
        (made,) = where(steps, "symlink", at="root", path="data/link")
        assert [n for n in where(steps, "attach", path="data") if n < made] == []


@pytest.mark.parametrize(
    "inner",
    [
        File("/data/in/x", b""),
        Tmpfs("/data/in/x"),
        Bind("/srv/other", "/data/in/x"),
        Proc("/data/in/x"),
        Dev("/data/in/x"),
    ],
)
def test_only_an_earlier_bind_has_to_hold_the_mount_point(inner: Mount) -> None:
    """Below a bind that is there already nothing is made; below one that comes later, all of the way is."""
    bind = Bind("/srv/data", "/data", writable=True)
    for mounts, expected in (([bind, inner], 0), ([inner, bind], 1), ([inner], 1)):
        steps = steps_of(compile_plan(JailSpec(mounts=mounts), user_host()))
        assert len(where(steps, "mkdir", at="root", path="data/in")) == expected
        assert len(where(steps, "target", at="root", path="data/in/x")) == expected
        assert len(where(steps, "attach", at="root", path="data/in/x")) == 1


def test_a_home_that_is_the_root_is_not_mounted_over_it() -> None:
    """``User(home="/")`` is what many images have; nothing may be attached over the root itself."""
    for tier in (root_host, user_host):
        assert slots_at((JailSpec(user=User(1000, home="/")), tier()), "/") == []


def test_unlimited_disk_is_a_choice() -> None:
    """Without a bound on the tmpfs there is none in the plan; with the default there is."""
    for limits, count in ((Limits(disk=UNLIMITED), 0), (Limits(), 1)):
        steps = steps_of(compile_plan(JailSpec(limits=limits), user_host()))
        assert len(where(steps, "fsconfig", slot="base.fs", path="size")) == count
