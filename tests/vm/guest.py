"""One boot of a throw-away Linux that shares this machine's files, runs one command, and is gone."""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import os
import re
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tests.vm.kernels import VmError, version

__all__ = ["Guest", "run"]

INIT = Path(__file__).with_name("init.sh")
USER = 1000
MODULES = r"(?m)^(\S+/(?:virtio_pci|virtio_console|virtio_blk|virtiofs|overlay|tun|loop)\.ko\S*):(.*)"
VIRTIOFSD = ("/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd")
DRIVE = "format=raw,if=virtio,cache=unsafe"
SWAP = 256 << 20
"""Bytes of swap that a guest has, which no jail may use to whom it is not given."""
KVM_BOOT_SECONDS = 15.0
"""Where KVM is there but brings no guest up in this time, emulation does. Under emulation a boot takes 6 to 10 s."""


@dataclasses.dataclass(frozen=True)
class Guest:
    """What to boot and what to run in it."""

    kernel: str
    """The directory of an unpacked kernel package."""
    command: tuple[str, ...]
    user: bool = False
    """Run as uid 1000, with subordinate ids and a delegated control group, instead of as root."""
    directory: str = dataclasses.field(default_factory=os.getcwd)
    show: tuple[str, ...] = ()
    """Directories below /tmp, /run or /var/tmp to show as well; the guest has those for itself."""
    timeout: float = 900.0
    """Seconds, with the boot."""
    memory: int = 2048
    """MiB; what the guest writes is in it as well."""
    cpus: int = 2

    def settings(self) -> dict[str, str]:
        """Return the variables that `init.sh` reads."""
        uid = USER if self.user else 0
        name, home = ("guest", "/home/guest") if self.user else ("root", "/root")
        env = {
            "USER": name, "HOME": home, "XDG_RUNTIME_DIR": f"/run/user/{uid}", "PATH": os.environ["PATH"],
            "SHELL": "/bin/sh", "LANG": "C.UTF-8", "JAILKIT_VM_CGROUP": "/sys/fs/cgroup/guest",
        }  # fmt: skip
        shown = [path for path in (self.directory, self.kernel, *self.show) if re.match("/(tmp|run|var/tmp)/", path)]
        words = [f"{key}={value}" for key, value in env.items()]
        return {
            "ID": str(uid),
            "DIRECTORY": self.directory,
            "KERNEL": self.kernel,
            "VERSION": version(self.kernel),
            "BUSYBOX": shutil.which("busybox") or "",
            "SHOW": " ".join(shown),
            "SWITCH": f"/usr/bin/setpriv --reuid {uid} --regid {uid} --init-groups --inh-caps=-all" if uid else "",
            "COMMAND": f"/usr/bin/env -i {shlex.join([*words, *self.command])}",
        }


def run(guest: Guest) -> int:
    """Run the guest's command; return its exit code, or 128+N where signal N killed it.

    Its output goes to this program's own streams.

    Raises:
        VmError: This machine cannot boot one, the guest ended without a result, or the time was up.
    """
    _check(guest)
    accel = os.environ.get("JAILKIT_VM_ACCEL") or ("kvm" if _hardware() else "tcg")
    for how in [accel, "tcg"] if accel == "kvm" else [accel]:
        with tempfile.TemporaryDirectory(prefix="jailkit-vm-") as folder:
            _initramfs(folder, guest)
            _disk(f"{folder}/disk", 4 << 30, ["mke2fs", "-q", "-F", "-t", "ext4"])
            _disk(f"{folder}/swap", SWAP, ["mkswap", "-q"])
            said, late = _boot(folder, how, guest)
            if len(said) > 1:
                return int(said[1])
            if said or how == "tcg":
                logs = "".join(Path(log).read_text(errors="replace")[-3000:] for log in glob.glob(f"{folder}/*.log"))
                raise VmError(f"{'timed out' if late else 'no result: the guest crashed'}\n{logs}")
    raise AssertionError("the last way was tried")


def _check(guest: Guest) -> None:
    if os.geteuid() != 0:
        raise VmError("root shares this machine's files with the guest (virtiofsd), and this is an ordinary user")
    missing = [
        name for name in ("qemu-system-x86_64", "busybox", "mke2fs", "mkswap", "unshare") if not shutil.which(name)
    ]
    if missing or not any(map(os.path.exists, VIRTIOFSD)):
        raise VmError(f"there is no {' and no '.join(missing or ['virtiofsd'])}: make apt-vm")
    if any(re.search(r"\s", path) for path in (guest.directory, guest.kernel, *guest.show)):
        raise VmError("a directory that is to be shown has a blank in its name")


def _hardware() -> bool:
    flags = Path("/proc/cpuinfo").read_text()
    return os.access("/dev/kvm", os.R_OK | os.W_OK) and bool(re.search(r"\b(vmx|svm)\b", flags))


