"""What changed since a revision: exactly, in a real git repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dibo.api.baking.project import BakeChoice, ChosenImages, chosen_images
from dibo.cli.main import dibo
from dibo.errors import UsageError
from dibo.settings.settings import Options
from tests.support.flavours import write_flavour
from tests.support.requirements import need

pytestmark = pytest.mark.slow

PROJECT = """\
include: [more.yaml]
defaults: {no-base: true, base: ./base.tar}
templates:
  small: {size: 1}
images:
  web: {flavours: [web], extends: small}
  db: {flavours: [db], layout: layout.yaml}
"""
LAYOUT = "table: gpt\npartitions: [{name: root, type: linux, size: rest, filesystem: ext4, mount: /}]\n"


def git(directory: Path, *words: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", "-C", str(directory), *identity, *words], check=True, capture_output=True)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three images of which all is committed; `web` and `other` need the flavour `common`."""
    need("git")
    top = tmp_path / "repository"
    flavours = top / "flavours"
    write_flavour(flavours, "common", {"install.d/10-common": "#!/bin/sh\n", "files/a": "a"})
    write_flavour(flavours, "web", {"install.d/20-web": "#!/bin/sh\n"}, yaml="needs: [common]\n")
    write_flavour(flavours, "db", {"install.d/20-db": "#!/bin/sh\n"})
    (top / "dibo.yaml").write_text(PROJECT)
    (top / "more.yaml").write_text("images:\n  other: {flavours: [common]}\n")
    (top / "layout.yaml").write_text(LAYOUT)
    (top / "base.tar").write_bytes(b"")
    git(top, "init")
    git(top, "add", ".")
    git(top, "commit", "-m", "all")
    monkeypatch.chdir(top)
    return top


def choose(project: Path, revision: str = "HEAD") -> ChosenImages:
    environment = {"FLAVOURS_DIR": str(project / "flavours")}
    choice = BakeChoice(project=None, changed_since=revision)
    return chosen_images(choice, Options(), environment)


def test_nothing_changed(project: Path) -> None:
    chosen = choose(project)
    assert (chosen.specs, chosen.unchanged) == ((), ("web", "db", "other"))


def test_a_hook_concerns_all_that_have_its_flavour(project: Path) -> None:
    (project / "flavours/common/install.d/10-common").write_text("#!/bin/sh\ntrue\n")
    chosen = choose(project)
    assert [spec.name for spec in chosen.specs] == ["web", "other"]
    assert chosen.reasons["web"] == ("flavours/common/install.d/10-common changed",)
    assert chosen.unchanged == ("db",)


def test_what_git_does_not_know_yet(project: Path) -> None:
    (project / "flavours/db/install.d/30-new").write_text("#!/bin/sh\n")
    (project / "flavours/db/install.d/30-new").chmod(0o755)
    (project / "flavours/common/files/a").unlink()
    chosen = choose(project)
    assert chosen.reasons["db"] == ("flavours/db/install.d/30-new is new",)
    assert chosen.reasons["other"] == ("flavours/common/files/a is gone",)


def test_flavours_of_a_submodule(project: Path, tmp_path: Path) -> None:
    """Changed in the working tree, new there, committed there, committed here. The flavour is found through a link."""
    shared = tmp_path / "shared"
    write_flavour(shared, "db", {"install.d/20-db": "#!/bin/sh\n", "files/a": "a"})
    git(tmp_path, "init", "shared")
    git(shared, "add", ".")
    git(shared, "commit", "-m", "all")
    git(project, "rm", "-rq", "flavours/db")
    git(project, "-c", "protocol.file.allow=always", "submodule", "add", str(shared), "shared")
    (project / "flavours/db").symlink_to("../shared/db")
    git(project, "add", ".")
    git(project, "commit", "-m", "with a submodule")
    assert choose(project).unchanged == ("web", "db", "other")
    hook, new = (project / "shared/db" / name for name in ("install.d/20-db", "files/b"))
    hook.write_text("#!/bin/sh\ntrue\n")
    assert choose(project).reasons == {"db": ("shared/db/install.d/20-db changed",)}
    git(project / "shared", "checkout", ".")
    new.write_text("b")
    is_new = {"db": ("shared/db/files/b is new",)}
    assert choose(project).reasons == is_new
    git(project / "shared", "add", ".")
    git(project / "shared", "commit", "-m", "more")
    assert choose(project).reasons == is_new
    git(project, "commit", "-am", "moved on")
    assert choose(project).unchanged == ("web", "db", "other")
    assert choose(project, "HEAD~1").reasons == is_new
    assert choose(project, "HEAD~2").reasons["db"][-1] == "flavours/db is another link"


