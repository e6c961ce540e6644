"""What is wanted: frozen values, checked at construction, without any knowledge of the host."""

from __future__ import annotations

from jailkit.spec.allow import Allow
from jailkit.spec.command import Command
from jailkit.spec.jail import JailSpec, Net, Tier, Writable
from jailkit.spec.level import Level
from jailkit.spec.limits import Limits
from jailkit.spec.mounts import Bind, Dev, File, Mount, Proc, Symlink, Tmpfs
from jailkit.spec.network import Joined, Network, Port, Rule
from jailkit.spec.seccomp import Refusal, SeccompPolicy
from jailkit.spec.terminal import Pty, Terminal, terminal_of
from jailkit.spec.units import UNLIMITED, GiB, KiB, MiB
from jailkit.spec.user import User

__all__ = [
    "UNLIMITED",
    "Allow",
    "Bind",
    "Command",
    "Dev",
    "File",
    "GiB",
    "JailSpec",
    "Joined",
    "KiB",
    "Level",
    "Limits",
    "MiB",
    "Mount",
    "Net",
    "Network",
    "Port",
    "Proc",
    "Pty",
    "Refusal",
    "Rule",
    "SeccompPolicy",
    "Symlink",
    "Terminal",
    "Tier",
    "Tmpfs",
    "User",
    "Writable",
    "terminal_of",
]
