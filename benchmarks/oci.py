"""crun, with a bundle of the same namespaces and mounts.

It runs from a helper process with a mount namespace of its own, for crun refuses to work where a
cgroup2 hierarchy with controllers is mounted beside v1, even when it is told to leave control groups
alone. The helper hides that hierarchy from it, and from nobody else. Nobody here is given control
groups, so crun is asked for none either.

    oci.py DIRECTORY                makes one launch per line of input, answers with nanoseconds
    oci.py DIRECTORY PROGRAM ...    runs a program once in the same kind of container
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from jail_files import ETC, LINKS, TMPFS_BYTES
from measure import Case, CaseError
from server import Server

HYBRID = "/sys/fs/cgroup/unified"
# $0 is the mount point and "$@" the helper; where nothing is mounted there is nothing to hide.
HIDE = 'umount "$0" 2>/dev/null; exec "$@"'
NAMESPACES = ("user", "mount", "pid", "uts", "ipc", "network", "cgroup")
CAPABILITY_SETS = ("bounding", "effective", "inheritable", "permitted", "ambient")


def case(directory: Path, stack: contextlib.ExitStack) -> Case:
    """Writes a bundle and starts the helper; it ends with the stack.

    Raises:
        CaseError: The caller is not root, as for the floor program.
    """
    if os.geteuid() != 0:
        raise CaseError("needs root, to map a range of ids and to hide a cgroup hierarchy from it")
    bundle = directory / "crun"
    _write_bundle(bundle)
    helper = [sys.executable, str(Path(__file__).resolve()), str(bundle)]
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", HIDE, HYBRID, *helper]

    def probe(argv: Sequence[str]) -> str:
        return subprocess.run([*command, *argv], capture_output=True, text=True, check=True).stdout

    server = Server(command)
    stack.callback(server.close)
    return Case(key="crun", title="crun, no control groups", sample=server.sample, probe=probe)


def _write_bundle(bundle: Path) -> None:
    root = bundle / "rootfs"
    for name in ("usr", "proc", "dev", "tmp", "etc"):
        (root / name).mkdir(parents=True)
    for name, text in LINKS.items():
        (root / name).symlink_to(text)
    for name, text in ETC.items():
        (root / "etc" / name).write_text(text)
    # The root of the container is nobody here, and has to pass through to its files.
    for above in (bundle, bundle.parent):
        above.chmod(0o711)


def config(argv: Sequence[str]) -> dict[str, object]:
    """Returns the OCI configuration of one launch."""
    ids = [{"containerID": 0, "hostID": 0x70000000, "size": 65536}]
    private = ["nosuid", "nodev", "mode=1777", f"size={TMPFS_BYTES}"]
    mounts = [
        ("/usr", "bind", "/usr", ["rbind", "ro", "nosuid", "nodev"]),
        ("/tmp", "tmpfs", "tmpfs", private),
        ("/proc", "proc", "proc", ["nosuid", "nodev", "noexec"]),
        ("/dev", "tmpfs", "tmpfs", ["nosuid", "noexec", "mode=755", "size=65536"]),
        ("/dev/shm", "tmpfs", "shm", [*private, "noexec"]),
    ]
    keys = ("destination", "type", "source", "options")
    return {
        "ociVersion": "1.0.0",
        "process": {
            "user": {"uid": 1000, "gid": 1000},
            "args": list(argv),
            "env": ["PATH=/usr/bin:/bin"],
            "cwd": "/",
            "capabilities": {name: [] for name in CAPABILITY_SETS},
            "noNewPrivileges": True,
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "jail",
        "mounts": [dict(zip(keys, mount, strict=True)) for mount in mounts],
        "linux": {
            "namespaces": [{"type": name} for name in NAMESPACES],
            "uidMappings": ids,
            "gidMappings": ids,
        },
    }


def launch(bundle: Path, number: int) -> int:
    """Runs the bundle once and returns nanoseconds.

    crun gives the files behind its standard streams to the user of the container: with the streams of
    the caller that can be the terminal, or the host's own /dev/null. It gets files of the bundle.

    Raises:
        CaseError: crun or the program failed, with what they wrote to their standard error.
    """
    name = f"jailkit-bench-{os.getpid()}-{number}"
    command = ["crun", "--root", str(bundle / "state"), "--cgroup-manager=disabled", "run"]
    command += ["--bundle", str(bundle), name]
    with (
        open(bundle / "stdin", "w+b") as stdin,
        open(bundle / "stdout", "wb") as stdout,
        open(bundle / "stderr", "wb") as stderr,
    ):
        begin = time.perf_counter_ns()
        done = subprocess.run(command, check=False, stdin=stdin, stdout=stdout, stderr=stderr)
        taken = time.perf_counter_ns() - begin
    if done.returncode:
        raise CaseError((bundle / "stderr").read_text().strip() or f"status {done.returncode}")
    return taken


def main(arguments: Sequence[str]) -> int:
    """The helper."""
    bundle, argv = Path(arguments[0]), list(arguments[1:])
    try:
        if argv:
            own = bundle.parent / "crun-once"
            _write_bundle(own)
            (own / "config.json").write_text(json.dumps(config(argv)))
            launch(own, 0)
            sys.stdout.write((own / "stdout").read_text())
            return 0
        (bundle / "config.json").write_text(json.dumps(config(["/bin/true"])))
        for number, _ in enumerate(sys.stdin):
            print(launch(bundle, number), flush=True)
    except CaseError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
