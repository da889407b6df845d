"""pkg-map and svc-map, with the programs of these elements as an oracle."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dibo.elements.name_maps import (
    family_of,
    merge_services,
    parse_package_map,
    parse_service_map,
    translate,
)
from dibo.errors import FlavourError
from tests.support import dib
from tests.support.dib import needs_wheel

MAP = """{
\t"release": {"fedora": {"39": {"nova": "nova-39 nova-extra"}}, "centos": {"8": {"nova": "nova-8"}}},
  "distro": {"fedora": {"nova": "openstack-compute", "glance": "openstack-image"}},
  "family": {"redhat": {"nova": "openstack-nova", "glance": "openstack-glance"}, "suse": {"nova": ""}},
  "default": {"nova": "nova-default", "glance": "glance", "nothing": ""}
}"""


@pytest.mark.parametrize(
    ("distribution", "release", "names"),
    [
        ("fedora", "39", ("nova-39", "nova-extra", "openstack-image", "other")),
        ("fedora", "40", ("openstack-compute", "openstack-image", "other")),
        ("rhel", "", ("openstack-nova", "openstack-glance", "other")),
        ("rocky", "9", ("openstack-nova", "openstack-glance", "other")),
        ("centos", "8-stream", ("nova-8", "openstack-glance", "other")),
        ("opensuse", "", ("glance", "other")),
        ("debian", "trixie", ("nova-default", "glance", "other")),
        ("arch", "", ("nova-default", "glance", "other")),
    ],
)
def test_the_most_specific_name(distribution: str, release: str, names: tuple[str, ...]) -> None:
    package_map = parse_package_map(MAP, origin="pkg-map")
    packages = ("nova", "glance", "nothing", "other")
    assert translate(packages, package_map, distribution=distribution, release=release) == names
    assert package_map.names("other", distribution=distribution, release=release) is None


def test_without_a_map_and_names_that_are_the_same() -> None:
    assert translate(("a", "b", "a"), None, distribution="debian") == ("a", "b")
    package_map = parse_package_map('{"default": {"a": "x y", "b": "y"}}', origin="pkg-map")
    assert translate(("a", "b"), package_map, distribution="debian") == ("x", "y")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "pkg-map: expected a mapping, got []"),
        ('{"distros": {}}', "pkg-map: unknown section 'distros'; did you mean 'distro'"),
        ('{"distro": {"debian": ["a"]}}', "pkg-map: distro.debian: expected a mapping, got ['a']"),
        ('{"default": {"a": ["b"]}}', "pkg-map: default: a: expected text, got ['b']"),
        ('{"release": {"debian": "a"}}', "pkg-map: release.debian: expected a mapping, got 'a'"),
        ('{"default": {"a": "b"', "pkg-map:1: "),
    ],
)
def test_invalid_maps(text: str, message: str) -> None:
    with pytest.raises(FlavourError) as caught:
        parse_package_map(text, origin="pkg-map")
    assert caught.value.message.startswith(message)


SERVICES = """
nova-api: {debian: nova-api, default: openstack-nova-api, redhat: nova-redhat, fedora: nova-fedora}
cinder: {suse: cinder-suse}
"""


@pytest.mark.parametrize(
    ("distribution", "nova", "cinder"),
    [
        ("debian", "nova-api", "cinder"),
        ("ubuntu", "nova-api", "cinder"),
        ("fedora", "nova-fedora", "cinder"),
        *((name, "nova-redhat", "cinder") for name in ("rhel", "centos", "rocky", "almalinux", "openeuler")),
        ("opensuse", "openstack-nova-api", "cinder-suse"),
        ("gentoo", "openstack-nova-api", "cinder"),
    ],
)
def test_services(distribution: str, nova: str, cinder: str) -> None:
    found = parse_service_map(SERVICES, origin="svc-map")
    assert merge_services([("a", found)], distribution=distribution) == {"cinder": cinder, "nova-api": nova}


def test_a_service_of_two_elements() -> None:
    found = parse_service_map("web: {default: nginx}", origin="svc-map")
    with pytest.raises(FlavourError, match="elements a and b both map the service web"):
        merge_services([("a", found), ("b", found)], distribution="debian")


DISTRIBUTIONS = ["debian", "ubuntu", "fedora", "rocky", "centos", "opensuse", "gentoo", "arch"]
NAMES = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.sampled_from(["", "x", "y z"]), max_size=3)
FAMILY_NAMES = ["redhat", "debian", "suse", "gentoo"]


@needs_wheel
@settings(max_examples=8, deadline=None)
@given(
    data=st.fixed_dictionaries(
        {},
        optional={
            "release": st.dictionaries(
                st.sampled_from(DISTRIBUTIONS), st.dictionaries(st.sampled_from(["8", "9"]), NAMES)
            ),
            "distro": st.dictionaries(st.sampled_from(DISTRIBUTIONS), NAMES),
            "family": st.dictionaries(st.sampled_from(FAMILY_NAMES), NAMES),
            "default": NAMES,
        },
    ),
    distribution=st.sampled_from(DISTRIBUTIONS),
    release=st.sampled_from(["8", "9", "8-stream"]),
)
def test_names_are_those_of_the_program(
    tmp_path_factory: pytest.TempPathFactory, data: dict[str, Any], distribution: str, release: str
) -> None:
    path = tmp_path_factory.mktemp("map") / "pkg-map"
    path.write_text(json.dumps(data))
    program = dib.elements() / "pkg-map/bin/pkg-map"
    options = ["--pkg-map", str(path), "--distro", distribution, "--release", release, "--missing-ok"]
    answer = subprocess.run(
        [sys.executable, str(program), *options, "a", "b", "c", "d"],
        capture_output=True,
        text=True,
        check=True,
    )
    names = dict.fromkeys(name for line in answer.stdout.splitlines() for name in line.split())
    package_map = parse_package_map(path.read_text(), origin="pkg-map")
    found = translate(("a", "b", "c", "d"), package_map, distribution=distribution, release=release)
    assert found == tuple(names)


@needs_wheel
@pytest.mark.parametrize("distribution", ["debian", "ubuntu", "fedora", "rhel", "opensuse", "arch"])
def test_services_are_those_of_the_program(distribution: str) -> None:
    """Of the families that the program knows; its documentation, and pkg-map, know more."""
    program = dib.load_program("svc-map/extra-data.d/10-merge-svc-map-files", "merge_svc_map")
    expected = program.merge_data(yaml.safe_load(SERVICES), {}, distribution)
    found = merge_services([("a", parse_service_map(SERVICES, origin="f"))], distribution=distribution)
    assert found == expected


@needs_wheel
def test_maps_of_all_elements_can_be_read() -> None:
    files = [path for path in dib.elements().glob("*/pkg-map") if path.is_file()]
    assert len(files) > 25
    for path in files:
        package_map = parse_package_map(path.read_text(), origin=str(path))
        assert package_map.default or package_map.family or package_map.distro or package_map.release


def test_families() -> None:
    assert family_of("openeuler") == "redhat"
    assert family_of("slackware") == ""
