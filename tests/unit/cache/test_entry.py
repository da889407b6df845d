"""What an entry of a cache says, and when it is believed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from dibo.cache import entry
from dibo.cache.entry import LayerDescriptor
from dibo.errors import LocalLayers, VerificationFailed
from dibo.images.manifest import digest_of
from dibo.plan.labels import INGREDIENTS_LABEL, KEY_LABEL, LOCAL_LABEL

INGREDIENTS = '{"phase":"install.d"}'
KEY = hashlib.sha256(INGREDIENTS.encode()).hexdigest()
PROVENANCE = entry.Provenance(key=KEY, ingredients=INGREDIENTS, titles=("base x", "web install.d: 10-site"))
LAYERS = [
    (f"sha256:{diff_id * 64}", LayerDescriptor(digest=f"sha256:{n * 64}", size=int(n), media_type="x"))
    for diff_id, n in zip("abc", "123", strict=True)
]
CONFIG = {
    "architecture": "amd64",
    "os": "linux",
    "created": "2026-11-01T00:00:00Z",
    "author": "me@my-machine",
    "config": {"Cmd": ["sh"], "Labels": {"a": "b", LOCAL_LABEL: ""}},
    "container_config": {"Env": ["http_proxy=http://me:secret@proxy"]},
    "history": [{"created_by": "RUN http_proxy=http://me:secret@proxy"}],
}


def composed() -> entry.ImageDocuments:
    return entry.compose(
        CONFIG,
        PROVENANCE,
        layers=LAYERS,
        made="2026-11-24T10:00:00Z",
    )


def test_times_are_in_the_manifest_alone() -> None:
    timed = replace(PROVENANCE, seconds="[20.0,0.5]")
    made = entry.compose(CONFIG, timed, layers=LAYERS, made="2026-11-24T10:00:00Z")
    assert json.loads(made.manifest)["annotations"][entry.SECONDS] == "[20.0,0.5]"
    assert made.config == composed().config
    assert entry.SECONDS not in json.loads(composed().manifest)["annotations"]


def test_an_entry_is_an_image_that_says_what_it_is() -> None:
    made = composed()
    config, manifest = json.loads(made.config), json.loads(made.manifest)
    assert manifest["config"]["digest"] == digest_of(made.config)
    assert [each["size"] for each in manifest["layers"]] == [1, 2, 3]
    assert config["rootfs"]["diff_ids"] == [f"sha256:{n * 64}" for n in "abc"]
    assert config["config"] == {
        "Cmd": ["sh"],
        "Labels": {"a": "b", KEY_LABEL: KEY, INGREDIENTS_LABEL: INGREDIENTS},
    }
    names = [each["created_by"] for each in config["history"]]
    assert names == ["dibo: base", "dibo: base x", "dibo: web install.d: 10-site"]
    assert manifest["annotations"][entry.TITLE] == "web install.d: 10-site"
    assert entry.check(config, key=KEY, location="here") == INGREDIENTS


def test_the_history_has_no_time_of_day() -> None:
    """An image that is pushed twice has one digest."""
    first = entry.compose(CONFIG, PROVENANCE, layers=LAYERS)
    assert first == entry.compose(CONFIG, PROVENANCE, layers=LAYERS)
    assert {line["created"] for line in json.loads(first.config)["history"]} == {CONFIG["created"]}
    assert json.loads(first.manifest)["annotations"][entry.CREATED] == CONFIG["created"]
    assert composed().config == first.config, "the age of an entry is in its manifest alone"


def test_ingredients_that_no_config_has_room_for_stay_on_this_machine() -> None:
    many = replace(PROVENANCE, ingredients="x" * (4 << 20))
    with pytest.raises(LocalLayers, match=r"web install\.d: 10-site, whose config would have 4"):
        entry.compose(CONFIG, many, layers=LAYERS)


def test_a_config_has_no_digest_that_is_damaged_in_the_registry() -> None:
    first = entry.compose(CONFIG, PROVENANCE, layers=LAYERS)
    second = entry.compose(CONFIG, PROVENANCE, layers=LAYERS, avoid={digest_of(first.config)})
    assert digest_of(second.config) != digest_of(first.config)
    assert json.loads(second.config) == json.loads(first.config)


TITLES = ["web install.d: 10-site"]


def config(*lines: str, layers: int | None = None) -> dict[str, object]:
    count = len(lines) if layers is None else layers
    return {
        "history": [{"created_by": f"dibo: {line}"} for line in lines],
        "rootfs": {"diff_ids": [f"sha256:{n:064}" for n in range(count)]},
    }


def test_a_history_of_the_recipe() -> None:
    entry.check_history(json.loads(composed().config), TITLES, name="it")
    entry.check_history(config("base x"), [], name="it")


@pytest.mark.parametrize(
    "forged",
    [
        config("base x", *TITLES, "one more"),
        config("base x", "one more", *TITLES),
        config(*TITLES),
        config("base x"),
        config("base x", "other install.d: 10-site"),
        config("base x", *TITLES, layers=3),
        {**config("base x", *TITLES), "history": "x"},
        {**config("base x", *TITLES), "history": [1, 2]},
        {**config("base x", *TITLES), "rootfs": []},
        {},
    ],
)
def test_layers_that_are_not_those_of_the_recipe(forged: dict[str, object]) -> None:
    with pytest.raises(VerificationFailed, match="not those of the recipe"):
        entry.check_history(forged, TITLES, name="it")


def test_nothing_of_this_machine_is_in_it() -> None:
    assert b"secret" not in composed().config + composed().manifest
    assert b"my-machine" not in composed().config


@pytest.mark.parametrize(
    "labels",
    [
        None,
        [],
        {},
        {KEY_LABEL: KEY},
        {KEY_LABEL: "0" * 64, INGREDIENTS_LABEL: INGREDIENTS},
        {KEY_LABEL: KEY, INGREDIENTS_LABEL: INGREDIENTS + " "},
        {KEY_LABEL: KEY, INGREDIENTS_LABEL: INGREDIENTS, LOCAL_LABEL: "true"},
    ],
)
def test_what_is_not_believed(labels: object) -> None:
    with pytest.raises(VerificationFailed):
        entry.check({"config": {"Labels": labels}}, key=KEY, location="here")
    with pytest.raises(VerificationFailed):
        entry.check({"config": labels}, key=KEY, location="here")


def test_tags() -> None:
    when = datetime(2026, 11, 24, 15, tzinfo=UTC)
    assert entry.key_in(entry.tag_of(KEY)) == KEY
    assert entry.mark_in(entry.mark_of(KEY, when)) == (KEY, datetime(2026, 11, 25, tzinfo=UTC))
    for tag in (
        "latest",
        "k-abc",
        f"k-{KEY}0",
        f"t-{KEY}",
        f"t-20261350-{KEY}",
        f"K-{KEY}",
        f"k-{KEY.upper()}",
    ):
        assert entry.key_in(tag) is None
        assert entry.mark_in(tag) is None
