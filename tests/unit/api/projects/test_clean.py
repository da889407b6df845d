"""`dibo clean --outputs`: what images of the project file wrote goes, and nothing else."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from dibo.api.projects import clean
from dibo.api.projects.clean import clean_outputs
from dibo.artefacts.checksums import checksum_path, directory_sums
from dibo.artefacts.provenance import ManifestFile, ProvenanceRequest, provenance_text
from dibo.artefacts.recorded import RecordedArtefact, RecordedImage, is_unchanged
from dibo.cli.main import dibo
from dibo.errors import OutputError
from dibo.system.exclusive import shared
from dibo.system.report import Report
from dibo.system.workspace import Workspace

PROJECT = """\
defaults: {flavours: [vm], types: [raw]}
images:
  web: {destination: out}
  deploy: {ramdisk: true, flavours: [deploy], destination: out}
  top: {}
  far: {destination: FAR}
"""


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    top = tmp_path / "project"
    (top / "out").mkdir(parents=True)
    (tmp_path / "far").mkdir()
    (top / "dibo.yaml").write_text(PROJECT.replace("FAR", str(tmp_path / "far")))
    monkeypatch.chdir(top)
    return top


def write(directory: Path, *names: str, manifest: str, digests: bool = True) -> None:
    artefacts = []
    for name in names:
        data = name.encode()
        (directory / name).write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        if digests:
            (directory / f"{name}.sha256").write_text(f"{digest}  {name}\n")
        artefacts.append(
            {"type": "raw", "name": name, "size": len(data), "sha256": digest if digests else None}
        )
    path = directory / f"{manifest}.manifest.json"
    path.write_text(json.dumps({"format": 1, "artefacts": artefacts}))


def left(directory: Path) -> set[str]:
    return {entry.name for entry in directory.iterdir()}


def cleaned(*, dry_run: bool = False) -> str:
    result = clean_outputs(
        None, {"IMAGE_NAME": "else", "IMAGE_TYPE": "tar"}, Report(quiet=True), dry_run=dry_run
    )
    assert result.exit_code == 0
    return result.answer.text


def test_what_images_wrote_goes(directory: Path) -> None:
    out = directory / "out"
    write(out, "web.raw", "web.qcow2", manifest="web")
    write(out, "deploy.ramdisk", "deploy.kernel", manifest="deploy.ramdisk")
    write(directory, "top.raw", manifest="top", digests=False)
    (out / "own.txt").write_text("mine")
    (out / "web.raw.note").write_text("mine")
    before = left(out)
    text = cleaned(dry_run=True)
    assert "out/web.raw  (web)" in text
    assert "out/deploy.kernel  (deploy)" in text
    assert "would free" in text
    assert left(out) == before
    assert "out/web.qcow2  (web)" in cleaned()
    assert left(out) == {"own.txt", "web.raw.note"}
    assert left(directory) == {"out", "dibo.yaml"}
    assert cleaned() == "nothing to clean"


@pytest.mark.parametrize("digests", [True, False])
def test_what_was_changed_since_stays_with_its_manifest(directory: Path, *, digests: bool) -> None:
    out = directory / "out"
    write(out, "web.raw", "web.qcow2", manifest="web", digests=digests)
    (out / "web.raw").write_bytes(b"other.!")
    os.utime(out / "web.raw", (2e9, 2e9))
    cleaned()
    assert left(out) == {"web.raw", "web.manifest.json", *(["web.raw.sha256"] if digests else [])}


def test_types_that_an_image_has_no_more(directory: Path) -> None:
    """A build of other types leaves what a former one made, with its checksum, and writes its own manifest."""
    out = directory / "out"
    write(out, "web.qcow2", "web.tar", "web.raw.zst", "web.vhd", manifest="web")
    (out / "web.microvm").mkdir()
    (out / "web.microvm/kernel").write_bytes(b"kernel")
    checksum_path(out / "web.microvm").write_text(directory_sums(out / "web.microvm", "web.microvm"))
    write(out, "web.raw", manifest="web")
    (out / "web.tar.sha256").unlink()
    (out / "web.raw.zst").write_bytes(b"changed")
    write(out, "else.tar", manifest="deploy")
    (out / "deploy.manifest.json").unlink()
    text = cleaned()
    assert "out/web.qcow2  (web)" in text
    assert left(out) == {"web.tar", "web.raw.zst", "web.raw.zst.sha256", "else.tar", "else.tar.sha256"}


def test_an_image_that_was_a_ramdisk(directory: Path) -> None:
    write(directory, "top.ramdisk", "top.kernel", manifest="top.ramdisk")
    cleaned()
    assert left(directory) == {"out", "dibo.yaml"}


def test_provenance_goes_with_its_manifest(directory: Path) -> None:
    out = directory / "out"
    write(out, "web.raw", manifest="web")
    manifest = out / "web.manifest.json"
    document = json.loads(manifest.read_text())
    document |= {
        "architecture": "amd64",
        "source-date-epoch": 0,
        "made-by": {"dibo": "1", "command": "dibo convert"},
        "layers": [],
    }
    document |= {"options": {}, "image": {"name": "registry.example/web:1", "digest": None, "key": None}}
    manifest.write_text(json.dumps(document))
    record = ManifestFile.of(manifest.name, manifest.read_bytes())
    text = provenance_text(document, record, ProvenanceRequest())
    provenance = out / "web.provenance.json"
    provenance.write_text(text.replace("web.raw", "web.xyz"))
    cleaned()
    assert left(out) == {"web.provenance.json"}, "it is of something else"
    write(out, "web.raw", manifest="web")
    manifest.write_text(json.dumps(document))
    provenance.write_text(text)
    assert "out/web.provenance.json  (web)" in cleaned()
    assert left(out) == set()


def test_outputs_of_no_image_any_more(directory: Path, tmp_path: Path) -> None:
    """Where the project file says that outputs go, within the repository; elsewhere they may be those of others."""
    for place in (directory / "out", directory, tmp_path / "far"):
        write(place, "old.raw", manifest="old")
    write(tmp_path / "far", "far.raw", manifest="far")
    assert "out/old.raw  (of no image of the project file any more)" in cleaned()
    assert left(directory / "out") == set()
    assert {"old.raw", "old.raw.sha256", "old.manifest.json"} <= left(directory)
    assert left(tmp_path / "far") == {"old.raw", "old.raw.sha256", "old.manifest.json"}


def test_a_link_and_a_name_elsewhere_lead_nowhere(directory: Path) -> None:
    out = directory / "out"
    write(out, "web.raw", manifest="web")
    (out / "web.raw").rename(directory / "real")
    (out / "web.raw").symlink_to(directory / "real")
    write(out, "x", manifest="deploy.ramdisk")
    listed = [{"type": "raw", "name": "../dibo.yaml", "size": (directory / "dibo.yaml").stat().st_size}]
    (out / "deploy.ramdisk.manifest.json").write_text(json.dumps({"format": 1, "artefacts": listed}))
    cleaned()
    assert (directory / "real").exists()
    assert (directory / "dibo.yaml").exists()
    assert (out / "web.raw").is_symlink()


@pytest.mark.parametrize("option", [["--all"], ["--older-than", "3"], ["--epoch", "x"]])
def test_options_of_the_cache(directory: Path, option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert dibo(["clean", "--outputs", *option]) == 2
    assert f"{option[0]} cannot be combined with --outputs" in capsys.readouterr().err
    assert dibo(["clean", "--project", "dibo.yaml", "--dry-run"]) == 2
    assert dibo(["clean", "--outputs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["document"] == "clean"


def test_nothing_goes_while_a_build_runs(directory: Path, tmp_path: Path) -> None:
    """What it made is to be tested, pushed and reported."""
    workspace = Workspace(tmp_path / "cache")
    environment = {"IMG_PATH": str(tmp_path / "cache")}
    write(directory / "out", "web.raw", manifest="web")
    with shared(workspace.store_lock):
        with pytest.raises(OutputError, match="another dibo builds now"):
            clean_outputs(None, environment, Report(quiet=True), dry_run=False)
        assert clean_outputs(None, environment, Report(quiet=True), dry_run=True).exit_code == 0
    assert left(directory / "out") == {"web.raw", "web.raw.sha256", "web.manifest.json"}
    assert clean_outputs(None, environment, Report(quiet=True), dry_run=False).exit_code == 0
    assert left(directory / "out") == set()


def test_what_is_written_meanwhile_stays(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = directory / "out"
    write(out, "web.raw", manifest="web")
    write(out, "deploy.kernel", manifest="deploy.ramdisk")

    def read(recorded: RecordedImage, artefact: RecordedArtefact) -> bool:
        unchanged = is_unchanged(recorded, artefact)
        if artefact.name == "web.raw":
            for name in ("web.raw", "web.raw.sha256", "web.manifest.json"):
                (out / "part").write_bytes((out / name).read_bytes())
                (out / "part").replace(out / name)
        else:
            (out / artefact.name).unlink()
        return unchanged

    monkeypatch.setattr(clean, "is_unchanged", read)
    result = clean_outputs(None, {}, Report(quiet=True), dry_run=False)
    assert result.exit_code == OutputError.exit_code
    assert result.answer.document["failed"][0]["why"] == "it was written while dibo looked at it"
    assert left(out) == {"web.raw", "web.raw.sha256", "web.manifest.json"}
