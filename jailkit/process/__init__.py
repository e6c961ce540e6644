"""WATCH: live jails and the programs in them: descriptors, bytes, clocks, verdicts."""

from jailkit.process.cgroup import GroupError
from jailkit.process.converse import Conversation, Turn, converse
from jailkit.process.events import EventKind, JailEvent, Watcher
from jailkit.process.failure import group_failure
from jailkit.process.files import read_file, write_file
from jailkit.process.gauge import Pressure, jail_usage, parse_pressure
from jailkit.process.live import LiveJail, StartFailed
from jailkit.process.opening import open_program
from jailkit.process.private import PrivateDirectory, PrivateError, new_name
from jailkit.process.process import Process, oom_kills
from jailkit.process.reading import Chunk, Outputs
from jailkit.process.result import ExitReason, Result, Usage
from jailkit.process.run import run_program
from jailkit.process.streams import DEVNULL, PIPE, STDOUT, Stream
from jailkit.process.talk import Captured

__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "Captured",
    "Chunk",
    "Conversation",
    "EventKind",
    "ExitReason",
    "GroupError",
    "JailEvent",
    "LiveJail",
    "Outputs",
    "Pressure",
    "PrivateDirectory",
    "PrivateError",
    "Process",
    "Result",
    "StartFailed",
    "Stream",
    "Turn",
    "Usage",
    "Watcher",
    "converse",
    "group_failure",
    "jail_usage",
    "new_name",
    "oom_kills",
    "open_program",
    "parse_pressure",
    "read_file",
    "run_program",
    "write_file",
]
