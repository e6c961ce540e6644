"""What is on the host while a jail is attacked, within reach of everybody there, and must be as it was afterwards."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import socket
import subprocess
import tempfile
import time
from typing import Any

from tests import leaks
from tests.inside import fingerprint, public_directory
from tests.patience import patient

__all__ = ["Canaries"]

_SETTINGS = (
    "kernel/core_pattern", "kernel/modprobe", "kernel/hostname", "kernel/domainname", "kernel/panic", "kernel/sysrq",
    "kernel/randomize_va_space", "kernel/shmmax", "kernel/msgmax", "kernel/pid_max", "kernel/perf_event_paranoid",
    "kernel/kptr_restrict", "kernel/printk", "vm/panic_on_oom", "vm/overcommit_memory", "vm/drop_caches",
    "fs/protected_symlinks", "fs/suid_dumpable", "fs/file-max", "fs/mqueue/msg_max", "net/ipv4/ip_default_ttl",
    "net/ipv4/ping_group_range", "user/max_user_namespaces",
)  # fmt: skip


def _text(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError as error:
        return str(error.errno)


class Canaries:
    """A file, a process, sockets, shared memory, a secret: everything that an attacker could want of the host.

    Attributes:
        facts: What every attacking program is told: where they are. It knows all but the secret.
        room: A directory that everybody may enter.
        lent: A directory in it, whose files everybody may change by their mode: for binds that are read-only.
        gift: Another directory, for writable binds.
    """

    def __init__(self) -> None:
        self.stack = contextlib.ExitStack()
        self.room = self.stack.enter_context(public_directory())
        self.secret = f"jk-secret-{secrets.token_hex(16)}"
        self.word = secrets.token_hex(8)
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.listeners: dict[str, socket.socket] = {}
        self.facts: dict[str, Any] = {"song": f"sings {self.word}", "room": self.room}
        self._caller()
        self._files()
        self._sockets()
        self._memory()
        self._process()

    def _caller(self) -> None:
        """What the caller has for himself: a variable, and a file below his directory of temporary files."""
        os.environ["JAILKIT_CALLER"] = self.secret
        self.stack.callback(os.environ.pop, "JAILKIT_CALLER")
        home = self.stack.enter_context(tempfile.TemporaryDirectory(prefix="home-", dir="/var/tmp"))
        with open(f"{home}/.netrc-{self.word}", "w") as file:
            file.write(self.secret)
        self.facts |= {"home": home, "mine": f".netrc-{self.word}"}

    def _files(self) -> None:
        self.lent = f"{self.room}/lent"
        os.mkdir(self.lent)
        os.chmod(self.lent, 0o777)
        for name in ("canary", "result", "lent/file"):
            with open(f"{self.room}/{name}", "w") as file:
                file.write(self.facts["song"])
            # Nobody is kept from it by its mode: whoever cannot write to it is kept by the jail.
            os.chmod(f"{self.room}/{name}", 0o666)
        # What jails may write to on purpose: another directory, whose contents may change.
        self.gift = self.stack.enter_context(public_directory())
        os.chmod(self.gift, 0o777)
        self.facts |= {"canary": f"{self.room}/canary", "lent": self.lent, "gift": self.gift}
        # Open without close-on-exec: the way out of a chroot that a careless host program leaves.
        leak = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
        self.stack.callback(os.close, leak)
        os.set_inheritable(leak, True)

    def _sockets(self) -> None:
        def listen(name: str, family: int, kind: int, address: Any) -> Any:
            sock = self.stack.enter_context(socket.socket(family, kind))
            sock.bind(address)
            if kind == socket.SOCK_STREAM:
                sock.listen(100)
            sock.setblocking(False)
            self.listeners[name] = sock
            return sock.getsockname()

        stream, datagram = socket.SOCK_STREAM, socket.SOCK_DGRAM
        self.facts |= {
            "tcp": listen("tcp", socket.AF_INET, stream, ("127.0.0.1", 0))[1],
            "udp": listen("udp", socket.AF_INET, datagram, ("127.0.0.1", 0))[1],
            "tcp6": listen("tcp6", socket.AF_INET6, stream, ("::1", 0))[1],
            "abstract": f"canary-{self.word}",
            "datagrams": f"canary-{self.word}-d",
            "socket": f"{self.room}/socket",
        }
        listen("abstract", socket.AF_UNIX, stream, f"\0{self.facts['abstract']}")
        listen("datagrams", socket.AF_UNIX, datagram, f"\0{self.facts['datagrams']}")
        listen("path", socket.AF_UNIX, stream, self.facts["socket"])
        os.chmod(self.facts["socket"], 0o666)

    def _memory(self) -> None:
        """One thing of each kind of interprocess communication, open to everybody."""
        key, name, create = secrets.randbits(30) + 1, f"canary-{self.word}", 0o1000 | 0o2000 | 0o666
        for get, control, extra in (
            ("shmget", "shmctl", (4096,)),
            ("semget", "semctl", (1,)),
            ("msgget", "msgctl", ()),
        ):
            number = getattr(self.libc, get)(key, *extra, create)
            assert number >= 0
            remove = (number, 0, 0, None) if control == "semctl" else (number, 0, None)
            self.stack.callback(getattr(self.libc, control), *remove)
        queue = self.libc.mq_open(f"/{name}".encode(), os.O_CREAT | os.O_RDWR, 0o666, None)
        assert queue >= 0
        os.close(queue)
        self.stack.callback(self.libc.mq_unlink, f"/{name}".encode())
        with open(f"/dev/shm/{name}", "w") as file:
            file.write(self.facts["song"])
        self.stack.callback(os.remove, f"/dev/shm/{name}")
        self.facts |= {"key": key, "ipc": name}

    def _process(self) -> None:
        """A process of the same user, with the secret in its environment and a number of its own on its command line."""
        self.token = f"3600.{int(self.word[:6], 16)}"
        env = {**os.environ, "JAILKIT_CANARY": self.secret}
        self.sleeper = self.stack.enter_context(
            # Should this session be killed, it goes too.
            subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "sleep", self.token], env=env, start_new_session=True)
        )
        self.stack.callback(self.sleeper.kill)
        deadline = time.monotonic() + patient(30)
        while _text(f"/proc/{self.sleeper.pid}/comm") != "sleep\n":  # else it looks like another process later
            assert time.monotonic() < deadline
            time.sleep(0.005)
        self.facts |= {"pid": self.sleeper.pid, "token": self.token}

    def close(self) -> None:
        """Take all of it away."""
        self.stack.close()

    # --- do they sing? ----------------------------------------------------------------------------------------------

    def _visitors(self) -> list[str]:
        """Return whose sockets somebody has reached since the last look."""
        found = []
        for name, sock in self.listeners.items():
            with contextlib.suppress(BlockingIOError):
                while True:
                    if sock.type == socket.SOCK_STREAM:
                        sock.accept()[0].close()
                    else:
                        sock.recv(10)
                    found.append(name)
        return found

    def _sleeper(self) -> tuple[Any, ...]:
        pid = self.sleeper.pid
        limits, adjusted = _text(f"/proc/{pid}/limits"), _text(f"/proc/{pid}/oom_score_adj")
        niceness, processors = os.getpriority(os.PRIO_PROCESS, pid), sorted(os.sched_getaffinity(pid))
        return self.sleeper.poll(), limits, adjusted, niceness, processors, _text(f"/proc/{pid}/timerslack_ns")

    def sing(self) -> dict[str, Any]:
        """Return all that must be the same after an attack."""
        self._visitors()
        return {
            "files": fingerprint(self.room),
            "process": self._sleeper(),
            "settings": [(name, _text(f"/proc/sys/{name}")) for name in _SETTINGS],
            "shared memory": _text(f"/dev/shm/{self.facts['ipc']}"),
            "left behind": [name for name in os.listdir(self.gift) if os.lstat(f"{self.gift}/{name}").st_mode & 0o6000],
            "names": os.uname()[1],
            "mounts": set(leaks.mounts()),
            "loopback": [_text(f"/sys/class/net/lo/{name}") for name in ("flags", "mtu", "address")],
            "terminal": os.ttyname(0) if os.isatty(0) else "",
            "own limits": _text("/proc/self/limits"),
        }

    def changed(self, before: dict[str, Any]) -> str:
        """Return what is not as it was, or an empty string."""
        visitors = self._visitors()
        now = self.sing()
        return ", ".join([*(name for name in now if now[name] != before[name]), *(f"visit: {v}" for v in visitors)])
