"""Whichever system call of the host program fails while a jail starts, runs or ends: an error, and nothing is left."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.compiled import compile_shared

pytestmark = [pytest.mark.requires("userns", "cc"), pytest.mark.timeout(180)]

# Put before the C library of a host program: the call number FAULT_AT of those that FAULT_CALL names, counted from when
# FAULT_ARM is set, ends with FAULT_ERROR. It stands for the kernel; strace(1), which can do the same, needs ptrace.
FAULTS = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
static int left = -1, error;
static const char *name = "";
__attribute__((visibility("default"))) int fault_arm(const char *call, int at, int number) {
    int before = left;
    name = call, left = at, error = number;
    return before;
}
static int fails(const char *call) {
    if (left < 0 || strcmp(call, name) || left-- > 0)
        return 0;
    errno = error;
    return 1;
}
#define FAULT(type, call, parameters, ...) \
    type call parameters { \
        static type (*real) parameters; \
        if (!real) real = (type (*) parameters)dlsym(RTLD_NEXT, #call); \
        return fails(#call) ? (type)-1 : real(__VA_ARGS__); \
    }
#include <stddef.h>
struct pollfd; struct msghdr; struct sockaddr;
FAULT(int, memfd_create, (const char *a, unsigned b), a, b)
FAULT(int, socketpair, (int a, int b, int c, int *d), a, b, c, d)
FAULT(int, pipe2, (int *a, int b), a, b)
FAULT(long, sendmsg, (int a, const struct msghdr *b, int c), a, b, c)
FAULT(long, recvmsg, (int a, struct msghdr *b, int c), a, b, c)
FAULT(int, poll, (struct pollfd *a, unsigned long b, int c), a, b, c)
FAULT(int, bind, (int a, const struct sockaddr *b, unsigned c), a, b, c)
FAULT(int, execve, (const char *a, char *const *b, char *const *c), a, b, c)
FAULT(int, dup2, (int a, int b), a, b)
"""

HOST = """
import contextlib, ctypes, errno, json, os, sys
sys.path.append(sys.argv[1])
import jailkit
from tests import leaks
leaks.adopt_orphans()
leaks.SETTLE_SECONDS = 4.0
lib = ctypes.CDLL(sys.argv[2])
call, number, what = sys.argv[3].encode(), int(sys.argv[4]), sys.argv[5]

def use():
    if what == "run":
        assert jailkit.run(["cat"], input=b"x", timeout=20).reason.name in ("EXITED", "LOST", "WALL_TIME", "KILLED")
        return
    with jailkit.Jail() as jail:
        if what == "popen":
            with jail.popen(["cat"], stdin=jailkit.PIPE) as process:
                process.communicate(b"x", timeout=20)
        else:
            jail.put(b"x", "/tmp/x")
            assert jail.get("/tmp/x") == b"x"

use()
before = leaks.snapshot()
said = []
for at in range(40):
    lib.fault_arm(call, at, number)
    try:
        use()
        word = "worked"
    except (jailkit.JailkitError, OSError) as error:
        word = type(error).__name__
        assert not isinstance(error, OSError) or error.errno, repr(error)
        error = None
    if lib.fault_arm(b"", -1, 0) >= 0:
        break
    left = leaks.left_since(before)
    assert left == [], (at, word, left)
    said.append(word)
use()
print(json.dumps(said))
"""
ERRORS = {
    "memfd_create": "EMFILE", "socketpair": "EMFILE", "pipe2": "ENFILE", "sendmsg": "EPIPE", "recvmsg": "ENOMEM",
    "poll": "EINTR", "bind": "ENOMEM", "execve": "EACCES", "dup2": "EBADF",
}  # fmt: skip
UNUSED = {("pipe2", "files")}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What makes calls fail."""
    return compile_shared(FAULTS, str(tmp_path_factory.mktemp("faults")))


@pytest.mark.parametrize("what", ["run", "popen", "files"])
@pytest.mark.parametrize("call", ERRORS)
def test_every_call_that_fails(library: str, call: str, what: str) -> None:
    """Once each, at every place where it is made; the next jail works."""
    number = str(getattr(errno, ERRORS[call]))
    here = str(Path(__file__).parents[2])
    env = {**os.environ, "LD_PRELOAD": " ".join(filter(None, [os.environ.get("LD_PRELOAD", ""), library]))}
    done = subprocess.run(
        [sys.executable, "-c", HOST, here, library, call, number, what],
        env=env, capture_output=True, text=True, timeout=160, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    reached = json.loads(done.stdout)
    # An ordinary user has no ids to share out, so nothing is claimed by a name of a socket.
    unused = (call, what) in UNUSED or (call == "bind" and os.geteuid() != 0)
    assert reached or unused, "the call is made somewhere"
    assert set(reached) <= {"worked", "LaunchError", "ClosedError", "CommandNotExecutable", "OSError"}, reached
