"""Container images: their layers flattened, and which layer brought what.

Bytes of files are looked at while they stream by, or not at all: `digests` reads those layers again that have the
files in question.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dibo.contents.inventory import NO_LAYER, LayerRecord
from dibo.contents.kept_files import is_read
from dibo.contents.layer_digests import digests_in
from dibo.contents.tree_source import LayerNotes, TreeSource, walk
from dibo.images.image import Image, Layer
from dibo.images.layers.layer_tree import LayerDirectory, LayerTree, Link
from dibo.images.layers.limits import Limits
from dibo.images.layers.load import LoadOptions, load
from dibo.images.layers.unpacked import NOT_READ
from dibo.plan.labels import INGREDIENTS_LABEL, KEY_LABEL
from dibo.tree.node import Node
from dibo.tree.sinks import Nowhere

_OURS: Final = "dibo: "
_KEPT_BYTES: Final = 256 << 20
Ingredients = Callable[[str], Mapping[str, Any] | None]
"""What a layer's key is made of, by the key; None where that is not known here."""


def unknown(key: str) -> Mapping[str, Any] | None:  # noqa: ARG001
    """Ingredients where none are kept."""
    return None


class LayerNoter:
    """Hears of layers while they are loaded (dibo.images.layers.change_digest.LayerListener)."""

    def __init__(self, *, hashes: bool) -> None:
        self.hashes = hashes
        self.nodes: dict[Node, int] = {}
        self.directories: dict[bytes, int] = {}
        self.digests: dict[Node, str] = {}
        self._layer = 0

    def note(self, node: Node, digest: str) -> None:
        if digest != NOT_READ:
            self.digests[node] = digest

    def close(self, layer: LayerTree, below: Node) -> None:  # noqa: ARG002 (others compare with it)
        todo: list[tuple[LayerDirectory, bytes]] = [(layer.root, b"")]
        while todo:
            directory, prefix = todo.pop()
            for name in directory.whiteouts or ():
                self.directories.pop(prefix + name, None)
            for name, node in directory.children.items():
                if isinstance(node, LayerDirectory):
                    if not node.ghost:
                        self.directories.setdefault(prefix + name, self._layer)
                    todo.append((node, prefix + name + b"/"))
                elif not isinstance(node, Link):
                    self.nodes[node] = self._layer
        self._layer += 1

    @property
    def notes(self) -> LayerNotes:
        return LayerNotes(nodes=self.nodes, directories=self.directories, digests=self.digests)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReading:
    """How an image is read. `hashes`: whether reading tells digests of files. `known` layers at the bottom are read in
    place of the image's own (dibo.contents.shared_layers)."""

    hashes: bool = False
    known: tuple[Layer, ...] = ()
    ingredients: Ingredients = unknown
    progress: Callable[[int], None] | None = None


def read_image(image: Image, reading: ImageReading, *, form: str = "image") -> TreeSource:
    """Raises LayerError, VerificationFailed, and what opening a layer raises."""
    noter = LayerNoter(hashes=reading.hashes)
    limits = Limits(kept_bytes=_KEPT_BYTES)
    options = LoadOptions(keep=is_read, progress=reading.progress, ledger=noter, limits=limits)
    tree = load((*reading.known, *image.layers[len(reading.known) :]), Nowhere(), options)
    is_image = form == "image"
    run = image.config.get("config")
    labels = run.get("Labels") if isinstance(run, dict) else None

    def digests(nodes: Mapping[bytes, Node]) -> Mapping[bytes, str]:
        known = {path: noter.digests[node] for path, node in nodes.items() if node in noter.digests}
        missing = {path: node for path, node in nodes.items() if path not in known}
        return {**known, **_read_again(image.layers, missing, noter)}

    return TreeSource(
        name=image.name,
        form=form,
        format="oci" if is_image else "tar",
        root=tree.root,
        digests=digests,
        architecture=image.architecture,
        digest=image.digest,
        stored=sum(layer.size or 0 for layer in image.layers),
        config=run if isinstance(run, dict) else {},
        labels={str(name): str(value) for name, value in (labels or {}).items()} if labels else {},
        layers=layer_records(image, reading.ingredients) if is_image else (),
        layer_notes=noter.notes if is_image else LayerNotes(digests=noter.digests),
        notes=tree.warnings,
    )


