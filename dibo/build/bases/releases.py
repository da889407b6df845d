"""The releases of Debian and Ubuntu that dibo knows: the one table that ages.

State of November 2026. A release that is not here can be asked for by its code name; only the defaults, and
version numbers in place of names (`ubuntu:24.04`), come from here. To renew it:
https://wiki.ubuntu.com/Releases and https://www.debian.org/releases/.
"""

from __future__ import annotations

from typing import Final

UBUNTU: Final = {"20.04": "focal", "22.04": "jammy", "24.04": "noble", "26.04": "resolute"}  # those with LTS
DEBIAN: Final = {"12": "bookworm", "13": "trixie", "14": "forky"}

NEWEST_UBUNTU_LTS: Final = "resolute"
NEWEST_DEBIAN_STABLE: Final = "trixie"
DEBIAN_TOO_OLD: Final = ("jessie", "stretch", "buster", "bullseye")  # no package systemd-resolved
