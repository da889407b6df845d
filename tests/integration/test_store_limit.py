"""DIBO_STORE_LIMIT keeps the store small while hooks change, and takes nothing that the last build made; and what
`dibo clean` takes of a store."""

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


def test_clean(place: BuildEnv) -> None:
    write_flavour(place.flavours, "good", {"install.d/10-good": "#!/bin/sh\necho good > /good\n"})
    write_flavour(place.flavours, "bad", {"install.d/10-bad": "#!/bin/sh\necho bad > /bad; false\n"})
    assert place.run("dibo", "build", "--no-base", "--tag", "localhost/mine", "good").code == 0
    assert place.run("dibo", "build", "--no-base", "bad").code == 20
    failed = ("buildah", "images", "--format", "{{.Tag}}", "--filter", "reference=localhost/dibo/failed")
    before = layers(place)
    assert place.run(*failed).out
    dry = place.run("dibo", "clean", "--dry-run")
    assert dry.code == 0, dry.err
    assert "layers" in dry.out and "would free" in dry.out
    assert place.run(*failed).out
    said = place.run("dibo", "clean")
    assert said.code == 0, said.err
    assert not place.run(*failed).out
    assert sorted(layers(place)) == sorted(before)
    assert not place.run("dibo", "build", "--no-base", "good").hooks_run
    said = place.run("dibo", "clean", "--all")
    assert said.code == 0, said.err
    assert "have a name of yours stay: 1" in said.err
    assert place.run("buildah", "inspect", "--type", "image", "localhost/mine").code == 0
    assert len(layers(place)) < len(before)
