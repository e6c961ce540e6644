"""The command line as words: what each option means, and what is said about a wrong one."""

from __future__ import annotations

import argparse
import doctest
import math
import re
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import jailkit
from jailkit import Allow, Bind, Dev, File, JailSpec, Level, Limits, Network, Proc, Symlink, Tmpfs, User
from jailkit._cli import main, options, values

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"


def spec(*words: str) -> JailSpec:
    """Return the jail that some options ask for."""
    parsed = options.parse(["run", *words, "--", "true"]).spec
    assert isinstance(parsed, JailSpec)
    return parsed


# One example for every field of the jail and of its limits, and what it must become.
FIELDS: dict[str, tuple[list[str], Any]] = {
    "root": (["--root", "/srv/rootfs"], "/srv/rootfs"),
    "level": (["--level", "container"], Level.CONTAINER),
    "net": (["--net", "host"], "host"),
    "writable": (["--writable", "ephemeral"], "ephemeral"),
    "mounts": (["--bind", "/srv:/data", "--proc", "/p"], (Bind("/srv", "/data"), Proc("/p"))),
    "hostname": (["--hostname", "box"], "box"),
    "user": (["--user", "7:8"], User(7, 8)),
    "limits": (["--open-files", "9"], Limits(open_files=9)),
    "env": (["--env", "A=1", "--env", "B=x=y"], (("A", "1"), ("B", "x=y"))),
    "cwd": (["--cwd", "/tmp"], "/tmp"),
    "seccomp": (["--no-seccomp"], False),
    "allow": (["--allow", "ptrace,mlock"], Allow(ptrace=True, mlock=True)),
    "tier": (["--tier", "landlock"], "landlock"),
    "landlock": (["--landlock"], True),
    "cgroup": (["--cgroup", "/judges"], "/judges"),
    "report_denials": (["--report-denials"], True),
}
LIMITS = {
    "memory": (["--memory", "64M"], 64 << 20),
    "swap": (["--swap", "0"], 0),
    "cpu_seconds": (["--cpu-seconds", "500ms"], 0.5),
    "wall_seconds": (["--timeout", "2m"], 120.0),
    "cpus": (["--cpus", "0.5"], 0.5),
    "cpuset": (["--cpuset-cpus", "0-3,6"], "0-3,6"),
    "cpu_weight": (["--cpu-weight", "50"], 50),
    "processes": (["--processes", "unlimited"], math.inf),
    "read_bps": (["--read-bps", "10M"], 10 << 20),
    "write_bps": (["--write-bps", "1G"], 1 << 30),
    "read_iops": (["--read-iops", "100"], 100),
    "write_iops": (["--write-iops", "unlimited"], math.inf),
    "open_files": (["--open-files", "64"], 64),
    "file_size": (["--file-size", "1GiB"], 1 << 30),
    "stack": (["--stack", "8m"], 8 << 20),
    "core": (["--core", "0"], 0),
    "output": (["--output", "4096"], 4096),
    "disk": (["--disk", "1.5K"], 1536),
    "inodes": (["--inodes", "500"], 500),
    "locked_memory": (["--locked-memory", "0"], 0),
    "message_queues": (["--message-queues", "64K"], 65536),
    "address_space": (["--address-space", "1TiB"], 1 << 40),
}


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_every_field_of_a_jail_has_an_option(name: str) -> None:
    """The option sets its field and no other."""
    words, expected = FIELDS[name]
    default = JailSpec()
    assert getattr(default, name) != expected
    assert spec(*words) == attrs.evolve(default, **{name: expected})


@pytest.mark.parametrize("name", sorted(LIMITS))
def test_every_limit_has_an_option(name: str) -> None:
    """The same for the limits."""
    words, expected = LIMITS[name]
    fields: dict[str, Any] = {name: expected}
    assert spec(*words).limits == Limits(**fields)


NETWORK: dict[str, tuple[list[str], dict[str, Any]]] = {
    "ip4": (["--ip4", "10.9.9.5", "--ip4", "10.9.8.5"], {"ip4": ["10.9.9.5", "10.9.8.5"]}),
    "ip6": (["--ip6", "fd09::5"], {"ip6": "fd09::5"}),
    "dns": (["--dns", "192.0.2.53", "--dns", "192.0.2.54"], {"dns": ["192.0.2.53", "192.0.2.54"]}),
    "ports": (
        ["--publish", "8080:80", "--publish", "192.0.2.1:0:53/udp"],
        {"ports": {"8080": 80, "192.0.2.1:0/udp": 53}},
    ),
    "allow": (["--allow", "pypi.org:443", "--allow", "public"], {"allow": ["pypi.org:443", "public"]}),
    "deny": (["--deny", "203.0.113.0/24"], {"deny": ["203.0.113.0/24"]}),
    "bandwidth": (["--bandwidth", "10M"], {"bandwidth": 10 << 20}),
    "interface": (["--interface", "eth7", "--ip4", "10.9.9.5/24"], {"interface": "eth7", "ip4": "10.9.9.5/24"}),
    "gateway": (
        ["--ip4", "10.9.9.5/24", "--gateway", "10.9.9.1"],
        {"ip4": "10.9.9.5/24", "gateway": ["10.9.9.1"]},
    ),
}


