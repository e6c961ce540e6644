"""A process of the host becomes one of a jail, for good: `enter`. See docs/decisions/0013.

The one place where Python runs on the way into a jail. It may, because it is a process of the caller's own, forked for
this, that confines itself: nothing of the jail waits for it, and PID 1 is not asked. The order is the protection:
nobody in the jail can so much as name this process before the fork at the end, and then nothing is left to take away.
"""

from __future__ import annotations

import array
import math
import os
import resource
import signal
import socket
import stat
import struct
from collections.abc import Callable, Sequence
from typing import NoReturn

import attrs

from jailkit import _native
from jailkit.plan import Entry, PathRule, Program
from jailkit.syscalls import Namespace, Resolve, openat2, setns, unshare

__all__ = ["FAILED", "Newcomer", "enter", "fork_into"]

FAILED = 125
"""Exit code of a process that could not enter; the command line gives the same to a jail that cannot be."""

_RULE = struct.Struct("=Qi")  # struct landlock_path_beneath_attr
_BENEATH = 1  # LANDLOCK_RULE_PATH_BENEATH
_PR_GET_DUMPABLE = 3
_CLONE_NEWTIME = 0x80
_MODE_FILTER = 1  # SECCOMP_SET_MODE_FILTER
_CAPABILITIES = (0x2008_0522, 0)  # struct __user_cap_header_struct: version 3, this thread
_STATX_SIZE, _ATTRIBUTES_AT, _MOUNT_ROOT = 256, 8, 0x2000
_AT_EMPTY_PATH = _native.constant("AT_EMPTY_PATH")


