"""The options of diskimage-builder's disk-image-create."""

from __future__ import annotations

import argparse
import io

import pytest

from dibo.cli.elements.dib_options import add_dib_options, environment_of
from dibo.errors import UsageError
from dibo.settings.dib_options import mkfs_words, qemu_img_variables, unused_of_elements, wants_md5
from dibo.system.report import Report


def environment(*words: str, **variables: str) -> tuple[dict[str, str], str]:
    """(what the options make of the variables, what is said)."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--offline", action="store_true")
    add_dib_options(parser)
    stream = io.StringIO()
    return environment_of(parser.parse_args(words), variables, Report(stream)), stream.getvalue()


def test_options_are_the_variables_that_elements_read() -> None:
    words = [
        *(
            "--root-label",
            "mine",
            "--image-extra-size",
            "500",
            "--install-type",
            "package",
            "-u",
            "--offline",
        ),
        *("--mkfs-options", "-i 16384", "--mkfs-journal-size", "16", "--checksum"),
    ]
    assert environment(*words, ROOT_LABEL="other", DIB_X="y") == (
        {
            "ROOT_LABEL": "mine",
            "DIB_IMAGE_EXTRA_SIZE": "500",
            "DIB_DEFAULT_INSTALLTYPE": "package",
            "DIBO_MKFS_OPTIONS": "-i 16384",
            "DIB_JOURNAL_SIZE": "16",
            "DIB_CHECKSUM": "1",
            "DIB_OFFLINE": "1",
            "DIBO_QCOW2_COMPRESSION": "none",
            "DIB_X": "y",
        },
        "",
    )
    assert environment() == ({}, "")


def test_a_clear_environment_keeps_what_is_for_dibo() -> None:
    found, _ = environment("-c", "--root-label", "x", DIB_X="y", COLOUR="red", DIBO_EPOCH="e", IMAGE_SIZE="3")
    assert found == {"DIBO_EPOCH": "e", "IMAGE_SIZE": "3", "ROOT_LABEL": "x"}


@pytest.mark.parametrize(
    "words",
    [
        ("--max-online-resize", "274877906944"),
        ("--no-tmpfs",),
        ("--min-tmpfs", "4"),
        ("--docker-target", "a"),
        ("--ramdisk-element", "ramdisk"),
    ],
)
def test_options_without_an_effect_say_so(words: tuple[str, ...]) -> None:
    found, said = environment(*words)
    assert found == {}
    assert said.startswith(f"dibo: warning: {words[0]} has no effect: ")


def test_options_of_qemu_img() -> None:
    assert qemu_img_variables("compression_type=zstd, compat=1.1") == {"DIBO_QCOW2_COMPRESSION": "zstd"}
    assert environment("--qemu-img-options", "compression_type=zlib", "-u")[0] == {
        "QEMU_IMG_OPTIONS": "compression_type=zlib",
        "DIBO_QCOW2_COMPRESSION": "none",
    }
    with pytest.raises(UsageError, match=r"compat=0\.10: a qcow2 of dibo has no such option") as caught:
        qemu_img_variables("compat=0.10")
    assert "qemu-img convert -O qcow2 -o compat=0.10" in caught.value.hint


def test_words_for_mkfs() -> None:
    assert mkfs_words({}) == ()
    assert mkfs_words({"DIB_JOURNAL_SIZE": "64", "DIBO_MKFS_OPTIONS": "-O '^metadata_csum' -m 0"}) == (
        *("-J", "size=64", "-O", "^metadata_csum", "-m", "0"),
    )
    for name, value, message in (
        ("DIB_JOURNAL_SIZE", "64M", "is '64M', not a number of MB"),
        ("DIBO_MKFS_OPTIONS", "-O 'x", "No closing quotation"),
        ("DIBO_MKFS_OPTIONS", "-Lmine", "-Lmine is for dibo to say"),
    ):
        with pytest.raises(UsageError, match=message):
            mkfs_words({name: value})


@pytest.mark.parametrize(
    ("value", "wanted"),
    [("", False), ("0", False), ("1", True), ("md5", True), ("sha256", False), ("md5,sha256", True)],
)
def test_md5(value: str, wanted: bool) -> None:
    assert wants_md5({"DIB_CHECKSUM": value}) is wanted


def test_what_is_for_elements_alone() -> None:
    assert unused_of_elements({"ROOT_LABEL": "x", "DIB_IMAGE_EXTRA_SIZE": ""}) == (
        "--root-label (ROOT_LABEL) has no effect: it is for stacks with elements",
    )
