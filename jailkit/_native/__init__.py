"""The boundary to C: the only package that imports the extension, and gives it types.

Nothing here knows what a jail is for. `Jail` starts and ends ``jailkit-init``, `Run` asks it for a program and moves
that program's bytes; the two encoders turn plans and requests, which are data, into the bytes of ``abi.h``.
"""

from jailkit._native._calls import (
    INIT_PATH,
    NULL,
    PIPE,
    SAME,
    First,
    Ids,
    Jail,
    Run,
    constant,
    enum_names,
    system_call,
)
from jailkit._native._encode import RequestLike, StepLike, encode_plan, encode_request
from jailkit._native._quick import QuickFile, make_directory, remove_directory
from jailkit._native._report import Event, Report, ReportKind
from jailkit._native._seccomp import LibraryMissingError, call_numbers, compile_filter

__all__ = [
    "INIT_PATH",
    "NULL",
    "PIPE",
    "SAME",
    "Event",
    "First",
    "Ids",
    "Jail",
    "LibraryMissingError",
    "QuickFile",
    "Report",
    "ReportKind",
    "RequestLike",
    "Run",
    "StepLike",
    "call_numbers",
    "compile_filter",
    "constant",
    "encode_plan",
    "encode_request",
    "enum_names",
    "make_directory",
    "remove_directory",
    "system_call",
]
