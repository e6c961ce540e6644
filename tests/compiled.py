"""Small static programs in C, for jails without anything else in them."""

from __future__ import annotations

import os
import subprocess

from tests.patience import patient

__all__ = ["compile_static"]


def compile_static(source: str, folder: str, name: str = "program") -> str:
    """Compile a program into a folder; return its path."""
    path = os.path.join(folder, name)
    compiler = os.environ.get("CC", "cc").split()
    subprocess.run(
        [*compiler, "-static", "-O1", "-xc", "-", "-o", path], input=source.encode(), timeout=patient(120), check=True
    )
    return path
