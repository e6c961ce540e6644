"""What limits cost and how true the accounts are, on this kind of control group: `make bench-vm` asks it of version 2.

    .venv/bin/python benchmarks/limits.py [--rounds N] [--json]

Ratios alone: an emulated machine has its own idea of a second.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import random
import sys
from typing import Any

import accounts
import library
from measure import Case, CaseError, interleave, ratio, summary

COLD_LIMITED, LIVE_LIMITED = "jailkit_cold_limited", "jailkit_live_limited"
#: (title, above, below)
RATIOS = (
    ("cold, with the default limits / without control group", library.COLD, library.COLD_UNGROUPED),
    ("cold, with every limit of a group / without control group", COLD_LIMITED, library.COLD_UNGROUPED),
    ("live, with the default limits / without control group", library.LIVE, library.LIVE_UNGROUPED),
    ("live, with every limit of a group / without control group", LIVE_LIMITED, library.LIVE_UNGROUPED),
)
LIMIT = 1.3


def cases(jailkit: Any, stack: contextlib.ExitStack) -> list[Case]:
    """Returns launches without a group, with that of the defaults, and with one that has every limit."""
    every = {
        "limits": jailkit.Limits(
            memory=256 << 20, processes=64, cpus=8 * (os.cpu_count() or 1), cpu_seconds=100, cpuset="0", cpu_weight=50
        )
    }
    jail = stack.enter_context(jailkit.Jail(**every))
    cold = library.timed(lambda: jailkit.run(library.TRUE, **every), lambda result: bool(result.ok))
    live = library.timed(lambda: jail.run(library.TRUE), lambda result: bool(result.ok))
    return [
        library.cold_case(jailkit),
        library.live_cases(jailkit, stack)[0],
        *library.ungrouped_cases(jailkit, stack)[:2],
        Case(key=COLD_LIMITED, title="jailkit.run, cold, every limit", sample=cold),
        Case(key=LIVE_LIMITED, title="jail.run, live, every limit", sample=live),
    ]


def version() -> str:
    """Returns the kind of control groups, as the mounts tell."""
    with open("/proc/self/mountinfo") as file:
        kinds = {line.partition(" - ")[2].split()[0] for line in file}
    return "2" if "cgroup2" in kinds and "cgroup" not in kinds else "1"


def measure(jailkit: Any, rounds: int) -> dict[str, Any]:
    """Returns all figures.

    Raises:
        CaseError: There are no control groups, or a case broke.
    """
    failed: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        samples = interleave(cases(jailkit, stack), rounds, random.Random(1), failed)
    if failed:
        raise CaseError(failed)
    found: dict[str, Any] = {
        "kernel": platform.release(), "cgroups": version(), "root": os.geteuid() == 0, "rounds": rounds,
        "launches": {key: summary(values) for key, values in samples.items()}, "ratios": {},
    }  # fmt: skip
    for title, above, below in RATIOS:
        of = ratio(samples[above], samples[below])
        found["ratios"][title] = [round(value, 3) for value in (of.value, of.low, of.high)]
    accuracy = accounts.measure(jailkit, max(3, rounds // 8))
    return {**found, **{key: round(value, 4) for key, value in accuracy.items()}}


def main() -> int:
    """Prints the figures; 1 when there are none."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=60, help="samples per case (default 60)")
    parser.add_argument("--json", action="store_true", help="print all figures, for a machine")
    options = parser.parse_args()
    try:
        found = measure(library.load(), options.rounds)
    except CaseError as error:
        print(f"not measured: {error}")
        return 1
    if options.json:
        print(json.dumps(found, indent=1))
        return 0
    print(f"{found['kernel']}, control groups of version {found['cgroups']}, {'root' if found['root'] else 'a user'}")
    for title, (value, low, high) in found["ratios"].items():
        print(f"{title}: {value:.2f} ({low:.2f} to {high:.2f}), at most {LIMIT}")
    for key, limit in (("cpu_error", 5), ("memory_error", 5), ("loop_overhead", 1)):
        print(f"{key.replace('_', ' ')}: {found[key]:.2%}, at most {limit} percent")
    return 0


if __name__ == "__main__":
    sys.exit(main())
