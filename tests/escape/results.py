"""ATK-90 to ATK-99: what comes back from a jail, and what a program of a jail finds of the host program."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import subprocess
from collections.abc import Mapping
from typing import Any

from jailkit import Bind, Jail
from tests.escape.attack import SECONDS, Attack, everywhere, outcome_of
from tests.escape.canaries import Canaries
from tests.inside import host_program, program, public_directory

__all__ = ["ATTACKS"]

Options = Mapping[str, Any] | None

# Each leaves something at `out/result` that a naive host opens: to read the host's own file, or to wait for ever.
LEFT = {
    "a link to a file of the host": "os.symlink(prey, 'out/result')",
    "a link up to a file of the host": "os.symlink('../' * 30 + prey[1:], 'out/result')",
    "a directory that is a link": "os.rmdir('out'); os.symlink(os.path.dirname(prey), 'out')",
    "a link to a link": "os.symlink(prey, 'other'); os.symlink('../other', 'out/result')",
}


def _collected(code: str) -> Any:
    def act(options: Options, canaries: Canaries) -> str:
        prey = f"{canaries.room}/result"
        lines = f"import os, sys\nprey = sys.argv[1]\nos.chdir(sys.argv[2])\nos.mkdir('out')\n{code}"
        with public_directory() as top:
            os.chmod(top, 0o777)
            with Jail(**(options or {}), mounts=[Bind(top, writable=True)]) as jail:
                jail.run(program(lines, prey, top), timeout=SECONDS).check()
                if options is not None:
                    with contextlib.suppress(OSError):
                        return (
                            "POSSIBLE"
                            if jail.get(f"{top}/out/result") == canaries.facts["song"].encode()
                            else "its own"
                        )
                    return "refused"
            with open(f"{top}/out/result") as file:  # as a host does that trusts what it finds
                return "POSSIBLE" if file.read() == canaries.facts["song"] else "its own"

    return act


def _written(options: Options, canaries: Canaries) -> str:
    """The host writes where a program has put a link to a file of the host."""
    with public_directory() as top:
        os.chmod(top, 0o777)
        with open(f"{top}/prey", "w") as file:
            file.write("sings")
        os.chmod(f"{top}/prey", 0o666)
        with Jail(**(options or {}), mounts=[Bind(f"{top}", "/data", writable=True)]) as jail:
            jail.run(["sh", "-c", f"mkdir /data/out; ln -s {top}/prey /data/out/input"], timeout=SECONDS).check()
            if options is None:
                with open(f"{top}/out/input", "w") as file:
                    file.write("pwned")
            else:
                with contextlib.suppress(OSError):
                    jail.put(b"pwned", "/data/out/input")
        with open(f"{top}/prey") as file:
            return "nothing" if file.read() == "sings" else "POSSIBLE"


class Evil:
    """What runs a command when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


def _unpickled(options: Options, canaries: Canaries) -> str:
    """A program prints a pickle that acts when it is loaded. The control loads it."""
    with public_directory() as top:
        data = pickle.dumps(Evil(f"{top}/pwned"))
        with Jail(**(options or {})) as jail:
            code = f"import os\nos.write(1, {data!r})\nos.write(2, {data!r})"
            results = [jail.run(program(code), timeout=SECONDS, text=text) for text in (False, True)]
            jail.put(data, "/tmp/result")
            out = jail.get("/tmp/result")
        str(results), repr(results)
        if options is None:
            pickle.loads(out)
        return "POSSIBLE" if os.path.exists(f"{top}/pwned") else "nothing"


FORGE = """
import json, os, socket
frame = bytes([6, 0, 0, 0] + [0] * 60)
done = []
for fd in range(3, 200):
    try:
        os.write(fd, frame)
        done.append(fd)
    except OSError:
        pass
for pid in ("1", str(os.getppid())):
    for fd in range(64):
        try:
            done.append(os.open(f"/proc/{pid}/fd/{fd}", os.O_WRONLY))
        except OSError:
            pass
print(json.dumps("POSSIBLE" if done else "nothing"))
"""


def _forged(options: Options, canaries: Canaries) -> str:
    """Reports of an end are written into every descriptor there is. The control has one that the host left open."""
    if options is not None:
        with Jail(**options) as jail:
            said = outcome_of(jail.run(program(FORGE), timeout=SECONDS))
            assert jail.run(["sh", "-c", "exit 3"], timeout=SECONDS).returncode == 3
        return said

    ends = os.pipe()
    try:
        done = subprocess.run(program(FORGE), pass_fds=ends, capture_output=True, timeout=SECONDS, check=True)
        return str(json.loads(done.stdout))
    finally:
        for fd in ends:
            os.close(fd)


SEARCH = r"""
import re, sys
seen = set()
with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
    for line in maps:
        span, rights = line.split()[:2]
        low, high = (int(end, 16) for end in span.split("-"))
        if rights.startswith("rw") and high - low < 1 << 28:
            try:
                memory.seek(low)
                seen |= set(re.findall(rb"jk-in-memory-[0-9a-f]{32}", memory.read(high - low)))
            except (OSError, OverflowError, ValueError):
                pass
print("POSSIBLE" if seen else "nothing", flush=True)
"""
HOST_OF_SECRET = """
import json, secrets
secret = "jk-in-memory-" + secrets.token_hex(16)
search, options = sys.argv[1], json.loads(sys.argv[2])
if options is None:
    pid = os.fork()
    if pid == 0:
        exec(search)
        os._exit(0)
    os.waitpid(pid, 0)
else:
    with jailkit.Jail(**options) as jail:
        print(jail.run(["/usr/bin/python3", "-I", "-S", "-c", search], text=True).check().stdout, end="")
"""


def _in_memory(options: Options, canaries: Canaries) -> str:
    """A secret in the memory of the host program is searched for in all memory there is. The control is a fork of it."""
    words = None if options is None else {**options, **({"level": "jail"} if "level" in options else {})}
    with host_program(HOST_OF_SECRET, SEARCH, json.dumps(words)) as host:
        out, error = host.communicate(timeout=SECONDS)
    assert host.returncode == 0, error
    return out.strip()


def _told(options: Options, canaries: Canaries) -> str:
    """A program prints the verdict that it would like and then fails. The control believes what it reads."""
    lines = 'import os\nprint(\'{"reason": "exited", "returncode": 0, "ok": true}\', flush=True)\nos._exit(1)'
    with Jail(**(options or {})) as jail:
        result = jail.run(program(lines), timeout=SECONDS)
    right = json.loads(result.stdout)["ok"] if options is None else result.ok
    return "POSSIBLE" if right else "nothing"


ATTACKS = (
    *(
        Attack(
            id="ATK-90", name=f"collected: {name}", act=_collected(code), refused=everywhere("refused"),
        )
        for name, code in LEFT.items()
    ),
    Attack(id="ATK-90", name="written through: a link to a file of the host", act=_written, refused=everywhere("nothing")),
    Attack(id="ATK-93", name="a result that acts when it is unpickled", act=_unpickled, refused=everywhere("nothing")),
    Attack(id="ATK-94", name="a forged report of its end", act=_forged, refused=everywhere("nothing")),
    Attack(id="ATK-95", name="a secret in the host program's memory", act=_in_memory, refused=everywhere("nothing")),
    Attack(id="ATK-99", name="a verdict on its output", act=_told, refused=everywhere("nothing")),
)  # fmt: skip
