"""What this host can do, found out by trying: `jailkit.doctor` and the command ``jailkit doctor``.

`collect` starts a child; `probe`, in the child, makes the `attempts_*`, each in a child of its own, and answers with
facts. `diagnose` is a pure function from facts to a `Report`: each check is decided in a `checks_*` module, and `gates`
names what stands in the way and what opens it. Only `report` and `entry` are imported with the library.
"""

from jailkit._doctor.apparmor import apparmor_profile
from jailkit._doctor.entry import doctor
from jailkit._doctor.report import Check, Report

__all__ = ["Check", "Report", "apparmor_profile", "doctor"]
