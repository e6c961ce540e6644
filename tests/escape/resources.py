"""ATK-100 to ATK-113: what a program can use up. The control is the same program with a larger limit, or none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jailkit import UNLIMITED, Jail, KiB, Limits, MiB
from tests.escape.attack import SECONDS, Attack, Jailed, everywhere, outcome_of
from tests.escape.canaries import Canaries
from tests.inside import program

__all__ = ["ATTACKS"]


def bounded(
    identity: str, name: str, code: str, refused: str, least: Limits, most: Limits, needs: tuple[str, ...] = ()
) -> Attack:
    """One row: a program under a small limit, and the control under a large one."""
    return Attack(
        id=identity, name=name, code=code, refused=everywhere(refused), options={"limits": least}, needs=needs,
        control=Jailed({"limits": most}),
    )  # fmt: skip


SMALL, LARGE = Limits(memory=32 * MiB, disk=400 * MiB), Limits(memory=1024 * MiB, disk=400 * MiB)
# Memory in places where a limit of each process does not look.
MEMORY = tuple(
    bounded("ATK-100", f"memory as {name}", code + "\nsay('POSSIBLE')\n", "memory", SMALL, LARGE, ("cgroups",))
    for name, code in (
        ("anonymous pages", "kept = [b'x' * (1 << 20) for _ in range(96)]"),
        ("files of /tmp", "with open('/tmp/f', 'wb') as file:\n    for _ in range(96):\n        file.write(b'x' * (1 << 20))"),
        ("files without a name", "fd = os.memfd_create('x')\nfor _ in range(96):\n    os.write(fd, b'x' * (1 << 20))"),
        ("System V segments", "libc.shmat.restype = ctypes.c_void_p\nnumber = libc.shmget(0, ctypes.c_size_t(96 << 20), 0o1600)\n"
         "where = libc.shmat(number, None, 0)\nctypes.memset(where, 1, 96 << 20)"),
        ("tables of pages", "import mmap\nspace = mmap.mmap(-1, 1 << 36, mmap.MAP_PRIVATE | 0x4000, mmap.PROT_READ)\n"
         "for at in range(0, 1 << 36, 1 << 21):\n    space[at]"),
    )
)  # fmt: skip
MEMORY = tuple(
    Attack(
        id=one.id, name=one.name, code=one.code, refused=one.refused, control=one.control, needs=one.needs,
        options={"limits": SMALL, **({"allow": ["sysvipc"]} if "System V" in one.name else {})},
    )
    for one in MEMORY
)  # fmt: skip

RLIMITS = (
    bounded(
        "ATK-109", "descriptors", "say(attempt(lambda: [os.dup(0) for _ in range(100)]))", "EMFILE",
        Limits(open_files=32), Limits(open_files=512),
    ),
    bounded(
        "ATK-109", "a raised limit of descriptors", "import resource\ntry:\n"
        "    resource.setrlimit(resource.RLIMIT_NOFILE, (400, 400))\n    say('POSSIBLE')\nexcept ValueError:\n    say('EPERM')",
        "EPERM", Limits(open_files=32), Limits(open_files=512),
    ),
    bounded(
        "ATK-108", "a sparse file of 1 TiB",
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nopen('/tmp/f', 'w').close()\nsay(attempt(os.truncate, '/tmp/f', 1 << 40))",
        "EFBIG", Limits(file_size=MiB), Limits(file_size=UNLIMITED),
    ),
    bounded(
        "ATK-108", "a file that grows",
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "def grow():\n    with open('/tmp/f', 'wb', buffering=0) as file:\n        for _ in range(64):\n            file.write(b'x' * 65536)\n"
        "say(attempt(grow))", "EFBIG", Limits(file_size=MiB), Limits(file_size=64 * MiB),
    ),
    bounded(
        "ATK-108", "a file that is allocated", "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nfd = os.open('/tmp/f', os.O_CREAT | os.O_RDWR)\n"
        "say(attempt(os.posix_fallocate, fd, 0, 32 << 20))", "ENOSPC", Limits(disk=4 * MiB), Limits(disk=64 * MiB),
    ),
    bounded(
        "ATK-108", "bytes on the disk", "def fill():\n    for n in range(16):\n        open(f'/tmp/{n}', 'wb').write(b'x' * (1 << 20))\n"
        "say(attempt(fill))", "ENOSPC", Limits(disk=4 * MiB), Limits(disk=64 * MiB),
    ),
    bounded(
        "ATK-108", "bytes in /dev/shm and in the home, beside those in /tmp",
        "def fill():\n    for n in range(6):\n        for top in ('/tmp', '/dev/shm', os.environ['HOME']):\n"
        "            open(f'{top}/{n}', 'wb').write(b'x' * (1 << 20))\nsay(attempt(fill))",
        "ENOSPC", Limits(disk=8 * MiB), Limits(disk=64 * MiB),
    ),
    bounded(
        "ATK-108", "empty files", "say(attempt(lambda: [open(f'/tmp/{n}', 'w').close() for n in range(500)]))", "ENOSPC",
        Limits(inodes=200), Limits(inodes=4096),
    ),
    bounded(
        "ATK-108", "directories in directories",
        "def dig():\n    os.chdir('/tmp')\n    for _ in range(1500):\n        os.mkdir('d' * 200)\n        os.chdir('d' * 200)\nsay(attempt(dig))",
        "ENOSPC", Limits(inodes=200), Limits(inodes=4096),
    ),
    bounded(
        "ATK-108", "links with long names", "def fill():\n    open('/tmp/f', 'w').close()\n    for n in range(500):\n"
        "        os.symlink('x' * 4000, f'/tmp/{n}')\nsay(attempt(fill))", "ENOSPC", Limits(inodes=200), Limits(inodes=4096),
    ),
    bounded(
        "ATK-101", "address space", "libc.mmap.restype = ctypes.c_long\n"
        "say('ENOMEM' if libc.mmap(None, ctypes.c_size_t(1 << 29), 3, 0x22, -1, 0) == -1 else 'POSSIBLE')", "ENOMEM",
        Limits(address_space=256 * MiB), Limits(address_space=UNLIMITED),
    ),
    bounded(
        "ATK-102", "stack", "import threading\nsys.setrecursionlimit(10**6)\n"
        ""
        "frame = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)\n"
        "deep = frame(lambda n: deep(n - 1) if n else 0)\ndeep(9000)\nsay('POSSIBLE')", "signaled SIGSEGV",
        Limits(stack=MiB), Limits(stack=256 * MiB),
    ),
    Attack(
        id="ATK-109", name="message queues", refused=everywhere("EMFILE|ENOMEM"),
        options={"limits": Limits(message_queues=4 * KiB)},
        # Landlock has no rule that lets anybody make one.
        control=Jailed({"limits": Limits(message_queues=512 * KiB), "landlock": False}),
        code="""
        attributes = (ctypes.c_long * 8)(0, 10, 8192)
        say(said(libc.mq_open(b"/q", os.O_CREAT | os.O_RDWR, 0o600, ctypes.byref(attributes))))
        """,
    ),
)  # fmt: skip


def _flood(code: str) -> Any:
    def act(options: Mapping[str, Any] | None, canaries: Canaries) -> str:
        del canaries
        limits = Limits(output=(64 * KiB if options is not None else 64 * MiB))
        with Jail(**(options or {})) as jail:
            result = jail.run(program(code), limits=limits, timeout=SECONDS)
        if options is None:
            return "POSSIBLE" if result.ok and len(result.stdout) + len(result.stderr) >= 200_000 else str(result)
        assert len(result.stdout) + len(result.stderr) <= 64 * KiB
        return outcome_of(result) if not result.ok else "POSSIBLE"

    return act


FLOODS = tuple(
    Attack(id="ATK-105", name=f"a flood: {name}", act=_flood(code), refused=everywhere("output"))
    for name, code in (
        ("stdout", "[os.write(1, b'x' * 65536) for _ in range(16)]"),
        ("stderr", "[os.write(2, b'x' * 65536) for _ in range(16)]"),
        ("both, by turns", "[os.write(1 + n % 2, b'x' * 4096) for n in range(256)]"),
        ("bytes that are 0", "[os.write(1, bytes(65536)) for _ in range(16)]"),
        ("no character of any language", "[os.write(1, b'\\xff\\xfe' * 32768) for _ in range(16)]"),
        ("byte by byte, and in a child", "os.fork()\n[os.write(1, b'\\n') for _ in range(100_000)]\nos.wait() if os.getpid() else 0"),
    )
)  # fmt: skip

COMPILE = """
import subprocess, tempfile
source = %s
with tempfile.TemporaryDirectory(dir="/tmp") as folder:
    subprocess.run(["cc", "-xc", "-", %s, "-o", "out"], input=source, capture_output=True, cwd=folder)
    made = read(folder + "/out", 1 << 20) if os.path.exists(folder + "/out") else b""
say(found(C["song"].encode() in made))
"""
COMPILERS = tuple(
    Attack(
        id="ATK-113", name=f"the compiler reads: {name}", code=COMPILE % (source, repr(option)),
        refused=everywhere("nothing"), needs=("cc",),
    )
    for name, source, option in (
        ("an included file", "b'#include \"' + C['canary'].encode() + b'\"\\n'", "-E"),
        ("a file in the program's data", "b'__asm__(\".incbin \\\\\"' + C['canary'].encode() + b'\\\\\"\");'", "-c"),
    )
)  # fmt: skip

ATTACKS = MEMORY + RLIMITS + FLOODS + COMPILERS