def _initramfs(folder: str, guest: Guest) -> None:
    root, modules = Path(folder, "initramfs"), Path(guest.kernel, "lib/modules", version(guest.kernel))
    for name in ("bin", "dev", "proc", "sys", "mods", "lower", "rw", "hold", "new"):
        (root / name).mkdir(parents=True)
    settings = guest.settings()
    shutil.copy(settings["BUSYBOX"], root / "bin/busybox")
    wanted = re.findall(MODULES, (modules / "modules.dep").read_text())
    for number, name in enumerate(name for file, needs in wanted for name in [*reversed(needs.split()), file]):
        shutil.copy(modules / name, root / f"mods/{number:02}-{os.path.basename(name)}")
    lines = "".join(f"{key}={shlex.quote(value)}\n" for key, value in settings.items())
    (root / "init").write_text(f"#!/bin/busybox sh\nset -a\n{lines}{INIT.read_text()}")
    (root / "init").chmod(0o755)
    pack = "find . | busybox cpio -o -H newc >../initrd 2>/dev/null"
    subprocess.run(["sh", "-c", pack], cwd=root, check=True, timeout=60)


def _disk(path: str, size: int, make: list[str]) -> None:
    with open(path, "wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.truncate(size)  # a hole: what the guest writes is all that it takes
    subprocess.run([*make, path], check=True, timeout=60, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def _qemu(folder: str, accel: str, guest: Guest) -> list[str]:
    append = "console=ttyS0 quiet panic=-1 oops=panic mitigations=off cgroup_no_v1=all psi=1 no_timer_check"
    # TCG of QEMU 7.2: cmpxchg16b gets its flags wrong, and a thread for each processor races with code patching. Both
    # crash kernels.
    speed = ["kvm", "-cpu", "host"] if accel == "kvm" else ["tcg,thread=single", "-cpu", "max,-cx16"]
    words = [
        "qemu-system-x86_64", "-M", "q35,memory-backend=mem", "-smp", str(guest.cpus), "-m", f"{guest.memory}M",
        "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
        "-object", f"memory-backend-memfd,id=mem,size={guest.memory}M,share=on",
        "-kernel", f"{guest.kernel}/boot/vmlinuz-{version(guest.kernel)}", "-initrd", f"{folder}/initrd",
        "-append", append, "-serial", f"file:{folder}/console.log", "-device", "virtio-serial-pci",
        "-drive", f"file={folder}/disk,{DRIVE}", "-drive", f"file={folder}/swap,{DRIVE}", "-accel", *speed,
        "-chardev", f"socket,id=host,path={folder}/host", "-device", "vhost-user-fs-pci,chardev=host,tag=host",
    ]  # fmt: skip
    for number, path in enumerate(["/dev/fd/1", "/dev/fd/2", f"{folder}/status"], 1):
        words += ["-chardev", f"file,id=c{number},path={path}"]
        words += ["-device", f"virtserialport,chardev=c{number},nr={number}"]
    return words


@contextlib.contextmanager
def _host_files(folder: str) -> Iterator[subprocess.Popen[bytes]]:
    """Serve this machine's /, read-only, on a socket."""
    # In a mount namespace of its own, so that the read-only view is nobody else's.
    bind = 'mkdir $0; mount --rbind / $0 && mount -o remount,bind,ro $0 && exec "$@"'
    server = next(filter(os.path.exists, VIRTIOFSD))
    with socket.socket(socket.AF_UNIX) as listener, open(f"{folder}/host.log", "w") as log:
        listener.bind(f"{folder}/host")
        listener.listen()
        options = [f"--fd={listener.fileno()}", "-o", f"source={folder}/ro,sandbox=chroot,cache=always"]
        argv = ["unshare", "-m", "sh", "-c", bind, f"{folder}/ro", server, *options]
        with _started(argv, pass_fds=(listener.fileno(),), stderr=log) as process:
            yield process


@contextlib.contextmanager
def _started(
    argv: list[str], *, pass_fds: tuple[int, ...] = (), stdout: int | None = None, stderr: int | IO[str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program that ends with this one, and with the block."""
    words = ["setpriv", "--pdeathsig", "KILL", *argv]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, pass_fds=pass_fds, stdout=stdout, stderr=stderr)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _boot(folder: str, accel: str, guest: Guest) -> tuple[list[str], bool]:
    """Boot once; return what the guest told, "up" and the command's exit code, and whether the time was up."""
    status, start, late = Path(folder, "status"), time.monotonic(), False
    status.touch()
    argv = _qemu(folder, accel, guest)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_host_files(folder))
        vm = stack.enter_context(_started(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        # QEMU opens what it writes to by name, and a pipe is the one thing that it does not truncate or seek in.
        cats = [subprocess.Popen(["cat"], stdin=end, stdout=out) for end, out in ((vm.stdout, 1), (vm.stderr, 2))]
        for end in (vm.stdout, vm.stderr):
            assert end is not None
            end.close()
        while vm.poll() is None and not late and not any(cat.poll() for cat in cats):  # a dead cat: nobody reads us
            time.sleep(0.05)
            bound = guest.timeout if accel == "tcg" or status.read_text() else min(KVM_BOOT_SECONDS, guest.timeout)
            late = time.monotonic() - start > bound
    for cat in cats:
        cat.wait()
    return status.read_text().split(), late
