"""From an inventory to a report: who brought what, how long it took, what gives rights."""

from __future__ import annotations

from pathlib import Path

import pytest

from dibo.build.step_times import BuildRecord, LayerFate, LayerTime, StepTimes
from dibo.contents.inventory import NO_LAYER, InstalledPackage
from dibo.contents.read import ReadRequest, open_contents
from dibo.reports.make_report import BuildNotes, build_notes, keys_of, make_report
from dibo.reports.model import ReportedImage
from dibo.system.task import BUILT, CACHED
from tests.support.images.image_forms import FORMS, debian_root, layers_of, write_form, write_layout
from tests.support.report_samples import inventory, layer, record

BASE, PACKAGES, SITE = (letter * 64 for letter in "abc")
LAYERS = (
    layer("base", key=BASE, size=900),
    layer("web install.d: packages", key=PACKAGES, flavour="web", size=300),
    layer("web install.d: 50-site", key=SITE, flavour="web", size=10),
)
FILES = {
    b"usr/bin/sh": record(100, layer=0, package="dash"),
    b"usr/bin/nginx": record(50, layer=1, package="nginx"),
    b"usr/lib/nginx": record(30, layer=1, package="nginx"),
    b"var/www/index.html": record(7, layer=2),
    b"var/lib/dpkg/info/dash.list": record(1, layer=0),
    b"var/lib/dpkg/info/nginx:amd64.list": record(2, layer=2),
}
MANIFEST = {
    "flavours": [
        {"name": "base", "asked": False, "from": "dibo"},
        {"name": "web", "asked": True, "from": "elsewhere"},
    ],
    "layers": [
        {"key": BASE, "title": "base debian bookworm", "local": False},
        {"key": PACKAGES, "title": "web install.d: packages", "local": False},
        {"key": SITE, "title": "web install.d: 50-site", "local": True},
    ],
}


def report(form: str, directory: Path, request: ReadRequest) -> ReportedImage:
    with open_contents(write_form(form, directory, debian_root()), request) as contents:
        return make_report(contents.inventory, read_text=lambda _: "")


@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_a_report(tmp_path: Path, request_: ReadRequest, form: str) -> None:
    made = report(form, tmp_path, request_)
    assert made.architecture == "amd64"
    assert made.system == "Debian 12"
    assert [package.name for package in made.packages or ()] == ["bash", "dpkg"]
    assert "web.service" in [unit.name for unit in made.units]
    assert made.views.directories.size == made.totals.bytes
    privileged = {file.path: (file.mode, file.capabilities) for file in made.privileged}
    expected = {b"usr/bin/su": (0o4755, ()), b"usr/bin/ping": (0o755, ("cap_net_raw",))}
    if form == "ramdisk":  # cpio has no attributes
        del expected[b"usr/bin/ping"]
    assert privileged == expected
    assert {file.path: (file.kind, file.size, file.owner) for file in made.files}[b"usr/bin/rbash"] == (
        "hard link",
        0,
        "root",
    )


def test_layers_of_an_image(tmp_path: Path, request_: ReadRequest) -> None:
    reference = write_layout(tmp_path / "image", *layers_of(debian_root(), "usr/bin"))
    with open_contents(reference, request_) as contents:
        made = make_report(contents.inventory, read_text=lambda _: "")
    assert made.layers_of_files
    assert [layer.files for layer in made.layers] == [16, 3]
    assert sum(layer.size for layer in made.layers) == made.totals.bytes
    assert {file.path: file.layer for file in made.files}[b"usr/bin/su"] == 1
    assert made.views.layers is not None
    assert made.views.flavours is None


