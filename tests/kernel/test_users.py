"""The users of a jail are nobody on the host, and its superuser is super nowhere else."""

from __future__ import annotations

import os
import re

import pytest

from jailkit import Jail, Level, User
from tests.inside import as_namespace_root, inside

pytestmark = pytest.mark.requires("userns", "python")


def host_ids(jail: Jail) -> tuple[int, int]:
    """Return user and group, as the host numbers them, of a program of a jail."""
    with jail.popen(["sleep", "60"]) as process:
        with open(f"/proc/{process.pid}/status") as file:
            text = file.read()
        process.kill()
    uid, gid = (re.search(rf"^{name}:\t(\d+)", text, re.MULTILINE) for name in ("Uid", "Gid"))
    assert uid
    assert gid
    return int(uid[1]), int(gid[1])


@pytest.mark.requires("root")
@pytest.mark.parametrize("level", list(Level))
def test_two_jails_share_no_id_of_the_host(level: Level) -> None:
    """As root: every jail has ids that no user and no other jail has, and its uid 0 is none of the host's."""
    for user in (0, 1000):
        with Jail(level=level, user=user) as one, Jail(level=level, user=user) as other:
            ids = [*host_ids(one), *host_ids(other)]
        assert ids[0] == ids[1] != ids[2] == ids[3]
        assert min(ids) >= 65536


@pytest.mark.requires("user")
@pytest.mark.parametrize("level", list(Level))
def test_the_one_id_of_a_user_is_his_own(level: Level) -> None:
    """An ordinary user has no other to give."""
    with Jail(level=level) as jail:
        assert host_ids(jail) == (os.getuid(), os.getgid())


def test_the_user_of_each_level(jail: Jail) -> None:
    """Programs run as an ordinary user in SANDBOX, and as the jail's root in JAIL."""
    expected = [1000, 1000] if jail.spec.level is Level.SANDBOX else [0, 0]
    assert inside(jail, "say([os.getuid(), os.getgid()])") == expected
    assert inside(jail, "import pwd; say(pwd.getpwuid(os.getuid()).pw_dir == os.environ['HOME'])")


@pytest.mark.requires("root")
def test_a_program_may_have_another_user() -> None:
    """As root: any id of the jail, with supplementary groups."""
    with Jail(level=Level.JAIL) as jail:
        user = User(33, 34, groups=(35, 36))
        assert inside(jail, "say([os.getuid(), os.getgid(), sorted(os.getgroups())])", user=user) == [33, 34, [35, 36]]


BECOME = """
say({
    "setuid": attempt(os.setuid, 0),
    "setgid": attempt(os.setgid, 0),
    "setgroups": attempt(os.setgroups, []),
    "uid_map": attempt(lambda: os.write(os.open("/proc/self/uid_map", os.O_WRONLY), b"0 0 1")),
})
"""


def test_a_sandboxed_program_cannot_become_somebody_else(sandbox: Jail) -> None:
    """Root of a namespace can; a program of a SANDBOX has no way to any other id."""
    assert as_namespace_root(BECOME)["setuid"] == "POSSIBLE"
    tried = inside(sandbox, BECOME)
    assert {tried[name] for name in ("setuid", "setgid", "setgroups")} <= {"EPERM", "EINVAL"}
    assert tried["uid_map"] in ("EPERM", "EROFS", "EACCES")
