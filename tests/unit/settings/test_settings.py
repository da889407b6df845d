"""Options over variables over defaults, for each of them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dibo.api.settings import current_settings
from dibo.errors import UsageError
from dibo.images.reference import ImageName
from dibo.settings.settings import Options, Settings, decide
from dibo.settings.variables import VARIABLES
from dibo.units import GIB

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def settings(
    environment: dict[str, str] | None = None, *, machine: str = "x86_64", **options: object
) -> Settings:
    given = Options(**options)  # type: ignore[arg-type]
    return decide(given, environment or {}, now=NOW, machine=machine, home=Path("/home/me"))


def test_defaults() -> None:
    found = settings(flavours=("vm",))
    assert found.flavours == ("base", "vm")
    assert (found.architecture, found.output, found.types) == ("amd64", Path("image"), ("qcow2",))
    assert (found.base, found.release, found.filesystem) == ("ubuntu", None, "ext4")
    assert (found.image_size, found.size_set_by) == (2 * GIB, "dibo's default")
    assert found.cache == Path("/home/me/.cache/dibo")
    assert (found.epoch, found.source_date_epoch) == ("2026-11", 1793491200)
    assert (found.flavours_path, found.converters_path) == ((), ())


H1A = ImageName(host="h:1", repository="a")
HB = ImageName(host="localhost", repository="b")

# variable, its value, the field, what comes of it, the option, its value, what comes of that
TABLE = [
    ("ARCH", "arm64", "architecture", "arm64", "architecture", "i386", "i386"),
    ("RELEASE", "noble", "release", "noble", "release", "jammy", "jammy"),
    ("FS_TYPE", "ext3", "filesystem", "ext3", "filesystem", "ext2", "ext2"),
    ("IMAGE_TYPE", "raw,tar", "types", ("raw", "tar"), "types", "qcow2", ("qcow2",)),
    ("IMAGE_NAME", "out/web", "output", Path("out/web"), "name", "x", Path("x")),
    ("IMAGE_SIZE", "1.5", "image_size", 3 * GIB // 2, "image_size", "3", 3 * GIB),
    ("IMG_PATH", "/cache", "cache", Path("/cache"), "cache_dir", "/other", Path("/other")),
    ("DIBO_BASE", "debian", "base", "debian", "base", "./x.tar", "./x.tar"),
    ("DIBO_ENGINE", "docker", "engine", "docker", "engine", "buildah", "buildah"),
    ("DIBO_ISOLATION", "chroot", "isolation", "chroot", "isolation", "bwrap", "bwrap"),
    ("DIBO_NETWORK", "none", "network", "none", "network", "host", "host"),
    ("DIBO_HOST_HOOKS", "none", "host_hooks", "none", "host_hooks", "sandbox", "sandbox"),
    ("DIBO_MIRROR", "http://m", "mirror", "http://m", "mirror", "http://n", "http://n"),
    ("DIBO_UBUNTU_KEYRING", "/k", "keyring", Path("/k"), "keyring", "/l", Path("/l")),
    ("DIBO_EPOCH", "build-7", "epoch", "build-7", "epoch", "2026-01-02", "2026-01-02"),
    ("DIBO_CACHE", "h:1/a", "caches_from", (H1A,), "caches", ("localhost/b",), (HB,)),
    ("DIBO_CACHE", "h:1/a", "caches_to", (H1A,), "caches", ("localhost/b",), (HB,)),
    (
        "DIBO_CACHE_FROM",
        "h:1/a, localhost/b,localhost/b",
        "caches_from",
        (H1A, HB),
        "caches_from",
        ("localhost/b",),
        (HB,),
    ),
    ("DIBO_CACHE_TO", "localhost/b", "caches_to", (HB,), "caches_to", ("h:1/a", "localhost/b"), (H1A, HB)),
    ("DIBO_KEYSERVER", "none", "keyserver", "none", "keyserver", "hkp://b", "hkp://b"),
    ("DIBO_SIGN_KEY", "a.key", "sign_key", Path("a.key"), "sign_key", "b.key", Path("b.key")),
    ("DIBO_VERIFY_KEYS", "a:b", "verify_keys", (Path("a"), Path("b")), "verify_keys", ("c",), (Path("c"),)),
    ("DIBO_POLICY", "a.yaml", "policy", Path("a.yaml"), "policy", "b.yaml", Path("b.yaml")),
    ("DIBO_CACHE_FILES", "1", "cache_files", True, "cache_files", "0", False),
    ("DIBO_LAYER_COMPRESSION", "gzip", "layer_compression", "gzip", "layer_compression", "none", "none"),
]


@pytest.mark.parametrize(("variable", "value", "field", "wanted", "option", "other", "then"), TABLE)
def test_an_option_counts_more_than_a_variable_which_counts_more_than_the_default(
    variable: str, value: str, field: str, wanted: object, option: str, other: str, then: object
) -> None:
    default = getattr(settings(), field)
    changed: dict[str, Any] = {option: other}
    assert getattr(settings({variable: value}), field) == wanted != default
    assert getattr(settings({variable: value}, **changed), field) == then
    assert getattr(settings(**changed), field) == then
    assert getattr(settings({variable: ""}), field) == default, "set and empty is not set"


@pytest.mark.parametrize(
    ("variable", "field"),
    [
        ("BASE_IMAGE_FILE", "base_image_file"),
        ("CLOUD_IMAGES", "cloud_images"),
        ("DIBO_UBUNTU_FINGERPRINT", "fingerprint"),
        ("DIBO_KIT", "kit"),
    ],
)
def test_variables_without_an_option(variable: str, field: str) -> None:
    assert getattr(settings(), field) is None
    assert getattr(settings({variable: "x"}), field) == "x"


def test_converters_do_not_see_where_a_profile_is_kept() -> None:
    environment = {"DIBO_QCOW2_COMPRESSION": "zstd", "DIBO_PROFILE_PARTS": "/tmp/x", "PATH": "/bin"}
    assert settings(environment).converter_options == {"DIBO_QCOW2_COMPRESSION": "zstd"}


def test_packages_are_chosen_unless_the_user_names_an_epoch() -> None:
    assert settings({"DIBO_ARCHIVE_KEYRING": "a.gpg"}).archive_keyring == Path("a.gpg")
    assert not settings().epoch_named
    assert settings({"DIBO_EPOCH": "2026-11"}).epoch_named
    assert settings(epoch="2026-11").epoch_named
    assert not settings({"SOURCE_DATE_EPOCH": "1"}).epoch_named


def test_the_search_path_of_flavours() -> None:
    environment = {"FLAVOURS_DIR": "c", "DIBO_FLAVOURS_PATH": "/d::e"}
    found = settings(environment, flavours_path=("/a", "b"))
    assert found.flavours_path == (Path("/a"), Path("b"), Path("c"), Path("/d"), Path("e"))
    environment = {"DIBO_CONVERTERS_PATH": "/d"}
    assert settings(environment, converters_path=("/a",)).converters_path == (Path("/a"), Path("/d"))


def test_every_variable_is_tested_and_documented() -> None:
    tested = {row[0] for row in TABLE} | {
        "BASE_IMAGE_FILE",
        "CLOUD_IMAGES",
        "DIBO_UBUNTU_FINGERPRINT",
        "DIBO_ARCHIVE_KEYRING",
        "DIBO_KIT",
    }
    tested |= {"FLAVOURS_DIR", "DIBO_FLAVOURS_PATH", "DIBO_CONVERTERS_PATH", "SOURCE_DATE_EPOCH"}
    tested |= {"ELEMENTS_PATH", "DIB_IMAGE_SIZE", "DIB_OFFLINE"}
    # the converter's, that of the door to registries, and that of signing
    assert tested | {
        "DIBO_QCOW2_COMPRESSION",
        "DIBO_PLAIN_HTTP",
        "DIBO_SIGN_PASSWORD",
        "DIBO_STORE_LIMIT",
    } == set(VARIABLES)


def test_elements() -> None:
    sized = settings({"DIB_IMAGE_SIZE": "5"})
    assert (sized.image_size, sized.size_set_by) == (5 * GIB, "DIB_IMAGE_SIZE")
    assert settings({"DIB_IMAGE_SIZE": "5", "IMAGE_SIZE": "3"}).image_size == 3 * GIB
    assert settings({"ELEMENTS_PATH": "/a::b"}).elements_path == (Path("/a"), Path("b"))
    assert settings(packages=("vim,jq", "nginx")).packages == ("vim", "jq", "nginx")
    with pytest.raises(UsageError, match="'--x' is not the name of a package"):
        settings(packages=("--x",))


def test_the_limit_of_the_store() -> None:
    assert settings().store_limit == 20 * GIB
    assert settings({"DIBO_STORE_LIMIT": "1.5"}).store_limit == 1.5 * GIB
    assert settings({"DIBO_STORE_LIMIT": "0"}).store_limit is None
    with pytest.raises(UsageError, match="DIBO_STORE_LIMIT: expected a number of GB, got 'much'"):
        settings({"DIBO_STORE_LIMIT": "much"})


def test_keys_to_verify_with_and_a_policy() -> None:
    """An option of either kind overrides the variables of both; two of one level are refused."""
    found = settings({"DIBO_POLICY": "p.yaml"}, verify_keys=("a.pub",))
    assert (found.policy, found.verify_keys) == (None, (Path("a.pub"),))
    found = settings({"DIBO_VERIFY_KEYS": "a.pub"}, policy="p.yaml")
    assert (found.policy, found.verify_keys) == (Path("p.yaml"), ())
    with pytest.raises(UsageError, match="both given"):
        settings({"DIBO_VERIFY_KEYS": "a.pub", "DIBO_POLICY": "p.yaml"})
    with pytest.raises(UsageError, match="both given"):
        settings(policy="p.yaml", verify_keys=("a.pub",))


def test_an_engine_that_is_none_is_named_with_what_chose_it() -> None:
    for options, environment, name in (
        (Options(), {"DIBO_ENGINE": "podman"}, "DIBO_ENGINE"),
        (Options(engine="podman"), {"DIBO_ENGINE": "docker"}, "--engine"),
    ):
        with pytest.raises(UsageError) as caught:
            current_settings(options, environment)
        assert caught.value.hint.startswith(f"{name} takes ")


def test_who_set_the_size() -> None:
    assert settings({"IMAGE_SIZE": "3"}).size_set_by == "IMAGE_SIZE"
    assert settings({"IMAGE_SIZE": "3"}, image_size="4").size_set_by == "--image-size"


@pytest.mark.parametrize(
    ("machine", "architecture"),
    [("x86_64", "amd64"), ("aarch64", "arm64"), ("i686", "i386"), ("arm64", "arm64")],
)
def test_this_machine_s_architecture(machine: str, architecture: str) -> None:
    assert settings(machine=machine).architecture == architecture


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"ARCH": "sparc"}, "'sparc' is no architecture dibo knows.*ARCH takes amd64"),
        ({"ARCH": "riscv"}, "'riscv' is no architecture dibo knows; did you mean 'riscv64'"),
        ({"ARCH": "arm/v6"}, "'arm/v6' is no architecture dibo knows"),
        ({"IMAGE_SIZE": "abc"}, "IMAGE_SIZE: expected a number of GB, got 'abc'"),
        ({"IMAGE_SIZE": "0"}, "IMAGE_SIZE: expected more than 0 GB, got '0'"),
        ({"DIB_IMAGE_SIZE": "abc"}, "DIB_IMAGE_SIZE: expected a number of GB, got 'abc'"),
        (
            {"DIBO_ISOLATION": "oci"},
            "'oci' is no value of DIBO_ISOLATION.*DIBO_ISOLATION takes bwrap, chroot",
        ),
        ({"DIBO_NETWORK": "bridge"}, "'bridge' is no value of DIBO_NETWORK"),
        ({"DIBO_HOST_HOOKS": "no"}, "'no' is no value of DIBO_HOST_HOOKS"),
        ({"IMAGE_TYPE": " , "}, "IMAGE_TYPE names no type of artefact"),
        ({"DIBO_EPOCH": "a b"}, "'a b' cannot be an epoch"),
        ({"DIBO_EPOCH": "../x"}, "cannot be an epoch"),
        ({"DIBO_CACHE": "cache"}, "does not say which registry"),
        ({"DIBO_CACHE": "ghcr.io/x/cache:latest"}, "expected a repository"),
        ({"DIBO_CACHE": f"ghcr.io/x@sha256:{'0' * 64}"}, "expected a repository"),
        ({"DIBO_CACHE_TO": "ghcr.io/Team/x"}, "is not a path"),
        ({"DIBO_CACHE_FILES": "yes"}, "'yes' is no value of DIBO_CACHE_FILES"),
        ({"DIBO_LAYER_COMPRESSION": "xz"}, "'xz' is no value of DIBO_LAYER_COMPRESSION"),
        ({"SOURCE_DATE_EPOCH": "yesterday"}, "SOURCE_DATE_EPOCH is 'yesterday'"),
        ({"SOURCE_DATE_EPOCH": "²"}, "SOURCE_DATE_EPOCH is '²'"),
        ({"SOURCE_DATE_EPOCH": "-1"}, "SOURCE_DATE_EPOCH is '-1'"),
    ],
)
def test_what_makes_no_sense(environment: dict[str, str], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        settings(environment)
    assert re.search(says, f"{caught.value.message}\n{caught.value.hint}", re.DOTALL)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"image_size": "nan"}, "--image-size: expected a number of GB, got 'nan'"),
        ({"isolation": "oci"}, "'oci' is no value of --isolation"),
        ({"layer_compression": "xz"}, "'xz' is no value of --layer-compression"),
        ({"architecture": "sparc"}, "-a takes amd64"),
        ({"types": ","}, "-t names no type of artefact"),
    ],
)
def test_options_are_named_where_a_variable_is_set_too(options: dict[str, str], says: str) -> None:
    environment = {"IMAGE_SIZE": "3", "DIBO_ISOLATION": "chroot", "ARCH": "arm64", "IMAGE_TYPE": "raw"}
    with pytest.raises(UsageError) as caught:
        settings(environment, **options)
    assert says in f"{caught.value.message}\n{caught.value.hint}"


@pytest.mark.parametrize(
    ("epoch", "seconds"),
    [
        ("2026-01-02", 1767312000),
        ("20260102", 1767312000),
        ("2026-01", 1767225600),
        ("20260102T030405Z", 1767323045),
        ("build-7", 1793491200),
    ],
)
def test_times_are_clamped_to_the_epoch_where_it_is_a_date(epoch: str, seconds: int) -> None:
    assert settings(epoch=epoch).source_date_epoch == seconds
    assert settings({"SOURCE_DATE_EPOCH": "7"}, epoch=epoch).source_date_epoch == 7


def test_types_once_each_in_order() -> None:
    assert settings(types="raw, qcow2,raw").types == ("raw", "qcow2")


def test_without_the_flavour_base() -> None:
    assert settings(flavours=("vm",), with_base=False).flavours == ("vm",)


@pytest.mark.parametrize(
    ("words", "architecture", "platform"),
    [("x86_64", "amd64", "amd64"), ("aarch64", "arm64", "arm64"), ("amd64/v2", "amd64", "amd64/v2")],
)
def test_names_of_architectures(words: str, architecture: str, platform: str) -> None:
    decided = settings(environment={"ARCH": words})
    assert (decided.architecture, decided.platform) == (architecture, platform)


def test_offline() -> None:
    assert settings(offline=True).offline
    assert settings({"DIB_OFFLINE": "1"}).offline
    assert not settings({"DIB_OFFLINE": "0"}).offline


def test_packages_of_a_project_file_are_those_of_its_command_line() -> None:
    project = Options(packages=("vim",))
    assert decide(
        Options(), {}, now=NOW, machine="x86_64", home=Path("/home/me"), project=project
    ).packages == ("vim",)
    given = decide(
        Options(packages=("git,htop",)), {}, now=NOW, machine="x86_64", home=Path("/home/me"), project=project
    )
    assert given.packages == ("git", "htop")
