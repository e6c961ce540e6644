"""What ``pyproject.toml`` cannot say: the cffi module, the static ``jailkit-init``, the abi3 wheel tag.

It must not import ``jailkit``: a build starts from a machine that has only the build requirements.
"""

from __future__ import annotations

import os
import shlex
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from setuptools import Command, setup
from setuptools.command.build import build
from setuptools.command.build_py import build_py

NATIVE = Path("jailkit/_native")
PROGRAM = NATIVE / "jailkit-init"

# The program runs as PID 1 of every jail, before and beside hostile code: it carries no C library, so there is
# no loader, no allocator, no locale and no thread-local canary to set up, and it starts in a few pages of memory.
INIT_FLAGS = (
    "-std=gnu11 -O2 -Wall -Wextra -Wno-unused-parameter"  # all steps have the same parameters
    " -ffreestanding -nostdlib -static -fno-pie -no-pie"
    " -fno-stack-protector -fno-asynchronous-unwind-tables"
    " -Wl,--build-id=none -Wl,-z,noexecstack -Wl,-z,norelro -Wl,-z,noseparate-code -s"
).split()


class BuildInit(Command):
    """Compile ``jailkit-init`` next to the extension module, as an executable file of the package."""

    description = "build the static program jailkit-init"
    user_options: ClassVar[list[tuple[str, str | None, str]]] = [
        ("build-lib=", "b", "directory for the built package"),
    ]
    # setuptools sets this for `pip install -e`: the program then belongs into the source tree.
    editable_mode = False

    def initialize_options(self) -> None:
        """Start with nothing decided, as distutils asks."""
        self.build_lib: str | None = None

    def finalize_options(self) -> None:
        """Take the build directory from the ``build`` command."""
        self.set_undefined_options("build", ("build_lib", "build_lib"))

    def _target(self) -> Path:
        return PROGRAM if self.editable_mode else Path(self.build_lib or "build/lib") / PROGRAM

    def run(self) -> None:
        """Compile and link in one call of ``$CC``: the program is small and has no library."""
        target = self._target()
        target.parent.mkdir(parents=True, exist_ok=True)
        compiler = shlex.split(os.environ.get("CC") or "cc")
        werror = ["-Werror"] if os.environ.get("JAILKIT_WERROR") == "1" else []
        sources = sorted(str(path) for path in (NATIVE / "init").glob("*.c"))
        # Linked beside the target and renamed: an editable install may replace a program that is running,
        # which a linker that opens it for writing cannot (ETXTBSY).
        fresh = target.with_name(target.name + ".new")
        self.spawn([*compiler, *INIT_FLAGS, *werror, f"-I{NATIVE}", *sources, "-o", str(fresh)])
        fresh.chmod(0o755)
        fresh.replace(target)

    def get_source_files(self) -> list[str]:
        """Name what an sdist must carry."""
        return sorted(str(path) for path in NATIVE.rglob("*.[ch]"))

    def get_outputs(self) -> list[str]:
        """Name what a wheel carries."""
        return [str(self._target())]

    def get_output_mapping(self) -> dict[str, str]:
        """No file is copied from the source tree."""
        return {}


class Build(build):
    """The ``build`` command with ``build_init`` as its last part."""

    sub_commands: ClassVar[list[tuple[str, Callable[[Any], bool] | None]]] = [*build.sub_commands, ("build_init", None)]


class BuildPy(build_py):
    """Python modules without ``_native/_build.py``: a build input, not part of the package."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        """List the modules of one package."""
        found = super().find_package_modules(package, package_dir)  # type: ignore[no-untyped-call]
        return [entry for entry in found if entry[:2] != ("jailkit._native", "_build")]


# A free-threaded Python has no limited API: its wheel is tagged for that one version.
LIMITED_API = not sysconfig.get_config_var("Py_GIL_DISABLED")

setup(
    cffi_modules=["jailkit/_native/_build.py:ffi"],
    cmdclass={"build": Build, "build_init": BuildInit, "build_py": BuildPy},
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if LIMITED_API else {},
)
