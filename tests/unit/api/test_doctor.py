"""What `dibo doctor` says of iSCSI: it uses qemu-img's driver, which is in a package of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from dibo.api import doctor
from tests.support.programs import fake

UNKNOWN = "echo \"qemu-img: Could not open 'driver=iscsi': Unknown driver 'iscsi'\" >&2; exit 1"
REFUSED = "echo 'qemu-img: iSCSI: Failed to connect to LUN : Connection refused' >&2; exit 1"


@pytest.mark.parametrize(
    ("program", "works", "advice"),
    [
        (UNKNOWN, False, "sudo apt-get install qemu-block-extra"),
        (REFUSED, True, ""),
        (None, False, "qemu-utils"),
    ],
    ids=["no driver", "a driver that nobody answers", "no qemu-img"],
)
def test_qemu_s_iscsi_driver_is_tried(
    program: str | None, works: bool, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    if program is not None:
        fake(tmp_path, "qemu-img", program)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    (finding,) = doctor._boot_server()
    assert (finding.works, finding.needed) == (works, False)
    assert advice in finding.advice
    assert finding.title == "dibo boot-server, method iscsi: qemu-img"
