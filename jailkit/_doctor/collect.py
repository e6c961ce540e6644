"""Starts the child that makes the attempts, and reads its answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import jailkit
from jailkit import UnsupportedError
from jailkit._doctor.apparmor import init_path
from jailkit._doctor.facts import Facts, Try

__all__ = ["collect"]

# The caller's own path, because the child is to see the same jailkit; isolated and without site, because nothing else
# of the caller's may get a say. An editable install is found by a hook of site, so the package's parent is added.
_CODE = """
import sys
sys.path[:] = sys.argv[2:]
del sys.argv[2:]
from jailkit._doctor.probe import main
sys.exit(main())
"""
_GRACE = 30.0
_SHOWN = 300
_REMEDY = "the interpreter (sys.executable) must run `import jailkit, ctypes` by itself"


def collect(timeout: float) -> Facts:
    """Return the facts of this host for this caller; see `jailkit.doctor`.

    Raises:
        UnsupportedError: There is no interpreter to run the attempts, or it ended without an answer.
    """
    if not sys.executable:
        raise UnsupportedError(
            "doctor()",
            "this process's Python interpreter (sys.executable is empty)",
            "run the command `jailkit doctor`",
        )
    answer = _ask(timeout)
    name = os.uname()
    return Facts(
        uid=os.geteuid(),
        release=name.release,
        machine=name.machine,
        init=init_path(),
        settings=answer["settings"],
        tries={key: Try(**value) for key, value in answer["tries"].items()},
    )


def _ask(timeout: float) -> dict[str, Any]:
    package = os.path.dirname(os.path.dirname(os.path.abspath(jailkit.__file__)))
    words = [sys.executable, "-I", "-S", "-c", _CODE, str(timeout), package, *filter(os.path.isabs, sys.path)]
    try:
        # A session of its own: Ctrl-C is for the caller, who ends the child.
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout + _GRACE,
            check=False,
            cwd="/",
            start_new_session=True,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnsupportedError("doctor()", f"a child process that makes the attempts: {error}", _REMEDY) from error
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        said = done.stderr.decode(errors="backslashreplace").strip()[-_SHOWN:] or f"return code {done.returncode}"
        raise UnsupportedError("doctor()", f"an answer of its child process: {said}", _REMEDY) from None
    return answer
