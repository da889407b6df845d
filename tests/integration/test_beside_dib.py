"""The same elements, built by diskimage-builder as root and by dibo as an ordinary user, make the same image.

Each way in which the trees differ stands in REASONS with the reason why; a difference without one fails, and so does a
reason that nothing needs any more. Both build to a tar: without partitions, since diskimage-builder gives loop devices
of a whole disk to kpartx, and with it to the device mapper, which not every kernel has.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.support import dib, user
from tests.support.beside_dib.engine import dib_engine, mirrors
from tests.support.beside_dib.grub_menu import read_menu
from tests.support.beside_dib.trees import Aspect, Reason, differences, not_explained, read_tar, text_of
from tests.support.beside_dib.witness import ELEMENTS, RELEASE, VARIABLES, write_witness
from tests.support.host.build_env import build_env
from tests.support.requirements import need

pytestmark = [pytest.mark.integration, pytest.mark.long, dib.needs_wheel]

THEIRS, OURS, CONTENT = Aspect.THEIRS, Aspect.OURS, Aspect.CONTENT
PACKAGES: Final = {
    "grub-pc": "dibo writes GRUB itself; this package would ask for a disk when it is upgraded"
}
"""Packages that only diskimage-builder installs, and why. dibo installs none that it does not."""
_GRUB_PC: Final = "of the package grub-pc, which dibo does not install"
_WRITTEN: Final = (
    "dibo writes GRUB, whichever way the disk is made later, from files that grub-install would copy"
)
_BUILD: Final = "of the build machine, or left over from the build"
REASONS: Final = (
    Reason(paths=r"boot/grub/(fonts|locale)(/.*)?|boot/grub/unicode\.pf2", aspects=(THEIRS,), text=_WRITTEN),
    Reason(paths=r"boot/grub/i386-pc/(efiemu(32|64)\.o|modinfo\.sh)", aspects=(THEIRS,), text=_WRITTEN),
    Reason(paths=r"boot/grub/i386-pc/fdt\.lst|boot/efi", aspects=(OURS,), text=_WRITTEN),
    Reason(
        paths=r"(usr/lib/dibo(/.*)?|etc/(default/grub\.d/6[05]|grub\.d/00|udev)[-_].*)",
        aspects=(OURS,),
        text=_WRITTEN,
    ),
    Reason(paths=r"usr/lib/udev/rules\.d/61-dibo-root-disk\.rules", aspects=(OURS,), text=_WRITTEN),
    Reason(paths=r"boot/grub/i386-pc/core\.img", aspects=(CONTENT,), text=_WRITTEN),
    Reason(
        paths=r"boot/grub/grub\.cfg|etc/default/grub",
        aspects=(CONTENT,),
        text="dibo has settings of GRUB in grub.d, and a menu of its own until update-grub is run; another test says "
        "that both start the same",
    ),
    Reason(
        paths=r".*\bgrub-(bios-setup|legacy|ntldr-img|pc)\b.*|usr/sbin/upgrade-from-grub-legacy",
        aspects=(THEIRS,),
        text=_GRUB_PC,
    ),
    Reason(
        paths=r"var/lib/(ucf/cache/:etc:default:grub|ucf/.*\.1|grub/ucf/grub\.previous)",
        aspects=(THEIRS,),
        text=_GRUB_PC,
    ),
    Reason(
        paths=r"var/lib/(dpkg/status|apt/extended_states|ucf/.*)|var/cache/debconf/.*\.dat|"
        r"etc/dib-manifests/dib-manifest-dpkg-image",
        aspects=(CONTENT,),
        text=_GRUB_PC,
    ),
    Reason(
        paths=r"boot/initrd\.img-.*",
        aspects=(CONTENT,),
        text="has times of the build, and dibo's rule that names the root's disk",
    ),
    Reason(
        paths=r".*/__pycache__/.*\.pyc",
        aspects=(CONTENT,),
        text="has a digest of its source, not a time, where SOURCE_DATE_EPOCH is set",
    ),
    Reason(
        paths=r"etc/(passwd|group|shadow|gshadow)",
        aspects=(CONTENT,),
        text="the day of the change, and the order; another test compares the rest",
    ),
    Reason(
        paths=r"etc/resolv\.conf|dev/.*|run/.*|lost\+found|var/log/.*|var/cache/(apt/archives/lock|ldconfig/aux-cache)",
        aspects=(THEIRS,),
        text=_BUILD,
    ),
    Reason(paths=r"etc/hostname", aspects=(Aspect.MODE,), text=_BUILD),
    Reason(
        paths=r"etc/((passwd|group|shadow|gshadow|subuid|subgid)-|\.pwd\.lock)|var/(cache/debconf|lib/dpkg)/.*-old",
        aspects=(THEIRS,),
        text=_BUILD,
    ),
    Reason(
        paths=r"proc|sys", aspects=(OURS,), text="diskimage-builder leaves these mount points out of a tar"
    ),
    Reason(
        paths=r"var/lib/dbus/machine-id",
        aspects=(THEIRS,),
        text="an empty file; D-Bus reads /etc/machine-id without it",
    ),
    Reason(
        paths=r"var/log/journal",
        aspects=(Aspect.XATTRS,),
        text="layers of container images have no ACLs; systemd-tmpfiles sets this one at each boot",
    ),
    Reason(paths=r"etc/apt/sources\.list\.d/\.list", aspects=(THEIRS,), text="of a line without a name"),
    Reason(
        paths=r"etc/systemd/system/(.*/)?dibo-ssh-host-keys\.service|etc/systemd/system/ssh\.service\.wants",
        aspects=(OURS,),
        text="a machine makes its host keys when it first boots, with and without an element that sees to it",
    ),
    Reason(
        paths=r"etc/dib-manifests/dib(-element-manifest|_arguments|_environment)",
        aspects=(CONTENT,),
        text="the order of elements is another one each time there; dibo's environment has the user's variables alone",
    ),
    Reason(
        paths=r"usr/share/pkg-map/(bootloader|debootstrap)",
        aspects=(THEIRS, CONTENT),
        text="dibo has these elements in its own way",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoImages:
    theirs: Path
    ours: Path

    def texts(self, name: str) -> tuple[str, str]:
        """A file of both."""
        return text_of(self.theirs, name), text_of(self.ours, name)


@pytest.fixture(scope="module")
def images() -> Iterator[TwoImages]:
    need("buildah", "bwrap", "mmdebstrap", "newuidmap")
    with dib_engine() as engine, build_env(user.need_ordinary_user()) as place:
        elements = write_witness(place.directory / "elements")
        variables = {**VARIABLES, **mirrors(RELEASE)}
        theirs = engine.build("image", ELEMENTS, {**variables, "ELEMENTS_PATH": str(elements)})
        path = f"{elements}:{dib.unpack(place.directory / 'wheel')}"
        done = place.run(
            "disk-image-create",
            *("-n", "-t", "tar", "-o", place.temporary / "image", *ELEMENTS),
            environment={**variables, "ELEMENTS_PATH": path, "DIBO_BASE": ""},
        )
        assert done.code == 0, done.err[-6000:]
        yield TwoImages(theirs=theirs, ours=place.temporary / "image.tar")


def test_both_trees_are_the_same_but_for_what_is_explained(images: TwoImages) -> None:
    found = [*differences(read_tar(images.theirs), read_tar(images.ours))]
    assert not not_explained(found, REASONS)


def test_both_install_the_same_packages(images: TwoImages) -> None:
    theirs, ours = map(packages_of, images.texts("var/lib/dpkg/status"))
    assert {name: version for name, version in theirs.items() if name not in PACKAGES} == ours
    assert theirs.keys() >= PACKAGES.keys()


def test_both_have_the_same_users_and_groups(images: TwoImages) -> None:
    for name, fields in (
        ("etc/passwd", (0, 1, 4, 5, 6)),
        ("etc/group", (0, 1, 3)),
        ("etc/shadow", (0, 1, 4)),
    ):
        theirs, ours = (fields_of(text, fields) for text in images.texts(name))
        assert theirs == ours, name


def test_both_have_the_same_elements(images: TwoImages) -> None:
    theirs, ours = map(str.split, images.texts("etc/dib-manifests/dib-element-manifest"))
    assert sorted(theirs) == sorted(ours)


def test_both_mount_the_same_file_systems(images: TwoImages) -> None:
    theirs, ours = images.texts("etc/fstab")
    assert theirs == ours
    assert images.texts("etc/witness/fstab") == (theirs, ours)


def test_both_start_the_same_kernel_with_the_same_arguments(images: TwoImages) -> None:
    theirs, ours = map(read_menu, images.texts("boot/grub/grub.cfg"))
    assert theirs == ours


def packages_of(status: str) -> dict[str, str]:
    """Versions of installed packages, of dpkg's status file."""
    stanzas = [dict(re.findall(r"^(\S+): (.*)$", text, re.MULTILINE)) for text in status.split("\n\n")]
    return {
        stanza["Package"]: stanza["Version"]
        for stanza in stanzas
        if stanza.get("Status") == "install ok installed"
    }


def fields_of(text: str, fields: tuple[int, ...]) -> list[list[str]]:
    """These fields of the lines of a passwd or its kin, sorted: ids are given in the order of installation."""
    lines = [line.split(":") for line in text.splitlines()]
    return sorted([line[number] for number in fields] for line in lines)
