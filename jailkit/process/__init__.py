"""WATCH: live jails and the programs in them: descriptors, bytes, clocks, verdicts."""

from jailkit.process.cgroup import GroupError
from jailkit.process.converse import Conversation, Meeting, Turn, converse
from jailkit.process.denials import Listener, listen_to
from jailkit.process.events import EventKind, JailEvent, Watcher
from jailkit.process.failure import group_failure
from jailkit.process.files import read_file, write_file
from jailkit.process.gauge import Pressure, jail_usage, parse_pressure
from jailkit.process.hooks import end, half_read, listen, reading_of, watch
from jailkit.process.live import LiveJail, StartFailed
from jailkit.process.opening import open_program
from jailkit.process.private import PrivateDirectory, PrivateError, new_name
from jailkit.process.process import Process, oom_kills
from jailkit.process.reading import Chunk, Outputs
from jailkit.process.ready import Watch
from jailkit.process.result import Denial, ExitReason, Refused, Result, Usage
from jailkit.process.run import Once, run_program
from jailkit.process.streams import DEVNULL, PIPE, STDOUT, Stream
from jailkit.process.talk import Captured

__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "Captured",
    "Chunk",
    "Conversation",
    "Denial",
    "EventKind",
    "ExitReason",
    "GroupError",
    "JailEvent",
    "Listener",
    "LiveJail",
    "Meeting",
    "Once",
    "Outputs",
    "Pressure",
    "PrivateDirectory",
    "PrivateError",
    "Process",
    "Refused",
    "Result",
    "StartFailed",
    "Stream",
    "Turn",
    "Usage",
    "Watch",
    "Watcher",
    "converse",
    "end",
    "group_failure",
    "half_read",
    "jail_usage",
    "listen",
    "listen_to",
    "new_name",
    "oom_kills",
    "open_program",
    "parse_pressure",
    "read_file",
    "reading_of",
    "run_program",
    "watch",
    "write_file",
]
