"""Python sessions: an interpreter in a jail that forks for each call."""

from jailkit.python.calls import Calls, LoadedSource, Options, cancellable
from jailkit.python.interpreter import python_binds
from jailkit.python.result import CallResult
from jailkit.python.session import PythonSession, new_session
from jailkit.python.source import function_request, target_request

__all__ = [
    "CallResult",
    "Calls",
    "LoadedSource",
    "Options",
    "PythonSession",
    "cancellable",
    "function_request",
    "new_session",
    "python_binds",
    "target_request",
]
