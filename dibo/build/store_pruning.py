"""What goes from an engine's store: layers that are old, of another epoch, or too many.

A layer was last used when a build last planned it: dibo.build.ingredients_store keeps a file for each layer that was
planned in this cache directory, whose time says that. Of layers that no file is known of, the time that they were made
counts.

Each layer adds to those below it, and most images share some. So the size of a store is that of all its layers, each
counted once; those of images that the user gave a name do not count, since nothing that is removed here frees them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from dibo.build import ingredients_store
from dibo.build.engine import Engine, StoredImage
from dibo.errors import DiboError
from dibo.plan.keys import Document
from dibo.system.exclusive import alone
from dibo.system.report import Report
from dibo.system.workspace import Workspace
from dibo.units import counted, human_size


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedImage:
    """An image in the store, and what this cache directory knows of it."""

    image: StoredImage
    used: float
    """When it was last used, in seconds since 1970."""
    known: bool
    """Whether a build with this cache directory planned it."""
    epoch: str
    """The epoch that it was built in; empty for a base, and for what is not known."""
    description: str = ""
    """For people: phase and flavour, as far as they are known."""

    @property
    def title(self) -> str:
        """For people: a key or a failed state, shortened, or that it has no name."""
        names = ", ".join(_short(name) for name in self.image.names)
        return names or f"{self.image.identity.removeprefix('sha256:')[:12]} (without a name)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Which images go. Those that the user gave a name, and those of `kept` keys, stay in any case."""

    kept: frozenset[str] = frozenset()
    epoch: str = ""
    """All layers that are known to be of another one go."""
    epoch_before: float | None = None
    """Of those, only what was last used before; seconds since 1970."""
    used_before: float | None = None
    """What was last used before goes; seconds since 1970."""
    most: int | None = None
    """Bytes: beyond them, what was not used for the longest time goes."""
    leftovers: bool = False
    """Failed states go, and images without a name."""
    only_known: bool = False
    """Nothing goes but what this cache directory knows of: others may have put the rest there."""


def used_images(images: Sequence[StoredImage], keys: Path) -> tuple[UsedImage, ...]:
    """The images of a store, with what the directory `keys` knows of them."""
    names = {name.removeprefix("failed-") for image in images for name in image.names}
    documents = ingredients_store.load(keys, names)
    marks = ingredients_store.last_used(keys, names)
    result = []
    for image in images:
        own = [name.removeprefix("failed-") for name in image.names]
        document = next((documents[key] for key in own if key in documents), {})
        result.append(
            UsedImage(
                image=image,
                used=max([image.created, *(marks[key] for key in own if key in marks)]),
                known=any(key in marks for key in own),
                epoch=str(document.get("epoch", "")),
                description=_description(document),
            )
        )
    return tuple(result)


def doomed(images: Sequence[UsedImage], rules: Rules) -> tuple[UsedImage, ...]:
    """The images that go, in the order in which they should: none before what lies on it."""
    order = sorted(images, key=lambda entry: (entry.used, -len(entry.image.layers)))
    movable = [entry for entry in order if _may_go(entry, rules)]
    gone = [entry for entry in movable if _must_go(entry, rules)]
    gone += _bases_without_use(images, movable, gone)
    if rules.most is not None:
        gone += _beyond(rules.most, images, movable, gone)
    return tuple(sorted(gone, key=lambda entry: -len(entry.image.layers)))


def size(images: Sequence[UsedImage]) -> int:
    """Bytes of all layers that removing images could free."""
    sizes = {layer: count for entry in images for layer, count in entry.image.layers}
    tagged = {layer for entry in images if entry.image.tagged for layer, _ in entry.image.layers}
    return sum(count for layer, count in sizes.items() if layer not in tagged)


def freed(images: Sequence[UsedImage], gone: Collection[UsedImage]) -> int:
    """Bytes that are free once `gone` went."""
    return size(images) - size([entry for entry in images if entry not in gone])


def remove(engine: Engine, gone: Sequence[UsedImage], keys: Path, report: Report) -> None:
    """Remove images, and what the directory `keys` knows of them. One that cannot be removed is warned of."""
    for entry in gone:
        try:
            _remove(engine, entry, keys)
        except DiboError as error:
            report.warn(f"{entry.title} cannot be removed: {error.message}")


