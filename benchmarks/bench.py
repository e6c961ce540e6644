"""Measures what a jail costs, against the C floor and against other launchers.

    python benchmarks/bench.py [--quick] [--json FILE]

Everything runs in one process, interleaved. It measures the jailkit that is installed for the Python
that runs it. See README.md for what the figures mean.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import platform
import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import accounts
import floor
import grading
import jailed_tests
import library
import network
import peers
import python_calls
import rate
import report
import stress
import throughput
from measure import Case, CaseError, block_ratio, case_rows, interleave, ratio, summary, table

PARTS = (
    "launch",
    "heap",
    "threads",
    "memory",
    "many",
    "accounts",
    "fork_bomb",
    "output",
    "python",
    "network",
    "grading",
    "jailed_tests",
    "rate",
    "soak",
)
STATES = (
    ("python_threads", f"beside {stress.THREADS} busy Python threads", stress.python_threads),
    ("native_threads", f"beside {stress.THREADS} busy threads outside the lock", stress.native_threads),
    ("processes", f"beside {stress.THREADS} busy processes", stress.busy_processes),
)
# The target names busy threads; other processes are shown for comparison, and promise nothing.
PROMISED = ("heap", "python_threads", "native_threads")
Wanted = Sequence[tuple[str, str, float]]
"""Titles of targets, the keys of their figures, and their limits."""


class Bench:
    """One measurement: its settings, and what it has found so far."""

    def __init__(self, options: argparse.Namespace, directory: Path, stack: contextlib.ExitStack) -> None:
        self.options = options
        self.directory = directory
        self.stack = stack
        self.rng = random.Random(options.seed)
        self.missing: dict[str, str] = {}
        self.found: dict[str, object] = {}
        self.targets: list[report.Target] = []
        self.others: dict[str, float] = {}
        self.jailkit: Any = None
        try:
            self.jailkit = library.load()
        except CaseError as error:
            self.missing["jailkit"] = str(error)

    def listen(self, part: str) -> None:
        """Notes, before a part, how much of the machine others use, and warns if that is much."""
        share = stress.busy_share()
        self.others[part] = round(share, 2)
        if share > 0.1:
            print(f"\n{part}: others use {share:.0%} of the processors; its figures will be noisy")

    def library(self) -> Any:
        """Returns the imported package.

        Raises:
            CaseError: There is none that works, with the reason.
        """
        if self.jailkit is None:
            raise CaseError(self.missing["jailkit"])
        return self.jailkit

    def cases(self) -> list[Case]:
        """Returns all cases that can be had here; the others go to `missing`, with the reason."""
        cases = library.subprocess_cases()
        cases += floor.available(self.directory, self.stack, self.missing)
        if self.jailkit is not None:
            cases += [*library.live_cases(self.jailkit, self.stack), library.cold_case(self.jailkit)]
            cases += library.pool_cases(self.jailkit, self.stack) + library.bare_cases(self.jailkit, self.stack)
            cases += library.ungrouped_cases(self.jailkit, self.stack)
        return cases + peers.cases(self.directory, self.stack, self.missing, self.options.skip)

    def launch(self) -> None:
        """The main table."""
        cases = self.cases()
        samples = interleave(cases, self.options.rounds, self.rng, self.missing)
        rows = case_rows(cases, samples, library.BASELINE)
        print(table(("case", "median µs", "p95 µs", "/ subprocess.run"), rows))
        self.targets += report.launch_targets(samples, self._reasons())
        base = samples.get(library.BASELINE)
        self.found["launch"] = {
            key: {**summary(values), "ratio_to_subprocess": ratio(values, base).value if base else None}
            for key, values in samples.items()
        }
        shapes = {case.key: library.shape(case) for case in cases if case.probe and case.key in samples}
        self.found["shapes"] = shapes
        if self.options.shapes:
            for key, shape in shapes.items():
                print(f"\n{key}: {json.dumps(shape)}")

    def _reasons(self) -> dict[str, str]:
        jailkit = self.missing.get("jailkit", "no samples")
        return {library.COLD: jailkit, library.LIVE: jailkit, **self.missing}

    def _state(self, key: str, title: str, state: Any, limit: float = 1.2) -> None:
        """Compares the cold figure in and out of a state."""
        cases = [case for case in library.subprocess_cases() if case.key == library.BASELINE]
        name = f"cold {title} / cold"
        try:
            cases.append(library.cold_case(self.library()))
            hand = floor.available(self.directory, self.stack, self.missing)
            cases += [case for case in hand if case.key == report.BY_HAND[library.COLD]]
            plain, loaded = stress.compare_states(cases, state, self.options.state_rounds, self.rng)
        except CaseError as error:
            if key in PROMISED:
                self.targets.append(report.unmeasured(name, limit, error))
            return
        rows = [
            (
                case.title,
                f"{summary(plain[case.key])['median_us']:.0f}",
                f"{summary(loaded[case.key])['median_us']:.0f}",
                f"{summary(loaded[case.key])['p95_us']:.0f}",
                f"{block_ratio(loaded[case.key], plain[case.key], stress.BLOCKS).value:.2f}",
                f"{ratio(loaded[case.key], loaded[library.BASELINE]).value:.2f}",
            )
            for case in cases
            if loaded.get(case.key) and plain.get(case.key)
        ]
        header = (title, "plain µs", "median µs", "p95 µs", "/ plain", "/ subprocess.run here")
        print("\n" + table(header, rows))
        self.found[key] = {
            "plain": {name: summary(values) for name, values in plain.items()},
            "loaded": {name: summary(values) for name, values in loaded.items()},
        }
        if key in PROMISED:
            self.targets += report.state_targets(title, limit, plain, loaded)

    def heap(self) -> None:
        """With 4 GiB resident in this process."""
        size = self.options.heap_gib * stress.GIB
        self._state("heap", f"with {self.options.heap_gib} GiB resident", lambda: stress.resident(size))

    def threads(self) -> None:
        """Beside busy threads of two kinds, and beside busy processes."""
        for key, title, state in STATES:
            self._state(key, title, state)

    def memory(self) -> None:
        """Proportional set size of an idle jail."""
        name, limit, unit = "memory of an idle jail, all its processes", 400.0, " KiB"
        try:
            found = stress.idle_memory(self.library())
        except CaseError as error:
            self.targets.append(report.unmeasured(name, limit, error, unit))
            return
        self.found["memory"] = found
        kib = float(str(found["used_bytes"])) / 1024
        self.targets.append(report.Target(name=name, limit=limit, measured=kib, unit=unit))

    def many(self) -> None:
        """A thousand jails at once."""
        count = self.options.jails
        name, limit = f"start of the last of {count} live jails / of the first (20 each)", 1.5
        try:
            found = stress.many_jails(self.library(), count, floor.median(self.directory))
        except CaseError as error:
            self.targets.append(report.unmeasured(name, limit, error))
            return
        self.found["many"] = found
        print(f"\n{count} jails at once: {json.dumps(found)}")
        hand, ratio_of_starts = found["by_hand"], float(str(found["ratio"]))
        by_hand = hand if isinstance(hand, float) else None
        self.targets.append(report.Target(name=name, limit=limit, measured=ratio_of_starts, by_hand=by_hand))
        left = found["left_behind"]
        things = len(left) if isinstance(left, dict) else 0
        self.targets.append(
            report.Target(name="kinds of things left behind by them", limit=0.0, measured=float(things))
        )

    def rate(self) -> None:
        """Fresh jails per second, on all processors."""
        workers = 4 * (os.cpu_count() or 1)
        try:
            program, walls = floor.build(self.directory), floor.walls(self.directory)
            found = rate.measure(self.library(), program, walls, 40 if self.options.quick else 400, workers)
        except CaseError as error:
            for name in rate.TITLES.values():
                self.targets.append(report.unmeasured(name, 1 / rate.SHARE, error))
            return
        self.found["rate"] = found
        print(f"\njails per second, {workers} at a time: {json.dumps(found)}")
        for key, name in rate.TITLES.items():
            self.targets.append(report.Target(name=name, limit=1 / rate.SHARE, measured=found[key]))

    def _measured(self, part: str, wanted: Wanted, measure: Callable[[], Any]) -> Any:
        """Measures figures that have a target each, named by their keys; returns them, or None."""
        try:
            found = measure()
        except CaseError as error:
            self.targets += [report.unmeasured(name, limit, error) for name, _, limit in wanted]
            return None
        self.found[part] = found
        self.targets += [report.Target(name=name, limit=limit, measured=found[key]) for name, key, limit in wanted]
        return found

    def soak(self) -> None:
        """Many jails, one after another: nothing grows."""
        wanted = (
            ("last tenth of a soak / first tenth", "latency_ratio", 1.2),
            ("memory that a soak has added", "memory_mib", 8.0),
            ("kinds of things left behind by a soak", "left", 0.0),
        )
        self._measured("soak", wanted, lambda: rate.soak(self.library(), 1000 if self.options.quick else 20000))

    def accounts(self) -> None:
        """Accounts against known loads, and what a limited jail costs a loop."""
        wanted = (
            ("error of processor time", "cpu_error", 0.05),
            ("error of peak memory", "memory_error", 0.05),
            ("overhead of a limited jail on a compute loop", "loop_overhead", 0.01),
        )
        self._measured("accounts", wanted, lambda: accounts.measure(self.library(), 3 if self.options.quick else 15))

    def grading(self) -> None:
        """What grading costs, and how steady its figures are."""
        wanted = (
            ("grading / the same commands without jails, 50 tests of 0.1 s", "overhead_computing", 1.15),
            ("grading / the same commands without jails, 200 short tests", "overhead_short", 1.15),
            ("spread of processor time over 20 repeats, beside busy processes", "spread", 0.03),
        )
        found = self._measured("grading", wanted, lambda: grading.measure(*((40, 20) if self.options.quick else ())))
        if found is None:
            return
        self.targets = [
            dataclasses.replace(one, by_hand=found["by_hand"]) if one.name == wanted[1][0] else one
            for one in self.targets
        ]
        for name in ("computing", "short"):
            print(f"jails without a grader / the same commands, {name}: {found[f'jails_{name}']:.2f}")
        print(f"spread of processor time of the same program without a jail, in turn: {found['spread_unjailed']:.3f}")
        for workers, count in found["per_minute"].items():
            print(f"submissions of 200 tests per minute, {workers} workers: {count:.1f}")

    def jailed_tests(self) -> None:
        """What a jailed test costs over a plain one, and whether the thousandth costs more than the first."""
        tests, rounds = (220, 1) if self.options.quick else (1000, 2)
        try:
            self.targets += jailed_tests.measure(tests, rounds)
        except CaseError as error:
            self.targets += [dataclasses.replace(one, reason=str(error)) for one in jailed_tests.promised(tests)]

    def output(self) -> None:
        """A gibibyte of output, captured and as it comes; and a flood that is bounded."""
        size, bound = (128 if self.options.quick else 1024), 8 * throughput.MIB
        name, kept = (
            f"{size} MiB of output, jail.run / subprocess.run",
            "memory for a flood / its bound",
        )
        try:
            jail = self.stack.enter_context(self.library().Jail())
            cases = throughput.cases(self.jailkit, jail, size)
            samples = interleave(cases, 5 if self.options.quick else 9, self.rng, self.missing)
            found = ratio(samples[throughput.CAPTURED], samples[throughput.PIPED])
            grown = throughput.memory_of_a_flood(jail, self.jailkit.Limits(output=bound)) / bound
        except (CaseError, KeyError) as error:
            why = CaseError(error)
            self.targets += [report.unmeasured(name, 1.0, why), report.unmeasured(kept, 3.0, why)]
            return
        rows = case_rows(cases, samples, throughput.PIPED)
        print("\n" + table((f"{size} MiB of output", "median µs", "p95 µs", "/ subprocess.run"), rows))
        self.found["output"] = {key: summary(values) for key, values in samples.items()}
        self.targets += [report.of_ratio(name, 1.0, found), report.Target(name=kept, limit=3.0, measured=grown)]

    def fork_bomb(self) -> None:
        """How long a fork bomb at its limit lives once it is to die."""
        name, limit = "end of a fork bomb at its limit", 1.0
        try:
            seconds = accounts.fork_bomb(self.library(), 3 if self.options.quick else 10)
        except CaseError as error:
            self.targets.append(report.unmeasured(name, limit, error, " s"))
            return
        self.found["fork_bomb_seconds"] = seconds
        self.targets.append(report.Target(name=name, limit=limit, measured=seconds, unit=" s"))

    def python(self) -> None:
        """A Python call in a fresh process, against the start of an interpreter."""
        try:
            cases = python_calls.cases(self.library(), self.stack)
        except CaseError as error:
            self.targets += python_calls.targets({}, {python_calls.START: str(error)})
            return
        samples = interleave(cases, self.options.rounds, self.rng, self.missing)
        rows = case_rows(cases, samples, python_calls.START)
        print("\n" + table(("case", "median µs", "p95 µs", "/ start"), rows))
        self.targets += python_calls.targets(samples, self.missing)
        self.found["python"] = {key: summary(values) for key, values in samples.items()}

    def network(self) -> None:
        """A network of a jail's own: starts, throughput, requests through a published port."""
        try:
            found = network.measure()
        except CaseError as error:
            self.targets += network.targets(None, str(error))
            return
        print("\n" + "\n".join(network.lines(found)))
        self.targets += network.targets(found)
        self.found["network"] = {key: summary(values) for key, values in found.items()}

    def document(self) -> dict[str, object]:
        """Returns everything, for the JSON file."""
        return {
            "machine": {
                "kernel": platform.release(),
                "machine": platform.machine(),
                "processors": os.cpu_count(),
                "python": platform.python_version(),
                "root": os.geteuid() == 0,
                "busy_before_part": self.others,
            },
            "settings": {"rounds": self.options.rounds, "seed": self.options.seed},
            "missing": self.missing,
            **self.found,
            "targets": [target.as_json() for target in self.targets],
        }


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--rounds", type=int, default=200, help="samples per case (default 200)")
    parser.add_argument("--state-rounds", type=int, default=60, help="samples per state (default 60)")
    parser.add_argument("--jails", type=int, default=1000, help="jails alive at once (default 1000)")
    parser.add_argument("--heap-gib", type=int, default=4, help="resident memory (default 4)")
    parser.add_argument("--seed", type=int, default=1, help="of the order of the cases (default 1)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the samples, and 100 jails")
    parser.add_argument("--skip", action="append", default=[], metavar="PEER", help="leave a peer out")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part; repeatable")
    parser.add_argument("--shapes", action="store_true", help="print what each launcher has built")
    parser.add_argument("--strict", action="store_true", help="exit with 1 unless all targets are met")
    options = parser.parse_args(argv)
    if options.quick:
        options.rounds, options.state_rounds, options.jails = 20, 20, 100
    return options


def main() -> int:
    """Runs the parts and prints the verdicts."""
    options = parse()
    with tempfile.TemporaryDirectory(prefix="jailkit-bench-") as name, contextlib.ExitStack() as stack:
        bench = Bench(options, Path(name), stack)
        for part in options.part or PARTS:
            bench.listen(part)
            getattr(bench, part)()
            # Live jails and floor servers of one part are no part of the next.
            stack.pop_all().close()
    if options.json:
        options.json.write_text(json.dumps(bench.document(), indent=1) + "\n")
    for key, why in bench.missing.items():
        print(f"\nnot measured: {key}: {why}", end="")
    print()
    for target in bench.targets:
        print(target.line())
    met = all(target.measured is not None and target.measured <= target.limit for target in bench.targets)
    return 1 if options.strict and not met else 0


if __name__ == "__main__":
    sys.exit(main())
