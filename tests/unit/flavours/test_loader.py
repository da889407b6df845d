"""Flavours on disk: what is found where, and what is refused, with its path."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dibo.errors import FlavourError, LayoutError, OutputError, UnknownFlavour
from dibo.flavours.files import clone_files, copy_files, read_tree
from dibo.flavours.loader import Catalogue, load_flavour
from dibo.flavours.model import FlavourKind, Phase
from dibo.flavours.stack import make_stack
from tests.support.flavours import HOOK, write_flavour


def test_hooks_and_data(tmp_path: Path) -> None:
    path = write_flavour(
        tmp_path,
        "web",
        {
            "install.d/10-b": HOOK,
            "install.d/9-a": HOOK,
            "pre-install.d/50-early": HOOK,
            "install.d/site.conf": "x",
            "install.d/10-web.sh": HOOK,
            "install.d/defaults": "x",
            "install.d/sub/10-not-here": HOOK,
            "files/logo": "x",
            "files/__pycache__/logo.pyc": "x",
        },
        yaml="summary: A web server\n",
    )
    found = load_flavour(path)
    assert [hook.path for hook in found.hooks] == [
        "pre-install.d/50-early",
        "install.d/10-b",
        "install.d/9-a",
    ]
    assert [hook.name for hook in found.hooks_of(Phase.INSTALL)] == ["10-b", "9-a"]
    assert found.data == (
        "install.d/10-web.sh",
        "install.d/defaults",
        "install.d/site.conf",
        "install.d/sub/10-not-here",
    )
    assert found.summary == "A web server"
    paths = {file.path for file in found.files}
    assert "files/logo" in paths
    assert not paths & {"README.md", "flavour.yaml"}
    assert not any("__pycache__" in path for path in paths)  # or a key changes when somebody imports a module


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("instal.d", "install.d"),
        ("preinstall.d", "pre-install.d"),
        ("first_boot.d", "first-boot.d"),
        ("x.d", None),
    ],
)
def test_a_misspelt_phase(tmp_path: Path, name: str, suggestion: str | None) -> None:
    path = write_flavour(tmp_path, "web", [f"{name}/10-x"])
    with pytest.raises(FlavourError, match="looks like a phase but is none") as caught:
        load_flavour(path)
    assert str(path / name) in caught.value.message
    assert suggestion is None or f"did you mean {suggestion!r}" in caught.value.message
    assert "first-boot.d" in caught.value.hint


def test_a_phase_that_is_a_link_or_a_file(tmp_path: Path) -> None:
    """Its hooks would be passed over in silence."""
    path = write_flavour(tmp_path, "web", ["files/10-x"])
    (path / "install.d").symlink_to("files")
    with pytest.raises(FlavourError, match=r"the phase .*install\.d is not a directory"):
        load_flavour(path)
    (path / "install.d").unlink()
    (path / "install.d").write_text("")
    with pytest.raises(FlavourError, match="is not a directory"):
        load_flavour(path)


def test_a_hook_that_is_not_executable(tmp_path: Path) -> None:
    path = write_flavour(tmp_path, "web", ["install.d/10-x"])
    (path / "install.d" / "10-x").chmod(0o644)
    with pytest.raises(FlavourError, match="is not executable") as caught:
        load_flavour(path)
    assert str(path / "install.d" / "10-x") in caught.value.message
    assert "chmod +x" in caught.value.hint


def test_a_hook_may_be_a_link_to_something_executable(tmp_path: Path) -> None:
    path = write_flavour(tmp_path, "web", ["files/10-x"])
    (path / "install.d").mkdir()
    (path / "install.d" / "10-x").symlink_to("../files/10-x")
    assert [hook.name for hook in load_flavour(path).hooks] == ["10-x"]
    (path / "files" / "10-x").chmod(0o644)
    with pytest.raises(FlavourError, match="is not executable"):
        load_flavour(path)


@pytest.mark.parametrize("target", ["../other/file", "files/../../other", "../.."])
def test_a_link_that_leaves_its_flavour(tmp_path: Path, target: str) -> None:
    path = write_flavour(tmp_path, "web", ["install.d/10-x"])
    (path / "link").symlink_to(target)
    with pytest.raises(FlavourError, match=r"the symbolic link .*link leaves its flavour"):
        load_flavour(path)


def test_links_that_stay(tmp_path: Path) -> None:
    """An absolute target means the root, not the host."""
    path = write_flavour(tmp_path, "web", ["install.d/10-x"])
    (path / "files").mkdir()
    (path / "files" / "absolute").symlink_to("/etc/passwd")
    (path / "files" / "near").symlink_to("../install.d/10-x")
    (path / "files" / "directory").symlink_to("../install.d")
    links = {file.path: file for file in load_flavour(path).files if file.kind is FlavourKind.SYMLINK}
    assert set(links) == {"files/absolute", "files/near", "files/directory"}
    assert len({file.digest for file in links.values()}) == 3


def test_what_is_neither_file_nor_directory_nor_link(tmp_path: Path) -> None:
    path = write_flavour(tmp_path, "web", ["install.d/10-x"])
    os.mkfifo(path / "pipe")
    with pytest.raises(FlavourError, match=r"pipe is neither a file"):
        load_flavour(path)


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    path = write_flavour(tmp_path, "web", ["install.d/10-x"])
    Path(os.fsdecode(os.fsencode(path) + b"/caf\xe9")).write_text("")
    with pytest.raises(FlavourError, match=r"not UTF-8: 'caf\\udce9'"):
        load_flavour(path)


def test_a_directory_with_nothing_of_a_flavour(tmp_path: Path) -> None:
    (tmp_path / "web" / "src").mkdir(parents=True)
    with pytest.raises(FlavourError, match="holds nothing of a flavour"):
        load_flavour(tmp_path / "web")


def test_a_flavour_of_packages_alone(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "flavour.yaml").write_text("packages: [nginx]\n")
    assert load_flavour(tmp_path / "web").packages == (("default", ("nginx",)),)


@pytest.mark.parametrize("text", ["a: [", "\tx: 1", "a: !!python/object/apply:os.getcwd []", "\x00"])
def test_a_manifest_that_is_no_yaml(tmp_path: Path, text: str) -> None:
    path = write_flavour(tmp_path, "web", ["install.d/10-x"], yaml=text)
    with pytest.raises(FlavourError, match=r"flavour\.yaml is not YAML"):
        load_flavour(path)


def test_a_manifest_that_is_not_utf8(tmp_path: Path) -> None:
    path = write_flavour(tmp_path, "web", ["install.d/10-x"])
    (path / "flavour.yaml").write_bytes(b"summary: caf\xe9\n")
    with pytest.raises(FlavourError, match=r"flavour\.yaml is not YAML"):
        load_flavour(path)


def test_the_first_directory_wins_and_says_what_it_shadows(tmp_path: Path) -> None:
    for directory in ("mine", "theirs", "built-in"):
        write_flavour(tmp_path / directory, "web", yaml=f"summary: {directory}\n")
    write_flavour(tmp_path / "theirs", "other")
    catalogue = Catalogue([tmp_path / name for name in ("mine", "theirs", "mine", "built-in")])
    assert [found.name for found in catalogue] == ["other", "web"]
    assert catalogue.get("web").summary == "mine"
    assert catalogue.entry("web").shadows == (tmp_path / "theirs" / "web", tmp_path / "built-in" / "web")
    assert catalogue.entry("other").shadows == ()


def test_what_cannot_be_a_flavour_is_not_listed(tmp_path: Path) -> None:
    write_flavour(tmp_path, "web")
    (tmp_path / ".git").mkdir()
    (tmp_path / "With Space").mkdir()
    (tmp_path / "README.md").write_text("")
    assert [found.name for found in Catalogue([tmp_path])] == ["web"]


def test_an_unknown_flavour_names_the_nearest(tmp_path: Path) -> None:
    write_flavour(tmp_path, "web-server")
    write_flavour(tmp_path, "mysql")
    with pytest.raises(
        UnknownFlavour, match="there is no flavour 'web-sever'; did you mean 'web-server'"
    ) as caught:
        Catalogue([tmp_path]).get("web-sever")
    assert str(tmp_path) in caught.value.hint
    with pytest.raises(UnknownFlavour, match=r"there is no flavour 'zzz'$"):
        Catalogue([tmp_path]).get("zzz")


@pytest.mark.parametrize("name", ["Web-Server", "web server", "-web"])
def test_a_flavour_with_a_name_that_is_not_allowed(tmp_path: Path, name: str) -> None:
    write_flavour(tmp_path, name)
    with pytest.raises(
        UnknownFlavour, match=f"{name} cannot be a flavour: its name '{name}' is not"
    ) as caught:
        Catalogue([tmp_path]).get(name)
    assert caught.value.hint.startswith("rename it: use a-z")


def test_an_unknown_flavour_that_another_needs(tmp_path: Path) -> None:
    write_flavour(tmp_path, "web", yaml="needs: [middle]\n")
    write_flavour(tmp_path, "middle", yaml="needs: [mysqll]\n")
    write_flavour(tmp_path, "mysql")
    with pytest.raises(UnknownFlavour) as caught:
        make_stack(["web"], Catalogue([tmp_path]).get, architecture="amd64")
    assert caught.value.message == (
        "the flavour 'middle' needs 'mysqll': there is no flavour 'mysqll'; did you mean 'mysql'?"
    )


def test_a_pattern_that_is_none(tmp_path: Path) -> None:
    path = write_flavour(tmp_path, "web", {".dibo-ignore": "*.orig\n!\n"})
    with pytest.raises(FlavourError, match=r"\.dibo-ignore:2: '!' is not a pattern"):
        load_flavour(path)


def test_an_ignored_file_is_taken_back(tmp_path: Path) -> None:
    path = write_flavour(tmp_path, "web", {".dibo-ignore": "!/files/x~\n", "files/x~": "", "files/y~": ""})
    assert [file.path for file in load_flavour(path).files] == ["files/x~"]


def test_what_is_ignored_may_be_anything(tmp_path: Path) -> None:
    path = write_flavour(tmp_path, "web", {".dibo-ignore": "/run/\n*.d\n", "run/x": ""})
    os.mkfifo(path / "run" / "pipe")
    (path / "notes.d").mkdir()
    assert load_flavour(path).files == ()


def test_the_value_is_that_of_the_copy_while_the_original_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that grows while it is read: whatever was read is what the key covers, and what a step gets."""
    path = write_flavour(tmp_path, "web", {"files/big": "x" * 100})
    monkeypatch.setattr("dibo.flavours.files._CHUNK", 10)
    sha256 = hashlib.sha256

    class Disturbing:
        def __init__(self, data: bytes = b"") -> None:
            self._hash = sha256(data)

        def update(self, data: bytes) -> None:
            self._hash.update(data)
            with (path / "files" / "big").open("r+") as big:
                big.write("y" * 50)
                big.truncate(80)

        def hexdigest(self) -> str:
            return self._hash.hexdigest()

    monkeypatch.setattr(hashlib, "sha256", Disturbing)
    flavour = load_flavour(path, copy=tmp_path / "copy")
    monkeypatch.undo()
    (big,) = (file for file in flavour.files if file.path == "files/big")
    assert big.digest == hashlib.sha256((tmp_path / "copy" / "files" / "big").read_bytes()).hexdigest()
    assert (tmp_path / "copy" / "files" / "big").read_text() != (path / "files" / "big").read_text()


