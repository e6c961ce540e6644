"""On a host whose mounts are shared, as systemd makes them, no mount of a jail shows up (mount_namespaces(7))."""

from __future__ import annotations

import os

import pytest

from jailkit import Bind
from tests.inside import host_program, small_root
from tests.patience import patient

# The mounts are shared in a mount namespace of the test's own, which is the host for what runs in it. Private first:
# where the real host's are shared, they would be its peers.
SHARED = ("unshare", "-m", "--propagation", "private", "sh", "-c", 'mount --make-rshared / && exec "$@"', "sh")

CODE = """
from jailkit import Bind, Jail, Level, Tmpfs
place, root, writable, *binds = sys.argv[1:]
def mounts():
    with open("/proc/self/mountinfo") as file:
        return [line.split()[4] for line in file]
# The control: what is mounted on one peer of a shared mount shows up on the other.
assert os.system(f"mount -t tmpfs tmpfs {place}/a && mkdir {place}/a/x && mount --bind {place}/a {place}/b") == 0
assert os.system(f"mount -t tmpfs tmpfs {place}/a/x") == 0
assert place + "/b/x" in mounts()
before = mounts()
made = [Bind(place + "/data", "/data", writable=True), Tmpfs("/data/x"), *map(Bind, binds)]
with Jail(root or None, writable=writable, level=Level.JAIL, mounts=made) as jail:
    jail.run(["touch", "/data/x/file"]).check()
    assert mounts() == before
    assert os.listdir(place + "/data/x") == []
assert mounts() == before
print("done")
"""


@pytest.mark.requires("root", "idmap")
@pytest.mark.parametrize(
    ("own", "writable"), [(False, "no"), (False, "ephemeral"), (True, "no"), (True, "ephemeral"), (True, "yes")]
)
def test_mounts_of_a_jail_stay_in_it(public: str, own: bool, writable: str) -> None:
    """Neither those on its root nor those on a bind reach the host, and none is in the way of the other."""
    for name in ("a", "b", "data", "data/x", "root"):
        os.mkdir(f"{public}/{name}")
    binds: tuple[Bind, ...] = ()
    if own:
        binds = small_root(f"{public}/root")
        os.mkdir(f"{public}/root/data")
    sources = [bind.source for bind in binds]
    with host_program(CODE, public, f"{public}/root" if own else "", writable, *sources, prefix=SHARED) as host:
        out, err = host.communicate(timeout=patient(60))
    assert (out, err) == ("done\n", "")
