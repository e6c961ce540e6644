"""Tests in jails, as a project has them: pytest runs on a project of a few files, with the plugin."""

from __future__ import annotations

import os
import re

import pytest

import jailkit
from tests.projects import Project, project

__all__ = ["project"]

pytestmark = [pytest.mark.requires("userns"), pytest.mark.timeout(400)]


HERMETIC = """
    import os, socket, subprocess
    import pytest

    SECRET = os.environ.get("SECRET")

    @pytest.fixture(scope="module")
    def wide(tmp_path_factory):
        folder = tmp_path_factory.mktemp("wide")
        (folder / "word").write_text("wide")
        yield os.getpid(), folder
        (folder.parent / "torn").write_text(str(os.getpid()))

    @pytest.fixture
    def narrow():
        return os.getpid(), sorted(os.listdir("/proc"))

    def test_fixtures(wide, narrow, tmp_path):
        assert wide[0] != os.getpid() == narrow[0]
        assert (wide[1] / "word").read_text() == "wide"
        (tmp_path / "mine").write_text("mine")

    def test_files():
        with pytest.raises(OSError):
            open(__file__, "a")
        with pytest.raises(OSError):
            open("/usr/mine", "w")
        open("/tmp/mine", "w").close()
        open(os.path.expanduser("~/mine"), "w").close()

    def test_tmp_is_its_own():
        assert not os.path.exists("/tmp/mine")

    def test_processes():
        assert len([name for name in os.listdir("/proc") if name.isdigit()]) <= 3
        assert subprocess.run(["sh", "-c", "exit 3"]).returncode == 3

    def test_network():
        with pytest.raises(OSError):
            socket.create_connection((ADDRESS), 1)
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), 5).close()

    def test_names(monkeypatch):
        assert os.uname().nodename == "jail"
        assert "SECRET" not in os.environ
        monkeypatch.setenv("MINE", "1")

    @pytest.mark.jailed(hostname="other", env={"GIVEN": 1})
    def test_mark():
        assert (os.uname().nodename, os.environ["GIVEN"]) == ("other", "1")

    def test_privileges():
        status = open("/proc/self/status").read()
        assert "CapEff:\\t0000000000000000" in status
        assert "NoNewPrivs:\\t1" in status
"""


