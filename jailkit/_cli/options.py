"""What the command understands: one option for every field of `JailSpec` and of `Limits`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from jailkit import Command, JailSpec, Level, Limits, SpecError, User, __version__
from jailkit._cli import values
from jailkit._cli.grading import GRADING, add_commands
from jailkit._cli.limits import LIMITS
from jailkit._cli.network import FIELDS, add_network, net_of, switches_of
from jailkit._cli.output import say

__all__ = ["EXIT_JAIL_FAILED", "LIMITS", "MOUNTS", "OPTIONS", "parse", "spec_of"]

EXIT_JAIL_FAILED = 125

_OPTIONS = "noexec, owner (read as the owner of SRC would), optional (no error if SRC does not exist)"
MOUNTS = (
    (
        "--bind",
        "SRC[:DST[:OPTIONS]]",
        values.bind(writable=False),
        "bind mount the host path SRC on DST, read-only; OPTIONS, joined by commas, are those of --rw-bind and rw",
    ),
    ("--rw-bind", "SRC[:DST[:OPTIONS]]", values.bind(writable=True), f"the same, writable; OPTIONS: {_OPTIONS}"),
    ("--tmpfs", "DST[:OPTIONS]", values.tmpfs, "mount a new tmpfs on DST; OPTIONS: size=SIZE, mode=OCTAL"),
    ("--proc", "DST", values.proc, "mount a further procfs on DST"),
    ("--dev", "DST", values.dev, "mount a further small /dev on DST"),
    ("--symlink", "TO:DST", values.symlink, "make a symbolic link at DST with the target TO"),
    ("--file", "SRC:DST[:mode=OCTAL]", values.file, "copy the host file SRC to DST"),
)
"""Everything that may be in `JailSpec.mounts`: option, what stands for its value, how to read it, help."""

OPTIONS = {
    "root": "--root",
    "level": "--level",
    "net": "--net",
    "writable": "--writable",
    "mounts": "--bind, --tmpfs and the like",
    "hostname": "--hostname",
    "user": "--user",
    "env": "--env",
    "cwd": "--cwd",
    "seccomp": "--seccomp",
    "landlock": "--landlock",
    "cgroup": "--cgroup",
    "allow": "--allow",
    "allow.mount": "--allow",
    "tier": "--tier",
    "report_denials": "--report-denials",
    **FIELDS,
    **{f"limits.{name}": option for name, (option, *_) in LIMITS.items()},
}
"""Names of fields as the library's errors have them, and what the user of a shell calls the same thing."""

_EXIT_CODES = """\
exit codes: that of the program, or
  124    its time was over
  125    the jail could not be built, or the request was wrong
  126    the program is there but cannot be executed
  127    the program is not there
  128+n  signal n ended it; 137 also when a limit or a second Ctrl-C had it killed

SIZE is bytes, or a number with K, M, G or T (powers of 1024). TIME is seconds, or a number with ms, s, m or h.
"unlimited" takes away a default of the level.
"""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors end as docker's do."""

    def error(self, message: str) -> NoReturn:
        say(f"{message}\nTry 'jailkit run --help'.")
        sys.exit(EXIT_JAIL_FAILED)


