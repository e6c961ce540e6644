"""Run a command, or the kernel tests, in a throw-away virtual machine: ``python -m tests.vm --help``.

The guest's / is an overlay: this machine's / (virtiofs, read-only) below a tmpfs. So the same python, gcc and sources
are there under the same paths, and no write comes back. cgroup v2 alone is at /sys/fs/cgroup, with every controller;
/tmp and /run are empty; /var/tmp is an empty ext4; only lo is up. The command starts in /sys/fs/cgroup/guest/cmd,
whose parent, $JAILKIT_VM_CGROUP, is delegated to its user. KVM where it works, else emulation, about 12 times slower:
never time anything there.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys

from tests.vm import guest, kernels, suite
from tests.vm.memory import Memory


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    top = argparse.ArgumentParser(
        prog="python -m tests.vm", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = top.add_subparsers(dest="do", required=True)
    one = commands.add_parser("run", help="run one command; exits as it does, 125 when there is no result")
    one.add_argument("-u", "--user", action="store_true", help="as uid 1000, with a delegated group, not as root")
    one.add_argument("-t", "--timeout", type=float, default=900.0, help="seconds, with the boot (%(default)s)")
    one.add_argument("-m", "--memory", type=int, default=2048, help="MiB (%(default)s)")
    one.add_argument(
        "-k", "--kernel", default="release", help="release, newest, a version or a directory (%(default)s)"
    )
    many = commands.add_parser(
        "suite", help="run tests in guests of each kernel for each caller; then the options of pytest"
    )
    many.add_argument("--kernels", default="release newest", help="as for run, several (%(default)s)")
    many.add_argument("--who", default="root user", help="who runs it (%(default)s)")
    many.add_argument("--tests", default="tests/kernel", help="files, directories, single tests (%(default)s)")
    many.add_argument("--python", default=sys.executable, help="the interpreter that runs them (%(default)s)")
    many.add_argument("--files", type=int, default=suite.Wanted.files, help="as many in each guest (%(default)s)")
    many.add_argument("--guests", type=int, default=os.cpu_count() or 1, help="as many at a time (%(default)s)")
    many.add_argument("--memory", metavar="FILE", help="remembers what has passed and is not run again")
    many.add_argument(
        "--source", action="append", help="with what the tests depend on: when it changes, they run again"
    )
    for command in (one, many):
        command.add_argument(
            "-d", "--show", type=os.path.abspath, action="append", default=[], metavar="DIR",
            help="a directory below /tmp, /run or /var/tmp to show as well",
        )  # fmt: skip
        command.add_argument("command", nargs=argparse.REMAINDER)
    return top


def _wanted(top: argparse.ArgumentParser, args: argparse.Namespace, options: list[str]) -> suite.Wanted:
    who = args.who.split()
    if not who or set(who) - {"root", "user"}:
        top.error("--who takes root and user")
    return suite.Wanted(
        args.kernels.split(), who, args.tests.split(), args.python, tuple(options), tuple(args.show),
        tuple(args.source or suite.Wanted.sources), args.files, args.guests,
    )  # fmt: skip


def main() -> int:
    """Do what the command line says."""
    top = parser()
    args = top.parse_args()
    command = args.command[args.command[:1] == ["--"] :]
    if not command and args.do == "run":
        top.error("no command")
    # A SystemExit unwinds the blocks that end qemu and virtiofsd.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        if args.do == "suite":
            return 0 if suite.run(_wanted(top, args, command), Memory(args.memory)) else 1
        kernel = kernels.find(args.kernel)
        wanted = guest.Guest(
            kernel, tuple(command), user=args.user, show=tuple(args.show), timeout=args.timeout, memory=args.memory
        )
        return guest.run(wanted)
    except kernels.VmError as error:
        print(f"no virtual machine: {error}", file=sys.stderr)
        return 125


if __name__ == "__main__":
    sys.exit(main())
