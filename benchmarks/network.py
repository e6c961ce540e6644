"""What a network of a jail's own costs: its start, its throughput, and requests through a published port.

    python benchmarks/network.py

A part of ``make bench``. For root: it goes into a network namespace of its own; the machine's network is left alone.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import report
from measure import CaseError, ratio, summary

SIZE = 1 << 28
ROUNDS, REQUESTS = 20, 100
THROUGHPUT = (
    "time of 256 MiB from a jail by a published port / from the host's loopback (1.25 is 0.8 of its throughput)"
)
LIMIT = 1.25
SERVER = f"""
import socket
data = memoryview(bytes(1 << 20))
with socket.socket() as server:
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("", 8000))
    server.listen(64)
    print(flush=True)
    while True:
        one = server.accept()[0]
        left = {SIZE} if one.recv(1) == b"L" else 100
        while left > 0:
            left -= one.send(data[:left])
        one.close()
"""


def fetch(port: int, what: bytes) -> int:
    """Asks once; returns how many nanoseconds it took."""
    total, wanted, buffer = 0, SIZE if what == b"L" else 100, bytearray(1 << 20)
    began = time.perf_counter_ns()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
        sock.send(what)
        while got := sock.recv_into(buffer):
            total += got
    if total != wanted:
        raise CaseError(f"{total} bytes came, and not {wanted}")
    return time.perf_counter_ns() - began


@contextlib.contextmanager
def servers(jailkit: Any) -> Iterator[dict[str, int]]:
    """The ports of a server on the host, and of one in a jail."""
    here: Any = subprocess.Popen(["/usr/bin/python3", "-c", SERVER], stdout=subprocess.PIPE)
    with here:
        try:
            with jailkit.Jail(net=jailkit.Network(allow=[], ports={0: 8000})) as jail:
                there = jail.popen(["/usr/bin/python3", "-c", SERVER], stderr=None)
                for server in (here, there):
                    server.stdout.readline()
                yield {"loopback": 8000, "jail": jail.ports[0].number}
        finally:
            here.kill()


def samples() -> dict[str, list[int]]:
    """Returns nanoseconds of each case, which are measured in turn: starts, large answers, small answers."""
    jailkit: Any = importlib.import_module("jailkit")
    nets = {"start": False, "start with a network": jailkit.Network(dns=[], allow=[])}
    found: dict[str, list[int]] = {name: [] for name in nets}
    for turn in range(ROUNDS + 1):
        for name, net in nets.items():
            began = time.perf_counter_ns()
            jailkit.run(["/bin/true"], net=net).check()
            found[name] += [time.perf_counter_ns() - began] if turn else []
    with servers(jailkit) as ports:
        for _, (name, port) in ((turn, one) for turn in range(ROUNDS) for one in ports.items()):
            found.setdefault(f"large {name}", []).append(fetch(port, b"L"))
            found.setdefault(f"small {name}", []).extend(fetch(port, b"S") for _ in range(REQUESTS))
    return found


def measure() -> dict[str, list[int]]:
    """Returns the samples, taken by a process in a network namespace of its own.

    Raises:
        CaseError: It cannot be measured here.
    """
    if os.geteuid() != 0:
        raise CaseError("for root: it makes a network namespace, and a pair of interfaces")
    inside = 'ip link set lo up && exec "$@"'
    command = ["unshare", "-n", "sh", "-c", inside, "sh", sys.executable, os.path.abspath(__file__), "inside"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise CaseError((done.stderr.strip().splitlines() or ["it failed"])[-1])
    return {str(name): list(values) for name, values in json.loads(done.stdout).items()}


def lines(found: dict[str, list[int]]) -> list[str]:
    """Returns what was found, in words."""
    median = {name: float(summary(values)["median_us"]) for name, values in found.items()}
    plain, connected = median["start"], median["start with a network"]
    return [
        f"start of a jail: {plain:.0f} µs; with a network {connected:.0f} µs, {connected / plain:.2f} of it",
        *(
            f"throughput, {name}: {SIZE / median[f'large {name}'] / 1e3:.2f} GB/s; "
            f"requests per second, one after another: {1e6 / median[f'small {name}']:.0f}"
            for name in ("loopback", "jail")
        ),
    ]


def targets(found: dict[str, list[int]] | None, why: str = "") -> list[report.Target]:
    """Returns the promise."""
    if found is None:
        return [report.unmeasured(THROUGHPUT, LIMIT, why)]
    return [report.of_ratio(THROUGHPUT, LIMIT, ratio(found["large jail"], found["large loopback"]))]


def main(words: Sequence[str]) -> None:
    """Measures, and prints."""
    if list(words) == ["inside"]:
        print(json.dumps(samples()))
        return
    found = measure()
    print(*lines(found), *(target.line() for target in targets(found)), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