def _add_files(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("files").add_argument
    add(
        "--root",
        metavar="DIR",
        type=values.host_path,
        help="directory that becomes / of the jail; without it, a read-only view of the host's own system",
    )
    add(
        "--writable",
        choices=("no", "ephemeral", "yes"),
        default="no",
        help="what happens to writes in the root: refused (default), thrown away with the jail, or real",
    )
    for option, metavar, read, text in MOUNTS:
        add(option, metavar=metavar, type=read, action="append", dest="mounts", default=[], help=text)


def _add_identity(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("who and where").add_argument
    add(
        "--user",
        metavar="UID[:GID]",
        type=values.identity,
        help="user of the jail that the program runs as (default: 1000 at level sandbox, else 0)",
    )
    add("--group-add", metavar="GID", type=values.group, action="append", default=[], help="add a supplementary group")
    add("--user-name", metavar="NAME", type=values.user_name, help="login name of that user (default: jail, or root)")
    add("--home", metavar="DIR", type=values.home, help="home directory of that user in the jail")
    add(
        "--env",
        metavar="NAME[=VALUE]",
        type=values.environment,
        action="append",
        default=[],
        help="set an environment variable, or hand on one of the caller's",
    )
    add("--cwd", metavar="DIR", type=values.field("cwd"), help="change directory to DIR in the jail")
    add("--hostname", metavar="NAME", type=values.field("hostname"), default="jail", help="host name of the jail")


def _add_isolation(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("isolation").add_argument
    add(
        "--level",
        metavar="{" + ",".join(level.name.lower() for level in Level) + "}",
        type=values.field("level"),
        default="sandbox",
        help="how far the jail is cut off (default: sandbox)",
    )
    add(
        "--tier",
        choices=("root", "userns", "landlock"),
        help="by which means; landlock needs no namespaces, and gives less (default: root or userns, as the caller is)",
    )
    switch = argparse.BooleanOptionalAction
    add(
        "--seccomp",
        nargs="?",
        const=True,
        metavar="PROFILE[,+CALL][,-CALL]",
        type=values.policy,
        help="ask for the system call filter by name; PROFILE (default, strict or empty), then calls to add or remove",
    )
    add("--no-seccomp", action="store_false", dest="seccomp", default=None, help="switch the filter off")
    add("--landlock", action=switch, help="ask for Landlock rules by name, or switch them off")
    add("--report-denials", action="store_true", help="say at the end which system calls were refused, and what allows")


def _add_limits(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("limits")
    group.add_argument(
        "--cgroup",
        metavar="GROUP",
        type=values.field("cgroup"),
        help="control group in which that of the jail is made: its path below /sys/fs/cgroup, or its directory",
    )
    for name, (option, read, metavar, text) in LIMITS.items():
        group.add_argument(option, metavar=metavar, type=values.limit(name, read), dest=f"limits.{name}", help=text)


def _parser() -> _Parser:
    top = _Parser(prog="jailkit", description="Run a program in a jail.", allow_abbrev=False)
    top.add_argument("--version", action="version", version=f"jailkit {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", dest="command", required=True)
    for name, text in (
        ("run", "run a program in a new jail"),
        ("explain", "print what would be done, each step with its reason, and do nothing"),
    ):
        parser = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            usage=f"jailkit {name} [OPTIONS] -- PROGRAM [ARGUMENTS]",
            epilog=_EXIT_CODES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        for add in (_add_files, _add_identity, _add_isolation, add_network, _add_limits):
            add(parser)
        parser.add_argument("argv", nargs=argparse.REMAINDER, metavar="PROGRAM", help=argparse.SUPPRESS)
    commands.choices["run"].add_argument(
        "-t",
        "--tty",
        action="store_true",
        help="give the program a terminal of the jail's own, to which the caller's is a window",
    )
    commands.choices["run"].add_argument(
        "--report",
        metavar="FILE",
        help="write how the program ended, what it used and how it was isolated to FILE, as JSON",
    )
    commands.choices["run"].add_argument(
        "--trace", action="store_true", help="print on stderr how long each phase took, unless with --tty"
    )
    commands.choices["explain"].add_argument("--json", action="store_true", help="print steps and isolation as JSON")
    _add_doctor(commands)
    add_commands(commands)
    return top


def _add_doctor(commands: argparse._SubParsersAction[_Parser]) -> None:
    text = "find out what this host can do, and what to do about what it cannot"
    parser = commands.add_parser(
        "doctor",
        help=text,
        description=f"{text[0].upper()}{text[1:]}. Exit code 0: a jail of level sandbox can be made, 1: it cannot.",
        allow_abbrev=False,
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--json", action="store_true", help="print the report as JSON")
    what.add_argument(
        "--apparmor-profile",
        action="store_true",
        help="try nothing; print a profile that lets the installed jailkit-init make user namespaces",
    )


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line; ``spec`` and ``argv`` of what is returned are ready for use, except for the doctor.

    Raises:
        SystemExit: It is wrong (125), or help was asked for (0).
    """
    # By hand, because versions of argparse differ in what they do with "--" before a remainder.
    own = list(words)
    rest = [own.pop() for _ in range(len(own) - own.index("--"))][::-1] if "--" in own else []
    parser = _parser()
    options = parser.parse_args(own)
    if options.command == "doctor" or options.command in GRADING:
        if rest:
            parser.error(f"{options.command} runs no program of yours")
        return options
    options.argv = [*options.argv, *(rest if options.argv else rest[1:])]
    if options.command == "run" and not options.argv:
        parser.error("no program was named: put it last, after --")
    try:
        options.spec = spec_of(options)
        if options.argv:
            Command(options.argv)
    except SpecError as error:
        parser.error(_named(error))
    return options


def _named(error: SpecError) -> str:
    """Return the message of an error with the name of the option that it is about."""
    option = OPTIONS.get(error.field)
    return f"argument {option}: {error}" if option else str(error)


def spec_of(options: argparse.Namespace) -> JailSpec:
    """Return the jail that was asked for.

    Raises:
        SpecError: Two options contradict each other.
    """
    limits = {name: getattr(options, f"limits.{name}") for name in LIMITS}
    return JailSpec(
        options.root,
        level=options.level,
        net=net_of(options),
        writable=options.writable,
        mounts=options.mounts,
        hostname=options.hostname,
        user=_user(options),
        limits=Limits(**limits),
        env=dict(pair for pair in options.env if pair is not None),
        cwd=options.cwd,
        seccomp=options.seccomp,
        landlock=options.landlock,
        cgroup=options.cgroup,
        allow=switches_of(options),
        tier=options.tier,
        report_denials=options.report_denials,
    )


def _user(options: argparse.Namespace) -> User | None:
    """Return the user, or None where nothing was said about him."""
    if options.user is None and not (options.group_add or options.user_name or options.home):
        return None
    uid, gid = options.user or (JailSpec(level=options.level).effective_user.uid, None)
    return User(uid, gid, name=options.user_name, home=options.home, groups=options.group_add)
