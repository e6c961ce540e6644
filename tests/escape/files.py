"""ATK-1 to ATK-17: files of the host, the walls around the root, mounts, devices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jailkit import Bind
from tests.escape.attack import CGROUPS, NAMESPACE, ROOT_ONLY, Attack, Jailed, everywhere, only
from tests.escape.canaries import Canaries

__all__ = ["ATTACKS"]


def lent(canaries: Canaries) -> Mapping[str, Any]:
    """A directory of the host, whose files everybody may change by their mode, lent for reading."""
    return {"mounts": [Bind(canaries.lent)]}


def given(canaries: Canaries) -> Mapping[str, Any]:
    """A directory for writing."""
    return {"mounts": [Bind(canaries.gift, writable=True)]}


def way(name: str, code: str, refused: str = "ENOENT", identity: str = "ATK-1") -> Attack:
    """Read the canary by some way."""
    return Attack(id=identity, name=name, code=code, refused=everywhere(refused))


WAYS = (
    way("a file of the host by its path", "say(reads(C['canary']))"),
    way("a file of the host by hundreds of ..", "os.chdir('/tmp'); say(reads('../' * 300 + C['canary'][1:]))"),
    way("a file of the host through /proc/self/root", "say(reads('/proc/self/root/..' + C['canary']))"),
    way("a file of the host through /proc/thread-self/cwd", "say(reads('/proc/thread-self/cwd/../../../..' + C['canary']))"),
    way("a file of the host through its own link", "os.symlink(C['canary'], f'/tmp/link-{os.getpid()}')\n"
        "try:\n    say(reads(f'/tmp/link-{os.getpid()}'))\nfinally:\n    os.unlink(f'/tmp/link-{os.getpid()}')"),
    way("a file of the host from an open root by openat", "top = os.open('/', os.O_RDONLY)\n"
        "say(reads(lambda: os.read(os.open('../..' + C['canary'], os.O_RDONLY, dir_fd=top), 99)))"),
    way("openat from every inherited descriptor", "answers = set()\nfor fd in range(3, 300):\n"
        "    answers.add(reads(lambda: os.read(os.open(C['canary'][1:], os.O_RDONLY, dir_fd=fd), 99)))\n"
        "say('POSSIBLE' if 'POSSIBLE' in answers else 'EBADF')", "EBADF", "ATK-2"),
    way("fchdir to every inherited descriptor", "answers = set()\nfor fd in range(3, 300):\n"
        "    if attempt(os.fchdir, fd) == 'POSSIBLE':\n        answers.add(reads(C['canary'][1:]))\n"
        "say('POSSIBLE' if 'POSSIBLE' in answers else 'EBADF')", "EBADF", "ATK-2"),
    way("chdir to every descriptor by its link in /proc", "answers = set()\nfor fd in range(3, 300):\n"
        "    if attempt(os.chdir, f'/proc/self/fd/{fd}') == 'POSSIBLE':\n        answers.add(reads(C['canary'][1:]))\n"
        "say('POSSIBLE' if 'POSSIBLE' in answers else 'ENOENT')", "ENOENT", "ATK-3"),
    way("a shared memory file of the host", "say(reads('/dev/shm/' + C['ipc']))", "ENOENT", "ATK-46"),
)  # fmt: skip

CHROOTS = (
    Attack(
        id="ATK-1", name="chroot, then back by an open descriptor", control=NAMESPACE,
        refused={"sandbox": "EPERM", "bare": "EPERM", "jail": "ENOENT"},
        code="""
        top = os.open("/", os.O_RDONLY)
        def climb():
            os.chroot("/tmp")
            os.fchdir(top)
            os.chroot(".")
        outcome = attempt(climb)
        say(reads(C["canary"]) if outcome == "POSSIBLE" else outcome)
        """,
    ),
    Attack(
        id="ATK-1", name="chroot twice, then up and up", control=NAMESPACE,
        refused={"sandbox": "EPERM", "bare": "EPERM", "jail": "ENOENT"},
        code="""
        def climb():
            os.chdir("/tmp")
            os.chroot("/usr")
            for _ in range(64):
                os.chdir("..")
            os.chroot(".")
        outcome = attempt(climb)
        say(reads(C["canary"]) if outcome == "POSSIBLE" else outcome)
        """,
    ),
)  # fmt: skip

# The parent is PID 1 of the jail in a jail: the program that the host has started.
LAUNCHER = (
    Attack(
        id="ATK-4", name="the parent's program, for overwriting",
        refused=everywhere("EACCES|ENOENT"),
        code="say(attempt(os.open, f'/proc/{os.getppid()}/exe', os.O_PATH))",
    ),
    Attack(
        id="ATK-4", name="the parent's root", refused=everywhere("EACCES|ENOENT"),
        code="say(reads(f'/proc/{os.getppid()}/task/{os.getppid()}/root{C[\"canary\"]}'))",
    ),
    Attack(
        id="ATK-4", name="the parent's working directory", refused=everywhere("EACCES|ENOENT"),
        code="say(attempt(os.open, f'/proc/{os.getppid()}/cwd', os.O_PATH))",
    ),
)  # fmt: skip

HANDLES = (
    Attack(
        id="ATK-5", name="a file handle of a bind opens its parent", needs=ROOT_ONLY, options=lent,
        refused=everywhere("EPERM"),
        code="""
        # Any file of the file system by its number, without a way to it: that of the canary, beside what is lent.
        handle = (ctypes.c_uint32 * 34)(128)
        mount = ctypes.c_int()
        path = C["canary"] if os.path.exists(C["canary"]) else C["lent"] + "/file"
        first = raw("name_to_handle_at", -100, path.encode(), ctypes.addressof(handle), ctypes.addressof(mount), 0)
        assert first == 0, first
        top = os.open(C["lent"], os.O_RDONLY)
        fd = raw("open_by_handle_at", top, ctypes.addressof(handle), os.O_RDONLY)
        say(sings(os.read(fd, 99)) if fd >= 0 else errno.errorcode[-fd])
        """,
    ),
    Attack(
        id="ATK-5", name="a forged handle of inode 2", needs=ROOT_ONLY, options=lent, refused=everywhere("EPERM"),
        code="""
        handle = (ctypes.c_uint32 * 4)(8, 1, 2, 0)  # FILEID_INO32_GEN: inode 2, the root of an ext file system
        top = os.open(C["lent"], os.O_RDONLY)
        fd = raw("open_by_handle_at", top, ctypes.addressof(handle), os.O_RDONLY)
        say("POSSIBLE" if fd >= 0 or fd == -errno.ESTALE else errno.errorcode[-fd])
        """,
    ),
)  # fmt: skip


FILE = "path = C['lent'] + '/file'\n"
WRITES = tuple(
    Attack(
        id="ATK-12", name=f"what is lent for reading: {name}", code=FILE + code, refused=everywhere("EROFS|EACCES"),
        options=lent,
    )
    for name, code in {
        "open for writing": "say(attempt(os.open, path, os.O_WRONLY))",
        "open again through /proc/self/fd": "fd = os.open(path, os.O_RDONLY)\n"
        "say(attempt(os.open, f'/proc/self/fd/{fd}', os.O_RDWR))",
        "map for writing": "import mmap\n"
        "def change():\n    fd = os.open(path, os.O_RDWR)\n    mmap.mmap(fd, 4)\nsay(attempt(change))",
        "truncate": "say(attempt(os.truncate, path, os.path.getsize(path)))",
        "times": "say(attempt(os.utime, path, ns=(os.stat(path).st_atime_ns, os.stat(path).st_mtime_ns)))",
        "mode": "say(attempt(os.chmod, path, 0o666))",
        "owner": "say(attempt(os.chown, path, -1, os.stat(path).st_gid))",
        "attribute": "say(attempt(lambda: (os.setxattr(path, 'user.x', b'1'), os.removexattr(path, 'user.x'))))",
        "new file": "new = path + '.new'\nsay(attempt(lambda: (open(new, 'x').close(), os.unlink(new))))",
        "new directory": "new = path + '.new'\nsay(attempt(lambda: (os.mkdir(new), os.rmdir(new))))",
        "symbolic link": "new = path + '.new'\nsay(attempt(lambda: (os.symlink('x', new), os.unlink(new))))",
        "hard link": "new = path + '.new'\nsay(attempt(lambda: (os.link(path, new), os.unlink(new))))",
        "rename": "new = path + '.new'\nsay(attempt(lambda: (os.rename(path, new), os.rename(new, path))))",
        "fifo": "new = path + '.new'\nsay(attempt(lambda: (os.mkfifo(new), os.unlink(new))))",
        "file without a name": "say(attempt(os.open, C['lent'], os.O_WRONLY | os.O_TMPFILE))",
    }.items()
)  # fmt: skip

HERE = """
os.makedirs("/tmp/here", exist_ok=True)
"""
MOUNTS = tuple(
    Attack(
        id=identity, name=name, code=HERE + code, refused=everywhere("EPERM"),
        control=CGROUPS if "cgroup" in code else NAMESPACE,
    )
    for identity, name, code in (
        ("ATK-14", "mount: a tmpfs", "say(call('mount', b'none', b'/tmp/here', b'tmpfs', 0, 0))"),
        ("ATK-14", "mount: a bind", "say(call('mount', b'/usr', b'/tmp/here', None, 4096, 0))"),
        ("ATK-14", "mount: propagation back to the host", "say(call('mount', None, b'/', None, 0x100000 | 0x4000, 0))"),
        ("ATK-14", "mount: moved away", "say(call('mount', b'/proc', b'/tmp/here', None, 8192, 0))"),
        ("ATK-14", "mount: another proc", "say(call('mount', b'none', b'/tmp/here', b'proc', 0, 0))"),
        ("ATK-14", "umount of proc", "say(call('umount2', b'/proc', 2))"),
        ("ATK-14", "fsopen", "say(call('fsopen', b'tmpfs', 0))"),
        ("ATK-14", "fspick", "say(call('fspick', -100, b'/proc', 0))"),
        ("ATK-14", "open_tree of a copy", "say(call('open_tree', -100, b'/usr', 1))"),
        ("ATK-14", "move_mount", "say(call('move_mount', -100, b'/proc', -100, b'/tmp/here', 0))"),
        ("ATK-11", "remount of proc for writing", "say(call('mount', None, b'/proc', None, 32 | 4096 | 14, 0))"),
        ("ATK-11", "mount_setattr of proc for writing",
         "say(call('mount_setattr', -100, b'/proc', 0, words(0, 1, 0, 0), 32))"),
        ("ATK-62", "mount of control groups, version 2", "say(call('mount', b'none', b'/tmp/here', b'cgroup2', 0, 0))"),
        ("ATK-62", "mount of POSIX message queues", "say(call('mount', b'none', b'/tmp/here', b'mqueue', 0, 0))"),
        ("ATK-64", "mount of sysfs", "say(call('mount', b'none', b'/tmp/here', b'sysfs', 0, 0))"),
        ("ATK-38", "mount of terminals", "say(call('mount', b'none', b'/tmp/here', b'devpts', 0, b'newinstance'))"),
    )
)  # fmt: skip

NODE = """
os.umask(0)
path = C["gift"] + "/node"
def make(kind, *number):
    os.mknod(path, 0o666 | kind, os.makedev(*number))
    os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK)) if kind == 0o020000 else None
