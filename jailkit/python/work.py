"""One call, in the process that was forked for it.

This file runs inside jails, by whatever Python is there: it uses the standard library alone, of Python 3.9.
"""

from __future__ import annotations

import builtins
import contextlib
import gc
import os
import resource
import struct
import sys
from typing import Any

from jailkit.python.wire import TYPES, WireError, decode, encode

__all__ = ["describe", "run_call", "sample", "warm_up"]

_REPLY = struct.Struct("!16sI")  # token, length
_NAME, _MESSAGE, _TRACEBACK = 200, 8192, 32768
_FRAMES = 40
_OURS = "<jailkit.python."


def run_call(token: bytes, body: bytes, reply: int) -> None:
    """Do what is asked for, and answer; the process is to end then."""
    me = os.getpid()
    room = 0
    try:
        request: Any = decode(body, len(body))
        room = request["room"]
        sys.modules["__main__"] = _module("__main__")
        sys.argv = [""]
        _reseed(request["seed"])
        for number, amount in request["rlimits"]:
            _limit(number, amount)
        gc.enable()
        answer = encode(("value", _DO[request["do"]](request)), room)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the host is told
        answer = encode(("error", *describe(error)))
    _flush()
    if os.getpid() == me:  # a copy that the call has made of itself has nothing to say
        _write(reply, _REPLY.pack(token, len(answer)) + answer)
    else:
        os._exit(0)


def sample() -> bytes:
    """Return a call that changes nothing: done before the first real one, it copies each page that both need."""
    nothing: Any = {"do": "call", "target": "builtins:abs", "args": [-1], "kwargs": {}, "seed": None, "room": 1000}
    return encode({**nothing, "rlimits": []})


def warm_up() -> None:
    """Do the rest of what a call does."""
    for number in range(5):
        resource.setrlimit(number, resource.getrlimit(number))


def _write(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):  # the call may have put anything there
            stream.flush()


def _reseed(seed: Any) -> None:
    """Make the random numbers of this call its own. What `random` itself holds is reseeded by os.fork()."""
    numpy: Any = sys.modules.get("numpy.random")
    if numpy is not None:
        numpy.seed(int.from_bytes(os.urandom(4), "big") if seed is None else seed % 2**32)
    if seed is not None:
        import random  # noqa: PLC0415 - most calls do not need it

        random.seed(seed)


def _limit(number: int, amount: int) -> None:
    """Bound this process, and what it starts, for good; never above what is in force."""
    hard = resource.getrlimit(number)[1]
    soft = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
    # At the soft limit of processor time comes a signal that can be caught.
    above = soft + 1 if number == resource.RLIMIT_CPU and (hard == resource.RLIM_INFINITY or soft < hard) else soft
    resource.setrlimit(number, (soft, above))


# --- what can be asked for ------------------------------------------------------------------------------------------


def _module(name: str) -> Any:
    module = type(sys)(name)
    module.__dict__["__builtins__"] = builtins
    return module


def _compile(source: bytes, name: str) -> Any:
    import linecache  # noqa: PLC0415 - for tracebacks; most calls do not need it

    lines = source.decode("utf-8", "replace").splitlines(keepends=True)
    linecache.cache[name] = (len(source), None, lines, name)
    return compile(source, name, "exec", dont_inherit=True)


def _find(module: Any, path: str) -> Any:
    for name in path.split("."):
        module = getattr(module, name)
    return module


def _call_named(request: Any) -> Any:
    name, _, path = request["target"].partition(":")
    __import__(name)
    return _find(sys.modules[name], path)(*request["args"], **request["kwargs"])


def _call_loaded(request: Any) -> Any:
    module = sys.modules[request["module"]] = _module(request["module"])
    module.__file__ = request["file"]
    exec(_compile(request["source"], request["file"]), module.__dict__)  # noqa: S102 - that is what is asked for
    return _find(module, request["target"])(*request["args"], **request["kwargs"])


def _execute(request: Any) -> Any:
    names = sys.modules["__main__"].__dict__
    names.update(request["inputs"])
    exec(_compile(request["source"], request["file"]), names)  # noqa: S102 - that is what is asked for
    wanted = request["outputs"]
    if wanted is not None:
        return {name: names[name] for name in wanted}
    inputs = request["inputs"]
    return {
        name: value
        for name, value in names.items()
        if not name.startswith("_") and not (name in inputs and inputs[name] is value) and _crosses(value)
    }


def _crosses(value: Any) -> bool:
    if type(value) not in TYPES:
        return False
    try:
        encode(value)
    except WireError:
        return False
    return True


_DO = {"call": _call_named, "load": _call_loaded, "exec": _execute}


# --- what goes wrong ------------------------------------------------------------------------------------------------


def describe(error: BaseException) -> tuple[str, str, str]:
    """Return an exception as text: its type, its message, where it comes from; all bounded."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if kind is WireError:
        name = "ValueError"  # its base, which is known outside
    try:
        message = str(error)
    except BaseException as second:  # noqa: BLE001 - the call may have defined it
        message = f"<no message: {type(second).__qualname__}>"
    return name[:_NAME], message[:_MESSAGE], _traceback(error)[-_TRACEBACK:]


def _traceback(error: BaseException) -> str:
    try:
        import traceback  # noqa: PLC0415 - calls that succeed do not need it

        where = error.__traceback__
        while where is not None and where.tb_frame.f_code.co_filename.startswith(_OURS):
            where = where.tb_next
        return "".join(traceback.format_exception(type(error), error, where, limit=-_FRAMES))
    except BaseException as second:  # noqa: BLE001 - no memory, no descriptor, or the call's own doing
        return f"<no traceback: {type(second).__qualname__}>"