def test_a_file_of_a_context_is_one_of_its_own(tmp_path: Path) -> None:
    """Hooks see the same link counts with every engine."""
    path = write_flavour(tmp_path, "web", ["install.d/10-x", "files/data"])
    (path / "files" / "link").symlink_to("data")
    flavour = load_flavour(path, copy=tmp_path / "copy")
    assert flavour.copy is not None
    clone_files(flavour.copy, flavour.files, tmp_path / "context")
    assert read_tree(tmp_path / "context") == flavour.files
    assert (tmp_path / "context" / "files" / "data").stat().st_nlink == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    path = write_flavour(tmp_path, "web", ["install.d/10-x", "files/data"])
    copied = load_flavour(path, copy=tmp_path / "copy")

    def full(*_: object) -> bool:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("dibo.flavours.files._clone", full)
    copies: list[Callable[[Path], object]] = [
        lambda target: load_flavour(path, copy=target),
        lambda target: clone_files(tmp_path / "copy", copied.files, target),
    ]
    for attempt, copy in enumerate(copies):
        target = tmp_path / str(attempt)
        with pytest.raises(OutputError) as caught:
            copy(target)
        assert str(target) in caught.value.message
        assert {errno.ENOSPC: "the disk is full: "}.get(number, "quota exceeded: ") in caught.value.message
        assert "dibo doctor" in caught.value.hint


