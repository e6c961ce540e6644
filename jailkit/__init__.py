"""jailkit: run other code inside a jail, the way `subprocess` runs a program.

Data flows in one direction, and the folders show it:

    spec/ (WANT) --compile_plan--> plan/ (HOW) --> _native/ (DO) --> process/ (WATCH) --> Result

`Jail` and `run` are all that most programs need.
"""

from jailkit._doctor import Check, Report, doctor
from jailkit._errors import (
    CallFailed,
    ClosedError,
    CommandNotExecutable,
    CommandNotFound,
    ExitError,
    JailkitError,
    LaunchError,
    RemoteError,
    SpecError,
    UnsupportedError,
    WaitTimeout,
)
from jailkit._executor import JailExecutor
from jailkit._jail import Jail
from jailkit._once import run
from jailkit._pool import JailPool
from jailkit._version import __version__
from jailkit.plan import Protection
from jailkit.process import (
    DEVNULL,
    PIPE,
    STDOUT,
    Chunk,
    Conversation,
    Denial,
    EventKind,
    ExitReason,
    JailEvent,
    Outputs,
    Pressure,
    Process,
    Result,
    Turn,
    Usage,
    converse,
)
from jailkit.python import CallResult, Calls, LoadedSource, PythonSession, python_binds
from jailkit.spec import (
    UNLIMITED,
    Allow,
    Bind,
    Command,
    Dev,
    File,
    GiB,
    JailSpec,
    KiB,
    Level,
    Limits,
    MiB,
    Proc,
    SeccompPolicy,
    Symlink,
    Terminal,
    Tmpfs,
    User,
)

__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "UNLIMITED",
    "Allow",
    "Bind",
    "CallFailed",
    "CallResult",
    "Calls",
    "Check",
    "Chunk",
    "ClosedError",
    "Command",
    "CommandNotExecutable",
    "CommandNotFound",
    "Conversation",
    "Denial",
    "Dev",
    "EventKind",
    "ExitError",
    "ExitReason",
    "File",
    "GiB",
    "Jail",
    "JailEvent",
    "JailExecutor",
    "JailPool",
    "JailSpec",
    "JailkitError",
    "KiB",
    "LaunchError",
    "Level",
    "Limits",
    "LoadedSource",
    "MiB",
    "Outputs",
    "Pressure",
    "Proc",
    "Process",
    "Protection",
    "PythonSession",
    "RemoteError",
    "Report",
    "Result",
    "SeccompPolicy",
    "SpecError",
    "Symlink",
    "Terminal",
    "Tmpfs",
    "Turn",
    "UnsupportedError",
    "Usage",
    "User",
    "WaitTimeout",
    "__version__",
    "converse",
    "doctor",
    "python_binds",
    "run",
]