def test_who_brought_what() -> None:
    image = inventory(
        FILES,
        form="image",
        layers=LAYERS,
        manifest=MANIFEST,
        packages=tuple(_packages("dash", "nginx", "meta")),
    )
    made = make_report(image, read_text=lambda _: "")
    packages = {item.name: (item.size, item.files, item.layer, item.flavour) for item in made.packages or ()}
    assert packages == {
        "dash": (100, 1, 0, ""),
        "nginx": (80, 2, 2, "web"),  # the layer that has dpkg's list of its files
        "meta": (4096, 0, NO_LAYER, ""),  # by its own account
    }
    assert [(item.title, item.size, item.packages, item.local) for item in made.layers] == [
        ("base debian bookworm", 101, 1, False),
        ("web install.d: packages", 80, 0, False),
        ("web install.d: 50-site", 9, 1, True),
    ]
    assert [(item.name, item.requested, item.built_in, item.size) for item in made.flavours] == [
        ("base", False, True, 0),
        ("web", True, False, 89),
    ]
    assert made.views.flavours is not None
    assert [(part.name, part.size) for part in made.views.flavours.parts] == [
        ("base debian bookworm", 101),
        ("web", 89),
    ]


def _packages(*names: str) -> list[InstalledPackage]:
    return [
        InstalledPackage(name=name, architecture="amd64", version="1", manager="dpkg", size=4096)
        for name in names
    ]


def test_a_disk_learns_from_the_image_that_it_was_made_from() -> None:
    disk = inventory({path: record(entry.size) for path, entry in FILES.items()}, manifest=MANIFEST)
    assert keys_of(disk) == (BASE, PACKAGES, SITE)
    alone = make_report(disk, read_text=lambda _: "")
    assert not alone.layers_of_files
    assert [(item.title, item.flavour) for item in alone.layers][1] == ("web install.d: packages", "web")
    assert [item.size for item in alone.flavours] == [None, None]
    assert alone.views.layers is None
    made = make_report(disk, read_text=lambda _: "", origin=inventory(FILES, form="image", layers=LAYERS))
    assert made.layers_of_files
    assert [item.stored for item in made.layers] == [900, 300, 10]
    assert {file.path: file.layer for file in made.files}[b"usr/bin/nginx"] == 1


def test_times(tmp_path: Path) -> None:
    times = StepTimes(tmp_path)
    times.save(BASE, LayerTime(seconds=40.0))
    times.save(PACKAGES, LayerTime(seconds=9.0, hooks=(("packages", 8.5),)))
    fates = (
        LayerFate(key=BASE, title="base debian:bookworm", origin=CACHED, registry="", took=None),
        LayerFate(key=PACKAGES, title="web install.d: packages", origin=BUILT, registry="", took=9.0),
    )
    notes = BuildNotes(
        record=BuildRecord(layers=fates, steps=(("web.qcow2", 3.0),), ended=1.0),
        times={key: took for key in (BASE, PACKAGES) if (took := times.load(key)) is not None},
        saved=(40.0, 0),
    )
    two = (layer("base", key=BASE), layer("base", key=BASE), *LAYERS[1:])  # a base of two layers
    made = make_report(inventory(FILES, form="image", layers=two), read_text=lambda _: "", notes=notes)
    assert [(item.title, item.seconds, item.origin) for item in made.layers] == [
        ("base debian:bookworm", None, ""),
        ("base debian:bookworm", 40.0, CACHED),
        ("web install.d: packages", 9.0, BUILT),
        ("web install.d: 50-site", None, ""),
    ]
    assert made.layers[2].hooks == (("packages", 8.5),)
    assert made.build is not None
    assert (made.build.seconds, made.build.saved, made.build.unknown) == (12.0, 40.0, 0)
    assert [(flavour.seconds, flavour.requested) for flavour in made.flavours] == [(9.0, None)]


def test_an_image_that_was_built_elsewhere_has_no_times(tmp_path: Path) -> None:
    times = StepTimes(tmp_path)
    assert build_notes(times, ()) == BuildNotes()
    assert build_notes(times, (BASE, SITE)).record is None


@pytest.mark.parametrize(
    "manifest",
    [
        {"layers": 7, "flavours": "x"},
        {"layers": [1, {"key": 5, "title": []}], "flavours": [None, {"name": 3}]},
    ],
)
def test_a_manifest_may_be_anything(manifest: dict[str, object]) -> None:
    made = make_report(inventory(FILES, manifest=manifest), read_text=lambda _: "")
    assert made.totals.files == len(FILES)
