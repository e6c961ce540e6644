"""From a `SeccompPolicy` and the switches of `Allow` to a filter as data: what of which call, with which arguments.

A filter sees arguments of 64 bits, and of most the kernel reads an int: each comparison has a mask that says which bits
count. One that looked at more bits than the kernel does, or at fewer, could be walked around (CVE-2019-10063).
"""

from __future__ import annotations

import functools
import stat
from typing import Literal

import attrs

from jailkit.plan.denials import watched_calls
from jailkit.spec import Allow, JailSpec, Level, SeccompPolicy

__all__ = [
    "CONDITIONS",
    "OF_ANY_FILES",
    "OF_THE_CALLERS_FILES",
    "OF_THE_HOSTS_IPC",
    "PID1",
    "Condition",
    "SeccompFilter",
    "Test",
    "divided",
    "filter_of",
]

_INT = 2**32 - 1


@attrs.frozen
class Test:
    """One comparison: argument number `argument`, masked, must be `value`."""

    argument: int
    value: int
    mask: int = _INT


@attrs.frozen
class Condition:
    """A call with such arguments (all tests hold) is allowed, or gets an error; the first that holds decides.

    Attributes:
        call: Its name.
        tests: What must hold.
        action: ``allow`` or ``EPERM``. A call that has conditions that allow, of which none holds, gets EPERM.
    """

    call: str
    tests: tuple[Test, ...]
    action: Literal["allow", "EPERM"] = "allow"


@attrs.frozen(cache_hash=True)
class SeccompFilter:
    """What one jail's filter does.

    Attributes:
        actions: Pairs of the name of a call and ``allow``, ``log``, ``EPERM``, ``ENOSYS`` or ``kill``. A call that is
            not named gets EPERM if it existed when the table was written, and ENOSYS if it came later.
        conditions: They go before the actions.
        otherwise: What is done about a number that the table does not know.
        reported: Instead of EPERM, the call waits for the answer of whoever listens to the filter. Actions may then be
            ``watch``: allowed, after a word to the listener.
    """

    actions: tuple[tuple[str, str], ...]
    conditions: tuple[Condition, ...]
    otherwise: Literal["ENOSYS", "allow"] = "ENOSYS"
    reported: bool = False

    @property
    def allowed(self) -> int:
        """How many calls a program may make, with some arguments at least."""
        names = {name for name, action in self.actions if action in ("allow", "log", "watch")}
        return len(names | {one.call for one in self.conditions})


# --- the conditions, by call -----------------------------------------------------------------------------------

_SET_ID = stat.S_ISUID | stat.S_ISGID
_CREATES = 0o100 | 0o20000000
"""O_CREAT and the bit of O_TMPFILE: without them open(2) does not look at the mode, which then may be anything."""

_NAMESPACES = 0x7E02_0000
_NEW_CGROUP = 0x0200_0000
"""CLONE_NEW*, see clone(2); and of these the one by which jailkit finds what a program has started."""

_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK, _AF_PACKET = 1, 2, 10, 16, 17

_TTY_ATTACKS = (
    0x5412,  # TIOCSTI: types into the terminal
    0x541C,  # TIOCLINUX: pastes into the console
    0x541D,  # TIOCCONS: takes the console's output
    0x5423,  # TIOCSETD: line disciplines, old drivers that nothing needs
)

# Blocks of numbers: the first, and how many bits at the end may be anything. Fewer comparisons, and a faster start.
_PRCTL = (
    (0, 5),  # 0 to 31: PDEATHSIG, DUMPABLE, KEEPCAPS, NAME, SECCOMP, CAPBSET, TSC, SECUREBITS, TIMERSLACK, and such
    # that other architectures have. What needs a capability needs it still.
    *((32, 0), (34, 0), (36, 2)),  # PERF_EVENTS_ENABLE, MCE_KILL_GET, CHILD_SUBREAPER, NO_NEW_PRIVS; not SET_MM
    *((40, 2), (47, 0)),  # GET_TID_ADDRESS, THP_DISABLE; CAP_AMBIENT
    *(
        (50, 1),
        (52, 0),
        (54, 1),
        (56, 0),
        (60, 1),
        (63, 0),
        (64, 0),
    ),  # SVE, speculation, PAC, tagged addresses, matrices
    *((65, 0), (66, 0), (0x5356_4D41, 0)),  # MDWE; VMA, names of mappings
)
_PR_SET_PTRACER = 0x5961_6D61
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFF_FFFF)
"""PER_LINUX, PER_LINUX32, both with UNAME26, and the question which it is."""


def _without(call: str, argument: int, bits: int) -> Condition:
    return Condition(call, (Test(argument, 0, bits),))


def _one_of(call: str, argument: int, values: tuple[int, ...]) -> tuple[Condition, ...]:
    return tuple(Condition(call, (Test(argument, value),)) for value in values)


def _opening(call: str, flags: int) -> tuple[Condition, ...]:
    return _without(call, flags, _CREATES), _without(call, flags + 1, _SET_ID)


