"""DIBO_STORE_LIMIT keeps the store small while hooks change, and takes nothing that the last build made."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import user
from tests.support.flavours import write_flavour
from tests.support.host.build_env import BuildEnv, build_env
from tests.support.requirements import need

pytestmark = pytest.mark.integration

MB = 1_000_000
LIMIT = {"DIBO_STORE_LIMIT": "0.02"}


@pytest.fixture
def place() -> Iterator[BuildEnv]:
    need("buildah", "newuidmap", "busybox", "setpriv")
    builder = user.need_ordinary_user()
    with build_env(builder) as made:
        yield made
        assert made.left() == []


def layers(place: BuildEnv) -> list[str]:
    said = place.run(
        "buildah", "images", "--format", "{{.Tag}}", "--filter", "reference=localhost/dibo/layer"
    )
    assert said.code == 0, said.err
    return said.out.split()


def stored(place: BuildEnv) -> int:
    """Bytes of files in the layers of the store."""
    count = 'find "$0" -path "*/diff/*" -type f -exec stat -c %s {} + | awk "{ sum += \\$1 } END { print sum + 0 }"'
    said = place.run(
        "buildah", "unshare", "sh", "-c", count, place.directory / "data/containers/storage/overlay"
    )
    assert said.code == 0, said.err
    return int(said.out)


def test_the_store_stays_below_its_limit(place: BuildEnv) -> None:
    images, told = [], ""
    for number in range(5):
        hook = f"#!/bin/sh\nset -eu\necho {number}\nhead -c {6 * MB} /dev/urandom > /data\n"
        write_flavour(place.flavours, "changes", {"install.d/10-changes": hook})
        said = place.run("dibo", "build", "--no-base", "changes", environment=LIMIT)
        assert said.code == 0, said.err
        images.append(said.out.strip())
        told += said.err
        assert stored(place) <= 22 * MB
    assert "DIBO_STORE_LIMIT is 21 MiB" in told
    assert 3 < len(layers(place)) < 2 + 5 * 2, "those of the last builds stay, as far as there is room"
    assert place.run("buildah", "inspect", "--type", "image", images[-1]).code == 0
    assert place.run("buildah", "inspect", "--type", "image", images[0]).code != 0
    again = place.run("dibo", "build", "--no-base", "changes", environment=LIMIT)
    assert not again.hooks_run, "the last build is there, whole"


def test_what_one_build_needs_stays_even_beyond_the_limit(place: BuildEnv) -> None:
    hook = f"#!/bin/sh\nhead -c {25 * MB} /dev/urandom > /data\n"
    write_flavour(place.flavours, "large", {"install.d/10-large": hook})
    said = place.run("dibo", "build", "--no-base", "large", environment=LIMIT)
    assert said.code == 0, said.err
    assert "more than DIBO_STORE_LIMIT" in said.err
    assert place.run("buildah", "inspect", "--type", "image", said.out.strip()).code == 0