def test_a_search_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FlavourError, match=r"cannot read the flavours in .*nowhere"):
        Catalogue([tmp_path / "nowhere"])


def test_a_flavour_that_is_not_asked_for_may_be_broken(tmp_path: Path) -> None:
    write_flavour(tmp_path, "good")
    write_flavour(tmp_path, "broken", ["instal.d/10-x"])
    assert Catalogue([tmp_path]).get("good").name == "good"


def test_values_hold_no_mtime_no_umask_and_no_place(tmp_path: Path) -> None:
    one = write_flavour(tmp_path / "a", "web", ["install.d/10-x", "files/data"])
    other = write_flavour(tmp_path / "b", "web", ["files/data", "install.d/10-x"])
    os.utime(other / "files" / "data", (1, 1))
    (other / "files" / "data").chmod(0o600)
    (other / "install.d" / "10-x").chmod(0o700)
    assert load_flavour(one) == load_flavour(other)


def test_copies_have_two_modes_whatever_the_umask(tmp_path: Path) -> None:
    origin = write_flavour(tmp_path, "web", ["install.d/10-x", "a/b/c/data"])
    (origin / "a" / "b" / "c" / "data").chmod(0o640)
    (origin / "install.d" / "10-x").chmod(0o711)
    (origin / "a" / "link").symlink_to("b/c")
    target = tmp_path / "copy"
    before = os.umask(0o077)
    try:
        copy_files(origin, read_tree(origin), target)
    finally:
        os.umask(before)
    modes = {str(path.relative_to(target)): path.lstat().st_mode & 0o7777 for path in target.rglob("*")}
    assert modes.pop("a/link") == 0o777
    assert modes == {
        "README.md": 0o644,
        "a": 0o755,
        "a/b": 0o755,
        "a/b/c": 0o755,
        "a/b/c/data": 0o644,
        "install.d": 0o755,
        "install.d/10-x": 0o755,
    }
    assert (target / "a" / "link").readlink() == Path("b/c")