@pytest.mark.parametrize("name", sorted(NETWORK))
def test_every_field_of_a_network_has_an_option(name: str) -> None:
    """With --net nat; a new field of the library must come with one. But a pod is among the jails of one program."""
    words, fields = NETWORK[name]
    assert spec("--net", "nat", *words).net == Network(**fields)
    assert NETWORK.keys() == {field.name for field in attrs.fields(Network)} - {"name"}


def test_rules_and_switches_share_an_option() -> None:
    """What has a dot, a colon or a slash, and `public`, is a rule; none is an empty list."""
    parsed = spec("--net", "nat", "--allow", "ptrace,mlock", "--allow", "db:5432", "--allow", "sysvipc")
    assert parsed.net == Network(allow=["db:5432"])
    assert parsed.allow == Allow(ptrace=True, mlock=True, sysvipc=True)
    assert spec("--net", "nat", "--allow", "none", "--dns", "none").net == Network(allow=[], dns=[])
    assert spec("--net", "nat", "--ip6", "none").net == Network(ip6=[])
    assert spec("--net", "nat").net is True


def test_no_field_is_forgotten() -> None:
    """A new field of the library must come with an option."""
    assert FIELDS.keys() == {field.name for field in attrs.fields(JailSpec)}
    assert LIMITS.keys() == options.LIMITS.keys() == {field.name for field in attrs.fields(Limits)}


def test_a_jail_without_options_is_the_default() -> None:
    """The command adds nothing of its own."""
    assert spec() == JailSpec()


@pytest.mark.parametrize(
    ("words", "mount"),
    [
        (["--bind", "/a"], Bind("/a")),
        (["--bind", "/a:/b:noexec,optional"], Bind("/a", "/b", noexec=True, optional=True)),
        (["--bind", "/a:/b:ro"], Bind("/a", "/b")),
        (["--bind", "/a:/b:rw"], Bind("/a", "/b", writable=True)),
        (["--bind", "/a:/b:owner"], Bind("/a", "/b", as_owner=True)),
        (["--bind", r"/a\:b:/c\\d"], Bind("/a:b", "/c\\d")),
        (["--rw-bind", "/a:/b"], Bind("/a", "/b", writable=True)),
        (["--rw-bind", "/a"], Bind("/a", writable=True)),
        (["--tmpfs", "/t"], Tmpfs("/t")),
        (["--tmpfs", "/t:size=1M,mode=0700"], Tmpfs("/t", size=1 << 20, mode=0o700)),
        (["--proc", "/p"], Proc("/p")),
        (["--dev", "/d"], Dev("/d")),
        (["--symlink", "../x:/l"], Symlink("/l", "../x")),
    ],
)
def test_mounts(words: list[str], mount: object) -> None:
    """Each way to write a mount means what it says."""
    assert spec(*words).mounts == (mount,)


def test_every_field_of_a_bind_has_a_word() -> None:
    """A new switch of `Bind` must be reachable."""
    switches = {field.name for field in attrs.fields(Bind)} - {"source", "target"}
    assert set(values._BIND_OPTIONS.values()) == switches


def test_mounts_keep_their_order() -> None:
    """Mounts of different kinds stay in the order in which they were given."""
    words = ["--tmpfs", "/a", "--bind", "/x:/a/b", "--tmpfs", "/a/b/c"]
    assert [mount.target for mount in spec(*words).mounts] == ["/a", "/a/b", "/a/b/c"]
    assert spec().mounts == ()


def test_a_file_is_copied_from_the_host(tmp_path: Path) -> None:
    """--file takes bytes as they are, and a mode."""
    source = tmp_path / "data"
    source.write_bytes(b"\0\xff")
    assert spec("--file", f"{source}:/etc/data:mode=0600").mounts == (File("/etc/data", b"\0\xff", mode=0o600),)


