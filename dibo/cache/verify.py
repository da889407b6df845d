"""Every entry of a cache read and checked: keys, signatures, histories, and every byte of layers and input files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dibo.cache import entry, input_sets
from dibo.cache.lookup import CachedImage, read_entry
from dibo.errors import DiboError, VerificationFailed
from dibo.images import documents
from dibo.images.byte_count import ByteCount, total_size
from dibo.images.image import Layer
from dibo.images.reference import ImageName
from dibo.images.registry import api
from dibo.images.verify import check
from dibo.plan.labels import KEY_LABEL
from dibo.plan.recipe import Step
from dibo.system.report import Say
from dibo.trust.policy import Trust
from dibo.units import OnBytes


def verify(
    repository: ImageName, trust: Trust, *, on_progress: Say, on_bytes: OnBytes = lambda _done, _total: None
) -> tuple[int, tuple[str, ...]]:
    """How many entries a cache has, and what is wrong with some of them, a line each.

    `on_progress` is told what is looked at, `on_bytes` how much of all layers was read. Raises RegistryError,
    Unreachable where the registry cannot be asked.
    """
    tags = api.tags(repository)
    keys = [key for tag in tags if (key := entry.key_in(tag))]
    faults: list[str] = []
    entries: dict[str, CachedImage] = {}
    for key in keys:
        on_progress(key[:12])
        try:
            cached = read_entry(repository, key)
            _check_platform(cached)
            trust.verify(repository.tagged(entry.tag_of(key)), cached.digest, annotations={KEY_LABEL: key})
        except DiboError as error:
            faults.append(f"{key[:12]}: {error.message}")
        else:
            entries[key] = cached
    faults += _faulty_histories(entries)
    faults += _damaged_layers(entries, on_progress, on_bytes)
    sets = [input_sets.summary(repository, tag) for tag in filter(input_sets.is_set, tags)]
    faults += input_sets.faults(repository, [entry for entry in sets if entry], on_progress=on_progress)
    return len(keys), tuple(faults)


def _check_platform(cached: CachedImage) -> None:
    expected = _ingredients(cached).get("architecture")
    if expected != cached.image.architecture:
        raise VerificationFailed(f"the config says {cached.image.architecture}, the key {expected}")


def _faulty_histories(entries: Mapping[str, CachedImage]) -> list[str]:
    """Entries whose layers are not those of the recipe that their ingredients tell."""
    documents_by_key = {key: _ingredients(cached) for key, cached in entries.items()}
    faults = []
    for key, cached in entries.items():
        titles, whole = _titles(key, documents_by_key)
        try:
            entry.check_history(cached.image.config, titles, name=cached.title or key[:12], whole=whole)
        except VerificationFailed as error:
            faults.append(f"{key[:12]}: {error.message}")
    return faults


def _titles(key: str, ingredients: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], bool]:
    """The titles of the steps up to the layer `key`, as far down as entries are there; and whether that is to the
    base."""
    titles: list[str] = []
    while key in ingredients and "phase" in ingredients[key]:
        titles.insert(0, _title(ingredients[key]))
        key = str(ingredients[key].get("parent"))
    return titles, "base" in ingredients.get(key, {})


def _title(ingredients: Mapping[str, Any]) -> str:
    hooks = ingredients.get("hooks")
    paths = (
        [str(hook[0]) for hook in hooks if isinstance(hook, list) and hook] if isinstance(hooks, list) else []
    )
    return Step(
        phase=str(ingredients.get("phase")),
        flavour=str(ingredients.get("flavour", "")),
        packages=bool(ingredients.get("packages")),
        hooks=tuple(path.rpartition("/")[2] for path in paths),
    ).title


def _ingredients(cached: CachedImage) -> dict[str, Any]:
    return documents.parse(cached.ingredients.encode(), description="the ingredients")


def _damaged_layers(entries: Mapping[str, CachedImage], on_progress: Say, on_bytes: OnBytes) -> list[str]:
    layers: dict[tuple[str | None, str | None], tuple[Layer, str]] = {}
    for key, cached in entries.items():
        for layer in cached.image.layers:
            layers.setdefault((layer.digest, layer.diff_id), (layer, f"{key[:12]} {cached.title}"))
    count = ByteCount(on_bytes, total_size([layer.size for layer, _ in layers.values()]))
    faults = []
    for layer, title in layers.values():
        on_progress(f"{title}: {layer.digest}")
        try:
            check(count.layer(layer))
        except DiboError as error:
            faults.append(f"{title}: {error.message}")
    return faults
