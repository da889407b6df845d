"""What a cache in a registry holds: for each key one complete image, and who wrote what into it.

    k-KEY             an OCI image manifest: all layers from the base up to the step with that key. Blobs are shared,
                      so it costs a few kB, and nothing else is needed to use it.
      config          Labels: io.dibo.key and io.dibo.ingredients, the document that the key is the digest of
      annotations     io.dibo.title, io.dibo.seconds, org.opencontainers.image.created
    t-YYYYMMDD-KEY    the same manifest again: the entry was used that day. Registries keep no such time themselves.

An entry holds layers of one build only. A layer that was built on another build of the same parent is never
put on a local one: files of two runs would be mixed, and the package database would not match them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from dibo.errors import LocalLayers, VerificationFailed
from dibo.images.manifest import LARGEST_MANIFEST, OCI_CONFIG, OCI_MANIFEST, digest_of
from dibo.plan.labels import INGREDIENTS_LABEL, KEY_LABEL, LOCAL_LABEL
from dibo.units import human_size

TITLE: Final = "io.dibo.title"
SECONDS: Final = "io.dibo.seconds"
"""How long building each layer of the entry took: dibo.build.step_times."""
CREATED: Final = "org.opencontainers.image.created"
_ENTRY = re.compile(r"k-([0-9a-f]{64})")
_MARK = re.compile(r"t-([0-9]{8})-([0-9a-f]{64})")
_KEPT: Final = ("architecture", "os", "variant", "created")
_BY: Final = "dibo: "
_LONG_AGO: Final = "1970-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerDescriptor:
    """A layer as a registry has it: a descriptor (OCI image specification, descriptor.md)."""

    digest: str
    size: int
    media_type: str

    def document(self) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDocuments:
    """The two documents of an entry, as they are sent."""

    config: bytes
    manifest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What an image is made of: the key of its last layer, the ingredients of that, the titles of the base and of each
    step."""

    key: str
    ingredients: str
    titles: Sequence[str]
    seconds: str = ""
    """Annotation SECONDS; empty for none."""


def tag_of(key: str) -> str:
    return f"k-{key}"


def key_in(tag: str) -> str | None:
    """The key that a tag is for; None for a tag of something else."""
    match = _ENTRY.fullmatch(tag)
    return match[1] if match else None


def mark_of(key: str, when: datetime) -> str:
    return f"t-{when:%Y%m%d}-{key}"


def mark_in(tag: str) -> tuple[str, datetime] | None:
    """The key that a mark of use is for, and the end of that day."""
    match = _MARK.fullmatch(tag)
    if match is None:
        return None
    try:
        return match[2], datetime.strptime(match[1], "%Y%m%d").replace(tzinfo=UTC) + timedelta(days=1)
    except ValueError:
        return None


def compose(
    config: Mapping[str, Any],
    provenance: Provenance,
    *,
    layers: Sequence[tuple[str, LayerDescriptor]],
    made: str = "",
    avoid: Collection[str] = (),
) -> ImageDocuments:
    """An entry of an engine's image, with its `layers` by diff_id. Of its `config` only what says how it is run is
    kept; the history is written anew, so that nothing of this machine and no time of day is in it. `made` is the
    entry's own time, for its age. The config gets no digest of `avoid`: what a registry has there is damaged. Raises
    LocalLayers for ingredients that no config has room for."""
    titles = provenance.titles[-len(layers) :]
    named = ["base"] * (len(layers) - len(titles)) + list(titles)
    run = dict(config.get("config") or {})
    labels = {str(name): str(value) for name, value in (run.get("Labels") or {}).items()}
    labels.pop(LOCAL_LABEL, None)
    run["Labels"] = {**labels, KEY_LABEL: provenance.key, INGREDIENTS_LABEL: provenance.ingredients}
    created = str(config.get("created") or _LONG_AGO)
    document = {
        **{name: config[name] for name in _KEPT if config.get(name)},
        "config": run,
        "rootfs": {"type": "layers", "diff_ids": [diff_id for diff_id, _ in layers]},
        "history": [{"created": created, "created_by": f"{_BY}{title}"} for title in named],
    }
    text = _json(document)
    if len(text) > LARGEST_MANIFEST:
        raise LocalLayers(
            f"not stored in a registry: {titles[-1]}, whose config would have {human_size(len(text))}",
            hint=f"a config has at most {human_size(LARGEST_MANIFEST)}; let the flavour have its files in an archive",
        )
    while digest_of(text) in avoid:
        text += b"\n"
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": digest_of(text), "size": len(text)},
        "layers": [descriptor.document() for _, descriptor in layers],
        "annotations": {
            KEY_LABEL: provenance.key,
            TITLE: named[-1] if named else "",
            CREATED: made or created,
            **({SECONDS: provenance.seconds} if provenance.seconds else {}),
        },
    }
    return ImageDocuments(config=text, manifest=_json(manifest))


def check(config: Mapping[str, Any], *, key: str, location: str) -> str:
    """The ingredients in an entry's config. Raises VerificationFailed unless they are those of `key`, which is their
    digest, or when it is a layer that should never have left a machine."""
    run = config.get("config")
    labels = run.get("Labels") if isinstance(run, dict) else None
    image_labels = labels if isinstance(labels, dict) else {}
    ingredients = str(image_labels.get(INGREDIENTS_LABEL, ""))
    if image_labels.get(KEY_LABEL) != key or hashlib.sha256(ingredients.encode()).hexdigest() != key:
        raise VerificationFailed(
            f"what {location} has as {key[:12]} is something else",
            hint="`dibo cache verify` looks at all of it",
        )
    if image_labels.get(LOCAL_LABEL):
        raise VerificationFailed(f"{location} has {key[:12]}, which is local to some machine")
    return ingredients


def check_history(config: Mapping[str, Any], titles: Sequence[str], *, name: str, whole: bool = True) -> None:
    """Raise VerificationFailed unless an image's layers are those of a base and of the steps `titles`, and no more.
    Where the titles are not the `whole`, but only the last ones, those below may be of anything."""
    rootfs, history = config.get("rootfs"), config.get("history")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    layers = len(diff_ids) if isinstance(diff_ids, list) else 0
    lines = history if isinstance(history, list) else []
    commands = [str(line.get("created_by")) if isinstance(line, dict) else "" for line in lines]
    steps = [f"{_BY}{title}" for title in titles]
    base = commands[: len(commands) - len(steps)]
    of_a_base = not whole or all(line == f"{_BY}base" or line.startswith(f"{_BY}base ") for line in base)
    if len(commands) != layers or not base or not of_a_base or commands[len(base) :] != steps:
        raise VerificationFailed(
            f"the layers of {name} are not those of the recipe: expected a base and {len(steps)} steps, got "
            f"{layers} layers: {', '.join(line.removeprefix(_BY) for line in commands[-3:])}"
        )


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
