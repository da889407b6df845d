"""`dibo convert` makes of every image of the corpus the tree that somebody else's program unpacks from it.

The images and the oracle are in tests/support/images: tool_images.py, crafted_images.py, oracle.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from dibo.system import process
from tests.support.images import crafted_images
from tests.support.images.corpus_workspace import CorpusWorkspace, Sample, corpus_workspace
from tests.support.images.oracle import command, on_disk, require_same
from tests.support.images.sample_tree import BIG
from tests.support.images.tool_images import SAMPLES
from tests.support.markdown import PROJECT
from tests.support.requirements import need, unmet
from tests.support.timeouts import TIMEOUT

pytestmark = pytest.mark.integration

STACKS = {make.__name__: partial(crafted_images.stack_of, make) for make in crafted_images.STACKS}
ALL: dict[str, Callable[[CorpusWorkspace], Sample]] = {**SAMPLES, **STACKS}


@pytest.fixture(scope="module")
def whole_shop() -> Iterator[CorpusWorkspace]:
    if os.geteuid() != 0:
        unmet("only root can make files of others, and mount")
    need("umoci", "mount", "unshare", "e2fsck", "tar")
    with corpus_workspace() as shop:
        yield shop


@pytest.fixture
def shop(whole_shop: CorpusWorkspace) -> Iterator[CorpusWorkspace]:
    try:
        yield whole_shop
    finally:
        whole_shop.clear()


def converted(sample: Sample, shop: CorpusWorkspace, *options: str) -> Path:
    """The raw disk with nothing but a file system on it."""
    output = shop.new("disk")
    argv = [
        sys.executable,
        "-m",
        "dibo",
        "convert",
        sample.reference,
        "-o",
        str(output),
        "-t",
        "raw",
        "--bare",
    ]
    environment = {"PATH": os.defpath, "HOME": "/nowhere", "IMG_PATH": str(shop.new("cache"))}
    environment |= {**process.proxies(), **sample.environment}
    done = subprocess.run(
        [*argv, *sample.options, *options],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        cwd=PROJECT,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return output.with_suffix(".raw")


@pytest.mark.parametrize("make", ALL.values(), ids=list(ALL))
def test_the_disk_holds_the_tree_that_others_unpack(
    make: Callable[[CorpusWorkspace], Sample], shop: CorpusWorkspace
) -> None:
    sample = make(shop)
    require_same(on_disk(converted(sample, shop)), sample.oracle(), sample.not_judged)


def test_a_directory_of_100000_files(shop: CorpusWorkspace) -> None:
    sample = crafted_images.many_files(shop)
    require_same(on_disk(converted(sample, shop)), sample.oracle(), sample.not_judged)


def test_a_sparse_file_of_more_than_4_gib_takes_no_more_room_than_its_data(shop: CorpusWorkspace) -> None:
    sample = crafted_images.large_file(shop)
    disk = converted(sample, shop, "--image-size", "8")
    found = on_disk(disk)
    require_same(found, sample.oracle())
    assert found[b"large"].size == BIG
    assert found[b"large"].allocated < 100_000
    assert disk.stat().st_blocks * 512 < 200_000_000


def test_a_file_of_more_than_4_gib_whose_zeros_are_data(shop: CorpusWorkspace) -> None:
    sample = crafted_images.large_file_with_no_holes_said(shop)
    require_same(on_disk(converted(sample, shop, "--image-size", "8")), sample.oracle())


def test_the_same_image_gives_the_same_bytes(shop: CorpusWorkspace) -> None:
    sample = SAMPLES["skopeo_zstd"](shop)
    first = converted(sample, shop).rename(shop.new("first.raw"))
    command("cmp", first, converted(sample, shop))