def test_a_link_that_leads_elsewhere(project: Path) -> None:
    (project / "flavours/db").rename(project / "first")
    write_flavour(project, "second", {"install.d/20-db": "#!/bin/sh\n"})
    (project / "flavours/db").symlink_to("../first")
    git(project, "add", ".")
    git(project, "commit", "-m", "links")
    assert choose(project).unchanged == ("web", "db", "other")
    (project / "flavours/db").unlink()
    (project / "flavours/db").symlink_to("../second")
    assert choose(project).reasons == {"db": ("flavours/db is another link",)}


def test_a_mode_is_a_change(project: Path) -> None:
    (project / "flavours/common/files/a").chmod(0o755)
    assert choose(project).reasons["other"] == ("flavours/common/files/a changed",)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("flavours/web/README.md", "# web, said in another way\n"),
        ("flavours/web/flavour.yaml", "# a comment\nneeds: [common]\n"),
        ("dibo.yaml", f"# a comment\n{PROJECT}"),
        ("layout.yaml", f"# a comment\n{LAYOUT}"),
        ("unused.txt", "new\n"),
    ],
)
def test_what_decides_nothing_is_no_change(project: Path, path: str, text: str) -> None:
    (project / path).write_text(text)
    assert choose(project).reasons == {}


def test_what_a_flavour_declares(project: Path) -> None:
    write_flavour(project / "flavours", "web", {}, yaml="needs: [common]\npackages: [nginx]\n")
    assert choose(project).reasons == {"web": ("flavours/web/flavour.yaml: packages changed",)}


def test_an_entry_with_what_it_inherits(project: Path) -> None:
    (project / "dibo.yaml").write_text(PROJECT.replace("size: 1", "size: 2"))
    assert choose(project).reasons == {"web": ("dibo.yaml: images.web: size changed",)}


def test_defaults_of_a_file_concern_what_it_includes(project: Path) -> None:
    (project / "dibo.yaml").write_text(PROJECT.replace("no-base: true", "no-base: true, epoch: later"))
    assert choose(project).reasons.keys() == {"web", "db", "other"}


def test_an_image_of_an_included_file(project: Path) -> None:
    (project / "more.yaml").write_text(
        "images:\n  other: {flavours: [common], types: [raw]}\n  new: {flavours: [db]}\n"
    )
    assert choose(project).reasons == {
        "other": ("more.yaml: images.other: types changed",),
        "new": ("more.yaml: images.new is new",),
    }


def test_a_layout(project: Path) -> None:
    (project / "layout.yaml").write_text(LAYOUT.replace("gpt", "mbr"))
    assert choose(project).reasons == {"db": ("layout.yaml changed",)}


def test_a_base_in_the_repository(project: Path) -> None:
    (project / "base.tar").write_bytes(b"another")
    assert choose(project).reasons["other"] == ("base.tar changed",)


def test_a_revision_before_the_project(project: Path) -> None:
    git(project, "rm", "-r", "-q", "--cached", ".")
    git(project, "commit", "-m", "none")
    reasons = choose(project).reasons
    assert reasons["web"][0] == "dibo.yaml is new"
    assert "flavours/web is new" in reasons["web"]


@pytest.mark.parametrize("revision", ["nowhere", "--all", "HEAD~5"])
def test_what_is_no_revision(project: Path, revision: str) -> None:
    with pytest.raises(UsageError, match="is no revision"):
        choose(project, revision)


def test_the_command_says_why(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLAVOURS_DIR", str(project / "flavours"))
    monkeypatch.setenv("IMG_PATH", str(project.parent / "cache"))
    assert dibo(["bake", "--changed-since", "HEAD"]) == 0
    assert "not changed: web, db, other" in capsys.readouterr().err
    assert dibo(["bake", "--changed-since", "HEAD", "--dry-run"]) == 0
    assert "nothing to build" in capsys.readouterr().out
