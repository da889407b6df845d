"""What a machine is told, read back from the image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dibo.errors import UsageError
from dibo.formats.fat.reader import Fat
from dibo.formats.filesystem import read_text
from dibo.inspect.open_image import FileSource
from dibo.machines.seed import Login, make_key, own_public_keys, public_keys, user_data, write_seed
from tests.support.requirements import need


def login(user: str, default: str = "debian", password: str = "") -> Login:
    return Login(user=user, default=default, public_keys=("ssh-ed25519 AAAA me",), password=password)


def seed_texts(image: Path) -> tuple[str, Any]:
    """The user data, and the metadata."""
    source = FileSource(image)
    system = Fat(source)
    user, meta = (read_text(system, f"/{name}", limit=1 << 16) for name in ("user-data", "meta-data"))
    source.close()
    assert user is not None
    assert meta is not None
    return user, json.loads(meta)


def test_an_image_for_cloud_init(tmp_path: Path) -> None:
    image = tmp_path / "seed"
    write_seed(image, name="web", instance="1", login=login("debian"))
    user, meta = seed_texts(image)
    assert user.startswith("#cloud-config\n")
    assert meta == {"instance-id": "1", "local-hostname": "web", "public-keys": ["ssh-ed25519 AAAA me"]}
    assert b"CIDATA     " in image.read_bytes()[:512]


def test_a_kit_is_told_no_variables(tmp_path: Path) -> None:
    write_seed(tmp_path / "seed", name="web", instance="1", login=login("root", ""), is_bare=True)
    assert seed_texts(tmp_path / "seed")[0] == ""


def test_the_default_user_is_not_named() -> None:
    """The image knows best what it is like; another one is made, root is let in."""
    assert user_data(login("debian")) == {"users": ["default"]}
    other = user_data(login("admin"))["users"][1]
    assert (other["name"], other["ssh_authorized_keys"]) == ("admin", ["ssh-ed25519 AAAA me"])
    root = user_data(login("root"))
    assert root["disable_root"] is False
    assert "sudo" not in root["users"][1]
    assert user_data(login("debian", password="x"))["chpasswd"]["list"] == "debian:x"


def test_keys(tmp_path: Path) -> None:
    """That of this boot, and those of files, each once."""
    need("ssh-keygen")
    key = make_key(tmp_path)
    own = tmp_path / ".ssh"
    own.mkdir()
    (own / "id_rsa.pub").write_text("# mine\nssh-rsa AAAA me@here\n")
    files = own_public_keys(tmp_path)
    keys = public_keys(key, (*files, *files))
    assert [text.split()[0] for text in keys] == ["ssh-ed25519", "ssh-rsa"]
    with pytest.raises(UsageError, match="no public key"):
        public_keys(key, [key])
    with pytest.raises(UsageError, match="cannot read"):
        public_keys(key, [tmp_path / "missing"])
