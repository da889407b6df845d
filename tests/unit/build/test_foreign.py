"""How programs of another architecture run; what the kernel is told is compared with qemu's own lines."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from dibo.build import foreign
from dibo.errors import EngineError, ToolMissing
from dibo.system import process
from tests.support.programs import fake

# From qemu's scripts/qemu-binfmt-conf.sh.
_MAGIC = {
    "arm64": r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00",
    "armhf": r"\x7fELF\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x28\x00",
    "riscv64": r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xf3\x00",
}
_MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
_UNPRIVILEGED = 1000


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    foreign.emulation.cache_clear()
    yield
    foreign.emulation.cache_clear()


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An x86-64 machine with no emulator, and an ordinary user."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine="x86_64"))
    monkeypatch.setattr(os, "geteuid", lambda: _UNPRIVILEGED)
    return tmp_path


@pytest.mark.parametrize("architecture", sorted(_MAGIC))
def test_the_line_for_the_kernel_is_qemu_s(architecture: str) -> None:
    name, magic, mask, program, flags = (
        foreign.registration(architecture, Path("/usr/bin/qemu")).replace(":M::", ":").strip(":").split(":")
    )
    assert (name, program, flags) == (f"dibo-{architecture}", "/usr/bin/qemu", "POCF")
    decoded = [field.encode().decode("unicode_escape") for field in (magic, mask)]
    assert decoded == [text.encode().decode("unicode_escape") for text in (_MAGIC[architecture], _MASK)]


@pytest.mark.parametrize("architecture", ["amd64", "i386"])
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="programs of this machine are tried")
def test_the_smallest_program_runs(architecture: str, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(foreign.smallest_program(architecture))
    program.chmod(0o755)
    assert process.run([str(program)], check=False).returncode == 0


def test_what_this_machine_runs_by_itself_is_not_tried(programs: Path) -> None:
    for architecture in ("amd64", "i386"):
        assert foreign.emulation(architecture) == foreign.Emulation()


def test_an_emulator_is_registered_in_a_namespace(programs: Path) -> None:
    fake(programs, "qemu-aarch64-static", "exit 0")
    fake(programs, "buildah", 'case "$*" in *emulate.sh*) exit 0 ;; *) exit 1 ;; esac')
    emulation = foreign.emulation("arm64")
    assert emulation.prefix[-1].endswith(f":{programs}/bin/qemu-aarch64-static:POCF")
    assert "in a user namespace of dibo's own" in emulation.description


def test_a_kernel_without_it_is_left_to_the_machine_s_registration(programs: Path) -> None:
    fake(programs, "qemu-aarch64-static", "exit 0")
    fake(programs, "buildah", 'case "$*" in *emulate.sh*) exit 1 ;; *) exit 0 ;; esac')
    emulation = foreign.emulation("arm64")
    assert emulation.prefix == ()
    assert "binfmt_misc of this machine" in emulation.description


def test_root_registers_nothing(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    fake(programs, "qemu-aarch64-static", "exit 0")
    fake(programs, "unshare", f'echo "$*" >> {programs}/calls; exit 1')
    with pytest.raises(EngineError, match="this machine has registered no emulator") as caught:
        foreign.emulation("arm64")
    assert "as an ordinary user" in caught.value.hint
    assert "emulate.sh" not in (programs / "calls").read_text()


def test_without_an_emulator_the_package_is_named(programs: Path) -> None:
    fake(programs, "buildah", "exit 1")
    with pytest.raises(ToolMissing, match="programs of riscv64 do not run on this machine") as caught:
        foreign.emulation("riscv64")
    assert "sudo apt-get install qemu-user-static" in caught.value.hint


def test_a_kernel_that_refuses_is_quoted(programs: Path) -> None:
    fake(programs, "qemu-arm-static", "exit 0")
    fake(programs, "buildah", "echo 'mount: permission denied.' >&2; exit 1")
    with pytest.raises(EngineError, match="permission denied") as caught:
        foreign.emulation("armhf")
    assert "Linux 6.7" in caught.value.hint


def test_the_kernel_runs_programs_of_other_architectures_that_dibo_does_not_know(programs: Path) -> None:
    assert foreign.emulation("s390x") == foreign.Emulation()