def test_relative_paths_of_the_host_start_where_the_caller_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell's user writes them; the library would refuse them."""
    monkeypatch.chdir(tmp_path)
    parsed = spec("--root", "rootfs", "--bind", ".:/data")
    assert parsed.root == str(tmp_path / "rootfs")
    assert parsed.mounts == (Bind(str(tmp_path), "/data"),)


@pytest.mark.parametrize(
    ("words", "user"),
    [
        (["--user", "0"], User(0)),
        (["--group-add", "5", "--group-add", "6"], User(1000, groups=(5, 6))),
        (["--level", "jail", "--home", "/h"], User(0, home="/h")),
        (["--user", "7", "--user-name", "eve"], User(7, name="eve")),
    ],
)
def test_users(words: list[str], user: User) -> None:
    """Who is not named keeps the id of the level."""
    assert spec(*words).user == user


def test_a_bare_variable_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in docker: the caller's value, and nothing where he has none."""
    monkeypatch.setenv("HANDED_ON", "value")
    monkeypatch.delenv("NOT_THERE", raising=False)
    assert spec("--env", "HANDED_ON", "--env", "NOT_THERE", "--env", "EMPTY=").env == (
        ("EMPTY", ""),
        ("HANDED_ON", "value"),
    )


@pytest.mark.parametrize(
    ("words", "argv"),
    [
        (["run", "--", "ls", "-l"], ["ls", "-l"]),
        (["run", "ls", "-l"], ["ls", "-l"]),
        (["run", "--cwd", "/tmp", "ls", "--cwd", "--", "x"], ["ls", "--cwd", "--", "x"]),
        (["run", "--", "sh", "-c", "--", "--"], ["sh", "-c", "--", "--"]),
        (["explain"], []),
        (["explain", "--", "ls"], ["ls"]),
    ],
)
def test_where_the_program_begins(words: list[str], argv: list[str]) -> None:
    """At the first word that is no option, or after the first ``--``; from there on nothing is touched."""
    assert options.parse(words).argv == argv


WRONG = [
    (["--memory", "64X"], "--memory", "64X"),
    (["--memory", "1MB"], "--memory", "1MB"),
    (["--memory", "0.5"], "--memory", "whole"),
    (["--memory", "-1"], "--memory", "> 0"),
    (["--memory", ""], "--memory", "bytes"),
    (["--cpu-seconds", "0"], "--cpu-seconds", "or unlimited"),
    (["--timeout", "nan"], "--timeout", "seconds"),
    (["--timeout", "5d"], "--timeout", "5d"),
    (["--cpus", "many"], "--cpus", "many"),
    (["--processes", "1.5"], "--processes", "whole"),
    (["--open-files", "9" * 25], "--open-files", "whole"),
    (["--root", ""], "--root", "path"),
    (["--level", "vm"], "--level", "SANDBOX"),
    (["--net", "wifi"], "--net", "nat"),
    (["--publish", "8080:80"], "--publish", "--net nat"),
    (["--net", "host", "--deny", "10.0.0.0/8"], "--deny", "--net nat"),
    (["--net", "nat", "--publish", "80"], "--publish", "PORT:PORT"),
    (["--net", "nat", "--publish", "80:x"], "--publish", "1 to 65535"),
    (["--net", "nat", "--publish", "80:80", "--publish", "80:81"], "--publish", "once"),
    (["--net", "nat", "--allow", "raw_socket"], "--allow", "raw_sockets"),
    (["--net", "nat", "--allow", "10.0.0.1/8"], "--allow", "TARGET"),
    (["--net", "nat", "--allow", "none", "--allow", "public"], "--allow", "not both"),
    (["--net", "nat", "--deny", "a:b"], "--deny", "TARGET"),
    (["--net", "nat", "--dns", "localhost"], "--dns", "address"),
    (["--net", "nat", "--bandwidth", "10"], "--bandwidth", "1024"),
    (["--net", "nat", "--ip4", "127.0.0.1"], "--ip4", "IPv4"),
    (["--net", "nat", "--interface", "eth7"], "--ip4", "/24"),
    (["--net", "nat", "--ip4", "10.9.9.5/24", "--gateway", "10.9.8.1"], "--gateway", "10.9.9.5/24"),
    (["--writable", "maybe"], "--writable", "ephemeral"),
    (["--writable", "yes"], "--writable", "root is None"),
    (["--bind", "/a:b"], "--bind", "absolute"),
    (["--bind", ":/b"], "--bind", "SRC"),
    (["--bind", "/a:/b:/c:/d"], "--bind", "SRC"),
    (["--bind", "/a:/b:exec"], "--bind", "noexec"),
    (["--rw-bind", "/a:/b:ro"], "--rw-bind", "noexec"),
    (["--bind", "/a:/x", "--tmpfs", "/x"], "--tmpfs", "each target once"),
    (["--tmpfs", "/t:size=big"], "--tmpfs", "big"),
    (["--tmpfs", "/t:sizze=1"], "--tmpfs", "size=SIZE"),
    (["--tmpfs", "/t:mode=999"], "--tmpfs", "octal"),
    (["--tmpfs", "/"], "--tmpfs", "root="),
    (["--proc", "proc"], "--proc", "absolute"),
    (["--dev", "/a/../b"], "--dev", ".."),
    (["--symlink", "/l"], "--symlink", "TO:DST"),
    (["--file", "/none/of/this:/x"], "--file", "No such file"),
    (["--user", "root"], "--user", "numbers"),
    (["--user", "99999999999"], "--user", "4294967294"),
    (["--group-add", "-1"], "--group-add", "4294967294"),
    (["--user-name", "Eve!"], "--user-name", "a-z"),
    (["--home", "there"], "--home", "absolute"),
    (["--env", "=x"], "--env", "a name"),
    (["--cwd", "tmp"], "--cwd", "absolute"),
    (["--hostname", "a_b"], "--hostname", "labels"),
    (["--seccomp=yes"], "--seccomp", "argument"),
    (["--nonsense"], "--nonsense", "unrecognized"),
    (["--mem", "1"], "--mem", "unrecognized"),
    (["--memory"], "--memory", "expected one argument"),
]


