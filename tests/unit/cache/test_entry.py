"""What an entry of a cache says, and when it is believed."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime

import pytest

from dibo.cache import entry
from dibo.cache.entry import LayerDescriptor
from dibo.errors import VerificationFailed
from dibo.images.manifest import digest_of
from dibo.plan.keys import INGREDIENTS_LABEL, KEY_LABEL, LOCAL_LABEL

INGREDIENTS = '{"phase":"install.d"}'
KEY = hashlib.sha256(INGREDIENTS.encode()).hexdigest()
LAYERS = [LayerDescriptor(digest=f"sha256:{n * 64}", size=int(n), media_type="x") for n in "123"]
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
        key=KEY,
        ingredients=INGREDIENTS,
        titles=("base x", "web install.d: 10-site"),
        layers=LAYERS,
        diff_ids=[f"sha256:{n * 64}" for n in "abc"],
        created="2026-11-24T10:00:00Z",
    )


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
    assert entry.check(config, key=KEY, where="here") == INGREDIENTS


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
        entry.check({"config": {"Labels": labels}}, key=KEY, where="here")
    with pytest.raises(VerificationFailed):
        entry.check({"config": labels}, key=KEY, where="here")


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
