"""What `dibo convert` decides before it reads a layer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from dibo.api import conversion as command
from dibo.disk import layout_choice
from dibo.errors import LayoutError, UsageError
from dibo.images.image import Image
from dibo.images.layers.limits import Limits
from dibo.layout.merge import parse_layout
from dibo.layout.model import Sizing
from dibo.settings.settings import Options, Settings, decide
from dibo.units import GIB
from tests.support.images.image_forms import write_layout

NOVEMBER = 1793491200  # 2026-11-01
PROJECT = Path(__file__).parents[3]
UNUSED = """
requests urllib3 cryptography pathspec rich http dibo.api.create dibo.api.session dibo.build.build dibo.build.stacks
dibo.build.engines.table dibo.elements.stack dibo.flavours.lint dibo.flavours.loader dibo.plan.plan dibo.trust.policy
dibo.boot.prepare_root dibo.disk.device_hooks dibo.disk.built_in.microvm dibo.kits.make
"""


def decided(**environment: str) -> Settings:
    now = datetime(2026, 12, 5, tzinfo=UTC)
    return decide(Options(), environment, now=now, machine="x86_64", home=Path("/home/me"))


def image(config: dict[str, Any]) -> Image:
    return Image(name="web", digest="sha256:1", architecture="amd64", layers=(), config=config)


BY_DIBO = {
    "config": {"Labels": {"io.dibo.key": "k", "io.dibo.ingredients": json.dumps({"epoch": "2026-11"})}}
}


@pytest.mark.parametrize(
    ("config", "environment", "wanted"),
    [
        ({}, {}, (0, False)),
        ({"created": "2026-11-01T00:00:00.123456789Z"}, {}, (NOVEMBER, False)),
        ({"created": "yesterday"}, {}, (0, False)),
        ({"created": "0001-01-01T00:00:00Z"}, {}, (0, False)),  # Go's zero time
        ({"created": "2020-01-01T00:00:00Z"} | BY_DIBO, {}, (NOVEMBER, True)),
        (BY_DIBO, {"SOURCE_DATE_EPOCH": "77"}, (77, True)),
        ({"config": {"Labels": {"io.dibo.epoch": "2026-11"}}}, {}, (NOVEMBER, True)),
        ({"config": {"Labels": {"io.dibo.epoch": "build-7"}}}, {}, (0, False)),
        ({"config": {"Labels": {"io.dibo.ingredients": "{}"}}}, {}, (0, False)),
        ({"config": {"Labels": {"io.dibo.ingredients": "no json"}}}, {}, (0, False)),
        ({"config": {"Labels": {"io.dibo.ingredients": '{"epoch": "build-7"}'}}}, {}, (0, False)),
        ({"config": {"Labels": ["odd"]}}, {}, (0, False)),
    ],
)
def test_the_time_of_an_artefact_comes_from_the_image(
    config: dict[str, Any], environment: dict[str, str], wanted: tuple[int, bool]
) -> None:
    assert command._epoch(decided(**environment), image(config)) == wanted


def test_limits() -> None:
    assert command.limits(entries=None, size=None, ratio=None) == Limits()
    found = command.limits(entries=7, size=3 * GIB // 2, ratio=9)
    assert (found.entries, found.ratio) == (7, 9)
    assert found.image_bytes == found.layer_bytes == 3 * GIB // 2


def test_limits_that_make_no_sense() -> None:
    with pytest.raises(UsageError, match="max_ratio: expected a number from 1 on, got 0"):
        command.limits(entries=None, size=None, ratio=0)


ROOT = "{name: root, type: linux, size: rest, filesystem: ext4, mount: /}"
BROUGHT = image(
    {
        "config": {
            "Labels": {
                "io.dibo.layout": json.dumps(
                    {"table": "gpt", "partitions": [{**yaml.safe_load(ROOT), "name": "all"}]}
                )
            }
        }
    }
)


@pytest.mark.parametrize(
    "text", [f"table: gpt\npartitions: [{ROOT}]\n", f"disk: {{table: gpt, partitions: [{ROOT}]}}\n"]
)
def test_a_layout_from_a_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "layout.yaml").write_text(text)
    found, given = command._layout(tmp_path / "layout.yaml", BROUGHT, decided())
    assert given
    assert [partition.name for partition in found.partitions] == ["root"]


def test_the_layout_that_an_image_brings_along_comes_before_that_of_vm() -> None:
    found, given = command._layout(None, BROUGHT, decided())
    assert ([each.name for each in found.partitions], given) == (["all"], True)
    found, given = command._layout(None, image({}), decided())
    assert ([each.name for each in found.partitions], given) == (["bios", "esp", "root"], False)


@pytest.mark.parametrize("said", ["{", '{"table": "gpt"}', "[]"])
def test_an_image_that_brings_along_no_layout(said: str) -> None:
    with pytest.raises(LayoutError, match="web"):
        command._layout(None, image({"config": {"Labels": {"io.dibo.layout": said}}}), decided())


def test_who_sets_the_size() -> None:
    layout = parse_layout({"table": "gpt", "size": "3GiB", "partitions": [yaml.safe_load(ROOT)]}, origin="x")
    fits = replace(layout, size=Sizing.FIT)
    assert layout_choice.start_size(layout, size=2 * GIB, set_by="dibo's default") == (3 * GIB, "the layout")
    assert layout_choice.start_size(layout, size=GIB, set_by="IMAGE_SIZE") == (GIB, "IMAGE_SIZE")
    assert layout_choice.settled(fits, set_by="dibo's default") == fits
    assert layout_choice.settled(fits, set_by="--image-size") == replace(layout, size=None)


@pytest.mark.parametrize(
    "text",
    ["[", "", "table: gpt", "table: mbr\npartitions: []", f"table: gpt\ntable: gpt\npartitions: [{ROOT}]"],
)
def test_a_layout_that_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "layout.yaml"
    path.write_text(text)
    with pytest.raises(LayoutError, match=str(path)):
        command._layout(path, BROUGHT, decided())
    with pytest.raises(LayoutError, match="cannot read the layout"):
        command._layout(tmp_path / "missing", BROUGHT, decided())


def test_what_builds_layers_is_not_imported(tmp_path: Path) -> None:
    image = write_layout(tmp_path / "image", {"etc/os-release": "ID=made\n"})
    output = str(tmp_path / "disk")
    options = ["--bare", "--image-size", "0.1", "-t", "raw", "--cache-dir", str(tmp_path / "cache")]
    program = (
        f"import sys\nfrom dibo.cli.main import dibo\ncode = dibo({['convert', image, '-o', output, *options]})\n"
        "print('MODULES', *sys.modules)\nsys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=PROJECT,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "disk.raw").stat().st_size > 0
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("MODULES")]
    assert not set(line.split()) & set(UNUSED.split())
