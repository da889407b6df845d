"""Images of the project file on command lines."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dibo.api.watching.watch import WatchedBuild
from dibo.cli.commands import parser_of
from dibo.cli.main import dibo
from dibo.cli.projects.build import watched_build
from dibo.cli.projects.names import image_names
from dibo.errors import ProjectError
from tests.support.flavours import write_flavour
from tests.support.images.image_forms import debian_root, write_tar
from tests.support.servers.fake_registry import FakeRegistry
from tests.support.timeouts import TIMEOUT

pytestmark = pytest.mark.slow

TEXT = """\
defaults: {base: debian, release: trixie, arch: amd64, types: [raw], destination: out}
images:
  web: {flavours: [vm], size: 3, boot: {memory: 600}, tests: [{expect: a}]}
  shop: {convert: registry.example/shop:1}
  db: {flavours: [vm], matrix: {fs-type: [ext4, ext3]}}
"""


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMG_PATH", str(tmp_path / "cache"))
    for name in ("ARCH", "RELEASE", "DIBO_BASE", "DIBO_PROJECT", "IMAGE_SIZE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "dibo.yaml").write_text(TEXT)
    return tmp_path


def ended(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str]:
    code = dibo([*argv])
    printed = capsys.readouterr()
    return code, printed.out + printed.err


def test_the_layout_of_an_image(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = ended(capsys, "plan", "--layout", "web")
    assert code == 0
    assert "3GiB (the project file)" in text
    code, text = ended(capsys, "plan", "--layout", "--image-size", "5", "@web")
    assert "5GiB (--image-size)" in text
    code, text = ended(capsys, "plan", "--layout", "--project", "none", "web")
    assert code == 11, "a flavour that does not exist"


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["plan", "db"], 13, "db is 2 images: db-ext4, db-ext3"),
        (["plan", "shop"], 2, "shop has no layers of flavours: it is converted from registry.example/shop:1"),
        (["why", "@wep"], 13, "has no image 'wep'; did you mean 'web'"),
        (["boot", "web"], 13, "web is not built: there is no"),
        (["boot", "--test", "boot", "vm.qcow2"], 2, "--test works only with an image of the project file"),
        (["boot", "--test", "x", "web"], 13, "web has no test 'x'"),
        (["boot", "--test", "boot", "--expect", "a", "web"], 2, "--test brings steps of its own"),
        (["verify", "web"], 13, "web is not built: there is no"),
        (["push", "web"], 2, "the following arguments are required: REFERENCE"),
        (["push", "web", "registry.example/web:1"], 13, "web is not built: there is no"),
        (["build", "--join", "web"], 2, "--join works only with --push"),
        (["build", "web", "vm"], 2, "web is an image of the project file, and stands alone"),
        (["build", "web", "vm"], 2, "flavours are added in the project file"),
        (["build", "web", "db"], 2, "name one of them; `dibo bake web db` builds several"),
        (["plan", "web", "shop"], 2, "name one of them; `dibo bake web shop` builds several"),
        (["build", "@web", "@db"], 2, "`dibo bake @web @db` builds several images"),
        (["build", "web", "vm", "--project", "none"], 11, "there is no flavour 'web'"),
        (["build"], 13, "has 3 images: web, shop, db, db-ext4, db-ext3"),
        (["build", "--project", "none"], 2, "no flavour is named"),
        (["why"], 13, "has 3 images: web, shop, db"),
        (["shell"], 13, "has 3 images: web, shop, db"),
        (["boot"], 13, "has 3 images: web, shop, db"),
        (["why", "--project", "none"], 2, "no flavour is named"),
        (["inspect", "web"], 13, "web is not built: there is no"),
        (["report", "@web"], 13, "web is not built: there is no"),
        (["sbom", "web"], 13, "web is not built: there is no"),
        (["diff", "web", "web"], 13, "web is not built: there is no"),
        (["inspect", "@wep"], 13, "has no image 'wep'; did you mean 'web'"),
        (["plan", "--project", "x.yaml", "web"], 13, "--project: there is no file"),
        (["init"], 13, "dibo.yaml exists, and is not overwritten"),
        (["init", "--add", "a b"], 2, "'a b' cannot be the name of an image"),
        (["init", "--add", "x", "--name", "y"], 2, "--name cannot be combined with --add"),
        (["init", "--project", "x"], 2, "--project works only with --add"),
    ],
)
def test_what_is_refused(
    capsys: pytest.CaptureFixture[str], argv: list[str], code: int, message: str
) -> None:
    assert ended(capsys, *argv)[0] == code
    assert message in ended(capsys, *argv)[1]


def test_images_whose_artefacts_are_read(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of several types, the one that is easiest to read."""
    (directory / "dibo.yaml").write_text(TEXT.replace("types: [raw]", "types: [raw.xz, tar]"))
    (directory / "out").mkdir()
    (directory / "out/web.raw.xz").write_bytes(b"")
    write_tar(directory / "out/web.tar", debian_root())
    assert "image: out/web.tar (tar)\nsystem: Debian 12" in ended(capsys, "inspect", "web")[1]
    assert ended(capsys, "diff", "web", "@web")[0] == 0
    assert ended(capsys, "sbom", "--project", "dibo.yaml", "web")[0] == 0
    assert ended(capsys, "report", "web")[1].startswith("web.report.html\n")
    assert (directory / "web.report.html").is_file()


