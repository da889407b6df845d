"""What a machine is told when it boots: who may log in, and its name.

    NoCloud             a FAT file system labelled CIDATA with `user-data` and `meta-data` (cloud-init's reference,
                        "NoCloud"); kits read the same (converters/kit/functions/40-metadata)
    system credentials  `ssh.authorized_keys.root`, from systemd 252 on (systemd.system-credentials(7)); for images
                        without cloud-init

The key is made for this one machine by ssh-keygen(1); keys of the user may log in as well.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dibo.errors import UsageError
from dibo.formats.fat.build import FatVolume, write_fat
from dibo.formats.raw import RawFile
from dibo.system import process

LABEL: Final = "CIDATA"
ROOT: Final = "root"
CREDENTIAL: Final = "ssh.authorized_keys.root"
_SIZE: Final = 4 << 20
_OWN_KEYS: Final = ("id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub")
_KINDS: Final = ("ssh-", "ecdsa-", "sk-")
"""How public keys begin (sshd(8), AUTHORIZED_KEYS FILE FORMAT)."""
_LARGEST: Final = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Who logs in, and with what. `default` is the user that the image's own cloud-init makes, empty if unknown."""

    user: str
    default: str
    public_keys: tuple[str, ...]
    password: str = ""
    """For the console; none if empty."""


def make_key(directory: Path) -> Path:
    """A new ed25519 key without a passphrase; `.pub` lies beside the path returned. Raises ToolMissing."""
    key = directory / "id_ed25519"
    process.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "dibo-boot", "-f", str(key)])
    return key


def public_keys(key: Path, files: Sequence[Path]) -> tuple[str, ...]:
    """That of the key that `make_key` made, and those in files. Raises UsageError for a file without one."""
    keys = [key.with_suffix(".pub").read_text().strip()]
    for path in files:
        try:
            lines = [line.strip() for line in path.read_text(errors="replace")[:_LARGEST].splitlines()]
        except OSError as error:
            raise UsageError(f"cannot read the public key {path}: {error.strerror}") from error
        public = [line for line in lines if line.startswith(_KINDS)]
        if not public:
            raise UsageError(f"{path} has no public key for SSH", hint="such as ~/.ssh/id_ed25519.pub")
        keys += public
    return tuple(dict.fromkeys(keys))


def own_public_keys(home: Path) -> tuple[Path, ...]:
    """The files with public keys that ssh-keygen(1) makes by default."""
    return tuple(path for name in _OWN_KEYS if (path := home / ".ssh" / name).is_file())


def write_seed(image: Path, *, name: str, instance: str, login: Login, is_bare: bool = False) -> None:
    """The FAT image. To cloud-init, the machine is a new one if `instance` is new. Kits read keys from the metadata
    and variables of the program from the user data: with `is_bare`, these are empty."""
    meta = {"instance-id": instance, "local-hostname": name, "public-keys": list(login.public_keys)}
    # JSON is YAML.
    config = "" if is_bare else "#cloud-config\n" + json.dumps(user_data(login), indent=1) + "\n"
    files = {"user-data": config, "meta-data": json.dumps(meta, indent=1) + "\n"}
    with RawFile(image, _SIZE) as target:
        volume = FatVolume(target=target, offset=0, label=LABEL, serial=secrets.randbits(32))
        write_fat(volume, size=_SIZE, files={path: text.encode() for path, text in files.items()}, mtime=0)


def user_data(login: Login) -> dict[str, Any]:
    """A cloud-config: the default user is given the keys by the metadata, another one here."""
    config: dict[str, Any] = {"users": ["default"]}
    if login.user != login.default:
        user: dict[str, Any] = {"name": login.user, "ssh_authorized_keys": list(login.public_keys)}
        if login.user != ROOT:
            user |= {"sudo": "ALL=(ALL) NOPASSWD:ALL", "shell": "/bin/sh"}
        config["users"].append(user)
    if ROOT in (login.user, login.default):
        config["disable_root"] = False
    if login.password:
        config["chpasswd"] = {"expire": False, "list": f"{login.user}:{login.password}"}
    return config
