"""The options for limits: one for every field of `Limits`."""

from __future__ import annotations

from typing import Any

from jailkit._cli import values

__all__ = ["LIMITS"]

LIMITS: dict[str, tuple[str, Any, str, str]] = {
    "memory": ("--memory", values.size, "SIZE", "memory of the whole jail, /tmp and caches included"),
    "swap": ("--swap", values.size, "SIZE", "swap of the whole jail, on top of --memory; may be 0"),
    "cpu_seconds": ("--cpu-seconds", values.duration, "TIME", "processor time of the program and all it started"),
    "wall_seconds": (
        "--timeout",
        values.duration,
        "TIME",
        "kill the program and all it started after this time (exit code 124)",
    ),
    "cpus": ("--cpus", values.number, "NUMBER", "processors' worth of time for the whole jail, as in 0.5"),
    "cpuset": ("--cpuset-cpus", values.text, "LIST", "processors that may be used, as in 0-3,6"),
    "cpu_weight": ("--cpu-weight", values.count, "N", "share of the processors where jails compete, 1 to 10000"),
    "processes": ("--processes", values.count, "N", "processes and threads of the jail's user"),
    "open_files": ("--open-files", values.count, "N", "open descriptors of each process"),
    "read_bps": ("--read-bps", values.size, "SIZE", "bytes per second read from each disk"),
    "write_bps": ("--write-bps", values.size, "SIZE", "bytes per second written to each disk"),
    "read_iops": ("--read-iops", values.count, "N", "read operations per second on each disk"),
    "write_iops": ("--write-iops", values.count, "N", "write operations per second on each disk"),
    "file_size": ("--file-size", values.size, "SIZE", "the largest file that a process may write"),
    "stack": ("--stack", values.size, "SIZE", "stack of each process"),
    "core": ("--core", values.size, "SIZE", "the largest core file; may be 0"),
    "output": (
        "--output",
        values.size,
        "SIZE",
        "stdout and stderr together; both are then collected, and handed on when the program has ended",
    ),
    "disk": ("--disk", values.size, "SIZE", "what is written to private file systems in memory (/tmp, home, --tmpfs)"),
    "inodes": ("--inodes", values.count, "N", "files and other names in the same places"),
    "locked_memory": ("--locked-memory", values.size, "SIZE", "memory that each process may lock; may be 0"),
    "message_queues": ("--message-queues", values.size, "SIZE", "POSIX message queues of the jail's user; may be 0"),
    "address_space": ("--address-space", values.size, "SIZE", "address space of each process"),
}
"""Fields of `Limits`, and for each: its option, how to read it, what stands for it in the help, and the help."""
