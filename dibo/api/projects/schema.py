"""The JSON schema of what `dibo plan` of one image and `dibo lock` print with --json."""

from __future__ import annotations

from typing import Final

from dibo.api.json_types import document, flag, list_of, maybe, maybe_count, text, texts

_PLAN_LAYER: Final = {
    "key": text("key of the layer", pattern="^[0-9a-f]{64}$"),
    "held": flag("whether the engine's store has the layer"),
    "cache": maybe("registry that has the layer, where the engine has not"),
    "refused": maybe("why the layer of a registry is not used"),
    "local": flag("whether it has data of this user or machine"),
    "epoch": maybe("epoch of what it fetches that no ingredient names"),
    "dated": maybe("why it has an epoch: what may fetch"),
    "age": maybe_count("days since it was made, if the engine's store has it"),
    "title": text("what the layer is made by"),
    "ingredients": {"type": "object", "description": "all that the key is made of"},
}

PLANS: Final = (
    document(
        "plan",
        "`dibo plan`",
        stack=texts("flavours in their order"),
        epoch=text("epoch of the layers"),
        layers=list_of("base and steps, the lowest first", _PLAN_LAYER),
        warnings=texts("what an author of flavours probably did not mean"),
    ),
    document(
        "lock",
        "`dibo lock`",
        file=text("the lock"),
        written=flag("whether it was written"),
        moved=list_of(
            "what differs from the lock that was there",
            {
                "title": text("base, list of packages, fetched file or epoch"),
                "changes": texts("what moved of it"),
            },
        ),
        changelogs=list_of(
            "with --diff, what changelogs say of packages with other versions",
            {"packages": texts("packages of one source"), "text": text("entries after the old version")},
        ),
    ),
)
