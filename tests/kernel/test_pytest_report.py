"""What a jailed test is told of the clocks, and what is told of it."""

from __future__ import annotations

import os
import re

import pytest

from tests.projects import Project, project

__all__ = ["project"]

pytestmark = [pytest.mark.requires("userns"), pytest.mark.timeout(400)]


def test_what_is_not_hermetic_is_listed(project: Project) -> None:
    """--jailed-report lists what a test touched; strict makes it a failure."""
    project.write(
        "test_it.py",
        """
        import os, socket, subprocess, pytest
        def touch():
            for act in (lambda: open("/var/lib/mine", "w"), lambda: socket.create_connection(("192.0.2.1", 80), 1)):
                try:
                    act()
                except OSError:
                    pass
        def test_touches():
            touch()
            subprocess.Popen(["sleep", "60"])
        def test_fine():
            open("/tmp/mine", "w").close()
        @pytest.mark.jailed(strict=True)
        def test_strict():
            touch()
        """,
    )
    code, said = project.run("--jailed", "--jailed-report")
    assert code == 1
    assert "writes /var/lib/mine" in said
    assert "connects to 192.0.2.1 port 80" in said
    assert re.search(r"leaves process \w+ behind", said), said  # its name comes a moment after its exec
    assert "not hermetic" in said
    assert "2 tests touched" in said
    assert "1 failed, 2 passed" in said


@pytest.mark.requires("python")
def test_what_others_do_for_a_test_is_listed(project: Project) -> None:
    """Connections of programs and refused calls of C code are listed, and fail a strict test; own ones come once."""
    project.write(
        "test_it.py",
        """
        import ctypes, subprocess, sys, pytest
        DIAL = "import socket; socket.socket().connect_ex(('192.0.2.7', 99))"
        def test_program():
            subprocess.run([sys.executable, "-S", "-c", DIAL], check=True)
        def test_c():
            assert ctypes.CDLL(None).mount(b"x", b"/tmp", b"tmpfs", 0, None) == -1
        @pytest.mark.jailed(strict=True)
        def test_strict():
            subprocess.run([sys.executable, "-S", "-c", DIAL], check=True)
        @pytest.mark.jailed(strict=True)
        def test_fine():
            subprocess.run([sys.executable, "-S", "-c", "pass"], check=True)
        def test_own():
            exec(DIAL)
        """,
    )
    code, said = project.run("--jailed", "--jailed-report")
    assert code == 1
    assert said.count("    connects to 192.0.2.7 port 99") == 3, said
    assert "    is refused mount" in said
    assert "ERROR test_it.py::test_strict - not hermetic" in said
    assert "5 passed, 1 error" in said
    assert "4 tests touched" in said
    assert "5 passed, 1 error" in project.run("--jailed")[1]  # a strict test needs no option


def test_entering_is_no_matter_of_the_test(project: Project) -> None:
    """What happens on the way in warns nobody, where a project makes errors of warnings."""
    project.write("pytest.ini", "[pytest]\nfilterwarnings = error\n")
    project.write("test_it.py", "import gc\ndef test_it(): gc.collect()\n")
    assert project.outcomes("--jailed") == {"passed": 1}


def test_clocks(project: Project) -> None:
    """With time_offset the clocks that start with the machine are ahead or behind, in programs too; not the day."""
    project.write(
        "test_it.py",
        """
        import subprocess, time, pytest
        UP, DAY = time.monotonic(), time.time()
        @pytest.mark.jailed(time_offset=86400.5)
        def test_ahead():
            assert time.monotonic() > UP + 86400.5
            assert time.clock_gettime(time.CLOCK_BOOTTIME) > UP + 86400.5
            up = subprocess.run(["cat", "/proc/uptime"], stdout=subprocess.PIPE, check=True).stdout
            assert float(up.split()[0]) > UP + 86400
            assert time.time() < DAY + 86400
        @pytest.mark.jailed(time_offset=-UP / 2)
        def test_behind():
            assert time.monotonic() < UP / 2 + 86400
        @pytest.mark.jailed
        def test_none():
            assert UP < time.monotonic() < UP + 86400
        @pytest.mark.jailed(time_offset=-1e9)
        def test_wrong():
            pass
        """,
    )
    code, said = project.run()
    assert code == 1
    if not os.path.exists("/proc/self/timens_offsets"):
        assert said.count("the kernel has no time namespaces") >= 2
        return
    assert "3 passed, 1 error" in said
    assert "time_offset: -1000000000.0 is not allowed" in said
