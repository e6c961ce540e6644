"""The seeds of the fuzzers, made of real plans, requests and reports.

This writes them anew::

    make fuzz-corpus

Every change of ``abi.h`` or of the plans asks for it; tests/native/test_fuzz.py says so.
"""

from __future__ import annotations

import shutil
import struct
import sys
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE / "corpus"
TAPE = bytes(16)  # see kernel.h: every call succeeds
if __name__ == "__main__":
    sys.path.append(str(HERE.parents[1]))

from jailkit._native._ext import ffi  # noqa: E402 - the sizes of abi.h, whatever they are

from jailkit import _native  # noqa: E402 - the lines above make it possible
from jailkit.plan import Host, Plan, compile_plan, prepare, prepare_open  # noqa: E402
from jailkit.spec import Command, JailSpec, Level, Limits  # noqa: E402
from tests.plans import ONE_OF_EACH, root_host, sub_host, user_host  # noqa: E402


def _plans() -> dict[str, tuple[JailSpec, Host, Plan]]:
    specs = {
        "sandbox-root": (JailSpec(), root_host()),
        "sandbox-user": (JailSpec(), user_host()),
        "container-subid": (JailSpec("/srv/root", level=Level.CONTAINER, mounts=ONE_OF_EACH), sub_host()),
    }
    return {name: (spec, host, compile_plan(spec, host)) for name, (spec, host) in specs.items()}


def _plan_seeds() -> dict[str, bytes]:
    return {
        f"plan/{name}": TAPE + _native.encode_plan(plan.host_steps, plan.jail_steps)
        for name, (_, _, plan) in _plans().items()
    }


def _asked(request: bytes, descriptors: int) -> bytes:
    inline = len(request) <= _native.constant("JK_INLINE")
    head = len(request) if inline else ffi.sizeof("struct jk_request")
    message = request if inline else request[:head] + request
    return bytes([descriptors]) + TAPE + struct.pack("<H", head) + message


def _request_seeds() -> dict[str, bytes]:
    spec, host, plan = _plans()["sandbox-root"]
    commands = {
        "plain": (Command(["/bin/true"]), (True, True, True), 1),
        "streams": (Command(["sh", "-c", "exit 3"], env={"A": "b"}, cwd="/tmp"), (False, False, False), 4),
        "limits": (Command(["id"], limits=Limits(cpu_seconds=1, open_files=16)), (True, False, False), 3),
        "large": (Command(["/bin/echo", "x" * 62000]), (True, True, True), 2),
    }
    seeds = {
        f"request/{name}": _asked(
            _native.encode_request(prepare(command, spec, plan, host, alone=False, watched=False), null, merge=False),
            count,
        )
        for name, (command, null, count) in commands.items()
    }
    watched = prepare(Command(["cat"]), spec, plan, host, alone=False, watched=True)
    seeds["request/watched"] = _asked(_native.encode_request(watched, (False, False, False), merge=True), 4)
    opening = prepare_open("/tmp/x", ("O_RDONLY",), 0, spec, plan, host)
    seeds["request/open"] = _asked(_native.encode_request(opening, (True, True, True), merge=False), 1)
    return seeds


def _said(kind: str, descriptors: int = 0, *, what: int = 0, pid: int = 7, error: int = 0, status: int = 0) -> bytes:
    fields = {"kind": _native.ReportKind[kind], "phase": 3, "error": error, "pid": pid, "status": status}
    report = bytes(ffi.buffer(ffi.new("struct jk_report *", fields)))
    return bytes([descriptors + 7 * what]) + struct.pack("<H", len(report)) + report


def _host_seeds() -> dict[str, bytes]:
    talks = {
        "birth": b"\x18" + _said("BORN", 1, what=1) + _said("READY"),
        "failure": b"\x18" + _said("FAILED", error=13),
        "run": b"\x14" + _said("EXITED", status=256),
        "killed": b"\x04" + _said("EXITED", status=9),
        "watched": b"\x15" + _said("STARTED", 1, what=1) + _said("EXITED"),
        "opened": b"\x12" + _said("OPENED", 1),
        "strange": b"\x1f" + _said("OPENED", 2) + _said("STARTED") + _said("EXITED", 3, status=0x137F),
    }
    return {f"host/{name}": said for name, said in talks.items()}


def seeds() -> dict[str, bytes]:
    """Return every seed by its name: the harness it is for, and what it is."""
    return {**_plan_seeds(), **_request_seeds(), **_host_seeds()}


if __name__ == "__main__":
    shutil.rmtree(FOLDER, ignore_errors=True)
    for seed, content in seeds().items():
        path = FOLDER / seed
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
