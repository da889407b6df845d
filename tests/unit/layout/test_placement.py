from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dibo.errors import LayoutError
from dibo.layout.merge import parse_layout
from dibo.layout.model import PartitionContent, Sizing
from dibo.layout.placement import Placement, bare_placement, place
from dibo.units import GIB, KIB, MIB, SECTOR, TIB
from tests.support.requirements import need
from tests.unit.disk.sample_requests import example, placed


@st.composite
def placements(draw: st.DrawFn) -> Placement:
    """Whatever places, of one to twenty partitions, with and without a rest, in images of odd sizes."""
    sizes = draw(st.lists(st.integers(1, 300 * KIB), min_size=1, max_size=20))
    rest = draw(st.none() | st.integers(0, len(sizes) - 1))
    partitions = [
        {"name": f"p{index}", "type": "linux", "size": "rest" if index == rest else f"{size}KiB"}
        for index, size in enumerate(sizes)
    ]
    root = draw(st.integers(0, len(sizes) - 1))
    partitions[root] |= {"filesystem": "ext4", "mount": "/"}
    layout = parse_layout({"table": "gpt", "partitions": partitions}, origin="test")
    least = sum(-(-size * KIB // MIB) for index, size in enumerate(sizes) if index != rest) * MIB
    room = least + 3 * MIB + draw(st.integers(0, 4 * MIB // SECTOR)) * SECTOR
    return place(layout, size=room, identity="x", architecture="amd64")


@given(placements())
def test_partitions_are_aligned_apart_and_between_the_tables(placement: Placement) -> None:
    free = MIB
    for number, partition in enumerate(placement.partitions, start=1):
        assert partition.number == number
        assert partition.offset % MIB == partition.size % MIB == 0
        assert partition.offset >= free
        assert partition.size >= MIB
        free = partition.offset + partition.size
    assert free <= placement.size - 33 * SECTOR  # 32 sectors of entries and the backup header
    assert placement.last_usable == placement.size // SECTOR - 34
    assert placement.partitions[-1].last_lba <= placement.last_usable


@given(placements())
def test_a_partition_has_what_was_wished_and_the_rest_leaves_nothing(placement: Placement) -> None:
    for partition in placement.partitions:
        if isinstance(partition.wish.size, int):
            assert partition.wish.size <= partition.size < partition.wish.size + MIB
    if any(partition.wish.size is Sizing.REST for partition in placement.partitions):
        last = placement.partitions[-1]
        assert placement.size - 33 * SECTOR - (last.offset + last.size) < MIB


def test_the_example_in_bytes() -> None:
    placement = placed(size=GIB)
    assert [(part.offset // MIB, part.size // MIB) for part in placement.partitions] == [
        (1, 1),
        (2, 64),
        (66, 1024 - 66 - 1),
    ]
    assert placement.root.wish.name == "root"
    esp = placement.holding(PartitionContent.ESP)
    assert esp is not None
    assert esp.number == 2


def test_identifiers_are_pinned() -> None:
    """Changing one makes every image another disk: that wants a reason, and a line in the changelog."""
    placement = placed(identity="sha256:0123")
    root = placement.root
    assert str(placement.disk_guid) == "0bed2e20-f0a9-58ad-94ef-8b81e05babfd"
    assert str(root.ids.guid) == "4308249e-debc-58c0-af78-594b9fc3e783"
    assert str(root.ids.filesystem_uuid) == "3cc5ef0c-9344-530b-bff5-f487c19acf76"
    assert str(root.ids.hash_seed) == "98b1f7eb-dc4c-548f-a785-9b1732e7fa95"
    assert f"{placement.partitions[1].ids.fat_serial:08x}" == "5cd79706"


def test_no_identifier_is_used_twice() -> None:
    found = [
        value
        for identity in ("a", "b")
        for placement in (placed(identity=identity),)
        for part in placement.partitions
        for value in (
            placement.disk_guid.hex + part.wish.name,
            part.ids.guid,
            part.ids.filesystem_uuid,
            part.ids.hash_seed,
            part.ids.fat_serial,
        )
    ]
    assert len(found) == len(set(found))


def test_identifiers_do_not_depend_on_the_size() -> None:
    assert [part.ids for part in placed(size=GIB).partitions] == [part.ids for part in placed().partitions]


@pytest.mark.parametrize(
    ("architecture", "guid"),
    [
        ("amd64", "4f68bce3-e8cd-4db1-96e7-fbcaf984b709"),
        ("arm64", "b921b045-1df0-41c3-af44-4c6f280d3fae"),
        ("armhf", "69dad710-2ce4-4e3c-b16c-21a1d49abed3"),
        ("i386", "44479540-f297-41b2-9af7-d131d5f0458a"),
        ("riscv64", "72ec70a6-cf74-40e6-bd49-4bda08e8f224"),
    ],
)
def test_types(architecture: str, guid: str) -> None:
    layout = parse_layout(example(), origin="test")
    placement = place(layout, size=GIB, identity="x", architecture=architecture)
    assert [str(part.type_guid) for part in placement.partitions] == [
        "21686148-6449-6e6f-744e-656564454649",
        "c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
        guid,
    ]


@pytest.mark.parametrize("architecture", ["amd64", "arm64", "armhf", "i386", "riscv64"])
def test_each_architecture_has_types_of_its_own(architecture: str) -> None:
    """Those that systemd knows (systemd-id128(1), "show")."""
    need("systemd-id128")
    name = {"amd64": "x86-64", "armhf": "arm", "i386": "x86"}.get(architecture, architecture)
    usr = {"name": "usr", "type": "linux-usr", "size": "64MiB", "filesystem": "ext4", "mount": "/usr"}
    layout = parse_layout({**example(), "partitions": [*example()["partitions"], usr]}, origin="test")
    placement = place(layout, size=GIB, identity="x", architecture=architecture)
    for kind in ("root", "usr"):
        said = subprocess.run(
            ["systemd-id128", "show", "--uuid", f"{kind}-{name}"], capture_output=True, text=True, check=True
        )
        assert said.stdout.split()[-1] == str(placement.named(kind).type_guid)


def test_an_unknown_architecture_has_no_root_type() -> None:
    layout = parse_layout(example(), origin="test")
    with pytest.raises(LayoutError, match="architecture 'vax'"):
        place(layout, size=GIB, identity="x", architecture="vax")


@pytest.mark.parametrize(("size", "missing"), [(67, "1 MiB"), (66, "2 MiB"), (1, "66 MiB"), (0, "66 MiB")])
def test_what_is_missing_is_said(size: int, missing: str) -> None:
    with pytest.raises(LayoutError, match=f"need 66 MiB.* {missing} are missing") as caught:
        placed(size=size * MIB)
    assert "IMAGE_SIZE" in caught.value.hint
    assert "--image-size" in caught.value.hint


def test_the_smallest_image_that_fits() -> None:
    assert placed(size=68 * MIB).root.size == MIB


def test_half_a_sector() -> None:
    with pytest.raises(LayoutError, match="is not a multiple of the sector size"):
        placed(size=GIB + 100)


def test_an_ext4_that_is_larger_than_dibo_writes() -> None:
    partitions = [{"name": "root", "type": "linux", "size": "rest", "filesystem": "ext4", "mount": "/"}]
    layout = parse_layout({"table": "gpt", "partitions": partitions}, origin="test")
    with pytest.raises(LayoutError, match="root has 16 TiB, expected less than 16 TiB"):
        place(layout, size=16 * TIB + 2 * MIB, identity="x", architecture="amd64")
    with pytest.raises(LayoutError, match="root has 17 TiB"):
        bare_placement(17 * TIB, identity="x", label="root")
    assert place(layout, size=16 * TIB, identity="x", architecture="amd64").root.size < 16 * TIB
