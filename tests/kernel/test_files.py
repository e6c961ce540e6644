"""Programs of a jail see the files they are shown, and change those they are given."""

from __future__ import annotations

import os
from typing import Any, Literal

import pytest

import jailkit
from jailkit import Bind, File, Jail, Level, Symlink, Tmpfs
from jailkit.spec import Mount
from tests.compiled import compile_static
from tests.inside import as_namespace_root, fingerprint, host_program, inside, outside, small_root
from tests.patience import patient

pytestmark = pytest.mark.requires("userns", "python")

READ = "say(attempt(read, sys.argv[1]))"

CLIMB = """
root, canary = sys.argv[1:]
if root:
    os.chroot(root)
    os.chdir("/")
def climb():
    os.mkdir("step")
    os.chroot("step")
    for _ in range(64):
        os.chdir("..")
    os.chroot(".")
say([attempt(climb), attempt(read, canary)])
"""


def test_a_file_of_the_host_is_out_of_reach(jail: Jail, canary: str) -> None:
    """What everybody on the host may read is not there in a jail, under any name that leads up."""
    assert outside(READ, canary) == "POSSIBLE"
    ways = [canary, f"/..{canary}", f"/proc/self/root{canary}", f"/proc/self/cwd/../..{canary}", f"/tmp/../..{canary}"]
    assert {inside(jail, READ, way) for way in ways} == {"ENOENT"}
    assert inside(jail, READ, f"/proc/1/root{canary}") == "EACCES"


def test_a_second_chroot_leads_nowhere(canary: str, tmp_path: Any) -> None:
    """The way out of a plain chroot: refused to SANDBOX; the jail's root may try and ends at the jail's root."""
    assert as_namespace_root(CLIMB, str(tmp_path), canary) == ["POSSIBLE", "POSSIBLE"]
    with Jail(cwd="/tmp") as jail:
        assert inside(jail, CLIMB, "", canary) == ["EPERM", "ENOENT"]
    with Jail(cwd="/tmp", level=Level.JAIL) as jail:
        assert inside(jail, CLIMB, "", canary) == ["POSSIBLE", "ENOENT"]


def test_above_the_root_is_the_root(jail: Jail) -> None:
    """Nothing of the host lies over or under the jail's root, and its mount table does not name the host's."""
    root = os.stat("/")
    device = f"{os.major(root.st_dev)}:{os.minor(root.st_dev)}"
    code = """
    mounts = [line.split() for line in open("/proc/self/mountinfo")]
    say([os.stat("/..").st_ino == os.stat("/").st_ino, sorted(os.listdir("/..")), [m[2:4] for m in mounts]])
    """
    assert [device, "/"] in as_namespace_root(code)[2]
    same, names, mounts = inside(jail, code)
    assert same
    assert [device, "/"] not in mounts
    assert set(names) <= {
        "bin",
        "dev",
        "etc",
        "home",
        "lib",
        "lib32",
        "lib64",
        "libx32",
        "proc",
        "root",
        "sbin",
        "tmp",
        "usr",
    }
    assert jail.run(["ls", "/.."], text=True).stdout.split() == names


def test_a_descriptor_that_leaked_in_the_host_program_is_not_inherited(jail: Jail) -> None:
    """A directory that is open without close-on-exec is a way out of a chroot, and is not there in a jail."""
    code = "say([fd for fd in range(1024) if attempt(os.fstat, fd) == 'POSSIBLE'])"
    leaked = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.set_inheritable(leaked, True)
        assert leaked in outside(code, close_fds=False)
        assert inside(jail, code) == [0, 1, 2]
        with Jail(level=jail.spec.level) as later:
            assert inside(later, code) == [0, 1, 2]
            assert inside(later, code, stdin=None, stdout=jailkit.PIPE, stderr=jailkit.STDOUT) == [0, 1, 2]
    finally:
        os.close(leaked)


def test_a_working_directory_cannot_be_a_descriptor_of_the_jail(jail: Jail, public: str) -> None:
    """CVE-2024-21626: no /proc path of a descriptor or of PID 1 leads out as the working directory."""
    directory = os.open(public, os.O_RDONLY | os.O_DIRECTORY)
    try:
        given = jail.run(["stat", "-c", "%i", "."], cwd="/proc/self/fd/0", stdin=directory).check()
    finally:
        os.close(directory)
    assert int(given.stdout) == os.stat(public).st_ino  # what a descriptor of the host would do, had one leaked
    for path in [*(f"/proc/self/fd/{n}" for n in range(3, 16)), "/proc/1/cwd", "/proc/1/root", "/proc/1/fd/3"]:
        with pytest.raises(jailkit.LaunchError) as caught:
            jail.run(["/bin/true"], cwd=path)
        assert caught.value.phase == "program"
        assert "working directory" in caught.value.description


