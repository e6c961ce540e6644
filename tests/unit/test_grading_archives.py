"""Packages that come as an archive: what is read of one, and what is refused."""

from __future__ import annotations

import gc
import stat
import zipfile
from pathlib import Path

import pytest

from jailkit.grading import Journal, PackageError, Problem, Submission, load
from jailkit.grading import _archive as archives

EXAMPLES = Path(__file__).parents[2] / "examples" / "problems"
SMALL = {"problem.yaml": "name: Small\n", "data/secret/1.in": "1\n", "data/secret/1.ans": "1\n"}


def member(name: str, mode: int) -> zipfile.ZipInfo:
    """Return the header of a member, as an archiver on Unix writes it."""
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


def pack(path: Path, files: dict[str, str], *more: tuple[zipfile.ZipInfo, str], below: str = "") -> Path:
    """Write an archive of files and further members."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(member(below + name, stat.S_IFREG | 0o644), text)
        for info, text in more:
            archive.writestr(info, text)
    return path


@pytest.mark.parametrize(("suffix", "below"), [(".zip", "small/"), (".kpp", ""), (".zip", "./other/")])
def test_a_package_in_an_archive(tmp_path: Path, suffix: str, below: str) -> None:
    """It is read as its directory is; the archive may hold that directory, or what is in it."""
    problem = Problem.load(pack(tmp_path / f"small{suffix}", SMALL, below=below))
    assert (problem.name, [test.name for test in problem.tests]) == ("Small", ["secret/1"])
    assert problem.tests[0].input.read_text() == "1\n"


@pytest.mark.parametrize("name", ["leak", "stairs", "median"])
def test_the_examples_in_archives(tmp_path: Path, name: str) -> None:
    """Packed and unpacked, a package is the same, down to the bits that let a program be run."""
    path = tmp_path / f"{name}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted((EXAMPLES / name).rglob("*")):
            archive.write(file, file.relative_to(EXAMPLES))
    one, other = load(EXAMPLES / name), load(path)
    assert type(one) is type(other)
    assert [each.name for each in one.examples] == [each.name for each in other.examples]
    for file in EXAMPLES.joinpath(name).rglob("*"):
        same = other.path / file.relative_to(one.path)
        assert same.stat().st_mode & 0o100 == file.stat().st_mode & 0o100
        assert file.is_dir() or same.read_bytes() == file.read_bytes()


def test_the_directory_of_an_archive_goes_with_its_problem(tmp_path: Path) -> None:
    """It is there as long as the problem is, for its owner alone, and no longer."""
    problem = Problem.load(pack(tmp_path / "small.zip", SMALL))
    home = problem.path.parent
    assert home.stat().st_mode & 0o777 == 0o700
    del problem
    gc.collect()
    assert not home.exists()


def test_a_journal_knows_an_archive_again(tmp_path: Path) -> None:
    """Grades are kept by what the package holds, and not by where it was unpacked."""
    path = pack(tmp_path / "small.zip", SMALL)
    submission = Submission(path)
    with Journal(tmp_path / "journal") as journal:
        keys = [journal._key(Problem.load(path), submission, 1.0) for _ in range(2)]
    assert keys[0] == keys[1]


def test_an_error_names_the_file_in_the_archive(tmp_path: Path) -> None:
    """File and line are told as if the archive were the directory."""
    path = pack(tmp_path / "small.zip", SMALL | {"problem.yaml": "name: X\nlimits:\n  ram: 1\n"}, below="small/")
    with pytest.raises(PackageError) as caught:
        load(path)
    assert (caught.value.file, caught.value.line) == (str(path / "small/problem.yaml"), 3)


LINK, FIFO = stat.S_IFLNK | 0o777, stat.S_IFIFO | 0o666


def test_links_within_an_archive(tmp_path: Path) -> None:
    """The format has links to files of the package: the file is there under both names."""
    files = {name: text for name, text in SMALL.items() if not name.endswith(".ans")}
    problem = Problem.load(pack(tmp_path / "small.zip", files, (member("data/secret/1.ans", LINK), "../secret/1.in")))
    assert not problem.tests[0].answer.is_symlink()
    assert problem.tests[0].answer.read_text() == "1\n"


@pytest.mark.parametrize(
    ("more", "where", "words"),
    [
        ([("../out", 0o100644, "")], "", "'../out' is no name of a file in it"),
        ([("data/../../out", 0o100644, "")], "", "no name of a file"),
        ([("/out", 0o100644, "")], "", "no name of a file"),
        ([("link", LINK, "../../out")], "/link", "no file of the archive"),
        ([("link", LINK, "/etc/passwd")], "/link", "no file of the archive"),
        ([("data/link", LINK, "..")], "/data/link", "no file of the archive"),
        ([("link", LINK, "data"), ("link/file", 0o100644, "")], "/link", "no file of the archive"),
        ([("data/secret/1.in", 0o100644, "")], "", "File exists"),
        ([("problem.yaml/file", 0o100644, "")], "", "File exists"),
        ([("fifo", FIFO, "")], "/fifo", "neither a file nor a directory"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_archives_that_lead_elsewhere(
    tmp_path: Path, more: list[tuple[str, int, str]], where: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No member is written outside of the archive's directory, through a link or over another; nothing is left."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    path = pack(tmp_path / "small.zip", SMALL, *[(member(name, mode), text) for name, mode, text in more])
    with pytest.raises(PackageError) as caught:
        load(path)
    assert caught.value.file == f"{path}{where}"
    assert words in caught.value.problem
    del caught
    gc.collect()
    assert sorted(each.name for each in tmp_path.rglob("*")) == ["small.zip", "temporary"]


def test_archives_that_are_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes are added up before anything is written."""
    path = pack(tmp_path / "small.zip", SMALL | {"data/secret/2.in": "0" * 5000})
    monkeypatch.setattr(archives, "_MOST_BYTES", 4000)
    with pytest.raises(PackageError, match="more than 20000 files or"):
        load(path)
    monkeypatch.undo()
    monkeypatch.setattr(archives, "_MOST_FILES", 3)
    with pytest.raises(PackageError, match="more than 3 files"):
        load(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data[:10], "not a zip file"),
        (lambda data: data[: len(data) // 2], "not a zip file"),
        (lambda data: data.replace(b"name: Small", b"name: Smell"), "Bad CRC-32"),
    ],
)
def test_archives_that_are_damaged(tmp_path: Path, change: object, words: str) -> None:
    """What cannot be read is an error that says so."""
    assert callable(change)
    path = tmp_path / "small.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, text in SMALL.items():
            archive.writestr(name, text)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(PackageError, match=words):
        load(path)


def test_archives_without_a_package(tmp_path: Path) -> None:
    """One that holds none, or several, is not guessed at."""
    with pytest.raises(PackageError, match="holds no packages"):
        load(pack(tmp_path / "none.zip", {"a/b/problem.yaml": ""}))
    both = {f"{name}/{file}": text for name in ("one", "two") for file, text in SMALL.items()}
    with pytest.raises(PackageError, match="holds 2 packages"):
        load(pack(tmp_path / "both.zip", both))
    with pytest.raises(PackageError, match="neither a directory nor an archive"):
        load(tmp_path / "nothing.zip")