def _modes() -> tuple[Condition, ...]:
    arguments = {"creat": 1, "chmod": 1, "fchmod": 1, "fchmodat": 2, "fchmodat2": 2, "mknod": 1, "mknodat": 2}
    changed = tuple(_without(call, number, _SET_ID) for call, number in arguments.items())
    return (*_opening("open", 1), *_opening("openat", 2), *changed)


def _sockets(*, packets: bool) -> tuple[Condition, ...]:
    families = (_AF_UNIX, _AF_INET, _AF_INET6, *((_AF_PACKET,) if packets else ()))
    routing = Condition("socket", (Test(0, _AF_NETLINK), Test(2, 0)))  # NETLINK_ROUTE, for getifaddrs(3)
    return (*_one_of("socket", 0, families), routing, *_one_of("socketpair", 0, (_AF_UNIX,)))


def conditions(allow: Allow, *, superuser: bool) -> tuple[Condition, ...]:
    """Return all conditions, widened by what is allowed, and by what a jail's superuser has capabilities for."""
    namespaces = _NEW_CGROUP if allow.nested else _NAMESPACES
    # PID 1 makes a namespace of control groups for each program, which has no capability for it unless it may nest.
    own = _without("unshare", 0, _NEW_CGROUP) if allow.nested else Condition("unshare", (Test(0, _NEW_CGROUP),))
    options = (*_PRCTL, (_PR_SET_PTRACER, 0)) if allow.ptrace else _PRCTL
    return (
        _without("clone", 0, namespaces),
        own,
        *(Condition("ioctl", (Test(1, number),), "EPERM") for number in _TTY_ATTACKS),
        *_one_of("personality", 0, _PERSONALITIES),
        *(Condition("prctl", (Test(0, first, _INT >> bits << bits),)) for first, bits in options),
        *_sockets(packets=allow.raw_sockets or superuser),
        *_one_of("prlimit64", 0, (0,)),
        *(() if superuser else _modes()),
    )


CONDITIONS = conditions(Allow(), superuser=False)
"""Those of a SANDBOX without any switch."""

_SWITCHES = ("sysvipc", "ptrace", "mount")
"""Switches of `Allow` that open the group of calls with their name."""

_SUPERUSER = ("sysvipc", "chroot", "file modes and nodes")
"""Groups that the superuser of a jail may use below SANDBOX, where the namespaces bound what they reach."""


# --- without namespaces: what Landlock does not govern, see docs/decisions/0009 ------------------------------------

OF_THE_CALLERS_FILES = tuple("chmod fchmod fchmodat fchmodat2 chown lchown fchown fchownat".split())
"""By path, or by a descriptor for reading: any file of the caller, wherever it is."""

OF_ANY_FILES = tuple(
    "setxattr lsetxattr fsetxattr setxattrat removexattr lremovexattr fremovexattr removexattrat utime utimes futimesat"
    " utimensat inotify_add_watch".split()
)
"""The same of files and directories that everybody may write to, or read."""

OF_THE_HOSTS_IPC = ("mq_open", "mq_unlink")
_STREAM, _SEQPACKET = 1, 5
_FILE_FLAGS = (0x4008_6602, 0x4004_6602, 0x401C_5820, 0x4008_7602, 0x4004_7602)
"""FS_IOC_SETFLAGS and its 32-bit form, FS_IOC_FSSETXATTR, FS_IOC_SETVERSION and its 32-bit form."""


def _bare_conditions(found: tuple[Condition, ...], *, net: bool) -> tuple[Condition, ...]:
    """Narrow conditions to what is harmless beside the caller's processes and sockets."""
    # A socket of its own reaches services of the host by their paths; one of a pair is connected for good, if it is
    # no datagram socket.
    families = (_AF_INET, _AF_INET6) if net else ()
    routing = tuple(one for one in found if one.call == "socket" and len(one.tests) > 1) if net else ()
    pairs = tuple(Condition("socketpair", (Test(0, _AF_UNIX), Test(1, kind, 0xF))) for kind in (_STREAM, _SEQPACKET))
    own = ("sched_setparam", "sched_setscheduler", "sched_setaffinity", "sched_setattr")
    return (
        *(one for one in found if one.call not in ("socket", "socketpair")),
        *_one_of("socket", 0, families),
        *routing,
        *pairs,
        *(Condition(call, (Test(0, 0),)) for call in own),
        Condition("setpriority", (Test(0, 0), Test(1, 0))),
        Condition("ioprio_set", (Test(0, 1), Test(1, 0))),
        *(Condition("ioctl", (Test(1, number),), "EPERM") for number in _FILE_FLAGS),
    )