def _read_again(
    layers: Sequence[Layer], nodes: Mapping[bytes, Node], noter: LayerNoter
) -> Mapping[bytes, str]:
    """Digests of files, out of the layers that brought them; where a layer has a file under another name, such as
    through a symbolic link of another layer, out of all layers."""
    by_layer: dict[int, dict[bytes, Node]] = {}
    for path, node in nodes.items():
        by_layer.setdefault(noter.nodes.get(node, NO_LAYER), {})[path] = node
    digests: dict[bytes, str] = {}
    for index, files in by_layer.items():
        if index != NO_LAYER:
            digests.update(digests_in(layers[index], set(files), {node.size for node in files.values()}))
    missing = nodes.keys() - digests.keys()
    if missing:
        again = LayerNoter(hashes=True)
        tree = load(layers, Nowhere(), LoadOptions(ledger=again))
        for path, node in walk(tree.root):
            if path in missing and node in again.digests:
                digests[path] = again.digests[node]
    return digests


def layer_records(image: Image, ingredients: Ingredients) -> tuple[LayerRecord, ...]:
    """The layers with what made them: by the ingredients of their keys, else by the image's history."""
    made = _made_by_dibo(image, ingredients)
    titles = _history(image)
    records = []
    for index, layer in enumerate(image.layers):
        key, flavour, title = made.get(index, ("", "", ""))
        records.append(
            LayerRecord(
                digest=layer.digest or "",
                diff_id=layer.diff_id or "",
                size=layer.size or 0,
                key=key,
                flavour=flavour,
                title=title or (titles[index] if len(titles) == len(image.layers) else ""),
            )
        )
    return tuple(records)


def _made_by_dibo(image: Image, ingredients: Ingredients) -> dict[int, tuple[str, str, str]]:
    """Key, flavour and title by index, from the highest layer down as far as ingredients are known."""
    run = image.config.get("config")
    labels = run.get("Labels") if isinstance(run, dict) else None
    labels = labels if isinstance(labels, dict) else {}
    key = str(labels.get(KEY_LABEL) or "")
    document = _parsed(labels.get(INGREDIENTS_LABEL)) or (ingredients(key) if key else None)
    made: dict[int, tuple[str, str, str]] = {}
    for index in reversed(range(len(image.layers))):
        if not key:
            break
        made[index] = (key, *_title(document))
        parent = document.get("parent") if document is not None else None
        if document is not None and "base" in document:  # it may have several layers
            made |= dict.fromkeys(range(index), made[index])
        key = parent if isinstance(parent, str) else ""
        document = ingredients(key) if key else None
    return made


def _title(document: Mapping[str, Any] | None) -> tuple[str, str]:
    """Flavour and title of a step, as dibo.plan.recipe.Step has it; `base` of a base."""
    if document is None:
        return "", ""
    if "base" in document:
        return "", "base"
    flavour, phase = str(document.get("flavour") or ""), str(document.get("phase") or "")
    if not flavour:
        return "", phase
    hooks = document.get("hooks")
    names = (
        [str(hook[0]).rpartition("/")[2] for hook in hooks if isinstance(hook, list) and hook]
        if isinstance(hooks, list)
        else []
    )
    return flavour, f"{flavour} {phase}: {'packages' if document.get('packages') else ', '.join(names)}"


def _parsed(text: object) -> Mapping[str, Any] | None:
    import json

    try:
        document = json.loads(text) if isinstance(text, str) and text else None
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _history(image: Image) -> list[str]:
    """What the history says of each layer that is not empty."""
    history = image.config.get("history")
    lines = [line for line in history if isinstance(line, dict)] if isinstance(history, list) else []
    return [
        " ".join(str(line.get("created_by") or "").split()).removeprefix(_OURS)
        for line in lines
        if not line.get("empty_layer")
    ]
