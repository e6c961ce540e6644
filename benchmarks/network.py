"""What a network of a jail's own costs: its start, its throughput, and requests through a published port.

    python benchmarks/network.py

Run as root. It goes into a network namespace of its own first: the machine's network is left alone.
"""

from __future__ import annotations

import contextlib
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from jailkit import Jail, Network, run

SIZE = 1 << 30
STARTS = 30
REQUESTS = 2000
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
    """Ask once; return the number of bytes that came."""
    total, buffer = 0, bytearray(1 << 20)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
        sock.send(what)
        while got := sock.recv_into(buffer):
            total += got
    return total


def rates(port: int) -> tuple[float, float]:
    """Return bytes and requests per second."""
    fast = []
    for _ in range(3):
        began = time.perf_counter()
        assert fetch(port, b"L") == SIZE
        fast.append(SIZE / (time.perf_counter() - began))
    began = time.perf_counter()
    for _ in range(REQUESTS):
        assert fetch(port, b"S") == 100
    return max(fast), REQUESTS / (time.perf_counter() - began)


@contextlib.contextmanager
def on_the_host() -> Iterator[int]:
    """The server without a jail."""
    with subprocess.Popen(["/usr/bin/python3", "-c", SERVER], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        server.stdout.readline()
        yield 8000
        server.kill()


@contextlib.contextmanager
def in_a_jail() -> Iterator[int]:
    """The server behind a published port."""
    with Jail(net=Network(allow=[], ports={0: 8000})) as jail:
        server = jail.popen(["/usr/bin/python3", "-c", SERVER], stderr=None)
        assert server.stdout is not None
        server.stdout.readline()
        yield jail.ports[0].number


def start(net: bool | Network) -> float:
    """Return the median time of a jail with one program."""
    times = []
    for _ in range(STARTS):
        began = time.perf_counter()
        run(["/bin/true"], net=net).check()
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def main() -> None:
    """Measure, and print a line for each."""
    if sys.argv[1:] != ["inside"]:
        os.execvp("unshare", ["unshare", "-n", sys.executable, os.path.abspath(__file__), "inside"])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    alone, connected = start(net=False), start(net=Network(dns=[], allow=[]))
    print(f"start of a jail      {alone * 1e3:7.1f} ms, with a network {connected * 1e3:7.1f} ms")
    with on_the_host() as port:
        host = rates(port)
    with in_a_jail() as port:
        jail = rates(port)
    print(
        f"throughput, loopback {host[0] / 1e9:7.2f} GB/s, of a jail  {jail[0] / 1e9:7.2f} GB/s, {jail[0] / host[0]:.2f}"
    )
    print(f"requests, loopback   {host[1]:7.0f} 1/s,  of a jail  {jail[1]:7.0f} 1/s,  {jail[1] / host[1]:.2f}")


if __name__ == "__main__":
    main()