def test_a_test_is_hermetic(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files, network, processes, variables of the host are out of reach; wide fixtures live outside, others inside."""
    import socket

    monkeypatch.setenv("SECRET", "shh")
    with socket.create_server(("127.0.0.1", 0)) as server:
        project.write("test_it.py", HERMETIC.replace("ADDRESS", repr(server.getsockname())))
        assert project.outcomes("--jailed") == {"passed": 8}
        # The control: without jails they fail, each for its reason.
        assert project.outcomes("-k", "not mark")["failed"] >= 5


OUTCOMES = """
    import logging, os, warnings
    import pytest

    @pytest.fixture
    def speaks():
        print("set up")
        yield
        print("torn down")

    @pytest.fixture
    def breaks():
        raise ValueError("broken fixture")

    @pytest.fixture
    def breaks_late():
        yield
        raise ValueError("late")

    def test_fails(speaks):
        print("out")
        logging.warning("logged")
        warnings.warn("careful")
        assert {"a": 1} == {"a": 2}

    def test_captures(capsys):
        print("mine")
        assert capsys.readouterr().out == "mine\\n"

    def test_captures_descriptors(capfd):
        os.system("echo mine")
        assert capfd.readouterr().out == "mine\\n"

    @pytest.mark.parametrize("n", [1, 2, 3])
    def test_parameters(n):
        assert n != 2

    @pytest.mark.xfail(reason="known")
    def test_xfails():
        assert 0

    @pytest.mark.xfail(reason="known")
    def test_xpasses():
        pass

    @pytest.mark.skip(reason="not now")
    def test_skipped():
        raise AssertionError

    def test_skips():
        pytest.skip("not here")

    def test_error(breaks):
        pass

    def test_late_error(breaks_late):
        pass

    class TestClass:
        @classmethod
        def setup_class(cls):
            cls.word = "class"

        def test_method(self):
            assert self.word == "class"

    def documented():
        '''
        >>> 1 + 1
        3
        '''
"""


def without_times(said: str) -> list[str]:
    """What two runs of pytest have in common: not the durations, addresses and directories."""
    said = re.sub(r"0x[0-9a-f]+|\d+\.\d+s|\d+\.\d\ds|pytest-\d+", "#", said)
    return [line for line in said.splitlines() if "plugins:" not in line and "jailkit:" not in line]


def test_reports_are_as_if_it_had_run_outside(project: Project) -> None:
    """Outcomes, traces, captured output, logs and warnings are, word for word, those of a run without jails."""
    project.write("test_it.py", OUTCOMES)
    plain = project.run("--doctest-modules", "-rA", "--tb=long")
    jailed = project.run("--doctest-modules", "-rA", "--tb=long", "--jailed")
    assert plain[0] == jailed[0] == 1
    assert "{'a': 1} == {'a': 2}" in plain[1]
    assert without_times(jailed[1]) == without_times(plain[1])


ENDS = """
    import os, signal, time
    import pytest
    from jailkit import Limits

    def test_exits():
        print("last words", flush=True)
        os._exit(3)

    def test_crashes():
        os.kill(os.getpid(), signal.SIGSEGV)

    def test_stops():
        breakpoint()

    @pytest.mark.jailed(limits=Limits(wall_seconds=1))
    def test_hangs():
        while True:
            time.sleep(1)

    @pytest.mark.timeout(1)
    def test_is_too_slow():
        time.sleep(60)

    def test_forges():
        for fd in range(3, 100):
            try:
                os.write(fd, b"\\x7f\\x7f\\x7f\\x7fforged")
            except OSError:
                pass

    def test_is_fine():
        pass
"""


def test_what_would_end_pytest_fails_one_test(project: Project) -> None:
    """A crash, an exit, too much memory or time is one failed test with its reason, and the run goes on."""
    project.write("test_it.py", ENDS)
    code, said = project.run("--jailed", plugins=("pytest_timeout",))
    assert code == 1
    assert "exit code 3 (os._exit)" in said
    assert "last words" in said
    assert "crashed the interpreter: SIGSEGV" in said
    assert "FAILED test_it.py::test_exits - it ended the interpreter" in said
    assert "nobody can talk to a debugger in a jail" in said
    assert "it took more than 1 s" in said
    assert "Timeout (>1.0s)" in said
    assert "it sent" in said
    assert "6 failed, 1 passed" in said, said[said.index("short test") :][:900]


@pytest.mark.requires("cgroups")
def test_too_much_memory(project: Project) -> None:
    """A test that uses up its memory is killed for it, and says so."""
    text = "def test_it():\n    x = [b'x' * 2**20 for _ in range(3000)]\n    assert len({id(y) for y in x})\n"
    project.write("test_it.py", text)
    code, said = project.run("--jailed", "-o", f"jailed_memory={200 * 2**20}")
    assert code == 1
    assert "it used up its memory" in said


def test_options_of_pytest(project: Project) -> None:
    """-x, --maxfail, --lf and pytest.exit do what they do; a debugger gets its test without a jail, and says so."""
    project.write(
        "test_it.py", "import os, pytest\ndef test_a(): assert 0\ndef test_b(): pass\ndef test_c(): assert 0\n"
    )
    assert project.outcomes("--jailed", "-x") == {"failed": 1}
    options = ("--jailed",)
    assert project.outcomes(*options) == {"failed": 2, "passed": 1}
    assert project.outcomes(*options, "--lf") == {"failed": 2}
    project.write("test_it.py", "import os, pytest\ndef test_a(): pytest.exit('enough')\ndef test_b(): pass\n")
    assert "enough" in project.run("--jailed")[1]
    project.write("test_it.py", f"import os\ndef test_a(): assert os.path.exists({project.path + '/..'!r})\n")
    code, said = project.run("--jailed", "--pdb")
    assert code == 0
    assert "a debugger cannot follow" in said
    assert "in a jail of its own" not in said
    with open(f"{project.path}/test_it.py", "a") as file:
        file.write("import pytest\ntest_a = pytest.mark.jailed(test_a)\ndef test_b(): pass\n")
    assert "with --pdb and --trace, 1 run without" in project.run("--pdb")[1]  # also where the mark asks


def test_marks_and_settings(project: Project) -> None:
    """Only marked tests are jailed without the option; writable paths are; wrong words are usage errors."""
    os.mkdir(f"{project.path}/data")
    project.write(
        "test_it.py",
        """
        import os, pytest
        def test_outside():
            assert os.uname().nodename != "jail"
        @pytest.mark.jailed(writable=["data"])
        def test_writes():
            assert os.uname().nodename == "jail"
            open(os.path.dirname(__file__) + "/data/written", "w").close()
        """,
    )
    assert project.outcomes() == {"passed": 2}
    assert os.stat(f"{project.path}/data/written").st_uid == os.getuid()
    project.write("test_it.py", "import pytest\n@pytest.mark.jailed(colour=1)\ndef test_it(): pass\n")
    assert "takes the keywords" in project.run()[1]
    project.write("test_it.py", "import pytest\n@pytest.mark.jailed\ndef test_it(jail): pass\n")
    assert "cannot use fixtures that make jails" in project.run()[1]


def test_wrong_settings(project: Project) -> None:
    """A setting that cannot be is a usage error, which names it."""
    project.write("test_it.py", "import pytest\n@pytest.mark.jailed\ndef test_it(): pass\n")
    for wrong, words in (
        ("jailed_timeout=soon", "jailed_timeout is a number of seconds, not 'soon'"),
        ("jailed_memory=1GiB", "jailed_memory is a number of bytes, not '1GiB'"),
        ("jailed_unsupported=ignore", "jailed_unsupported is one of fail, skip, run, not 'ignore'"),
    ):
        code, said = project.run("-o", wrong)
        assert (code, words in said) == (pytest.ExitCode.USAGE_ERROR, True), said


def test_where_no_jail_can_be_made(project: Project) -> None:
    """The test fails, or is skipped, or runs without, as the project says; without a word it fails."""
    project.write("test_it.py", "import pytest\n@pytest.mark.jailed\ndef test_it(): pass\n")
    project.write(
        "conftest.py",
        """
        import jailkit.pytest_plugin.ahead as ahead
        from jailkit import UnsupportedError
        class Jail:
            def __init__(self, **spec):
                raise UnsupportedError("jails", "a kernel", "get one")
        ahead.Jail = Jail
        """,
    )
    assert project.outcomes() == {"errors": 1}
    assert project.outcomes("-o", "jailed_unsupported=skip") == {"skipped": 1}
    assert project.outcomes("-o", "jailed_unsupported=run")["passed"] == 1


def test_fixtures_that_make_jails(project: Project) -> None:
    """The fixtures give live jails, made of jail_spec; tmp_path is in them, and can be written to."""
    project.write(
        "test_it.py",
        """
        import pytest
        @pytest.fixture(scope="session")
        def jail_spec():
            return {"hostname": "ours"}
        def test_jail(jail, tmp_path):
            assert jail.run(["hostname"], text=True).stdout == "ours\\n" or jail.run(["cat", "/etc/hostname"])
            jail.run(["sh", "-c", f"echo hi > {tmp_path}/f"]).check()
            assert (tmp_path / "f").read_text() == "hi\\n"
        def test_factory(jail_factory):
            a, b = jail_factory(), jail_factory(hostname="b")
            assert a.spec.hostname == "ours" and b.spec.hostname == "b"
        def test_session(session_jail): session_jail.put(b"x", "/tmp/x")
        def test_session_again(session_jail): assert session_jail.get("/tmp/x") == b"x"
        def test_pool(jail_pool):
            assert {jail_pool.run(["sh", "-c", "echo >>/tmp/x; cat /tmp/x"]).stdout for _ in range(3)} == {b"\\n"}
        """,
    )
    assert project.outcomes() == {"passed": 5}
    assert project.outcomes("--jailed") == {"passed": 5}


def test_beside_other_plugins(project: Project) -> None:
    """Xdist spreads jailed tests, cov counts their lines, asyncio runs their coroutines, hypothesis its examples."""
    project.write("code_under_test.py", "def f(x):\n    if x:\n        return 1\n    return 2\n")
    project.write(
        "test_it.py",
        """
        import asyncio, pytest
        from hypothesis import given, settings, strategies as st
        from code_under_test import f
        def test_one():
            assert f(1) == 1
        def test_two():
            assert f(0) == 2
        @pytest.mark.asyncio
        async def test_async():
            await asyncio.sleep(0)
        @settings(deadline=None, max_examples=5)
        @given(st.integers())
        def test_given(n):
            assert f(n) in (1, 2)
        """,
    )
    plugins = ("pytest_cov", "pytest_asyncio.plugin", "_hypothesis_pytestplugin", "xdist.plugin")
    options = (
        "--jailed",
        "--cov=code_under_test",
        "--cov-report=term",
        "-o",
        "asyncio_default_fixture_loop_scope=function",
    )
    for spread in ((), ("-n", "2")):
        code, said = project.run(*options, *spread, plugins=plugins)
        assert code == 0, said
        assert re.search(r"code_under_test.py +4 +0 +100%", said), said
        assert "4 passed" in said


def test_subtests(project: Project) -> None:
    """Each failed subtest is reported, and the test with it, where this pytest has subtests."""
    text = "def test_it(subtests):\n  for n in range(3):\n    with subtests.test(n=n): assert n != 1\n"
    project.write("test_it.py", text)
    assert project.outcomes("--jailed") == project.outcomes()


def test_nothing_is_imported_unasked(project: Project) -> None:
    """A session without jailed tests does not import jailkit."""
    project.write("test_it.py", "import sys\ndef test_it(): assert 'jailkit' not in sys.modules\n")
    assert project.outcomes() == {"passed": 1}


def test_assertions_of_jailkit_are_not_rewritten(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """What pytest does with the modules of a distribution that has a plugin takes longer than to import jailkit."""
    monkeypatch.setenv("PYTHONPATH", os.path.dirname(os.path.dirname(jailkit.__file__)))  # as in site-packages
    project.write("conftest.py", "import pytest\npytest.register_assert_rewrite('jailkit')\n")
    text = "import jailkit\ndef test_it(): assert 'Assertion' not in type(jailkit.__loader__).__name__\n"
    project.write("test_it.py", text)
    assert project.outcomes() == {"passed": 1}
