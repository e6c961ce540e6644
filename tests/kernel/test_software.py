"""Software of the real world runs in a SANDBOX with all its walls: gcc, git, make, CPython's own tests, node, java."""

from __future__ import annotations

import pytest

from jailkit import UNLIMITED, Jail, Limits, MiB
from tests.facts import PYTHON
from tests.patience import patient

pytestmark = [pytest.mark.requires("userns", "libseccomp", "landlock"), pytest.mark.timeout(300)]

WIDE = Limits(disk=512 * MiB, address_space=UNLIMITED, processes=512)


def script(jail: Jail, lines: str, seconds: float = 120) -> str:
    """Run some lines of shell in the user's home; return what they print."""
    result = jail.run(["sh", "-euc", 'cd "$HOME"\n' + lines], timeout=seconds, text=True)
    assert result.ok, (str(result), result.stdout[-2000:], result.stderr[-2000:])
    return str(result.stdout)


def enforced(jail: Jail) -> bool:
    """Whether both walls stand."""
    states = {item.name: item.state for item in jail.isolation}
    return states["seccomp"] == "enforced" and states["landlock"] in ("enforced", "degraded")


@pytest.mark.requires("cc")
def test_a_compiler() -> None:
    """Gcc compiles, links and the program runs, with threads."""
    source = r"""
#include <pthread.h>
#include <stdio.h>
static void *work(void *n) { return n; }
int main(void) { pthread_t t; void *r; pthread_create(&t, 0, work, "42"); pthread_join(t, &r); puts(r); return 0; }
"""
    with Jail(limits=WIDE) as jail:
        assert enforced(jail)
        jail.put(source.encode(), "/home/jail/it.c")
        assert script(jail, "cc -O1 -pthread it.c -o it && ./it") == "42\n"


@pytest.mark.requires("cc", "make")
def test_a_build_by_make() -> None:
    """Several jobs at once, with a job server."""
    makefile = "all: a b c\n\tcat a b c > all\na b c: src.c\n\tcc -x c src.c -o $@.out && ./$@.out > $@\n"
    with Jail(limits=WIDE) as jail:
        jail.put(makefile.encode(), "/home/jail/Makefile")
        jail.put(b'#include <stdio.h>\nint main(void) { puts("x"); return 0; }', "/home/jail/src.c")
        script(jail, "make -j3 >/dev/null")
        assert jail.get("/home/jail/all") == b"x\nx\nx\n"


@pytest.mark.requires("git")
def test_git() -> None:
    """A repository is made, committed to, cloned, packed and checked."""
    lines = """
git init -q one && cd one
git config user.name me && git config user.email me@example.org
for n in 1 2 3; do echo $n > file$n; git add .; git commit -qm "number $n"; done
git gc -q && git fsck
cd .. && git clone -q one two && git -C two log --oneline | wc -l
"""
    with Jail(limits=WIDE) as jail:
        assert script(jail, lines).split()[-1] == "3"


MODULES = (
    "test_grammar test_dict test_thread test_select test_tempfile test_shutil test_mmap test_json test_pty test_os"
    " test_posix test_fcntl test_pathlib test_zlib"
).split()
"""Quick ones that touch much of the kernel. (test_resource raises limits, which a jail does not let it.)"""


@pytest.mark.requires("python", "cpython_tests")
def test_tests_of_cpython() -> None:
    """Over a dozen modules of CPython's own suite pass inside."""
    # A jail of an ordinary user has one id, and to a file that cannot be given to another the kernel says EINVAL.
    argv = [PYTHON, "-m", "test", "-j2", "-i", "test_chown_without_permission", *MODULES]
    with Jail(limits=WIDE) as jail:
        assert enforced(jail)
        result = jail.run(argv, cwd="/home/jail", timeout=patient(250), text=True)
    assert result.ok, (str(result), result.stdout[-3000:], result.stderr[-2000:])
    assert f"All {len(MODULES)} tests OK." in result.stdout


@pytest.mark.requires("python")
def test_libraries_of_python() -> None:
    """Processes, threads, event loops, sockets, data bases and temporary files."""
    lines = f"""
{PYTHON} - <<'END'
import asyncio, concurrent.futures, multiprocessing, os, shutil, socket, sqlite3, subprocess, tempfile, threading
multiprocessing.set_start_method("fork")
with multiprocessing.Pool(2) as pool:
    assert pool.map(abs, [-1, 2]) == [1, 2]
with concurrent.futures.ThreadPoolExecutor() as pool:
    assert list(pool.map(abs, [-3])) == [3]
async def both():
    server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
    await asyncio.open_connection(*server.sockets[0].getsockname())
    child = await asyncio.create_subprocess_exec("true")
    assert await child.wait() == 0
asyncio.run(both())
with tempfile.TemporaryDirectory() as top:
    with sqlite3.connect(os.path.join(top, "db")) as db:
        db.execute("create table t (a)")
    shutil.copytree(top, top + ".copy")
assert subprocess.run(["sh", "-c", "exit 3"]).returncode == 3
socket.getaddrinfo("localhost", 80)
print("fine")
END
"""
    with Jail(limits=WIDE) as jail:
        assert script(jail, lines, 250) == "fine\n"


@pytest.mark.requires("node")
def test_node() -> None:
    """Its event loop, worker threads, files and sockets."""
    lines = """
cat > it.js <<'END'
const { Worker } = require('worker_threads'), fs = require('fs'), net = require('net');
fs.writeFileSync('out', 'x');
new Worker("require('worker_threads').parentPort.postMessage(6 * 7)", { eval: true }).on('message', n => {
  const server = net.createServer(s => s.end()).listen(0, '127.0.0.1', () =>
    net.connect(server.address().port, '127.0.0.1').on('close', () => { console.log(n); server.close(); }).resume());
});
END
node it.js
"""
    with Jail(limits=WIDE) as jail:
        assert script(jail, lines) == "42\n"


@pytest.mark.requires("java")
def test_java() -> None:
    """The compiler and the virtual machine, with threads."""
    source = "class It { public static void main(String[] a) throws Exception { Thread t = new Thread(() ->"
    source += " System.out.println(42)); t.start(); t.join(); } }"
    with Jail(limits=WIDE) as jail:
        jail.put(source.encode(), "/home/jail/It.java")
        assert script(jail, "javac It.java && java -Xmx64m It", 200) == "42\n"
