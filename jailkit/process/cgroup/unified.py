"""Control groups of version 2: one tree. Linux, Documentation/admin-guide/cgroup-v2.rst."""

from __future__ import annotations

import os
import select
import time

from jailkit import _native
from jailkit.plan import GroupPlan
from jailkit.process.cgroup.base import Counters, Group, GroupError, Join, read_keys, read_number, read_text, write_text

__all__ = ["UnifiedGroup"]

_FREEZE_SECONDS = 5.0
_LEAF = "programs"


class UnifiedGroup(Group):
    """A directory of the one tree; with a leaf inside when there are to be groups of programs beside PID 1."""

    def __init__(
        self, plan: GroupPlan, above: Group | None = None, *, program: bool = False, several: bool = False
    ) -> None:
        """See `Group`; with `several`, processes live in a leaf, because a group with groups in it may have none."""
        super().__init__(plan, above, program=program)
        self._several = several

    def _prepare(self) -> None:
        for directory in (*(parent for _, parent in self.plan.parents), *(self._above.paths if self._above else ())):
            enable(directory, self.plan.enable)

    def _finish(self) -> None:
        path = self._paths[""]
        if self._several:
            if self.plan.enable:
                self._step(f"let control groups in {path} have {self.plan.enable}", self._enable_inside)
            self._step(f"make control group {path}/{_LEAF}", _native.make_directory, f"{path}/{_LEAF}")
        elif "memory.oom.group" in self.plan.files and "memory" in self.plan.enable:
            # All or nothing: a program that lost a child to the killer would tell its own tale of it.
            self._step("write 1 to memory.oom.group", write_text, self._paths[""], "memory.oom.group", "1")

    def _enable_inside(self) -> None:
        words = " ".join(f"+{name}" for name in self.plan.enable)
        write_text(self._paths[""], "cgroup.subtree_control", words)

    def _directory(self, controller: str) -> str:
        del controller
        return self._paths[""]

    def joins(self) -> list[Join]:
        """See `Group`."""
        if self._program:
            # A program is born by PID 1, which has neither the rights nor the view for CLONE_INTO_CGROUP.
            return [Join(f"{self._paths['']}/cgroup.procs", os.O_WRONLY)]
        return [Join(self._of_programs(), os.O_RDONLY | os.O_DIRECTORY)]  # for clone3(2)

    def entrances(self) -> list[Join]:
        """See `Group`."""
        return [Join(f"{self._of_programs()}/cgroup.procs", os.O_WRONLY)]

    @property
    def counts_memory(self) -> bool:
        """See `Group`."""
        return any("memory" in group.plan.enable for group in (self, self._above) if group)

    def _of_programs(self) -> str:
        """The leaf, where there is one: programs with a group of their own are beside it."""
        return f"{self._own}/{_LEAF}" if self._several else self._own

    @property
    def _own(self) -> str:
        """The directory; after the end of the group one that has no files, so that nothing is known any more."""
        return self._paths.get("", "/proc/self/fdinfo/gone")

    def cpu(self) -> tuple[float, float] | None:
        """See `Group`."""
        used = self._watch(self._of_programs(), "cpu.stat")
        return (used["user_usec"] / 1e6, used["system_usec"] / 1e6) if "system_usec" in used else None

    def oom_kills(self) -> int:
        """See `Group`."""
        return self._watch(self._of_programs(), "memory.events").get("oom_kill", 0)

    def counters(self) -> Counters:
        """See `Group`."""
        own = self._own
        cpu = read_keys(own, "cpu.stat")
        io = _io_bytes(read_text(own, "io.stat"))
        return Counters(
            cpu_user=cpu["user_usec"] / 1e6 if "user_usec" in cpu else None,
            cpu_system=cpu["system_usec"] / 1e6 if "system_usec" in cpu else None,
            throttled=cpu["throttled_usec"] / 1e6 if "throttled_usec" in cpu else None,
            memory=read_number(own, "memory.current"),
            memory_peak=read_number(own, "memory.peak") if "memory.peak" in self.plan.files else None,
            oom_kills=read_keys(own, "memory.events").get("oom_kill", 0),
            processes=read_number(own, "pids.current"),
            processes_peak=read_number(own, "pids.peak") if "pids.peak" in self.plan.files else None,
            io_read=io[0] if io else None,
            io_written=io[1] if io else None,
        )

    @property
    def pressure(self) -> dict[str, str]:
        """See `Group`."""
        texts = {name: read_text(self._own, f"{name}.pressure") for name in ("cpu", "memory", "io")}
        return {name: text for name, text in texts.items() if text}

    def freeze(self, *, frozen: bool) -> None:
        """See `Group`."""
        self._step("write to cgroup.freeze", write_text, self._paths[""], "cgroup.freeze", "1" if frozen else "0")
        deadline = time.monotonic() + _FREEZE_SECONDS
        while read_keys(self._paths[""], "cgroup.events").get("frozen") != frozen:
            if time.monotonic() > deadline:
                raise TimeoutError("a process of the jail cannot be stopped: it is in uninterruptible sleep")
            select.select([], [], [], 0.001)

    def kill(self) -> None:
        """See `Group`."""
        if "cgroup.kill" in self.plan.files and self._paths:
            self._step("write 1 to cgroup.kill", write_text, self._paths[""], "cgroup.kill", "1")


def enable(parent: str, controllers: tuple[str, ...]) -> None:
    """Let the groups in a directory have controllers.

    Raises:
        GroupError: The kernel refuses: the directory has no such controller, or processes of its own.
    """
    try:
        with open(f"{parent}/cgroup.subtree_control", "rb") as file:
            present = file.read().decode().split()
        if missing := [name for name in controllers if name not in present]:
            with open(f"{parent}/cgroup.subtree_control", "w") as control:
                control.write(" ".join(f"+{name}" for name in missing))
    except OSError as error:
        raise GroupError(f"let control groups in {parent} have {', '.join(controllers)}", error) from error


def _io_bytes(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    words = [word.partition("=") for line in text.splitlines() for word in line.split()[1:]]
    totals = {key: sum(int(value) for name, _, value in words if name == key) for key in ("rbytes", "wbytes")}
    return totals["rbytes"], totals["wbytes"]
