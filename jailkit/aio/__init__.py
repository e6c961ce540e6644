"""Jails for asyncio and trio: what `jailkit` has, to be awaited. Needs anyio: ``pip install 'jailkit[async]'``.

A program that runs costs its loop a descriptor and no thread. What may block for a moment (the start of a jail, its
end, files, calls of Python functions) happens in a thread of anyio's.
"""

from jailkit.aio._converse import converse
from jailkit.aio._jail import Jail, run
from jailkit.aio._pool import JailPool
from jailkit.aio._process import Outputs, Process
from jailkit.aio._python import Calls, LoadedSource, PythonSession
from jailkit.aio._streams import Input, Output

__all__ = [
    "Calls",
    "Input",
    "Jail",
    "JailPool",
    "LoadedSource",
    "Output",
    "Outputs",
    "Process",
    "PythonSession",
    "converse",
    "run",
]