def _remove(engine: Engine, entry: UsedImage, keys: Path) -> None:
    for name in entry.image.names:
        engine.remove(name)
        if not name.startswith("failed-"):
            ingredients_store.forget(keys, name)
    if not entry.image.names:
        engine.discard(entry.image.identity)


def keep_limit(
    engine: Engine, workspace: Workspace, report: Report, *, limit: int, kept: Collection[str]
) -> None:
    """Remove what was not used for the longest time, until layers in the store take at most `limit` bytes; those of
    `kept` stay. While others use the store nothing is removed: the last of them does it. What fails is a warning."""
    with alone(workspace.store_lock) as is_alone:
        if not is_alone:
            return
        try:
            images = used_images(engine.stored(), workspace.keys)
            before = size(images)
            if before <= limit:
                return
            gone = doomed(images, Rules(kept=frozenset(kept), most=limit, only_known=True))
            remove(engine, gone, workspace.keys, report)
            left = size(used_images(engine.stored(), workspace.keys))
        except DiboError as error:
            report.warn(f"layers in the engine's store could not be limited: {error.message}")
            return
    if gone:
        report.say(
            f"removed the least recently used: {counted(len(gone), 'layer')}, {human_size(before - left)}; "
            f"DIBO_STORE_LIMIT is {human_size(limit)}"
        )
    if left > limit:
        report.say(
            f"layers take {human_size(left)}, more than DIBO_STORE_LIMIT, {human_size(limit)}: "
            "this build needs them, or another made them; see `dibo cache prune --local`"
        )


def _may_go(entry: UsedImage, rules: Rules) -> bool:
    image = entry.image
    if image.tagged or rules.kept.intersection(image.names):
        return False
    return entry.known or not rules.only_known


def _must_go(entry: UsedImage, rules: Rules) -> bool:
    if rules.leftovers and all(name.startswith("failed-") for name in entry.image.names):
        return True
    is_of_another = bool(rules.epoch and entry.epoch) and entry.epoch != rules.epoch
    if is_of_another and (rules.epoch_before is None or entry.used < rules.epoch_before):
        return True
    return rules.used_before is not None and entry.used < rules.used_before


def _bases_without_use(
    images: Sequence[UsedImage], movable: Sequence[UsedImage], gone: Sequence[UsedImage]
) -> list[UsedImage]:
    """Bases that only layers of other epochs lay on, which go: a base has no epoch of its own."""
    staying = [entry for entry in images if entry not in gone]
    result = []
    for entry in movable:
        if entry in gone or entry.epoch or not entry.known or not entry.image.layers:
            continue
        top = entry.image.layers[-1][0]
        if _above(top, gone, entry) and not _above(top, staying, entry):
            result.append(entry)
    return result


def _above(top: str, images: Sequence[UsedImage], base: UsedImage) -> bool:
    """Whether an image lies on the layer `top` of `base`."""
    return any(top == layer for entry in images if entry is not base for layer, _ in entry.image.layers)


def _beyond(
    most: int, images: Sequence[UsedImage], movable: Sequence[UsedImage], gone: Sequence[UsedImage]
) -> list[UsedImage]:
    """What has to go besides `gone`, the least recently used first, for the store to have at most so many bytes."""
    sizes = {layer: count for entry in images for layer, count in entry.image.layers}
    tagged = {layer for entry in images if entry.image.tagged for layer, _ in entry.image.layers}
    count = Counter(layer for entry in images if entry not in gone for layer, _ in entry.image.layers)
    left = sum(sizes[layer] for layer in count if layer not in tagged)
    result = []
    for entry in movable:
        if left <= most:
            break
        if entry in gone:
            continue
        result.append(entry)
        for layer, _ in entry.image.layers:
            count[layer] -= 1
            if not count[layer]:
                left -= sizes[layer]
    return result


def _description(document: Document) -> str:
    if "base" in document:
        base = document["base"]
        return f"base {base.get('kind', '')}" if isinstance(base, dict) else "base"
    return f"{document.get('flavour', '')} {document.get('phase', '')}".strip()


def _short(name: str) -> str:
    failed = "failed-" if name.startswith("failed-") else ""
    return failed + name.removeprefix("failed-")[:12]
