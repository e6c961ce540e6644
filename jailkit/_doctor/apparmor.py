"""AppArmor grants user namespaces by the path of a program: which program that is, and the profile for it."""

from __future__ import annotations

import os

__all__ = ["apparmor_profile", "init_path"]

_SPECIAL = '\\"*?[]{}^'  # what means something in a path of a profile, see apparmor.d(5)


def init_path() -> str:
    """Return the path of the installed ``jailkit-init``, without symbolic links: AppArmor goes by what is executed."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return os.path.realpath(os.path.join(package, "_native", "jailkit-init"))


def apparmor_profile(init: str | None = None) -> str:
    """Return the text of a profile that lets one program, and what it starts, make user namespaces.

    Args:
        init: Path of the program. Default: that of the installed ``jailkit-init``.
    """
    # The form that Ubuntu gives to its own programs of this kind; quoted, because a path may hold a space.
    path = "".join("\\" + letter if letter in _SPECIAL else letter for letter in init or init_path())
    return f'abi <abi/4.0>,\nprofile jailkit-init "{path}" flags=(unconfined) {{\n  userns,\n}}\n'