WRITE = """
paths = sys.argv[1:]
def put(path):
    with open(path, "w") as file:
        file.write("changed")
say([attempt(put, path) for path in paths])
"""


@pytest.mark.parametrize("writable", ["no", "ephemeral"])
@pytest.mark.parametrize("level", [Level.JAIL, Level.SANDBOX])
def test_the_root_of_the_caller_is_never_written_to(
    public: str, level: Level, writable: Literal["no", "ephemeral"]
) -> None:
    """Neither a jail's start nor its programs leave a trace in it: no mount point, no file, no time of change."""
    binds = small_root(public, points=False)
    os.mkdir(f"{public}/data", 0o777)
    os.chmod(f"{public}/data", 0o777)
    with open(f"{public}/data/file", "w") as file:
        file.write("sings")
    os.chmod(f"{public}/data/file", 0o666)
    before = fingerprint(public)
    mounts: tuple[Mount, ...] = (*binds, Tmpfs("/new/deep/tmpfs"), File("/new/file", b""), Symlink("/new/link", "file"))
    with Jail(public, level=level, writable=writable, mounts=mounts) as jail:
        answers = inside(jail, WRITE, "/data/file", "/data/new")
        seen = jail.run(["cat", "/data/file"]).stdout
    assert answers == {"no": ["EROFS"] * 2, "ephemeral": ["POSSIBLE"] * 2}[writable]
    assert seen == {"no": b"sings", "ephemeral": b"changed"}[writable]
    assert fingerprint(public) == before
    assert outside(WRITE, f"{public}/data/file") == ["POSSIBLE"]
    assert fingerprint(public) != before


@pytest.mark.parametrize("writable", ["no", "ephemeral", "yes"])
@pytest.mark.parametrize("dangling", [False, True], ids=["mirrored", "dangling"])
@pytest.mark.parametrize("name", ["proc", "dev", "etc", "etc/passwd", "etc/hosts", "tmp", "home", "usr"])
def test_a_link_in_a_hostile_root_redirects_nothing(
    public: str, name: str, writable: Literal["no", "ephemeral", "yes"], *, dangling: bool
) -> None:
    """A link in the place of a mount point leads to the same place in the jail, or nowhere; never to the host."""
    root, prey = f"{public}/root", f"{public}/prey"
    os.mkdir(root)
    binds = small_root(root)
    os.makedirs(os.path.dirname(f"{root}/{name}"), exist_ok=True)
    if os.path.isdir(f"{root}/{name}"):
        os.rmdir(f"{root}/{name}")
    for folder in (prey,) if dangling else (prey, root + prey):
        os.makedirs(folder)
        os.chmod(folder, 0o777)
        with open(f"{folder}/passwd", "w") as file:
            file.write("sings")
    os.symlink(f"{prey}/passwd" if "/" in name else prey, f"{root}/{name}")
    assert os.path.realpath(f"{root}/{name}").startswith(prey)  # whoever follows it on the host is led away
    before = fingerprint(prey)
    try:
        with Jail(root, writable=writable, mounts=binds) as jail:
            assert inside(jail, "say(read('/proc/self/comm').decode())") == "python3\n"
            assert inside(jail, "say(os.stat('/dev/null').st_rdev)") == os.makedev(1, 3)
            inside(jail, WRITE, "/etc/passwd", f"/{name}/new", f"{prey}/new")
    except jailkit.LaunchError as error:
        # A link into nothing is no place for a mount: refused, which is safe.
        assert dangling
        assert error.phase == "jail"  # noqa: PT017
    assert fingerprint(prey) == before


def owner(path: str) -> tuple[int, int]:
    """Return user and group of a file."""
    info = os.lstat(path)
    return info.st_uid, info.st_gid


