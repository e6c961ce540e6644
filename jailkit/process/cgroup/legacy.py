"""Control groups of version 1: a tree for each controller. Linux, Documentation/admin-guide/cgroup-v1/."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable

from jailkit.plan import GroupPlan, Setting
from jailkit.process.cgroup.base import Counters, Group, GroupError, Join, read_keys, read_number, read_text, write_text

__all__ = ["LegacyGroup"]

_FREEZE_SECONDS = 5.0


class LegacyGroup(Group):
    """One directory in each tree that a limit needs."""

    def __init__(self, plan: GroupPlan, above: Group | None = None, *, program: bool = False) -> None:
        """See `Group`."""
        super().__init__(plan, above, program=program)
        self._freezer: str | None = None

    def write(self, settings: Iterable[Setting]) -> None:
        """See `Group`."""
        memory = [setting for setting in settings if setting.controller == "memory"]
        if "cpuset" in self._paths:
            self._inherit_memory_nodes()
        super().write(setting for setting in settings if setting.controller != "memory")
        try:
            super().write(memory)
        except GroupError:
            # Memory alone may not be above memory and swap together, at no moment.
            super().write(reversed(memory))
            super().write(memory)

    def _inherit_memory_nodes(self) -> None:
        """A cpuset takes no process before it has memory nodes, and inherits none."""
        directory = self._paths["cpuset"]
        nodes = os.path.join(os.path.dirname(directory), "cpuset.mems")
        with open(nodes) as file:
            self._step("write to cpuset.mems", write_text, directory, "cpuset.mems", file.read().strip())

    def _directory(self, controller: str) -> str:
        return self._paths[controller]

    @property
    def counts_memory(self) -> bool:
        """See `Group`."""
        return "memory" in self._paths

    def joins(self) -> list[Join]:
        """See `Group`."""
        # Not cgroup.procs: a move of a whole thread group waits for a grace period of the kernel, milliseconds,
        # a single thread that moves itself does not.
        return [Join(f"{path}/tasks", os.O_WRONLY) for path in self.paths]

    def cpu(self) -> tuple[float, float] | None:
        """See `Group`."""
        directory = self._paths.get("cpuacct")
        nanoseconds = None if directory is None else read_number(directory, "cpuacct.usage")
        if directory is None or nanoseconds is None:
            return None
        # Nanoseconds tell how much it was, and ticks tell user from system.
        ticks = read_keys(directory, "cpuacct.stat")
        user, system = ticks.get("user", 0), ticks.get("system", 0)
        in_user = nanoseconds / 1e9 * (user / (user + system) if user + system else 1.0)
        return in_user, nanoseconds / 1e9 - in_user

    def oom_kills(self) -> int:
        """See `Group`."""
        memory = self._paths.get("memory")
        return self._watch(memory, "memory.oom_control").get("oom_kill", 0) if memory else 0

    def counters(self) -> Counters:
        """See `Group`."""
        paths, cpu = self._paths, self.cpu()
        throttled = read_keys(paths["cpu"], "cpu.stat").get("throttled_time") if "cpu" in paths else None
        memory = paths.get("memory")
        io = _io_bytes(read_text(paths["blkio"], "blkio.throttle.io_service_bytes")) if "blkio" in paths else None
        return Counters(
            cpu_user=cpu[0] if cpu else None,
            cpu_system=cpu[1] if cpu else None,
            throttled=None if throttled is None else throttled / 1e9,
            memory=None if memory is None else read_number(memory, "memory.usage_in_bytes"),
            memory_peak=None if memory is None else read_number(memory, "memory.max_usage_in_bytes"),
            oom_kills=self.oom_kills(),
            processes=self._processes(),
            processes_peak=read_number(paths["pids"], "pids.peak") if "pids" in paths else None,
            io_read=io.get("Read") if io is not None else None,
            io_written=io.get("Write") if io is not None else None,
        )

    def _members(self) -> list[int]:
        path = next(iter(self._paths.values()))
        return [int(word) for word in (read_text(path, "cgroup.procs") or "").split()]

    def _processes(self) -> int | None:
        if "pids" in self._paths:
            return read_number(self._paths["pids"], "pids.current")
        return len((read_text(next(iter(self._paths.values())), "tasks") or "").split()) if self._paths else None

    def freeze(self, *, frozen: bool) -> None:
        """See `Group`."""
        if frozen:
            self._step("move the jail into a control group of the freezer", self._join_freezer)
        if self._freezer is None:
            return
        state = "FROZEN" if frozen else "THAWED"
        file = f"{self._freezer}/freezer.state"
        deadline = time.monotonic() + _FREEZE_SECONDS
        while True:
            with open(file, "w") as control:
                control.write(state)
            with open(file) as control:
                if control.read().strip() == state:
                    return
            if time.monotonic() > deadline:
                raise TimeoutError("a process of the jail cannot be stopped: it is in uninterruptible sleep")
            time.sleep(0.001)

    def _join_freezer(self) -> None:
        """Make a group in the freezer's tree and move everybody in; what they start later is born there."""
        if self._freezer is None:
            path = self._paths["freezer"] = f"{self.plan.freezer}/{self._name}"
            os.mkdir(path)
            self._freezer = path
        while missing := set(self._members()) - set(_members_of(self._freezer)):
            for pid in missing:
                with contextlib.suppress(ProcessLookupError), open(f"{self._freezer}/cgroup.procs", "w") as file:
                    file.write(str(pid))

    def kill(self) -> None:
        """Do nothing: without cgroup.kill, PID 1 takes all with it."""


def _members_of(path: str) -> list[int]:
    with open(f"{path}/cgroup.procs") as file:
        return [int(word) for word in file.read().split()]


def _io_bytes(text: str | None) -> dict[str, int] | None:
    if text is None:
        return None
    totals = {"Read": 0, "Write": 0}
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3 and words[1] in totals:
            totals[words[1]] += int(words[2])
    return totals
