"""Keys of the kernel (keyrings(7)) that the caller has are not the jail's."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.patience import patient

# Numbers of add_key(2) and keyctl(2).
CALLS = {"x86_64": (248, 250), "aarch64": (217, 219)}
SEARCH = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
found = libc.syscall({keyctl}, 10, -3, b"user", b"jailkit-canary", 0)  # KEYCTL_SEARCH in the session keyring
print("found" if found > 0 else "not found")
"""
CALLER = """
import ctypes, jailkit
libc = ctypes.CDLL(None, use_errno=True)
assert libc.syscall({keyctl}, 1, None) > 0  # KEYCTL_JOIN_SESSION_KEYRING: this process's own, gone with it
assert libc.syscall({add_key}, b"user", b"jailkit-canary", b"hunter2", 7, -3) > 0
search = {search!r}
exec(search)
for level in ("chroot", "jail", "sandbox"):
    print(jailkit.run(["python3", "-c", search], level=level, text=True).check().stdout, end="")
exec(search)
"""


@pytest.mark.requires("python")
@pytest.mark.skipif(not os.path.exists("/proc/keys"), reason="a kernel without keyrings")
def test_the_callers_session_keyring_is_out_of_reach() -> None:
    """The caller finds its key before and after; the same program in a jail does not, at any level."""
    add_key, keyctl = CALLS[os.uname().machine]
    code = CALLER.format(add_key=add_key, keyctl=keyctl, search=SEARCH.format(keyctl=keyctl))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=patient(60), check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["found", "not found", "not found", "not found", "found"]