@pytest.mark.requires("root", "idmap")
@pytest.mark.parametrize("uid", [0, 1000])
def test_what_is_written_to_a_writable_root_has_the_ids_of_the_jail(public: str, uid: int) -> None:
    """As root: uid 1000 of the jail is 1000 on this disk, and the jail's root is 0 there and nowhere else."""
    binds = small_root(public)
    os.mkdir(f"{public}/mine")
    os.chown(f"{public}/mine", uid, uid)
    with Jail(public, writable="yes", level=Level.JAIL, user=uid, mounts=binds) as jail:
        assert inside(jail, WRITE, "/mine/new") == ["POSSIBLE"]
        assert inside(jail, "say(os.stat('/mine').st_uid)") == uid
        host_ids = inside(jail, "say([int(line.split()[1]) for line in open('/proc/self/uid_map')])")
    assert owner(f"{public}/mine/new") == (uid, uid)
    assert min(host_ids) >= 16


@pytest.mark.requires("user")
@pytest.mark.parametrize("level", [Level.JAIL, Level.SANDBOX])
def test_what_a_user_has_written_to_his_root_is_his(public: str, level: Level) -> None:
    """An ordinary user has one id, and everything in the jail is his."""
    binds = small_root(public)
    with Jail(public, writable="yes", level=level, mounts=binds) as jail:
        assert inside(jail, WRITE, "/new") == ["POSSIBLE"]
    assert owner(f"{public}/new") == (os.getuid(), os.getgid())


@pytest.mark.requires("idmap", "root")
@pytest.mark.parametrize("level", [Level.JAIL, Level.SANDBOX])
def test_a_writable_bind_of_root_belongs_to_the_owner_of_its_source(public: str, level: Level) -> None:
    """The program acts as the owner of the directory, whoever that is, and as nobody else there."""
    source = f"{public}/source"
    os.mkdir(source, 0o700)
    os.chown(source, 12345, 23456)
    with Jail(level=level, mounts=[Bind(source, "/data", writable=True)]) as jail:
        user = jail.spec.effective_user
        assert inside(jail, WRITE, "/data/new") == ["POSSIBLE"]
        assert inside(jail, "s = os.stat('/data/new'); say([s.st_uid, s.st_gid])") == [user.uid, user.gid]
    assert owner(f"{source}/new") == (12345, 23456)


@pytest.mark.requires("user")
@pytest.mark.parametrize("level", [Level.JAIL, Level.SANDBOX])
def test_a_writable_bind_of_a_user_belongs_to_him(public: str, level: Level) -> None:
    """What is written there is the caller's, with no other set-up."""
    with Jail(level=level, mounts=[Bind(public, "/data", writable=True)]) as jail:
        assert inside(jail, WRITE, "/data/new") == ["POSSIBLE"]
    assert owner(f"{public}/new") == (os.getuid(), os.getgid())


@pytest.mark.requires("root", "idmap")
def test_a_read_only_bind_of_root_shows_what_anybody_may_read(public: str) -> None:
    """The jail's ids are nobody's on the host, unless the caller lends the owner's eyes."""
    for name, mode in (("secret", 0o600), ("open", 0o644)):
        with open(f"{public}/{name}", "w") as file:
            file.write("sings")
        os.chmod(f"{public}/{name}", mode)
    for level in (Level.JAIL, Level.SANDBOX):
        with Jail(level=level, mounts=[Bind(public, "/data"), Bind(public, "/lent", as_owner=True)]) as jail:
            assert inside(jail, READ, "/data/open") == "POSSIBLE"
            assert inside(jail, READ, "/data/secret") == "EACCES"
            assert inside(jail, READ, "/lent/secret") == "POSSIBLE"
            assert inside(jail, WRITE, "/lent/secret", "/lent/new", "/data/open") == ["EROFS"] * 3


REMOUNT = """
MS_RDONLY, MS_REMOUNT, MS_BIND = 1, 32, 4096
target, source = sys.argv[1:]
if source:
    assert call("mount", source.encode(), target.encode(), None, MS_BIND, 0) == "POSSIBLE"
    assert call("mount", None, target.encode(), None, MS_REMOUNT | MS_BIND | MS_RDONLY, 0) == "POSSIBLE"
writable = (ctypes.c_uint64 * 4)(0, 1, 0, 0)
def put(path):
    with open(path, "w") as file:
        file.write("changed")
def again():
    held = os.open(target + "/file", os.O_RDONLY)
    os.close(os.open(f"/proc/self/fd/{held}", os.O_RDWR))
os.makedirs("/tmp/again", exist_ok=True)
say({
    "write": attempt(put, target + "/file"),
    "open again": attempt(again),
    "chmod": attempt(os.chmod, target + "/file", 0o777),
    "remove": attempt(os.remove, target + "/file"),
    "bind": call("mount", target.encode(), b"/tmp/again", None, MS_BIND, 0),
    "remount": call("mount", None, target.encode(), None, MS_REMOUNT | MS_BIND, 0),
    "setattr": call("mount_setattr", -100, target.encode(), 0, ctypes.addressof(writable), 32),
    "open_tree": call("open_tree", -100, target.encode(), 1),
    "umount": call("umount2", target.encode(), 2),
})
"""


