"""What is read of a submission, and what is taken from a compiler: both come from hostile hands."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from jailkit.grading import Languages, PackageError, Verdict
from jailkit.grading._compile import _unpacked
from jailkit.grading._sources import SourceError, read_sources


def archive(*members: tuple[str, bytes, bytes]) -> bytes:
    """Return a tar file of members with name, type and contents."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, kind, data in members:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.mode = kind, len(data), 0o6777
            info.linkname = "/etc/passwd"
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def test_only_regular_files_come_out_of_a_compiler(tmp_path: Path) -> None:
    """No link, device, set-id bit or path that leads elsewhere reaches the host."""
    data = archive(
        ("./program", tarfile.REGTYPE, b"x"), ("./deep/er/file", tarfile.REGTYPE, b"y"),
        ("./link", tarfile.SYMTYPE, b""), ("./hard", tarfile.LNKTYPE, b""), ("./fifo", tarfile.FIFOTYPE, b""),
        ("./dev", tarfile.CHRTYPE, b""), ("../outside", tarfile.REGTYPE, b"z"), ("/etc/motd2", tarfile.REGTYPE, b"z"),
    )  # fmt: skip
    into = tmp_path / "artefact"
    assert _unpacked(data, into) is None
    found = {path.relative_to(into).as_posix(): path.lstat().st_mode & 0o7777 for path in into.rglob("*")}
    assert found == {
        "program": 0o755, "deep": 0o755, "deep/er": 0o755, "deep/er/file": 0o755, "etc": 0o755, "etc/motd2": 0o755,
    }  # fmt: skip
    assert not (tmp_path / "outside").exists()
    assert not os.path.exists("/etc/motd2")


@pytest.mark.parametrize(
    "data", [b"no archive" * 100, archive(("a", tarfile.REGTYPE, b""), ("a/b", tarfile.REGTYPE, b""))]
)
def test_a_broken_archive_is_a_compile_error(tmp_path: Path, data: bytes) -> None:
    """What cannot be unpacked is no artefact."""
    failed = _unpacked(data, tmp_path / "artefact")
    assert failed is not None
    assert failed[0] is Verdict.CE


def test_links_are_not_read(tmp_path: Path) -> None:
    """A submission that is, or has, a link would show a file of the host."""
    (tmp_path / "link.py").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe.py")
    for path in (tmp_path, tmp_path / "link.py", tmp_path / "pipe.py"):
        with pytest.raises(SourceError, match="no regular file"):
            read_sources(path, most_bytes=1000)


@pytest.mark.parametrize("name", ["-o.c", ".hidden.c", "a b.c", "a;b.c", "ä.c", "$(id).c"])
def test_names_that_a_compiler_could_misread(tmp_path: Path, name: str) -> None:
    """They are refused."""
    (tmp_path / name).write_text("")
    with pytest.raises(SourceError):
        read_sources(tmp_path / name, most_bytes=1000)


def test_sources_are_bounded(tmp_path: Path) -> None:
    """The limit is for all files together."""
    for name in "abc":
        (tmp_path / f"{name}.c").write_text("x" * 400)
    assert read_sources(tmp_path, most_bytes=1200).size == 1200
    with pytest.raises(SourceError, match="more than 1199 bytes"):
        read_sources(tmp_path, most_bytes=1199)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no file"):
        read_sources(tmp_path / "empty", most_bytes=1)


@pytest.mark.parametrize(
    ("names", "code", "start"),
    [
        (["a.py"], "python3", "a.py"), (["main.py", "b.py"], "python3", "main.py"), (["x.c", "x.h"], "c", "x.c"),
        (["Solve.java"], "java", "Solve"), (["A.java", "Main.java"], "java", "Main"), (["a.kt"], "kotlin", "MainKt"),
        (["m.cpp"], "cpp", "m.cpp"), (["m.C"], "cpp", "m.C"), (["main.rs", "lib.rs"], "rust", "main.rs"),
    ],
)  # fmt: skip
def test_the_language_is_that_of_the_files(names: list[str], code: str, start: str) -> None:
    """By their names, as the package format has it."""
    language = Languages().of(names)
    assert (language.code, language.start(names)) == (code, start)


def test_languages_that_cannot_be_told() -> None:
    """Two that fit as well, or none, is an error and no guess; so is one that the problem does not allow."""
    table = Languages()
    for names in (["a.c", "b.py"], ["README"], []):
        with pytest.raises(ValueError, match="cannot be told"):
            table.of(names)
    with pytest.raises(ValueError, match="not allowed"):
        table.of(["a.c"], allowed=["python3"])
    with pytest.raises(ValueError, match="none is the one named main"):
        table["python3"].start(["a.py", "b.py"])


def test_a_table_of_languages(tmp_path: Path) -> None:
    """A file adds languages and replaces built-in ones; a mistake in it is told of."""
    file = tmp_path / "more.toml"
    file.write_text('[c]\nname="Tiny C"\npatterns=["*.c"]\nrun=["tcc", "-run", "{entry}"]\nversion=["tcc", "-v"]\n')
    table = Languages(file)
    assert (table["c"].name, table["c"].compile) == ("Tiny C", ())
    assert "python3" in table
    assert len(table.codes) >= 14
    for text in ('[c]\nname="C"\n', "[c]\nnames=1\n", "]"):
        file.write_text(text)
        with pytest.raises(PackageError, match=r"more\.toml"):
            Languages(file)


def test_programs_of_several_files_that_are_linked_need_no_main() -> None:
    """Which file is begun with is asked only of languages that have to know."""
    languages = Languages()
    assert languages["c"].start(("b.c", "a.c")) == "b.c"
    assert languages["c"].start(("b.c", "main.c")) == "main.c"