def test_flavours_that_the_project_file_finds(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place in ("own", "more", "elsewhere"):
        write_flavour(directory / place, f"{place}-flavour")
    (directory / "dibo.yaml").write_text(
        "defaults: {base: debian, flavours-path: [own]}\n"
        "images: {web: {flavours: [own-flavour]}, db: {flavours: [vm], flavours-path: [own, more]}}\n"
    )
    text = ended(capsys, "flavours")[1]
    assert f"({directory}/own/own-flavour)" in text
    assert f"({directory}/more/more-flavour)" in text
    assert ended(capsys, "flavours", "own-flavour")[0] == 0
    assert "own-flavour" not in ended(capsys, "flavours", "--project", "none")[1]
    (directory / "other.yaml").write_text(
        "defaults: {flavours-path: [elsewhere]}\nimages: {a: {flavours: [vm]}}\n"
    )
    text = ended(capsys, "flavours", "--project", "other.yaml")[1]
    assert ("elsewhere-flavour" in text, "own-flavour" in text) == (True, False)
    (directory / "dibo.yaml").write_text("images: [")
    assert ended(capsys, "flavours")[0] == ProjectError.exit_code


def test_doctor_knows_converters_of_the_project_file(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (directory / "own/parcel").mkdir(parents=True)
    (directory / "own/parcel/converter.yaml").write_text(
        "summary: A parcel.\ntakes: root\ntools: [no-such-tool]\ncommand: [no-such-tool]\n"
    )
    (directory / "dibo.yaml").write_text("images: {web: {flavours: [vm], converters-path: [own]}}")
    code, text = ended(capsys, "doctor", "convert", "-t", "parcel")
    assert "type parcel: no-such-tool" in text
    assert code != 0


def test_references_and_paths_need_no_project_file(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (directory / "dibo.yaml").write_text("images: [")
    assert ended(capsys, "inspect", "oci:nowhere")[0] == 33
    assert ended(capsys, "inspect", "./nowhere")[0] != 13
    assert ended(capsys, "inspect", "nowhere")[0] == 13


def test_without_a_name_it_is_the_only_image(
    directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (directory / "dibo.yaml").write_text("images: {web: {flavours: [nosuch]}}")
    for command in ("why", "shell", "build"):
        assert ended(capsys, command)[0] == 11, "its flavour is looked for"
    assert ended(capsys, "boot")[1].startswith("dibo: error: web is not built")
    monkeypatch.setattr("dibo.api.shell.shell", lambda settings, *_, **__: len(settings.flavours))
    assert ended(capsys, "shell", "--at", "failed-1")[0] == 0, "a layer needs no image"


def test_a_file_of_the_same_name_counts_more(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (directory / "web").write_text("no image")
    assert "is not built" not in ended(capsys, "verify", "web")[1]
    assert "is not built" in ended(capsys, "verify", "@web")[1]


def test_without_a_project_file_nothing_changes(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (directory / "dibo.yaml").unlink()
    assert ended(capsys, "plan", "--layout", "web")[0] == 11
    assert "dibo plan needs flavours" in ended(capsys, "plan")[1]


def test_init_and_add(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = ended(capsys, "init", "--json", "--name", "box", "--flavour", "vm", "new")
    assert code == 0
    assert json.loads(text)["image"] == "box"
    code, text = ended(capsys, "init", "--add", "cache", "--flavour", "vm", "-t", "raw")
    assert code == 0
    assert (directory / "dibo.yaml").read_text().startswith(TEXT)
    assert "  dibo build cache " in text


def test_completion(directory: Path) -> None:
    import argparse

    assert image_names(argparse.Namespace(project=None)) == ("web", "shop", "db", "db-ext4", "db-ext3")
    (directory / "dibo.yaml").write_text("images: [")
    assert image_names(argparse.Namespace(project=None)) == ()


def test_without_a_project_file_its_reader_is_not_imported(directory: Path) -> None:
    program = (
        "import sys; from dibo.cli.main import dibo; code = dibo(['plan', '--layout', 'vm']);"
        "print(code, [name for name in sys.modules if name in ('dibo.projects.load', 'dibo.projects.parse')])"
    )
    lines = {}
    for name in ("dibo.yaml", "elsewhere.yaml"):
        (directory / "dibo.yaml").rename(directory / name)
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=TIMEOUT, check=True
        )
        lines[name] = done.stdout.splitlines()[-1]
    assert lines == {"dibo.yaml": "0 ['dibo.projects.parse', 'dibo.projects.load']", "elsewhere.yaml": "0 []"}


def test_the_project_file_is_watched(directory: Path) -> None:
    """Each time that something changes it is read anew, with what it includes."""
    arguments = parser_of("dibo").parse_args(["build", "--watch", "@web"])
    arguments.name = None

    def read() -> WatchedBuild:
        return watched_build(arguments, {}, lambda build, settings: None)

    first = read()
    assert (first.settings.image_size, first.files) == (3 << 30, (directory / "dibo.yaml",))
    (directory / "dibo.yaml").write_text(TEXT.replace("size: 3", "size: 4"))
    assert read().settings.image_size == 4 << 30
    (directory / "dibo.yaml").write_text(TEXT.replace("  web:", "  www:"))
    with pytest.raises(ProjectError):
        read()


def test_an_artefact_goes_to_the_destination_of_the_file(
    directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGISTRY_AUTH_FILE", "/nonexistent")
    (directory / "web.qcow2").write_bytes(b"QFI\xfb" + bytes(4096))
    with FakeRegistry() as server:
        (directory / "dibo.yaml").write_text(
            f"images: {{web: {{flavours: [vm], destination: 'docker://{server.host}/disks/{{name}}:1'}}}}"
        )
        code, text = ended(capsys, "push", "web")
        assert code == 0, text
        assert f"{server.host}/disks/web:1@sha256:" in text
        assert ("disks/web", "1") in server.state.manifests
        assert ended(capsys, "push", "web", f"{server.host}/other:2")[0] == 0
        assert ("other", "2") in server.state.manifests