def test_a_read_only_bind_stays_read_only(jail: Jail, public: str, tmp_path: Any) -> None:
    """Not even the jail's superuser can change that, by any of the calls that could for root of a namespace."""
    with open(f"{public}/file", "w") as file:
        file.write("sings")
    os.chmod(f"{public}/file", 0o666)
    with Jail(level=jail.spec.level, mounts=[Bind(public, "/data")]) as made:
        tried = inside(made, REMOUNT, "/data", "")
    files, mounts = ("write", "open again", "chmod", "remove"), ("bind", "remount", "setattr", "open_tree", "umount")
    assert {name: tried[name] for name in files} == dict.fromkeys(files, "EROFS")
    assert {name: tried[name] for name in mounts} == dict.fromkeys(mounts, "EPERM")
    with open(f"{public}/file") as file:
        assert file.read() == "sings"
    control = as_namespace_root(REMOUNT, str(tmp_path), public)
    assert {name: control[name] for name in mounts} == dict.fromkeys(mounts, "POSSIBLE")


def test_what_is_mounted_below_a_read_only_bind_is_read_only(public: str) -> None:
    """A tmpfs of the host below the source comes along, and cannot be written to either."""
    code = """
    import subprocess
    subprocess.run(["mount", "-t", "tmpfs", "none", sys.argv[1]], check=True)
    os.makedirs(sys.argv[1] + "/sub")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=1777", "none", sys.argv[1] + "/sub"], check=True)
    open(sys.argv[1] + "/sub/file", "w").close()
    write = 'for f in "$1/file" "$1/sub/file" "$1/sub/new"; do echo x 2>/dev/null > "$f" && echo "wrote $f"; done; :'
    with jailkit.Jail(mounts=[jailkit.Bind(sys.argv[1], "/data")]) as jail:
        print(jail.run(["sh", "-c", write, "sh", "/data"], text=True).stdout or "nothing")
        print(jail.run(["ls", "/data/sub"], text=True).stdout)
    print(subprocess.run(["sh", "-c", write, "sh", sys.argv[1]], capture_output=True, text=True).stdout)
    """
    with host_program(code, public, prefix=("unshare", "-Urm") if os.getuid() else ("unshare", "-m")) as host:
        out, err = host.communicate(timeout=patient(60))
    assert err == ""
    assert out.split() == [
        "nothing",
        "file",
        *(word for f in ("file", "sub/file", "sub/new") for word in ("wrote", f"{public}/{f}")),
    ]


@pytest.mark.requires("root")
def test_a_device_in_a_bind_is_no_device(public: str) -> None:
    """Every mount but /dev is nodev."""
    os.mknod(f"{public}/zero", 0o666 | 0o020000, os.makedev(1, 5))
    os.chmod(f"{public}/zero", 0o666)
    code = "say(attempt(read, sys.argv[1], 4))"
    assert outside(code, f"{public}/zero") == "POSSIBLE"
    for level in (Level.JAIL, Level.SANDBOX):
        with Jail(level=level, mounts=[Bind(public, "/data")]) as jail:
            assert inside(jail, code, "/data/zero") == "EACCES"
            assert inside(jail, code, "/dev/zero") == "POSSIBLE"


@pytest.mark.requires("cc")
def test_an_empty_directory_and_a_static_program_are_a_jail(public: str) -> None:
    """A jail asks nothing of its root, not even a directory."""
    compile_static('#include <unistd.h>\nint main(void) { return write(1, "hello", 5) != 5; }', public, "hello")
    for level in Level:
        result = jailkit.run(["/hello"], root=public, level=level)
        assert (result.ok, result.stdout) == (True, b"hello")
    assert os.listdir(public) == ["hello"]