def test_a_file_that_changes_after_it_was_read(tmp_path: Path) -> None:
    origin = write_flavour(tmp_path, "web", ["install.d/10-x"])
    files = read_tree(origin)
    (origin / "install.d" / "10-x").write_text("#!/bin/sh\nevil\n")
    with pytest.raises(FlavourError, match="changed while dibo was reading it"):
        copy_files(origin, files, tmp_path / "copy")


LAYOUT = "partitions: [{name: state, type: linux, size: 1GiB, filesystem: ext4, mount: /srv}]\n"


def test_a_layout_of_its_own_is_seen_by_no_hook(tmp_path: Path) -> None:
    """So it is in no key: another disk is no reason to build a layer."""
    path = write_flavour(tmp_path, "state", {"layout.yaml": LAYOUT, "install.d/10-x": HOOK})
    found = load_flavour(path)
    assert found.disk is not None
    assert [each.name for each in found.disk.partitions] == ["state"]
    assert "layout.yaml" not in {file.path for file in found.files}


def test_a_flavour_can_be_a_layout_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "layout.yaml").write_text(LAYOUT)
    assert load_flavour(tmp_path / "state").disk is not None


def test_a_layout_in_two_places(tmp_path: Path) -> None:
    path = write_flavour(tmp_path, "state", {"layout.yaml": LAYOUT}, yaml=f"disk: {{{LAYOUT.strip()}}}\n")
    with pytest.raises(FlavourError, match="says twice how the disk is laid out"):
        load_flavour(path)


def test_a_layout_that_is_wrong_says_in_which_file(tmp_path: Path) -> None:
    path = write_flavour(tmp_path, "state", {"layout.yaml": LAYOUT.replace("ext4", "ext5")})
    with pytest.raises(LayoutError, match=r"state/layout\.yaml: layout\.partitions\[0\]\.filesystem"):
        load_flavour(path)


@pytest.mark.parametrize("text", ["summary: a\nsummary: b\n", "disk: {table: gpt, table: gpt}\n"])
def test_a_key_that_stands_there_twice(tmp_path: Path, text: str) -> None:
    path = write_flavour(tmp_path, "web", ["install.d/10-x"], yaml=text)
    with pytest.raises(FlavourError, match="stands there twice"):
        load_flavour(path)


def test_a_flavour_whose_directory_has_a_bad_name_is_named(tmp_path: Path) -> None:
    write_flavour(tmp_path, "My_Web", ["install.d/10-x"])
    write_flavour(tmp_path, "Other_Thing", ["install.d/10-x"])
    with pytest.raises(UnknownFlavour, match="there is no flavour 'my-web'") as caught:
        Catalogue((tmp_path,)).get("my-web")
    assert f"{tmp_path}/My_Web has a name that is not allowed" in caught.value.hint
    assert "Other_Thing" not in caught.value.hint
