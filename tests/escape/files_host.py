"""Attacks on files in which the host has a part: directories that are moved, links that change, programs of the host."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import jailkit
from jailkit import Bind, Jail, Tmpfs
from tests.compiled import compile_static
from tests.escape.attack import SECONDS, Attack, everywhere
from tests.escape.canaries import Canaries
from tests.inside import program, public_directory, small_root

__all__ = ["ATTACKS"]

Options = Mapping[str, Any] | None


# --- a directory that is moved out from under a program (CVE-2015-2925) ----------------------------------------------

WAIT = """
import sys, os
os.chdir(sys.argv[1])
print("there", flush=True)
sys.stdin.readline()
song = "nothing"
for up in ("..", "../..", "../../..", "../../../.."):
    try:
        if open(up + "/prey").read() == "sings":
            song = "POSSIBLE"
    except OSError:
        pass
print(song, flush=True)
"""


def _moved(options: Options, canaries: Canaries) -> str:
    with public_directory() as top:
        for name in ("given/deep", "out"):
            os.makedirs(f"{top}/{name}")
        with open(f"{top}/out/prey", "w") as file:
            file.write("sings")
        argv = program(WAIT, f"{top}/given/deep")
        with contextlib.ExitStack() as stack:
            process: Any
            if options is None:
                process = stack.enter_context(subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            else:
                jail = stack.enter_context(Jail(**options, mounts=[Bind(f"{top}/given")]))
                process = stack.enter_context(jail.popen(argv, stdin=jailkit.PIPE, timeout=SECONDS))
            assert process.stdout.readline() == b"there\n"
            os.rename(f"{top}/given/deep", f"{top}/out/deep")
            process.stdin.write(b"\n")
            process.stdin.flush()
            return str(process.stdout.readline().decode().strip())


# --- a root whose directories turn into links while jails start (CVE-2021-30465) --------------------------------------


@contextlib.contextmanager
def _flipping(path: str, prey: str) -> Iterator[threading.Event]:
    """Exchange a directory and a link to another one, without a pause."""
    done = threading.Event()
    os.mkdir(path)
    os.symlink(prey, f"{path}.link")

    def flip() -> None:
        while not done.is_set():
            os.rename(path, f"{path}.real")
            os.rename(f"{path}.link", path)
            os.rename(path, f"{path}.link")
            os.rename(f"{path}.real", path)

    thread = threading.Thread(target=flip)
    thread.start()
    try:
        yield done
    finally:
        done.set()
        thread.join()


def _leads_to(path: str, prey: str) -> bool:
    with contextlib.suppress(FileNotFoundError):  # it is not always there
        return os.path.realpath(path) == prey
    return False


def _flipped(options: Options, canaries: Canaries) -> str:
    with public_directory() as top:
        prey, root = f"{top}/prey", f"{top}/root"
        os.mkdir(prey)
        os.mkdir(root)
        binds = small_root(root)
        with _flipping(f"{root}/vol", prey):
            if options is None:  # whoever asks for the name on the host is led away
                return "POSSIBLE" if any(_leads_to(f"{root}/vol", prey) for _ in range(100_000)) else "nothing"
            for _ in range(15):
                with (
                    contextlib.suppress(jailkit.LaunchError),
                    Jail(root, **options, mounts=[*binds, Tmpfs("/vol/deep")]) as jail,
                ):
                    jail.run(["touch", "/vol/pwned", "/vol/deep/pwned"], timeout=SECONDS)
        return "POSSIBLE" if os.listdir(prey) else "nothing"


# --- a root that brings its own /dev (CVE-2025-31133) -----------------------------------------------------------------


def _devices(options: Options, canaries: Canaries) -> str:
    with public_directory() as top:
        prey, root = f"{top}/prey", f"{top}/root"
        with open(prey, "w") as file:
            file.write("sings")
        os.chmod(prey, 0o666)
        os.mkdir(root)
        binds = small_root(root)
        for name in ("null", "zero", "tty", "full"):
            os.symlink(prey, f"{root}/dev/{name}")
        if options is None:
            with open(f"{root}/dev/null", "w") as file:
                file.write("pwned")
        else:
            with Jail(root, **options, mounts=binds) as jail:
                jail.run(["sh", "-c", "for n in null zero tty full; do echo pwned >/dev/$n; done"], timeout=SECONDS)
        with open(prey) as file:
            return "nothing" if file.read() == "sings" else "POSSIBLE"


# --- programs of the host with privileges of their own ----------------------------------------------------------------

WHO = """
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main(void) {
    char line[200];
    FILE *status = fopen("/proc/self/status", "r");
    while (fgets(line, sizeof line, status))
        if (!strncmp(line, "CapEff:", 7))
            return puts(geteuid() == 0 || strspn(line + 7, "0\\t\\n") != strlen(line + 7) ? "POSSIBLE" : "nothing") < 0;
    return 1;
}
"""


def _raised(how: str) -> Any:
    def act(options: Options, canaries: Canaries) -> str:
        with public_directory() as top:
            path = compile_static(WHO, top, "who")
            if how == "set-id":
                os.chmod(path, 0o6755)
            else:  # vfs_cap_data, version 2, effective: CAP_DAC_OVERRIDE
                os.setxattr(path, "security.capability", bytes.fromhex("0100000202000000" + "00" * 12))
            if options is None:
                done = subprocess.run([path], user=65534, group=65534, capture_output=True, timeout=SECONDS, check=True)
                return done.stdout.decode().strip()
            with Jail(**{**options, "user": 1000}, mounts=[Bind(top, as_owner=True)]) as jail:
                return str(jail.run([path], text=True, timeout=SECONDS).check().stdout.strip())

    return act


# --- a writable directory below one that is lent for reading ----------------------------------------------------------

SUBMOUNT = """
import json, os, subprocess, sys
from jailkit import Bind, Jail, Level
top, face = sys.argv[1:]
subprocess.run(["mount", "-t", "tmpfs", "none", top + "/below"], check=True)
write = ["sh", "-c", "echo pwned >$0/below/file", top]
if face == "none":
    subprocess.run(write, check=True)