@pytest.mark.parametrize(("words", "option", "hint"), WRONG, ids=lambda value: " ".join(value)[:40])
def test_a_wrong_value_names_its_option(
    words: list[str], option: str, hint: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """The message has the option and what would be right; the exit code is docker's; there is no traceback."""
    with pytest.raises(SystemExit) as stopped:
        main(["run", *words, "--", "true"])
    said = capfd.readouterr()
    assert stopped.value.code == 125
    assert said.out == ""
    assert said.err.startswith("jailkit: ")
    assert re.search(rf"{option}\b", said.err), said.err
    assert hint in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    "words", [[], ["run"], ["run", "--"], ["walk"], ["run", "--", ""], ["run", "--", "true", "a\0b"]], ids=repr
)
def test_a_line_without_a_usable_program_is_refused(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing is guessed."""
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 125
    assert capfd.readouterr().err.startswith("jailkit: ")


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["explain", "--help"], ["--version"]], ids=" ".join)
def test_help_and_version_go_to_stdout(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    """They are what was asked for, not an error."""
    with pytest.raises(SystemExit) as stopped:
        main(words)
    said = capfd.readouterr()
    assert (stopped.value.code, said.err) == (0, "")
    assert "jailkit" in said.out
    if words == ["--version"]:
        assert said.out == f"jailkit {jailkit.__version__}\n"


def test_every_option_has_help_and_is_in_the_reference() -> None:
    """The page lists each option, and no option that does not exist."""
    choices = next(a for a in options._parser()._actions if isinstance(a, argparse._SubParsersAction)).choices
    known = {word for sub in choices.values() for action in sub._actions for word in action.option_strings}
    assert all(action.help for sub in choices.values() for action in sub._actions)
    listed = set(re.findall(r"(?<![\w-])--?[a-z][a-z0-9-]*", "".join(re.findall(r"`[^`\n]*`", PAGE.read_text()))))
    assert listed - {"--version", "-m"} == known


@given(st.integers(0, 2**62), st.sampled_from(["", "K", "M", "G", "T"]), st.sampled_from(["", "iB"]))
def test_sizes_are_exact(amount: int, unit: str, suffix: str) -> None:
    """No size goes through a float."""
    word = f"{amount}{unit}{suffix if unit else ''}"
    assert values.size(word) == values.size(word.lower()) == amount << (10 * " KMGT".index(unit or " "))


@given(st.text(max_size=12))
def test_readers_refuse_or_read(word: str) -> None:
    """Whatever the word, there is a value or an error that argparse understands; never another one."""
    readers = [values.size, values.duration, values.count, values.number, values.identity, values.environment]
    readers += [values.bind(writable=True), values.tmpfs, values.symlink, values.proc, values.home, values.user_name]
    readers += [values.limit("memory", values.size), values.limit("cpus", values.number), values.field("hostname")]
    for read in readers:
        message = "allowed"
        try:
            read(word)
        except argparse.ArgumentTypeError as error:
            message = str(error)
        assert "allowed" in message


def test_the_examples_of_the_readers_are_true() -> None:
    """What their docstrings show is what they return."""
    done = doctest.testmod(values)
    assert (done.failed, done.attempted) == (0, 2)