@attrs.frozen(kw_only=True, eq=False)
class Newcomer:
    """All that is needed to enter, decided and opened before.

    Attributes:
        entry: What is to be done.
        program: Who to be: user, limits, variables, directory.
        namespaces: Descriptors of namespaces by the names in `entry`, in the order in which they are joined. The users
            around the network have an ``outside`` in front of the name.
        joins: Files to write to in order to join the control groups.
        keep: Descriptors that stay open.
        clean_env: Whether the variables of the caller go away.
        born_inside: Whether the process is in the pid namespace of the jail already, by `fork_into`.
        time_offset: Seconds by which its clocks are ahead, but not the time of day.
        report_to: Where the listener of its filter is sent, if that has one; one of `keep`.
    """

    entry: Entry
    program: Program
    namespaces: dict[str, int]
    joins: Sequence[int]
    keep: frozenset[int]
    clean_env: bool
    born_inside: bool = False
    time_offset: float = 0.0
    report_to: socket.socket | None = None
    _own: list[int] = attrs.field(factory=list, init=False, repr=False)

    def look_at_itself(self) -> None:
        """Open its own files for the clocks, while they are its own and there is a /proc where they are."""
        if self.time_offset:
            self._own.append(os.open("/proc/self", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
            self._own.append(os.open("timens_offsets", os.O_WRONLY | os.O_CLOEXEC, dir_fd=self._own[0]))

    def shift_clocks(self) -> None:
        """Make a time namespace, whose clocks can be set until somebody is in it, and enter it."""
        if self.time_offset:
            folder, offsets = self._own
            unshare(_CLONE_NEWTIME)
            seconds = math.floor(self.time_offset)
            rest = int((self.time_offset - seconds) * 1e9)
            os.write(offsets, b"".join(b"%s %d %d\n" % (clock, seconds, rest) for clock in (b"monotonic", b"boottime")))
            mine = os.open("ns/time_for_children", os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
            setns(mine, _CLONE_NEWTIME)


def fork_into(pids: int) -> int:
    """Fork this process as root, into a pid namespace; return as `os.fork` does.

    The child has all rights of the caller, until it gives them up by `enter`; so nobody may be there who could use it.
    """
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    dumpable = _native.system_call("prctl", _PR_GET_DUMPABLE)
    child = -1
    try:
        _prctl("PR_SET_DUMPABLE", 0)  # and so the child, from its birth
        setns(pids, Namespace.PID)  # of this thread's children, not of itself
        child = os.fork()
    finally:
        if child:
            setns(own, Namespace.PID)
            _prctl("PR_SET_DUMPABLE", dumpable)
            os.close(own)
    return child


def enter(one: Newcomer) -> None:
    """Confine the calling process; return inside: in a child of it, unless it was born there.

    The caller itself waits for that child and ends as it does. Whatever fails ends the process, with code `FAILED` and
    a line on stderr: half a jail is none.
    """
    doing = "begin"
    try:
        for words, act in _STEPS:
            doing = words
            act(one)
        if one.born_inside:
            return
        doing = "fork into the jail"
        child = os.fork()
    except BaseException as error:  # noqa: BLE001 - also an interrupt must not leave it half confined
        _fail(doing, error)
    if child:
        _relay(child)
    try:
        doing = "leave the session of the host"
        os.setsid()
        _prctl("PR_SET_PDEATHSIG", signal.SIGKILL)
    except BaseException as error:  # noqa: BLE001
        _fail(doing, error)


def _fail(doing: str, error: BaseException) -> NoReturn:
    try:
        os.write(2, f"jailkit: this process could not enter the jail: {doing}: {error!r}\n".encode())
    finally:
        os._exit(FAILED)


def _relay(child: int) -> NoReturn:
    """Wait for the process inside, hand signals on to it, and end as it did. Its end is ours: PR_SET_PDEATHSIG.

    Nobody else reaps it: as an orphan it would be the host's, not PID 1's, because its parent is outside.
    """
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM):
            signal.signal(number, lambda number, _: os.kill(child, number))
        _native.system_call("close_range", 0, 2**32 - 1, 0)
        status = os.waitpid(child, 0)[1]
        if os.WIFSIGNALED(status):
            if os.WTERMSIG(status) != signal.SIGKILL:
                signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [os.WTERMSIG(status)])
            os.kill(os.getpid(), os.WTERMSIG(status))
        os._exit(os.waitstatus_to_exitcode(status))
    finally:
        os._exit(FAILED)


def _prctl(option: str, *arguments: int) -> None:
    _native.system_call("prctl", _native.constant(option), *arguments)


def _hide(_: Newcomer) -> None:
    # The memory descriptor belongs to the host's user namespace, so that not dumpable means: nobody of the jail.
    _prctl("PR_SET_DUMPABLE", 0)


def _join_groups(one: Newcomer) -> None:
    for fd in one.joins:
        os.write(fd, b"0")


def _forget(one: Newcomer) -> None:
    """Leave what a process inherits besides descriptors: its session and its keys."""
    if os.getsid(0) != os.getpid():
        os.setsid()
    if one.entry.keyring:
        _native.system_call("keyctl", _native.constant("KEYCTL_JOIN_SESSION_KEYRING"), 0)


def _null_streams(one: Newcomer) -> None:
    null = os.open("/dev/null", os.O_RDWR)
    for number in range(3):
        if number not in one.keep:
            os.dup2(null, number)
    if null > 2:
        os.close(null)


def _limit(one: Newcomer) -> None:
    # Before the user changes, so that the count of his processes is checked.
    for name, soft, hard in one.program.rlimits:
        most = [resource.RLIM_INFINITY if value >= 2**63 else value for value in (soft, hard)]
        resource.setrlimit(getattr(resource, name, _native.constant(name)), (most[0], most[1]))


def _join_namespaces(one: Newcomer) -> None:
    for name, fd in one.namespaces.items():
        setns(fd, _native.constant(name.removeprefix("outside ")))
    # The mark by which PID 1 finds what a program has started: not that of the next program, which it would share.
    unshare(Namespace.CGROUP)
    one.shift_clocks()


def _become_root_of_jail(one: Newcomer) -> None:
    if one.entry.pid1 is not None:
        os.setgroups([])
        os.setresgid(*[one.entry.pid1] * 3)
        os.setresuid(*[one.entry.pid1] * 3)
    _hide(one)  # a change of user may have undone it (fs.suid_dumpable); nobody could see


def _bound_capabilities(one: Newcomer) -> None:
    keep = _mask(one.entry.keep)
    for number in range(64):
        if not keep >> number & 1:
            try:
                _prctl("PR_CAPBSET_DROP", number)
            except OSError:
                if number < 38:  # Linux 5.15 knows 41, every kernel 38; then the first it does not know
                    raise
                break
    if one.entry.no_new_privs:
        _prctl("PR_SET_NO_NEW_PRIVS", 1)


def _mask(names: int | tuple[str, ...]) -> int:
    return names if isinstance(names, int) else sum(1 << _native.constant(name) for name in names)


def _restrict(one: Newcomer) -> None:
    if one.entry.ruleset is None:
        return
    rules = _native.system_call("landlock_create_ruleset", one.entry.ruleset, len(one.entry.ruleset), 0)
    for rule in one.entry.rules:
        _allow(rules, rule)
    _native.system_call("landlock_restrict_self", rules, 0)
    os.close(rules)


def _allow(rules: int, rule: PathRule) -> None:
    """Allow what is at a path, unless a program of the jail has put something else there."""
    try:
        fd = openat2(rule.path, os.O_PATH, resolve=Resolve.NO_SYMLINKS | Resolve.NO_MAGICLINKS)
    except OSError:
        return  # something lies over it, or it was moved: less is allowed
    try:
        if rule.mounted and not _is_mount(fd):
            return
        rights = rule.directory if stat.S_ISDIR(os.fstat(fd).st_mode) else rule.file
        _native.system_call("landlock_add_rule", rules, _BENEATH, _RULE.pack(rights, fd), 0)
    finally:
        os.close(fd)


def _is_mount(fd: int) -> bool:
    info = array.array("B", bytes(_STATX_SIZE))
    _native.system_call("statx", fd, b"", _AT_EMPTY_PATH, 0, info.buffer_info()[0])
    return bool(struct.unpack_from("=Q", info, _ATTRIBUTES_AT)[0] & _MOUNT_ROOT)


def _become_user(one: Newcomer) -> None:
    wanted = one.program
    kept = _mask(one.entry.keep) if "JK_RUN_KEEP_CAPS" in wanted.flags else _mask(wanted.capabilities)
    os.umask(wanted.umask)
    if "JK_RUN_SETGROUPS" in wanted.flags:
        os.setgroups(wanted.groups)
    if kept:  # or the change of user takes them all
        _prctl("PR_SET_KEEPCAPS", 1)
    os.setresgid(*[wanted.gid] * 3)
    os.setresuid(*[wanted.uid] * 3)
    _hide(one)
    handed_on = _mask(wanted.capabilities)
    sets = struct.pack("=6I", kept, kept, handed_on, 0, 0, 0)
    _native.system_call("capset", struct.pack("=Ii", *_CAPABILITIES), sets)
    for number in range(32):
        if handed_on >> number & 1:
            _prctl("PR_CAP_AMBIENT", _native.constant("PR_CAP_AMBIENT_RAISE"), number)
    os.chdir(wanted.cwd)


def _close(one: Newcomer) -> None:
    """Close everything but what was named: what lies between two of them, and behind the last."""
    first = 3
    for fd in sorted(one.keep | {2**31 - 1}):
        if fd > first:
            _native.system_call("close_range", first, fd - 1, 0)
        first = max(first, fd + 1)


def _dress(one: Newcomer) -> None:
    if one.clean_env:
        os.environ.clear()
        for item in one.program.env:
            name, _, value = item.partition(b"=")
            os.environb[name] = value


def _filter(one: Newcomer) -> None:
    for text, flags in one.entry.filters:
        code = array.array("B", text)
        program = struct.pack("=HxxxxxxQ", len(text) // 8, code.buffer_info()[0])  # struct sock_fprog
        listener = _native.system_call("seccomp", _MODE_FILTER, sum(map(_native.constant, flags)), program)
        if one.report_to and flags:
            socket.send_fds(one.report_to, [b" "], [listener])
            os.close(listener)
            one.report_to.close()


_STEPS: tuple[tuple[str, Callable[[Newcomer], None]], ...] = (
    ("look at its clocks", Newcomer.look_at_itself),
    ("close itself to the jail", _hide),
    ("join the control groups", _join_groups),
    ("leave session and keys of the host", _forget),
    ("take away stdin, stdout and stderr", _null_streams),
    ("set resource limits", _limit),
    ("join the namespaces", _join_namespaces),
    ("take on the ids of the jail", _become_root_of_jail),
    ("bound its capabilities", _bound_capabilities),
    ("put itself under the Landlock rules", _restrict),
    ("become the user of the jail", _become_user),
    ("close descriptors", _close),
    ("change its variables", _dress),
    ("load the filter of system calls", _filter),
)
