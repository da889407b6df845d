"""Packages on bases that are a root which is there: chosen by what the root says, without a layer of it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from dibo.build.bases.image import OciLayout
from dibo.build.bases.root_base import RootBase
from dibo.build.bases.tarball import LocalFile
from dibo.build.context import ExtraFiles, Runner
from dibo.build.package_choice import choose_packages, stage_step
from dibo.errors import ToolMissing
from dibo.plan.base import NoStore
from dibo.plan.packages import ArchivePackage, PackageNames
from dibo.system.report import Report
from dibo.system.workspace import Workspace
from tests.support.answer_store import MemoryAnswers
from tests.support.flavours import read_recipe, write_flavour
from tests.support.images.apt_roots import APT, CHANGED, apt_root, stanza
from tests.support.images.oci_layouts import LayerTar, simple
from tests.support.requirements import need
from tests.support.servers.debian_archive import RELEASE, DebianArchive
from tests.unit.build.bases.root_parts import NEWER, SECURITY, MakeRootBase, files_of, listed, plan_of

pytestmark = pytest.mark.slow


def test_packages_are_chosen_given_what_the_root_has(make_base: MakeRootBase, flavours: Path) -> None:
    assert listed(plan_of(make_base(), flavours, "a", "b")) == {
        "a": ["library 3.0.17-1", "tool-a 1-1"],
        "b": ["tool-b 1-1"],
    }
    assert listed(plan_of(make_base(), flavours, "b")) == {"b": ["tool-b 1-1"]}
    assert listed(plan_of(make_base(), flavours, "c")) == {"c": ["extra 1-1", "tool-c 1-1"]}


def test_settings_and_preferences_of_the_root_decide(
    archive: DebianArchive, make_base: MakeRootBase, flavours: Path
) -> None:
    small = apt_root(
        files_of(archive) | {"etc/apt/apt.conf.d/90-small": 'APT::Install-Recommends "false";\n'}
    )
    assert listed(plan_of(make_base(small), flavours, "c")) == {"c": ["tool-c 1-1"]}
    archive.publish("tool-c", "2-1", Recommends="extra")
    archive.sign()
    pin = "Package: tool-c\nPin: version 1-1\nPin-Priority: 600\n"
    pinned = apt_root(files_of(archive) | {"etc/apt/preferences.d/pin": pin})
    assert listed(plan_of(make_base(pinned), flavours, "c")) == {"c": ["extra 1-1", "tool-c 1-1"]}
    assert listed(plan_of(make_base(), flavours, "c")) == {"c": ["extra 1-1", "tool-c 2-1"]}


def test_what_packages_take_the_place_of_is_gone(
    archive: DebianArchive, make_base: MakeRootBase, flavours: Path
) -> None:
    archive.publish("new-tool", "1-1", Conflicts="old-tool, old-library")
    archive.publish("old-tool", "1-1")
    archive.sign()
    status = APT + stanza("old-tool", "1-1") + stanza("old-library", "1-1")
    for name in ("new-tool", "old-tool"):
        write_flavour(flavours, name, ["install.d/50-hook"], yaml=f"packages: [{name}]\n")
    base = make_base(apt_root(files_of(archive) | {"var/lib/dpkg/status": status}))
    _, resolution = choose_packages(read_recipe(flavours, "new-tool", "old-tool"), base)
    answers = [json.loads(answer.text) for answer in resolution.answers]
    assert [sorted(answer["removed"]) for answer in answers] == [["old-library", "old-tool"], ["new-tool"]]
    assert [[package.name for package in step] for step in resolution.steps] == [["new-tool"], ["old-tool"]]


def test_packages_of_a_foreign_architecture(
    archive: DebianArchive, make_base: MakeRootBase, flavours: Path
) -> None:
    archive.architectures = ("amd64", "i386")
    for architecture in archive.architectures:
        archive.publish("wine", "1-1", Architecture=architecture, Multi_Arch="same", depends="libwine")
        archive.publish("libwine", "1-1", Architecture=architecture, Multi_Arch="same")
    archive.sign()
    write_flavour(flavours, "wine", ["install.d/50-hook"], yaml="packages: ['wine:i386']\n")
    write_flavour(flavours, "both", ["install.d/50-hook"], yaml="packages: [wine]\n")
    root = apt_root(files_of(archive) | {"var/lib/dpkg/arch": "amd64\ni386\n"})
    plan = plan_of(make_base(root), flavours, "wine", "both")
    chosen = [[p.identity[:3] for p in planned.step.resolved or ()] for planned in plan.steps[:2]]
    assert chosen == [
        [("libwine", "1-1", "i386"), ("wine", "1-1", "i386")],
        [("libwine", "1-1", "amd64"), ("wine", "1-1", "amd64")],
    ]


def test_a_fix_moves_the_keys_of_layers_that_have_the_package_and_no_others(
    archive: DebianArchive, make_base: MakeRootBase, flavours: Path
) -> None:
    before = {names: plan_of(make_base(), flavours, names) for names in ("a", "b", "c")}
    archive.publish("unrelated", "1-1")
    archive.publish("libc", "2.39-2", suite=SECURITY)
    archive.sign()
    assert {names: plan_of(make_base(), flavours, names).keys for names in before} == {
        names: plan.keys for names, plan in before.items()
    }
    archive.publish("library", "3.0.17-2", suite=SECURITY)
    archive.sign()
    after = {names: plan_of(make_base(), flavours, names) for names in before}
    assert [names for names in before if after[names].keys != before[names].keys] == ["a"]
    assert after["a"].base_key == before["a"].base_key
    assert listed(after["a"]) == {"a": ["library 3.0.17-2", "tool-a 1-1"]}
    packages = after["a"].steps[0].step.resolved or ()
    assert [package.is_security for package in packages] == [True, False]


def test_which_layers_are_dated(make_base: MakeRootBase, flavours: Path) -> None:
    november = plan_of(make_base(), flavours, "a", "shut")
    december = plan_of(make_base(), flavours, "a", "shut", epoch="2026-12")
    assert [planned.step.dated for planned in november.steps] == [False, True, False, True]
    assert [old == new for old, new in zip(november.keys, december.keys, strict=True)] == [
        *(True, True),
        *(False, False, False),
    ]
    assert november.chooses_packages
    assert november.steps[0].step.network


@pytest.mark.parametrize(
    ("names", "more", "obstacle"),
    [
        (("none", "shut"), {}, "no flavour lists packages"),
        (("a",), {"resolves": False}, "the epoch is named"),
        (("a",), {"network": "none"}, "steps have no network"),
        (("a",), {"root": apt_root({})}, "the base names no source of packages"),
        (("a",), {"root": apt_root({"var/lib/dpkg/status": ""})}, "the base has no apt"),
    ],
)
def test_where_packages_are_not_chosen_all_is_dated(
    make_base: MakeRootBase, flavours: Path, names: tuple[str, ...], more: dict[str, object], obstacle: str
) -> None:
    plan = plan_of(make_base(**more), flavours, *names)
    assert not plan.chooses_packages
    assert all(planned.step.dated and planned.step.resolved is None for planned in plan.steps)
    assert all(obstacle in plan.why_dated(planned) for planned in plan.steps)


@pytest.mark.parametrize("more", [{}, {"root": apt_root({"var/lib/dpkg/status": ""})}])
def test_a_build_of_what_is_not_chosen(
    make_base: MakeRootBase, flavours: Path, tmp_path: Path, more: dict[str, bytes]
) -> None:
    """Lists of packages are for apt in the root then, and a lock has no addresses of them."""
    base = make_base(**more)
    recipe, resolution = choose_packages(read_recipe(flavours, "none", *(["a"] if more else [])), base)
    for number, step in enumerate(recipe.steps):
        target = tmp_path / "steps" / str(number)
        target.mkdir(parents=True)
        files = Runner(), ExtraFiles()
        stage_step(step, recipe, base, files=files, times=(None, resolution.clock), target=target)
        assert not {"chosen", "lists", "archive"} & {path.name for path in (target / ".dibo/step").iterdir()}
    assert base.snapshots() == ()
    package = ArchivePackage(
        name="a", version="1", architecture="all", sha256="ab" * 32, size=1, path="a.deb"
    )
    assert base.find_package(package) is None
    base.fetch_ahead(package)


def test_layers_of_hooks_are_others_where_packages_are_chosen(
    make_base: MakeRootBase, flavours: Path
) -> None:
    """They hold no lists of packages then, and have times."""
    with_packages = plan_of(make_base(), flavours, "none", "b")
    without = plan_of(make_base(resolves=False), flavours, "none", "b")
    assert with_packages.base_key == without.base_key
    assert not set(with_packages.keys[1:]) & set(without.keys[1:])


def test_a_machine_that_has_neither_the_root_nor_lists_plans_by_answers(
    make_base: MakeRootBase, flavours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = MemoryAnswers()
    base = make_base()
    recipe, resolution = choose_packages(read_recipe(flavours, "a"), base, memory)
    memory.update({answer.name: answer.text for answer in resolution.kept})
    assert len(resolution.kept) == 2
    monkeypatch.setattr(RootBase, "_tree", lambda _: pytest.fail("the root is read again"))
    monkeypatch.setenv("PATH", "/nowhere")
    elsewhere = make_base(directory=tmp_path / "elsewhere")
    assert choose_packages(read_recipe(flavours, "a"), elsewhere, memory) == (recipe, resolution)
    again = make_base(directory=tmp_path / "elsewhere")
    assert choose_packages(read_recipe(flavours, "a"), again, NoStore()) == (recipe, resolution)


def test_what_another_machine_kept_and_is_damaged_does_not_count(
    make_base: MakeRootBase, flavours: Path, tmp_path: Path
) -> None:
    memory = MemoryAnswers()
    first = choose_packages(read_recipe(flavours, "a"), make_base(), memory)
    memory.update({answer.name: "{}" for answer in first[1].kept})
    elsewhere = make_base(directory=tmp_path / "elsewhere")
    assert choose_packages(read_recipe(flavours, "a"), elsewhere, memory) == first


def test_steps_have_the_time_of_the_newest_package_or_of_the_root(
    archive: DebianArchive, make_base: MakeRootBase, flavours: Path, tmp_path: Path
) -> None:
    base = make_base()
    recipe, resolution = choose_packages(read_recipe(flavours, "a", "b", "shut"), base)
    times = {}
    for number, step in enumerate(recipe.steps):
        target = tmp_path / "steps" / str(number)
        target.mkdir(parents=True)
        stage_step(
            step,
            recipe,
            base,
            files=(Runner(), ExtraFiles()),
            times=(None, resolution.clock),
            target=target,
        )
        place = target / ".dibo" / "step"
        assert (place / "chosen").exists()
        assert (place / "archive").exists() == bool(step.resolved)
        assert (place / "lists").exists() == (step.resolved is None and step.network and bool(step.flavour))
        times[step.title] = int((place / "time").read_text()) if (place / "time").exists() else None
    assert times == {
        "a install.d: packages": NEWER,
        "b install.d: packages": CHANGED,
        "a install.d: 50-hook": None,
        "b install.d: 50-hook": None,
        "shut install.d: 50-hook": CHANGED,
        "finalise": None,
    }
    lists = next(path for path in (tmp_path / "steps").glob("*/.dibo/step/lists"))
    address = archive.url.removeprefix("http://").replace("/", "_")
    assert (lists / f"{address}_debian_dists_{RELEASE}_InRelease").exists()


def test_a_worker_takes_over_what_was_chosen(
    make_base: MakeRootBase, flavours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, resolution = choose_packages(read_recipe(flavours, "a"), make_base())
    worker = make_base(directory=tmp_path / "worker")
    monkeypatch.setattr(RootBase, "_tree", lambda _: pytest.fail("the root is read again"))
    worker.adopt(resolution)
    assert worker.write_archive(resolution.steps[0], tmp_path / "packages") == NEWER
    assert (tmp_path / "packages" / "Packages").read_text().count("Package: ") == 2


def test_roots_of_other_forms(
    archive: DebianArchive, make_base: MakeRootBase, flavours: Path, tmp_path: Path
) -> None:
    tar = apt_root(files_of(archive))
    first = plan_of(make_base(), flavours, "a")
    layout = simple(tmp_path / "layout", [LayerTar(tar=tmp_path / "root.tar", compression="zstd")])
    settings = make_base()._settings
    workspace = Workspace(tmp_path / "cache")
    report = Report(quiet=True)
    image = OciLayout(f"oci:{layout}", settings=settings, workspace=workspace, report=report)
    assert listed(plan_of(image, flavours, "a")) == listed(first)
    need("tar2sqfs", "sqfs2tar")
    squash = tmp_path / "root.squashfs"
    subprocess.run(["tar2sqfs", "-q", str(squash)], input=tar, check=True)
    squashed = LocalFile(squash, settings=settings, workspace=workspace, report=report)
    assert listed(plan_of(squashed, flavours, "a")) == listed(first)


def test_a_squashfs_needs_what_reads_it(
    make_base: MakeRootBase, flavours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "root.squashfs"
    path.write_bytes(b"hsqs" + bytes(5000))
    settings = make_base()._settings
    base = LocalFile(path, settings=settings, workspace=Workspace(tmp_path / "cache"))
    with monkeypatch.context() as patched:
        patched.setattr("dibo.system.process.find", lambda _: None)
        with pytest.raises(ToolMissing, match="sqfs2tar is not installed") as caught:
            choose_packages(read_recipe(flavours, "a"), base)
    assert "--epoch" in caught.value.hint


def test_no_root_is_read_for_nothing(make_base: MakeRootBase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RootBase, "_tree", lambda _: pytest.fail("read"))
    base = make_base()
    assert base.package_names(NoStore(), listed=False) == PackageNames(obstacle="no flavour lists packages")
