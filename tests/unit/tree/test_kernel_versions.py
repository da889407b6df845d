"""One order of kernels, whoever asks."""

from __future__ import annotations

import pytest

from dibo.tree.kernel_versions import grub_order, newest_last


def test_numbers_and_what_is_not_released() -> None:
    ordered = (
        "0-rescue-ab12",
        "5.10.0-8",
        "6.1.0-rc1",
        "6.1.0~rc2",
        "6.1.0-9-amd64",
        "6.1.0-13-amd64",
        "6.2-rc1",
        "6.2-rc10",
        "6.2~x",
        "6.2",
        "6.2.1",
        "6.10",
        "6.11.4-301.fc41.x86_64",
        "6.11.4-301.fc42.x86_64",
    )
    assert newest_last(reversed(ordered)) == ordered
    newest_last(["²-٣-6", "", "virt"])  # digits that int() does not know


@pytest.mark.parametrize(
    ("versions", "newest"),
    [
        (["6.1.0-13-rt-amd64", "6.1.0-13-cloud-amd64", "6.1.0-13-amd64"], "6.1.0-13-amd64"),
        (["6.1.0-13-rt-amd64", "6.1.0-13-cloud-amd64"], "6.1.0-13-cloud-amd64"),
        (["6.8.0-49-lowlatency", "6.8.0-49-generic"], "6.8.0-49-generic"),
        (["6.11.4-301.fc41.x86_64+debug", "6.11.4-301.fc41.x86_64"], "6.11.4-301.fc41.x86_64"),
        (["linux-lts", "linux"], "linux"),
        (["6.1.0-13-amd64", "6.1.0-14-rt-amd64"], "6.1.0-14-rt-amd64"),
    ],
)
def test_builds_of_one_release(versions: list[str], newest: str) -> None:
    assert newest_last(versions)[-1] == newest
    assert newest_last(versions[::-1])[-1] == newest


def test_the_boot_loader_decides_between_builds_of_one_release() -> None:
    config = (
        "menuentry a {\n\tlinux\t/boot/vmlinuz-6.1.0-13-cloud-amd64 root=x ro\n}\n"
        "submenu b {\n linuxefi /vmlinuz-6.1.0-13-cloud-amd64 ro\n linux /@/boot/vmlinuz-6.1.0-13-amd64\n}\n"
        "linux /boot/memtest\n"
    )
    order = grub_order(config)
    assert order == ("6.1.0-13-cloud-amd64", "6.1.0-13-amd64")
    versions = ["6.1.0-13-amd64", "6.1.0-13-rt-amd64", "6.1.0-13-cloud-amd64", "6.1.0-9-amd64"]
    assert newest_last(versions, default_order=order) == (
        "6.1.0-9-amd64",
        "6.1.0-13-rt-amd64",
        "6.1.0-13-amd64",
        "6.1.0-13-cloud-amd64",
    )