else:
    with Jail(mounts=[Bind(top)], **json.loads(face)) as jail:
        jail.run(write)
print("POSSIBLE" if os.listdir(top + "/below") else "nothing")
"""


def _submount(options: Options, canaries: Canaries) -> str:
    with public_directory() as top:
        os.mkdir(f"{top}/below")
        os.chmod(f"{top}/below", 0o777)
        words = (
            "none" if options is None else json.dumps({**options, **({"level": "jail"} if "level" in options else {})})
        )
        # In a mount namespace of its own: the mount is nobody else's, and gone with it.
        argv = ["unshare", "-Urm", sys.executable, "-c", SUBMOUNT, top, words]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS, check=False, cwd="/")
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


# --- part of a writable directory kept ----------------------------------------------------------------------------------

HOOKS = {
    "a hook is written": "echo pwned >.git/hooks/pre-commit",
    "its parent is renamed": "mv .git .old && mkdir -p .git/hooks && echo pwned >.git/hooks/pre-commit",
    "its parent is replaced": "rm -rf .git && mkdir -p .git/hooks && echo pwned >.git/hooks/pre-commit",
    "it is reached by a link": "ln -s .git/hooks way && echo pwned >way/pre-commit",
}


def _hook(script: str) -> Any:
    def act(options: Options, canaries: Canaries) -> str:
        with public_directory() as top:
            os.makedirs(f"{top}/work/.git/hooks")
            for path in ("work", "work/.git", "work/.git/hooks"):
                os.chmod(f"{top}/{path}", 0o777)
            mounts = [Bind(f"{top}/work", writable=True)]
            if options is not None:
                mounts.append(Bind(f"{top}/work/.git"))
            with Jail(**(options or {}), mounts=mounts) as jail:
                jail.run(["sh", "-c", script], cwd=f"{top}/work", timeout=SECONDS)
            return "POSSIBLE" if os.path.exists(f"{top}/work/.git/hooks/pre-commit") else "nothing"

    return act


ATTACKS = (
    Attack(id="ATK-6", name="up from a directory that the host has moved", act=_moved, refused=everywhere("nothing")),
    Attack(id="ATK-7", name="a mount point that turns into a link", act=_flipped, refused=everywhere("nothing")),
    Attack(id="ATK-8", name="a root whose device nodes are links", act=_devices, refused=everywhere("nothing")),
    Attack(
        id="ATK-16", name="a set-id program of the host's root", act=_raised("set-id"), needs=("root", "cc"),
        refused=everywhere("nothing"),
    ),
    Attack(
        id="ATK-16", name="a program of the host with a capability", act=_raised("capability"), needs=("root", "cc"),
        refused=everywhere("nothing"),
    ),
    Attack(id="ATK-12", name="a mount below what is lent for reading", act=_submount, refused=everywhere("nothing")),
    *(
        Attack(
            id="ATK-130", name=f"a kept part of a writable directory: {name}", act=_hook(script),
            refused=everywhere("nothing"),
        )
        for name, script in HOOKS.items()
    ),
)  # fmt: skip
