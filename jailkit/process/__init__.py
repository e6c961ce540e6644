"""WATCH: live jails and the programs in them: descriptors, bytes, clocks, verdicts."""

from jailkit.process.files import read_file, write_file
from jailkit.process.live import LiveJail, StartFailed
from jailkit.process.process import Process, open_program
from jailkit.process.result import ExitReason, Result, Usage
from jailkit.process.run import run_program
from jailkit.process.streams import DEVNULL, PIPE, STDOUT, Stream

__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "ExitReason",
    "LiveJail",
    "Process",
    "Result",
    "StartFailed",
    "Stream",
    "Usage",
    "open_program",
    "read_file",
    "run_program",
    "write_file",
]
