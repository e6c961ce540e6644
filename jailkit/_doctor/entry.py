"""The function `doctor`. What it needs is imported when it is called: a program that runs jails does not pay for it."""

from __future__ import annotations

from jailkit._doctor.report import Report

__all__ = ["doctor"]


def doctor(*, timeout: float = 60.0) -> Report:
    """Find out what this host can do for this caller, and what is to be done about what it cannot.

    Everything is tried, in child processes that are gone afterwards: namespaces are made, file systems mounted in them,
    a Landlock rule is set, an empty control group is made and removed, and at last a program runs in a real jail.
    Settings are read only to name what made an attempt fail. Nothing of the host is changed.

    It tells what this caller can do now. It is no promise for other users, and no audit of the host: a check that is
    ``ok`` says that a wall can be built, not that there is no way around it.

    Args:
        timeout: Seconds after which what has not been tried is reported as such. It takes about one.

    Raises:
        UnsupportedError: The attempts could not be made at all, for instance because this process does not know its
            Python interpreter.
    """
    from jailkit._doctor.collect import collect  # noqa: PLC0415 - see above
    from jailkit._doctor.diagnose import diagnose  # noqa: PLC0415

    return diagnose(collect(timeout))
