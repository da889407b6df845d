"""What a project file says of an image, between environment variables and defaults."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dibo.errors import UsageError
from dibo.images.reference import ImageName
from dibo.projects.model import Destination, Position, ProjectImage
from dibo.projects.settings import settings_of
from dibo.settings.secrets import SecretSource
from dibo.settings.settings import SET_BY_PROJECT, Options, Settings
from dibo.units import GIB

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def image(**fields: Any) -> ProjectImage:
    return ProjectImage(
        name="web",
        position=Position(file=Path("/p/dibo.yaml"), line=3),
        destination=Destination(directory=Path("/p/out")),
        **fields,
    )


def settings(
    project_image: ProjectImage, environment: dict[str, str] | None = None, **options: Any
) -> Settings:
    return settings_of(
        project_image, Options(**options), environment or {}, now=NOW, machine="x86_64", home=Path("/home/me")
    )


H1A = ImageName(host="h:1", repository="a")
HB = ImageName(host="localhost", repository="b")
HC = ImageName(host="localhost", repository="c")

# field of the image, its value, field of settings, what it becomes; variable, value, that; option, value, that
TABLE = [
    ("architecture", "arm64/v8", "architecture", "arm64", "ARCH", "i386", "i386", "architecture", "amd64", "amd64"),
    ("base", "debian", "base", "debian", "DIBO_BASE", "ubuntu", "ubuntu", "base", "oci:x", "oci:x"),
    ("release", "trixie", "release", "trixie", "RELEASE", "noble", "noble", "release", "jammy", "jammy"),
    ("types", ("raw", "tar"), "types", ("raw", "tar"), "IMAGE_TYPE", "vhd", ("vhd",), "types", "qcow2", ("qcow2",)),
    ("size", "1.5", "image_size", 3 * GIB // 2, "IMAGE_SIZE", "3", 3 * GIB, "image_size", "4", 4 * GIB),
    ("size", "1", "size_set_by", SET_BY_PROJECT, "IMAGE_SIZE", "3", "IMAGE_SIZE", "image_size", "4", "--image-size"),
    ("filesystem", "xfs", "filesystem", "xfs", "FS_TYPE", "ext3", "ext3", "filesystem", "ext2", "ext2"),
    (
        "filesystem",
        "xfs",
        "filesystem_set_by",
        "the project file",
        "FS_TYPE",
        "ext3",
        "FS_TYPE",
        "filesystem",
        "ext2",
        "--fs-type",
    ),
    ("epoch", "e1", "epoch", "e1", "DIBO_EPOCH", "e2", "e2", "epoch", "e3", "e3"),
    ("mirror", "http://a", "mirror", "http://a", "DIBO_MIRROR", "http://b", "http://b", "mirror", "http://c", "http://c"),
    ("network", "none", "network", "none", "DIBO_NETWORK", "host", "host", "network", "host", "host"),
    ("host_hooks", "none", "host_hooks", "none", "DIBO_HOST_HOOKS", "run", "run", "host_hooks", "sandbox", "sandbox"),
    ("caches", ("h:1/a",), "caches_to", (H1A,), "DIBO_CACHE", "localhost/b", (HB,), "caches", ("localhost/c",), (HC,)),
    ("cache_files", True, "cache_files", True, "DIBO_CACHE_FILES", "0", False, "cache_files", "1", True),
    (
        "caches_from",
        ("h:1/a",),
        "caches_from",
        (H1A,),
        "DIBO_CACHE_FROM",
        "localhost/b",
        (HB,),
        "caches_from",
        ("localhost/c",),
        (HC,),
    ),
    (
        "caches_to",
        ("h:1/a",),
        "caches_to",
        (H1A,),
        "DIBO_CACHE_TO",
        "localhost/b",
        (HB,),
        "caches_to",
        ("localhost/c",),
        (HC,),
    ),
]  # fmt: skip


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row[0]}-{row[2]}")
def test_options_over_variables_over_the_file(row: tuple[Any, ...]) -> None:
    key, value, field, of_file, variable, text, of_variable, option, given, of_option = row
    one = image(**{key: value})
    assert getattr(settings(one), field) == of_file
    assert getattr(settings(one, {variable: ""}), field) == of_file, "an empty variable counts as unset"
    assert getattr(settings(one, {variable: text}), field) == of_variable
    assert getattr(settings(one, {variable: text}, **{option: given}), field) == of_option


def test_what_the_file_does_not_say_is_the_default() -> None:
    found = settings(image(flavours=("vm",)))
    assert (found.flavours, found.architecture, found.types) == (("base", "vm"), "amd64", ("qcow2",))
    assert (found.image_size, found.size_set_by) == (2 * GIB, "dibo's default")
    assert (found.output, found.kit, found.filesystem_set_by) == (Path("/p/out/web"), None, None)


def test_the_stack_begins_with_the_base_of_its_kind() -> None:
    assert settings(image(flavours=("deploy",), ramdisk=True)).flavours == ("ramdisk-base", "deploy")
    assert settings(image(flavours=("vm",), with_base=False)).flavours == ("vm",)
    assert settings(image(flavours=("vm",)), with_base=False).flavours == ("vm",)


def test_directories_of_the_file_are_searched_after_those_of_options_and_variables() -> None:
    one = image(flavours_path=(Path("/p/flavours"),), converters_path=(Path("/p/conv"),))
    environment = {"FLAVOURS_DIR": "own", "DIBO_FLAVOURS_PATH": "a:b", "DIBO_CONVERTERS_PATH": "c"}
    found = settings(one, environment, flavours_path=("first",), converters_path=("k",))
    assert found.flavours_path == tuple(map(Path, ("first", "own", "a", "b", "/p/flavours")))
    assert found.converters_path == tuple(map(Path, ("k", "c", "/p/conv")))


def test_variables_of_the_environment_override_those_of_the_file() -> None:
    one = image(variables=(("COLOUR", "red"), ("SHAPE", "round")), kit="oci:/p/kit")
    assert settings(one, {"COLOUR": "blue", "SHAPE": ""}).environment == {
        "COLOUR": "blue",
        "SHAPE": "round",
        "DIBO_KIT": "oci:/p/kit",
    }
    assert settings(one).kit == "oci:/p/kit"
    assert settings(one, {"DIBO_KIT": "oci:mine"}).kit == "oci:mine"


def test_a_source_of_a_secret_that_an_option_names_replaces_that_of_the_file() -> None:
    one = image(secret_sources=("token=/p/token", "key=env:KEY"))
    found = settings(one, secrets=("token=env:TOKEN", "other=/o"))
    assert found.secrets == (
        SecretSource(name="token", variable="TOKEN"),
        SecretSource(name="key", variable="KEY"),
        SecretSource(name="other", file=Path("/o")),
    )


def test_a_digest_of_the_file_is_that_of_its_base_alone() -> None:
    one = image(base="./root.tar", sha256="ab" * 32)
    assert settings(one).sha256 == "ab" * 32
    assert settings(one, base="./other.tar").sha256 is None
    assert settings(one, sha256="cd" * 32).sha256 == "cd" * 32


def test_values_are_checked_as_options_are() -> None:
    with pytest.raises(UsageError, match="no architecture"):
        settings(image(architecture="amd65"))


def test_a_name_that_is_given_may_end_in_another_type() -> None:
    one = image(types=("qcow2",))
    assert settings(one).types_named
    assert not settings(one, name="web.raw").types_named
    assert not settings(one, {"IMAGE_NAME": "web.raw"}).types_named
    assert settings(one, name="web.raw", types="vhd").types_named
    assert not settings(image()).types_named
