"""Programs that people use a network for, through ``net=True``, against servers that are not on the host."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator

import pytest

from tests.net.bed import WEB, Bed
from tests.patience import patient

pytestmark = [pytest.mark.requires("root", "python", "network"), pytest.mark.timeout(120)]

SERVE = """
import functools, http.server, sys
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])
server = http.server.ThreadingHTTPServer(("", 8080), handler)
print("ready", flush=True)
server.serve_forever()
"""


@pytest.fixture
def served(world: Bed, public: str) -> Iterator[str]:
    """A directory that a web server of the internet serves on port 8080."""
    command = world.command(sys.executable, "-I", "-S", "-c", SERVE, public, place=world.internet)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            yield public
        finally:
            server.kill()


@pytest.mark.requires("pip")
def test_pip_installs_from_an_index(world: Bed, user: bool, served: str) -> None:
    """By name, from an index on another machine."""
    os.makedirs(f"{served}/simple/hello")
    with zipfile.ZipFile(f"{served}/simple/hello/hello-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("hello.py", "print('hello of', __name__)\n")
        wheel.writestr("hello-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: hello\nVersion: 1.0\n")
        wheel.writestr("hello-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("hello-1.0.dist-info/RECORD", "")
    code = """
    import importlib.util
    pip = os.path.dirname(importlib.util.find_spec("pip").origin)
    mounts = [jailkit.Bind(pip, "/opt/lib/pip")]
    install = ["python3", "-m", "pip", "install", "--index-url", "http://web.test:8080/simple/", "--target", "/tmp/here"]
    install += ["--trusted-host", "web.test", "--no-cache-dir", "--disable-pip-version-check", "--no-compile", "hello"]
    with Jail(net=True, mounts=mounts, env={"PYTHONPATH": "/opt/lib:/tmp/here"}) as jail:
        before = jail.run(["python3", "-c", "import hello"]).ok
        done = jail.run(install, timeout=100, text=True)
        say([before, done.ok, done.stderr[-300:], jail.run(["python3", "-c", "import hello"], text=True).stdout])
    """
    assert world.python(code, user=user) == [False, True, "", "hello of hello\n"]


@pytest.mark.requires("git")
def test_git_clones(world: Bed, user: bool, served: str) -> None:
    """A repository of another machine, with all that is in it."""
    make = f"""
    git init -q {served}/work && cd {served}/work && echo contents >file && git add file
    git -c user.name=a -c user.email=a@example.org commit -q -m first
    git clone -q --bare . ../one.git && cd ../one.git && git update-server-info
    """
    subprocess.run(
        ["sh", "-e", "-c", make], check=True, timeout=patient(60), env={"PATH": os.environ["PATH"], "HOME": "/"}
    )
    code = f"""
    with Jail(net=jailkit.Network(allow=["{WEB}:8080/tcp"])) as jail:
        done = jail.run(["git", "clone", "-q", "http://{WEB}:8080/one.git", "/tmp/one"], timeout=100, text=True)
        say([done.ok, done.stderr[-300:], jail.run(["cat", "/tmp/one/file"], text=True).stdout])
    """
    assert world.python(code, user=user) == [True, "", "contents\n"]