def _bare(policy: SeccompPolicy, allow: Allow, *, net: bool, own: bool) -> SeccompFilter:
    """Decide the filter of a jail without namespaces, whose programs have the caller's own id or a lent one."""
    actions = policy.actions()
    found = _bare_conditions(conditions(allow, superuser=False), net=net)
    if policy.profile != "empty":
        refused = (*OF_THE_HOSTS_IPC, *OF_ANY_FILES, *(OF_THE_CALLERS_FILES if own else ()))
        checked = {one.call for one in found if actions[one.call] == "allow"}
        opened = {name for name in ("ptrace",) if allow.ptrace}
        actions |= dict.fromkeys(checked, "check") | dict.fromkeys(policy.group_calls(*opened), "allow")
        actions |= dict.fromkeys(refused, "EPERM") | dict(policy.changes)
    return _decided(actions, found)


@functools.lru_cache(maxsize=64)
def _filter(policy: SeccompPolicy, allow: Allow, superuser: bool) -> SeccompFilter:
    opened = {name for name in _SWITCHES if getattr(allow, name)} | set(_SUPERUSER if superuser else ())
    actions = policy.actions()
    if policy.profile != "empty":
        actions |= dict.fromkeys(policy.group_calls(*opened), "allow")
        actions |= dict(policy.changes)
    return _decided(actions, conditions(allow, superuser=superuser))


def _decided(actions: dict[str, str], found: tuple[Condition, ...]) -> SeccompFilter:
    return SeccompFilter(
        # Of a call with conditions that refuse, the rest is allowed; with conditions that allow, the rest is not.
        actions=tuple((name, _rest(name, found) if said == "check" else said) for name, said in actions.items()),
        conditions=tuple(one for one in found if actions[one.call] == "check"),
    )


def _rest(call: str, found: tuple[Condition, ...]) -> str:
    return "allow" if any(one.action == "EPERM" for one in found if one.call == call) else "EPERM"


PID1 = frozenset(
    "recvmsg sendmsg recvfrom ppoll wait4 read write pread64 mmap munmap close close_range dup dup3 fcntl clone unshare"
    " kill nanosleep getrusage fstat fstatfs newfstatat openat getdents64 getpid getppid rt_sigtimedwait"
    " landlock_restrict_self seccomp prlimit64 umask setgroups prctl setresgid setresuid capset chdir setsid"
    " rt_sigprocmask ioctl execve exit_group".split()
)
"""What PID 1 calls once it serves, and a program before its exec; see _native/init/."""

_FITTING = ("clone", "ioctl", "openat", "prctl", "prlimit64", "unshare")
"""Of these, calls whose arguments there meet `CONDITIONS`."""


_TO_REPORT = ("sendmsg", "seccomp")
"""Calls by which a program hands its listener over and loads what closes them."""


def divided(whole: SeccompFilter) -> tuple[SeccompFilter, SeccompFilter]:
    """Divide a filter in two that, one upon the other, refuse what it refuses: of several the strictest counts.

    The first lets PID 1 work, who loads it once and hands it on to everything; one with a listener lets the program
    hand that over. Each program loads the second, which says nothing by default, and of which no listener is told; it
    is none where it has no actions. To load a filter and to free it costs as much as to fork.
    """
    own = _for_the_listener(whole) if whole.reported else _for_pid1(whole)
    shared = tuple((call, "allow" if call in own else action) for call, action in whole.actions)
    mine = tuple(one for one in whole.conditions if one.call in own)
    rest = tuple(one for one in whole.conditions if one.call not in own)
    return SeccompFilter(shared, rest, reported=whole.reported), SeccompFilter(tuple(own.items()), mine, "allow")


def _for_pid1(whole: SeccompFilter) -> dict[str, str]:
    """Return what the second part does about calls that PID 1 needs."""
    tests = {call: {one for one in whole.conditions if one.call == call} for call in PID1}
    usual = {call: {one for one in CONDITIONS if one.call == call} for call in _FITTING}
    fits = {call for call in _FITTING if tests[call] >= usual[call]}
    return {
        call: action
        for call, action in whole.actions
        if call in PID1 and call not in fits and (action != "allow" or tests[call])
    }


def _for_the_listener(whole: SeccompFilter) -> dict[str, str]:
    """Return the same about those that a program needs which hands its listener over."""
    return {call: said for call, said in whole.actions if call in _TO_REPORT and said not in ("allow", "log")}


def filter_of(spec: JailSpec, *, lent: bool = False) -> SeccompFilter | None:
    """Decide the filter of a jail; None where there shall be none.

    Args:
        spec: The jail.
        lent: In the tier ``landlock``: its programs have an id that owns nothing outside.
    """
    policy = spec.effective_seccomp
    if policy is None:
        return None
    if spec.tier == "landlock":
        made = _bare(policy, spec.allow, net=spec.net == "host", own=not lent)
    else:
        made = _filter(policy, spec.allow, spec.level < Level.SANDBOX)
    return _reported(made, watched_calls(spec)) if spec.report_denials else made


@functools.lru_cache(maxsize=64)
def _reported(made: SeccompFilter, watched: tuple[str, ...]) -> SeccompFilter:
    """Have a filter tell of what it refuses, and of some calls that it allows."""
    actions = tuple((name, "watch" if name in watched and said == "allow" else said) for name, said in made.actions)
    return attrs.evolve(made, actions=actions, reported=True)
