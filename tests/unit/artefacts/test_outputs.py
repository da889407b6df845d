"""Artefacts and their records: whenever their naming is interrupted, no record speaks of another file."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from dibo.artefacts.checksums import checksum_path, sha256_of, size_of, verified_sha256
from dibo.artefacts.manifest import artefacts
from dibo.artefacts.outputs import Outputs, check_output_files, check_output_name
from dibo.errors import Interrupted, OutputError, UsageError, VerificationFailed
from dibo.system.signals import interruptible
from dibo.system.workspace import Workspace


class Killed(BaseException):
    """In place of SIGKILL."""


def publish(directory: Path, text: str, *, checksums: bool = True) -> None:
    with Workspace(directory / "cache").run() as run, Outputs(run) as outputs:
        for name in ("web.raw", "web.qcow2"):
            outputs.artefact(directory / name).write_text(f"{name} {text}")
            if checksums:
                outputs.checksum(directory / name)
        outputs.record(directory / "web.manifest.json", text)
        outputs.publish()


def check_records(directory: Path) -> set[str]:
    """The names that are there; what records say must be so."""
    disks = {path.read_text().split()[1] for path in (directory / "web.raw", directory / "web.qcow2")}
    for name in ("web.raw", "web.qcow2"):
        record = checksum_path(directory / name)
        if record.exists():
            assert verified_sha256(directory / name) in record.read_text()
    manifest = directory / "web.manifest.json"
    if manifest.exists():
        assert disks == {manifest.read_text()}
    return {path.name for path in directory.iterdir()} - {"cache"}


ALL = {
    "web.raw",
    "web.raw.sha256",
    "web.qcow2",
    "web.qcow2.sha256",
    "web.manifest.json",
}


def test_all_get_their_names(tmp_path: Path) -> None:
    publish(tmp_path, "old")
    publish(tmp_path, "new")
    assert check_records(tmp_path) == ALL
    assert (tmp_path / "web.raw").read_text() == "web.raw new"
    digest = hashlib.sha256(b"web.raw new").hexdigest()
    assert (tmp_path / "web.raw.sha256").read_text() == f"{digest}  web.raw\n"


def test_checksums_of_former_artefacts_go(tmp_path: Path) -> None:
    publish(tmp_path, "old")
    publish(tmp_path, "new", checksums=False)
    assert check_records(tmp_path) == {"web.raw", "web.qcow2", "web.manifest.json"}


@pytest.mark.parametrize("steps", range(9))
def test_naming_that_is_killed_between_any_two_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    publish(tmp_path, "old")
    left = iter(range(steps))

    def counted(change: Callable[..., object]) -> Callable[..., object]:
        def step(path: Path, *arguments: object, **options: object) -> object:
            if (path.name.startswith("web.") or arguments) and next(left, None) is None:
                raise Killed
            return change(path, *arguments, **options)

        return step

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", counted(Path.replace))
        patch.setattr(Path, "unlink", counted(Path.unlink))
        try:
            publish(tmp_path, "new")
        except Killed:
            pass
        else:
            assert steps == 8
    assert check_records(tmp_path) <= ALL


def test_a_signal_waits_until_all_have_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(tmp_path, "old")
    replace = Path.replace

    def with_signal(path: Path, target: Path) -> Path:
        os.kill(os.getpid(), signal.SIGTERM)
        return replace(path, target)

    end = threading.Event()  # the kernel may give the signal to any thread
    other = threading.Thread(target=end.wait)
    other.start()
    try:
        with pytest.raises(Interrupted), monkeypatch.context() as patch, interruptible():
            patch.setattr(Path, "replace", with_signal)
            publish(tmp_path, "new")
    finally:
        end.set()
        other.join()
    assert check_records(tmp_path) == ALL
    assert (tmp_path / "web.manifest.json").read_text() == "new"


def test_what_is_not_published_goes(tmp_path: Path) -> None:
    with Workspace(tmp_path / "cache").run() as run, Outputs(run) as outputs:
        outputs.artefact(tmp_path / "web.raw").write_text("new")
        outputs.checksum(tmp_path / "web.raw")
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_a_checksum_that_does_not_match(tmp_path: Path) -> None:
    publish(tmp_path, "old")
    (tmp_path / "web.raw").write_text("changed")
    with pytest.raises(VerificationFailed, match="has the sha256"):
        verified_sha256(tmp_path / "web.raw")


def test_names_that_cannot_be_written(tmp_path: Path) -> None:
    check_output_name(tmp_path / "web")
    with pytest.raises(UsageError, match="is not the name of a file"):
        check_output_name(Path("/"))
    with pytest.raises(UsageError, match="is not UTF-8"):
        check_output_name(tmp_path / "\udcff")
    with pytest.raises(OutputError, match="does not exist"):
        check_output_name(tmp_path / "no" / "web")
    with pytest.raises(OutputError, match="is a directory"):
        check_output_files([tmp_path])
    with pytest.raises(UsageError, match="two types"):
        check_output_files([tmp_path / "web", tmp_path / "web"])


@pytest.mark.parametrize("name", ["/sys/web", "/proc/web"])
def test_directories_that_take_no_files(name: str) -> None:
    """access(2) says of root that it may write there."""
    with pytest.raises(OutputError, match=r"cannot write into /(sys|proc): "):
        check_output_name(Path(name))


def test_the_check_leaves_nothing(tmp_path: Path) -> None:
    check_output_name(tmp_path / "web")
    assert not any(tmp_path.iterdir())


def test_a_directory(tmp_path: Path) -> None:
    path = tmp_path / "web.microvm"
    path.mkdir()  # an empty one makes way
    with Workspace(tmp_path / "cache").run() as run, Outputs(run) as outputs:
        part = outputs.directory(path)
        (part / "vmlinux").write_text("kernel")
        (part / "more").mkdir()
        (part / "more" / "initrd").write_text("ramdisk")
        assert outputs.checksum(path) == hashlib.sha256(checksums_of("web.microvm").encode()).hexdigest()
        outputs.publish()
    assert (path / "more" / "initrd").read_text() == "ramdisk"
    assert checksum_path(path).read_text() == checksums_of("web.microvm")
    assert sha256_of(path) == hashlib.sha256(checksums_of("web.microvm").encode()).hexdigest()
    assert size_of(path) == len("kernel" + "ramdisk")
    assert {entry.name for entry in tmp_path.iterdir()} == {"cache", "web.microvm", "web.microvm.sha256"}


def checksums_of(name: str) -> str:
    files = {"more/initrd": b"ramdisk", "vmlinux": b"kernel"}
    return "".join(f"{hashlib.sha256(data).hexdigest()}  {name}/{path}\n" for path, data in files.items())


def test_a_directory_that_is_not_published_goes(tmp_path: Path) -> None:
    with Workspace(tmp_path / "cache").run() as run, Outputs(run) as outputs:
        (outputs.directory(tmp_path / "web.microvm") / "vmlinux").write_text("kernel")
    assert {entry.name for entry in tmp_path.iterdir()} == {"cache"}


def test_a_directory_of_a_killed_run_goes_with_the_next(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "cache")
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        with workspace.run() as run, Outputs(run) as outputs:
            (outputs.directory(tmp_path / "web.microvm") / "vmlinux").write_text("kernel")
            os.write(write, b"x")
            signal.pause()
    os.read(read, 1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert len(list(tmp_path.iterdir())) == 2
    with workspace.run():
        assert {entry.name for entry in tmp_path.iterdir()} == {"cache"}


def write_tree(directory: Path, text: str, *, digest: str = "") -> None:
    """A directory as an artefact, with its manifest; another `digest` than its own where one is given."""
    path = directory / "web.microvm"
    with Workspace(directory / "cache").run() as run, Outputs(run) as outputs:
        part = outputs.directory(path)
        (part / "vmlinux").write_text(text)
        size, own = size_of(part), outputs.checksum(path)
        document = {"format": 1, "artefacts": artefacts(["microvm"], [path], [size], [digest or own])}
        outputs.record(directory / "web.manifest.json", json.dumps(document))
        outputs.publish()


def test_a_directory_that_dibo_wrote_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "web.microvm"
    write_tree(tmp_path, "one")
    check_output_files([], directories=[path])
    write_tree(tmp_path, "two, longer")
    assert (path / "vmlinux").read_text() == "two, longer"
    assert {entry.name for entry in tmp_path.iterdir()} == {
        "cache",
        *("web.microvm", "web.microvm.sha256", "web.manifest.json"),
    }


@pytest.mark.parametrize("change", ["added", "changed", "no manifest", "no digest"])
def test_a_directory_that_is_not_as_dibo_wrote_it_stays(tmp_path: Path, change: str) -> None:
    path = tmp_path / "web.microvm"
    write_tree(tmp_path, "one", digest="0" * 64 if change == "no digest" else "")
    if change == "added":
        (path / "mine").touch()
    elif change == "changed":
        (path / "vmlinux").write_text("own")
    elif change == "no manifest":
        (tmp_path / "web.manifest.json").unlink()
    with pytest.raises(OutputError, match=r"web\.microvm exists, and is not as dibo wrote it"):
        check_output_files([], directories=[path])
    with pytest.raises(OutputError):
        write_tree(tmp_path, "two")
    assert (path / "vmlinux").read_text() in ("one", "own")


def test_a_directory_in_the_way(tmp_path: Path) -> None:
    path = tmp_path / "web.microvm"
    check_output_files([], directories=[path])
    path.mkdir()
    check_output_files([], directories=[path])
    (path / "mine").touch()
    with pytest.raises(OutputError, match="exists"):
        check_output_files([], directories=[path])
    with pytest.raises(UsageError, match="same file"):
        check_output_files([path], directories=[path])


@pytest.mark.parametrize("name", ["a\0b", "n" * 191, "ü" * 96])
def test_names_that_leave_no_room_for_others(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="not the name of a file"):
        check_output_name(tmp_path / name)
    check_output_name(tmp_path / ("n" * 190))


def test_sums_of_a_directory_whose_names_have_all_bytes(tmp_path: Path) -> None:
    names = [b"plain", b"not\xffutf8", b"new\nline", b"back\\slash", b"return\r"]
    with Workspace(tmp_path / "cache").run() as run, Outputs(run) as outputs:
        directory = outputs.directory(tmp_path / "tree")
        for name in names:
            (directory / os.fsdecode(name)).write_bytes(name)
        digest = outputs.checksum(tmp_path / "tree")
        outputs.publish()
    record = checksum_path(tmp_path / "tree")
    assert digest == hashlib.sha256(record.read_bytes()).hexdigest() == sha256_of(tmp_path / "tree")
    assert len(record.read_bytes().splitlines()) == len(names)
    checked = subprocess.run(["sha256sum", "--check", "--status", "--strict", record.name], cwd=tmp_path)
    assert checked.returncode == 0


@pytest.mark.parametrize("taken", ["tree", "web.raw"])
def test_what_another_run_published_meanwhile_stays(tmp_path: Path, taken: str) -> None:
    with Workspace(tmp_path / "cache").run() as run, Outputs(run) as outputs:
        outputs.artefact(tmp_path / "web.raw").write_text("new")
        (outputs.directory(tmp_path / "tree") / "file").write_text("new")
        outputs.record(tmp_path / "web.manifest.json", "new")
        (tmp_path / "web.manifest.json").write_text("other")
        (tmp_path / taken).mkdir()
        (tmp_path / taken / "file").write_text("other")
        with pytest.raises(OutputError, match=f"{taken} (exists|is a directory)"):
            outputs.publish()
    assert {path.name for path in tmp_path.iterdir()} - {"cache"} == {"web.manifest.json", taken}
    assert (tmp_path / "web.manifest.json").read_text() == (tmp_path / taken / "file").read_text() == "other"
