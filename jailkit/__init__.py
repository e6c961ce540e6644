"""jailkit: run other code inside a jail, the way `subprocess` runs a program.

Data flows in one direction, and the folders show it:

    spec/ (WANT) --compile_plan--> plan/ (HOW) --> _native/ (DO) --> process/ (WATCH) --> Result

`Jail` and `run` are all that most programs need.
"""

from jailkit._doctor import Check, Report, doctor
from jailkit._errors import (
    ClosedError,
    CommandNotExecutable,
    CommandNotFound,
    ExitError,
    JailkitError,
    LaunchError,
    SpecError,
    UnsupportedError,
    WaitTimeout,
)
from jailkit._jail import Jail
from jailkit._once import run
from jailkit._version import __version__
from jailkit.plan import Protection
from jailkit.process import (
    DEVNULL,
    PIPE,
    STDOUT,
    EventKind,
    ExitReason,
    JailEvent,
    Pressure,
    Process,
    Result,
    Usage,
)
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
    Network,
    Port,
    Proc,
    Rule,
    SeccompPolicy,
    Symlink,
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
    "Check",
    "ClosedError",
    "Command",
    "CommandNotExecutable",
    "CommandNotFound",
    "Dev",
    "EventKind",
    "ExitError",
    "ExitReason",
    "File",
    "GiB",
    "Jail",
    "JailEvent",
    "JailSpec",
    "JailkitError",
    "KiB",
    "LaunchError",
    "Level",
    "Limits",
    "MiB",
    "Network",
    "Port",
    "Pressure",
    "Proc",
    "Process",
    "Protection",
    "Report",
    "Result",
    "Rule",
    "SeccompPolicy",
    "SpecError",
    "Symlink",
    "Tmpfs",
    "UnsupportedError",
    "Usage",
    "User",
    "WaitTimeout",
    "__version__",
    "doctor",
    "run",
]