try:
    said = attempt(make, %s)
finally:
    with contextlib.suppress(OSError):
        os.unlink(path)
say(said)
"""
DEVICES = tuple(
    Attack(
        id="ATK-15", name=f"mknod: {name}", code=NODE % number, refused=everywhere("EPERM|EACCES"), needs=ROOT_ONLY,
        options=given,
    )
    for name, number in (
        ("a disk", "0o060000, 7, 0"),
        ("random numbers, harmless elsewhere", "0o020000, 1, 8"),
        ("the kernel's log", "0o020000, 1, 11"),
        ("a terminal of the host", "0o020000, 4, 1"),
    )
)  # fmt: skip
DEVICES_BY_NAME = (
    Attack(
        id="ATK-15", name="any device beyond the harmless", refused=everywhere("nothing"), needs=ROOT_ONLY,
        code="""
        import stat
        good = {(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2)}
        def devices():
            for top, _, names in os.walk("/dev"):
                for name in names:
                    info = os.lstat(os.path.join(top, name))
                    if stat.S_ISBLK(info.st_mode) or stat.S_ISCHR(info.st_mode):
                        yield os.major(info.st_rdev), os.minor(info.st_rdev)
        say(found(set(devices()) - good))
        """,
    ),
    Attack(
        id="ATK-17", name="FUSE: the device", path="/dev/fuse", needs=ROOT_ONLY,
        refused=everywhere("ENOENT"), code="say(attempt(os.open, '/dev/fuse', os.O_RDWR))",
    ),
    Attack(
        id="ATK-17", name="overlay in a user namespace of its own", refused=everywhere("EPERM|ENOSPC"),
        code="""
        import shutil
        ids = {"setgroups": "deny", "uid_map": f"0 {os.getuid()} 1", "gid_map": f"0 {os.getgid()} 1"}
        outcome = call("unshare", 0x10020000)
        if outcome == "POSSIBLE":
            for name, text in ids.items():
                with open("/proc/self/" + name, "w") as file:
                    file.write(text)
            for name in ("lower", "upper", "work", "top"):
                os.makedirs(f"/tmp/ov-{os.getpid()}/{name}")
            base = f"/tmp/ov-{os.getpid()}/".encode()
            options = b"lowerdir=%slower,upperdir=%supper,workdir=%swork" % (base, base, base)
            outcome = call("mount", b"none", base + b"top", b"overlay", 0, options)
            call("umount2", base + b"top", 2)
            shutil.rmtree(base, ignore_errors=True)
        say(outcome)
        """,
    ),
)  # fmt: skip

# What a program leaves in a directory of the host works there with the rights of its owner.
SET_ID = tuple(
    Attack(
        id="ATK-16", name=f"set-id file left on the host: {name}", refused=only(refused), options=given,
        control=Jailed({"seccomp": False}),
        code="os.umask(0)\npath = C['gift'] + '/set-id'\n" + code + "\nwith contextlib.suppress(OSError):\n"
        "    os.unlink(path)\n",
    )
    for name, refused, code in (
        ("chmod", "EPERM", "os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o755))\nsay(attempt(os.chmod, path, 0o4755))"),
        ("open", "EPERM", "say(attempt(os.open, path, os.O_CREAT | os.O_WRONLY, 0o2755))"),
        ("fchmod", "EPERM", "fd = os.open(path, os.O_CREAT | os.O_WRONLY, 0o755)\nsay(attempt(os.fchmod, fd, 0o6755))"),
        ("mknod", "EPERM", "say(attempt(os.mknod, path, 0o104755))"),
        ("openat2", "ENOSYS", "say(call('openat2', -100, path.encode(), words(0o101, 0o4755, 0), 24))"),
        ("without a name first", "EPERM", "say(attempt(os.open, C['gift'], os.O_WRONLY | os.O_TMPFILE, 0o4755))"),
    )
)  # fmt: skip

ATTACKS = WAYS + CHROOTS + LAUNCHER + HANDLES + WRITES + MOUNTS + DEVICES + DEVICES_BY_NAME + SET_ID
