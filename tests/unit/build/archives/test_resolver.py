"""What a build would install, by the state of an archive on loopback: packages, keys, and which of them move."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from dibo.build.bases.debian import Debian
from dibo.build.context import ExtraFiles, Runner
from dibo.build.package_choice import choose_packages, fetching_ahead, stage_step
from dibo.errors import BaseError, Unreachable, VerificationFailed
from dibo.plan import explain
from dibo.plan.base import NoStore
from dibo.plan.keys import KeyInputs
from dibo.plan.plan import Plan, describe, make_plan, with_held
from tests.support.answer_store import MemoryAnswers
from tests.support.flavours import read_recipe, write_flavour
from tests.support.servers.debian_archive import RELEASE, DebianArchive
from tests.support.timeouts import wait_until
from tests.unit.build.archives.conftest import MakeBase

pytestmark = pytest.mark.slow

SECURITY = f"{RELEASE}-security"


@pytest.fixture
def flavours(tmp_path: Path) -> Path:
    directory = tmp_path / "flavours"
    for name in ("a", "b", "c"):
        write_flavour(directory, name, ["install.d/50-hook"], yaml=f"packages: [tool-{name}]\n")
    write_flavour(directory, "none", ["install.d/50-hook"])
    write_flavour(
        directory, "own-source", {"pre-install.d/10-source": "#!/bin/sh\necho > /etc/apt/sources.list.d/x\n"}
    )
    return directory


def plan_of(make_base: MakeBase, flavours: Path, *names: str, epoch: str = "2026-11") -> Plan:
    base = make_base(epoch=epoch)
    recipe, resolution = choose_packages(read_recipe(flavours, *names), base)
    return make_plan(
        recipe,
        base_name=base.name,
        base_ingredients=base.ingredients(),
        resolution=resolution,
        inputs=KeyInputs(runner="ab" * 32, epoch=epoch),
        held=lambda _: False,
    )


def listed(plan: Plan, title: str) -> list[str]:
    step = next(planned.step for planned in plan.steps if planned.step.title == title)
    assert step.resolved is not None
    return [f"{package.name} {package.version}" for package in step.resolved]


def test_packages_are_chosen_given_those_below(make_base: MakeBase, flavours: Path) -> None:
    plan = plan_of(make_base, flavours, "a", "b")
    assert "libc 2.41-1" in [f"{package.name} {package.version}" for package in plan.resolution.base]
    assert listed(plan, "a install.d: packages") == ["library 3.0.17-1", "tool-a 1-1"]
    assert listed(plan, "b install.d: packages") == ["tool-b 1-1"]


STACKS = (
    ("a",),
    ("b",),
    ("c",),
    ("a", "b"),
    ("a", "c"),
    ("c", "a"),
    ("b", "c"),
    ("none",),
    ("c", "none"),
    ("a", "b", "c"),
)


def test_a_fix_moves_the_keys_of_layers_that_have_the_package_and_no_others(
    archive: DebianArchive, make_base: MakeBase, flavours: Path
) -> None:
    before = {names: plan_of(make_base, flavours, *names) for names in STACKS}
    archive.publish("unrelated", "1-1")
    archive.publish("unrelated", "1-2", suite=SECURITY)
    archive.sign()
    assert {names: plan_of(make_base, flavours, *names).keys for names in STACKS} == {
        names: plan.keys for names, plan in before.items()
    }
    archive.publish("library", "3.0.17-1+deb13u1", suite=SECURITY)
    archive.sign()
    for names in STACKS:
        after, moved = plan_of(make_base, flavours, *names), False
        assert after.base_key == before[names].base_key
        for old, new in zip(before[names].steps, after.steps, strict=True):
            has_library = any(package.name == "library" for package in new.step.resolved or ())
            moved = moved or has_library
            assert (old.key != new.key) == moved, new.step.title
    assert (
        sum(
            after.image_key != before[names].image_key
            for names in STACKS
            for after in [plan_of(make_base, flavours, *names)]
        )
        == 7
    )


def test_a_fix_of_the_base_moves_all(archive: DebianArchive, make_base: MakeBase, flavours: Path) -> None:
    before = plan_of(make_base, flavours, "c")
    archive.publish("libc", "2.41-2", suite=SECURITY, Essential="yes", Priority="required")
    archive.sign()
    after = plan_of(make_base, flavours, "c")
    assert not set(before.keys) & set(after.keys)


def test_a_month_is_in_the_keys_of_hooks_and_what_lies_on_them_alone(
    make_base: MakeBase, flavours: Path
) -> None:
    november = plan_of(make_base, flavours, "a")
    december = plan_of(make_base, flavours, "a", epoch="2026-12")
    assert [planned.step.dated for planned in november.steps] == [False, True, True]
    assert [old == new for old, new in zip(november.keys, december.keys, strict=True)] == [
        True,
        True,
        False,
        False,
    ]


def test_no_month_is_in_the_keys_of_hooks_without_network(make_base: MakeBase, flavours: Path) -> None:
    write_flavour(flavours, "shut", ["install.d/50-hook"], yaml="packages: [tool-a]\nnetwork: false\n")
    november = plan_of(make_base, flavours, "shut")
    december = plan_of(make_base, flavours, "shut", epoch="2026-12")
    assert november.keys == december.keys
    assert [(planned.step.network, planned.step.dated) for planned in november.steps] == [(False, False)] * 3


def test_an_epoch_that_is_named_is_in_every_key_and_the_archive_is_not_asked(
    archive: DebianArchive, make_base: MakeBase, flavours: Path
) -> None:
    import dataclasses

    base = make_base()
    base._settings = dataclasses.replace(base._settings, resolves=False)
    archive.site.asked.clear()
    recipe, resolution = choose_packages(read_recipe(flavours, "a"), base)
    assert dict(base.ingredients())["epoch"] == "2026-11"
    assert not resolution.base
    assert all(step.dated and step.resolved is None for step in recipe.steps)
    assert not archive.site.asked


def test_hooks_that_give_apt_other_sources_leave_the_choice_to_the_step(
    make_base: MakeBase, flavours: Path
) -> None:
    plan = plan_of(make_base, flavours, "own-source", "a")
    packages = next(planned.step for planned in plan.steps if planned.step.packages)
    assert packages.resolved is None
    assert packages.dated
    assert plan.resolution.base


def test_another_file_under_an_old_version_is_refused(
    archive: DebianArchive, make_base: MakeBase, flavours: Path
) -> None:
    plan_of(make_base, flavours, "a")
    archive.publish("library", "3.0.17-1", depends="libc", files={"usr/bin/door": "open"})
    archive.sign()
    with pytest.raises(
        VerificationFailed, match=r"other files than before under the same versions: library 3.0.17-1"
    ):
        plan_of(make_base, flavours, "a")


def test_another_file_than_the_index_says_is_refused(
    archive: DebianArchive, make_base: MakeBase, tmp_path: Path
) -> None:
    base = make_base()
    chosen = base.resolve([("library",)], NoStore()).steps[0]
    path = f"/debian/{chosen[0].path}"
    archive.site.files[path] = archive.site.files[path][:-1] + b"x"
    with pytest.raises(
        VerificationFailed, match=r"another file as library 3.0.17-1 than its signed index says"
    ):
        base.write_archive(chosen, tmp_path / "packages")


def test_a_state_that_nobody_signed_is_refused(archive: DebianArchive, make_base: MakeBase) -> None:
    path = "/debian/dists/trixie/InRelease"
    archive.site.files[path] = archive.site.files[path].replace(b"Origin: Test", b"Origin: Evil")
    with pytest.raises(BaseError, match="the state of the package archives cannot be read"):
        make_base().resolve((), NoStore())


def test_what_is_known_costs_one_question_a_suite(archive: DebianArchive, make_base: MakeBase) -> None:
    first = make_base().resolve([("tool-a",)], NoStore())
    archive.site.asked.clear()
    assert make_base().resolve([("tool-a",)], NoStore()) == first
    assert sorted(path.split("/")[3] for path in archive.site.paths()) == sorted(archive.suites)
    assert make_base().resolve([], NoStore()).base == first.base
    archive.site.asked.clear()
    assert make_base(offline=True).resolve([("tool-a",)], NoStore()) == first
    assert not archive.site.asked


def test_an_answer_counts_for_a_while(archive: DebianArchive, make_base: MakeBase, tmp_path: Path) -> None:
    base = make_base()
    base.resolve([("tool-a",)], NoStore())
    archive.site.asked.clear()
    base.resolve([("tool-a",)], NoStore())
    assert not archive.site.asked
    for path in (tmp_path / "cache/archives/states").iterdir():
        os.utime(path, (2**32, 2**32))  # a clock that was set back since
    base.resolve([("tool-a",)], NoStore())
    assert archive.site.asked


def test_offline_and_nothing_known(make_base: MakeBase) -> None:
    with pytest.raises(Unreachable, match="never read, and dibo is told to stay offline"):
        make_base(offline=True).resolve([], NoStore())


def test_packages_of_later_steps_are_fetched_meanwhile(
    archive: DebianArchive, make_base: MakeBase, flavours: Path, tmp_path: Path
) -> None:
    base = make_base()
    recipe, _ = choose_packages(read_recipe(flavours, "a", "b", "c"), base)
    with fetching_ahead(base, recipe.steps):
        wait_until(lambda: len(list(tmp_path.rglob("sha256-*.deb"))) == 4, "packages are here")
    archive.site.files.clear()
    for number, step in enumerate(step for step in recipe.steps if step.resolved):
        base.write_archive(step.resolved or (), tmp_path / str(number))


def test_what_cannot_be_fetched_ahead_is_said_by_the_step_that_needs_it(
    archive: DebianArchive, make_base: MakeBase, flavours: Path, tmp_path: Path
) -> None:
    base = make_base()
    recipe, _ = choose_packages(read_recipe(flavours, "c"), base)
    archive.site.files.clear()
    archive.site.asked.clear()
    with fetching_ahead(base, recipe.steps):
        wait_until(lambda: archive.site.asked, "it is asked for")
    packages = next(step.resolved for step in recipe.steps if step.resolved)
    with pytest.raises(BaseError, match=r"the package tool-c 1-1 \(all\) is gone"):
        base.write_archive(packages, tmp_path / "archive")


def test_lists_are_those_of_the_archive_now(
    archive: DebianArchive, make_base: MakeBase, tmp_path: Path
) -> None:
    def lists(base: Debian, name: str) -> dict[str, bytes]:
        base.write_lists(tmp_path / name)
        return {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}

    base = make_base()
    base.resolve([], NoStore())
    archive.site.asked.clear()
    first = lists(base, "first")
    assert len(first) == len(archive.suites) + 1, (
        "the signed file of each suite, and packages where it has some"
    )
    assert not archive.site.asked, "those that packages were chosen by"
    archive.publish("tool-a", "9")
    archive.sign()
    assert lists(make_base(offline=True), "offline") == first
    (changed,) = (name for name, data in lists(make_base(), "second").items() if b"Version: 9" in data)
    assert changed.endswith("_debian_dists_trixie_main_binary-amd64_Packages")


def test_hooks_without_network_get_no_lists_of_packages(
    make_base: MakeBase, flavours: Path, tmp_path: Path
) -> None:
    write_flavour(flavours, "shut", ["install.d/60-hook"], yaml="network: false\n")
    base = make_base()
    recipe, _ = choose_packages(read_recipe(flavours, "none", "shut"), base)
    for step in recipe.steps[:2]:
        target = tmp_path / step.flavour
        target.mkdir()
        stage_step(step, recipe, base, files=(Runner(), ExtraFiles()), times=(None, 0), target=target)
    assert (tmp_path / "none/.dibo/step/lists").is_dir()
    assert not (tmp_path / "shut/.dibo/step/lists").exists()


def test_no_lists_where_the_archive_cannot_be_read(
    archive: DebianArchive, make_base: MakeBase, tmp_path: Path
) -> None:
    archive.site.files.clear()
    make_base().write_lists(tmp_path / "lists")
    assert not (tmp_path / "lists").exists()


def test_an_archive_that_is_down_leaves_the_last_state(archive: DebianArchive, make_base: MakeBase) -> None:
    first = make_base().resolve([("tool-a",)], NoStore())
    for suite in archive.suites:
        root = "security" if suite == SECURITY else "debian"
        archive.site.inject(f"/{root}/dists/{suite}/InRelease", 503, 503, 503)
    assert make_base().resolve([("tool-a",)], NoStore()) == first


def test_an_unknown_package_names_itself(make_base: MakeBase) -> None:
    with pytest.raises(BaseError, match="apt cannot choose packages: Unable to locate package no-such"):
        make_base().resolve([("no-such",)], NoStore())


def test_a_store_answers_a_machine_that_has_no_lists(
    archive: DebianArchive, make_base: MakeBase, tmp_path: Path
) -> None:
    memory = MemoryAnswers()
    first = make_base().resolve([("tool-a",)], memory)
    memory |= {answer.name: answer.text for answer in first.answers}
    archive.site.asked.clear()
    assert make_base(directory=tmp_path / "other").resolve([("tool-a",)], memory) == first
    assert all(path.endswith("/InRelease") for path in archive.site.paths())
    assert memory.expected == tuple(answer.name for answer in first.answers)
    make_base(directory=tmp_path / "other").resolve([("tool-a",), ("tool-b",)], memory)
    assert len(memory.expected) == 1, "what is kept here is not asked for"


def test_why_names_packages(archive: DebianArchive, make_base: MakeBase, flavours: Path) -> None:
    before = plan_of(make_base, flavours, "a")
    kept = {planned.key: json.loads(planned.ingredients) for planned in before.steps}
    archive.publish("library", "3.0.17-1+deb13u1", suite=SECURITY, depends="helper")
    archive.publish("helper", "1-1")
    archive.sign()
    reasons = explain.explain(plan_of(make_base, flavours, "a"), kept)
    lines = next(reason.lines for reason in reasons if reason.title == "a install.d: packages")
    assert lines == ("helper 1-1 is new", "library 3.0.17-1 → 3.0.17-1+deb13u1 (security)")


def test_a_plan_marks_dated_layers_and_says_how_old_they_are(make_base: MakeBase, flavours: Path) -> None:
    plan = plan_of(make_base, flavours, "a")
    lines = describe(plan).splitlines()
    assert "epoch         2026-11, of dated layers" in lines
    assert [line.partition("  (dated: ")[2] for line in lines if "  build " in line] == [
        "",
        "",
        "50-hook may fetch)",
        "what hooks of a left to be done may fetch)",
    ]
    held = with_held(plan, lambda _: True)
    ages = dict.fromkeys(plan.keys, 12) | {plan.image_key: 0}
    text = describe(held, ages=ages)
    assert "a install.d: packages\n" in text
    assert "a install.d: 50-hook  (dated: 50-hook may fetch; made 12 days ago)\n" in text
    assert "left to be done may fetch; made today)\n" in text
