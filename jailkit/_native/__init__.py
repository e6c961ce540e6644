"""The boundary to C: the only package that imports the extension, and gives it types.

Nothing here knows what a jail is for. `start` runs ``jailkit-init``, `submit` asks it for a program, `Talk` moves that
program's bytes; the two encoders turn plans and requests, which are data, into the bytes of ``abi.h``.
"""

from jailkit._native._calls import (
    INIT_PATH,
    Report,
    ReportKind,
    Submission,
    Talk,
    TalkEvent,
    constant,
    enum_names,
    receive,
    start,
    submit,
    system_call,
)
from jailkit._native._encode import RequestLike, StepLike, encode_plan, encode_request

__all__ = [
    "INIT_PATH",
    "Report",
    "ReportKind",
    "RequestLike",
    "StepLike",
    "Submission",
    "Talk",
    "TalkEvent",
    "constant",
    "encode_plan",
    "encode_request",
    "enum_names",
    "receive",
    "start",
    "submit",
    "system_call",
]
