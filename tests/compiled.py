"""Small static programs in C, for jails without anything else in them."""

from __future__ import annotations

import os
import subprocess

from tests.patience import patient

__all__ = ["compile_shared", "compile_static"]


def compile_static(source: str, folder: str, name: str = "program") -> str:
    """Compile a program into a folder; return its path."""
    path = os.path.join(folder, name)
    compiler = os.environ.get("CC", "cc").split()
    subprocess.run(
        [*compiler, "-static", "-O1", "-xc", "-", "-o", path], input=source.encode(), timeout=patient(120), check=True
    )
    return path


def compile_shared(source: str, folder: str, name: str = "library.so") -> str:
    """Compile a library to put before the C library of a program; return its path."""
    path = os.path.join(folder, name)
    command = [*os.environ.get("CC", "cc").split(), "-shared", "-fPIC", "-O1", "-xc", "-", "-o", path, "-ldl"]
    subprocess.run(command, input=source.encode(), timeout=120, check=True)
    return path
