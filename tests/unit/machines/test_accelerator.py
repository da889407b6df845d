"""When KVM is used: the small guest runs with emulation here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dibo.errors import MachineError
from dibo.machines.accelerator import (
    TCG,
    boot_identity,
    choose_accelerator,
    kvm_works,
    remembered,
)
from dibo.machines.boards import board_of
from tests.support.requirements import need


@pytest.mark.parametrize(
    ("architecture", "program"), [("amd64", "qemu-system-x86_64"), ("arm64", "qemu-system-aarch64")]
)
def test_the_small_guest_ends(architecture: str, program: str, tmp_path: Path) -> None:
    need(program)
    assert kvm_works(board_of(architecture), tmp_path, accelerator="tcg")
    assert not list(tmp_path.iterdir())


def test_an_accelerator_that_qemu_does_not_have(tmp_path: Path) -> None:
    need("qemu-system-x86_64")
    assert not kvm_works(board_of("amd64"), tmp_path, accelerator="none-such")


def test_the_answer_is_remembered_until_the_machine_is_started_again(tmp_path: Path) -> None:
    answers = iter([False, True])
    path = tmp_path / "kvm.json"
    assert [remembered(path, lambda: next(answers)) for _ in range(3)] == [False] * 3
    assert json.loads(path.read_text())["boot"] == boot_identity()
    path.write_text(json.dumps({"boot": "another", "works": False}))
    assert remembered(path, lambda: next(answers))
    path.write_text("damaged")
    assert not remembered(path, lambda: False)


def test_words(tmp_path: Path) -> None:
    """One emulated processor has one thread; KVM of another architecture is refused."""
    amd64 = board_of("amd64")
    assert choose_accelerator("tcg", amd64, None, cache=tmp_path) == TCG
    assert choose_accelerator("tcg", amd64, 2, cache=tmp_path) == "tcg"
    assert choose_accelerator("auto", board_of("armhf"), None, cache=tmp_path) == TCG
    with pytest.raises(MachineError, match="does not run armhf"):
        choose_accelerator("kvm", board_of("armhf"), None, cache=tmp_path)
