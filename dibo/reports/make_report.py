"""From an inventory, and what is known of its build, to a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dibo.artefacts.manifest import public_name
from dibo.build.step_times import BuildRecord, LayerFate, LayerTime, StepTimes, saved
from dibo.contents.capabilities import ATTRIBUTE, capability_names
from dibo.contents.inventory import NO_LAYER, FileRecord, InstalledPackage, Inventory, LayerRecord
from dibo.reports.model import (
    BuildSummary,
    PrivilegedFile,
    ReportedFile,
    ReportedFlavour,
    ReportedImage,
    ReportedLayer,
    ReportedPackage,
    SizeNode,
    SizeViews,
)
from dibo.reports.ports import exposed_ports, listening_ports
from dibo.reports.size_trees import size_tree
from dibo.reports.startup import first_boot_hooks, started_units
from dibo.reports.unit_files import ReadText, unit_files

_SET_ID: Final = 0o6000
_NO_PACKAGE: Final = "in no package"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildNotes:
    """What this machine knows of the build of an image; empty of one that was built elsewhere."""

    record: BuildRecord | None = None
    times: Mapping[str, LayerTime] | None = None
    """Of layers, by key."""
    saved: tuple[float, int] = (0.0, 0)
    """As dibo.build.step_times.saved has it."""


def build_notes(times: StepTimes, keys: Sequence[str]) -> BuildNotes:
    """Of the image with the layers `keys`, the lowest first."""
    if not keys:
        return BuildNotes()
    known = {key: took for key in keys if (took := times.load(key)) is not None}
    record = times.load_build(keys[-1])
    return BuildNotes(
        record=record, times=known, saved=saved(record, times) if record is not None else (0.0, 0)
    )


def keys_of(inventory: Inventory) -> tuple[str, ...]:
    """Of the layers of an image, by itself or by the manifest beside it, each once; none of what dibo did not build."""
    keys = [layer.key for layer in inventory.layers]
    if not all(keys) or not keys:
        keys = [key for layer in manifest_layers(inventory) if (key := _text(layer.get("key")))]
    return tuple(dict.fromkeys(keys))


def manifest_layers(inventory: Inventory) -> list[Mapping[str, Any]]:
    """What the manifest says of layers."""
    layers = (inventory.manifest or {}).get("layers")
    return [layer for layer in layers if isinstance(layer, dict)] if isinstance(layers, list) else []


def make_report(
    inventory: Inventory,
    *,
    read_text: ReadText,
    notes: BuildNotes | None = None,
    origin: Inventory | None = None,
) -> ReportedImage:
    """`origin` is the image that a disk was made from, which knows which layer brought a file."""
    return _Maker(inventory, notes or BuildNotes(), origin).report(read_text)


class _Maker:
    """An inventory, and what several parts of a report ask of it."""

    def __init__(self, inventory: Inventory, notes: BuildNotes, origin: Inventory | None) -> None:
        self._inventory, self._notes, self._origin = inventory, notes, origin
        self._owners = {user.uid: user.name for user in reversed(inventory.users)}
        self._groups = {group.gid: group.name for group in reversed(inventory.groups)}
        self._layers = _layer_records(origin if origin is not None and origin.layers else inventory)
        self._titles = {
            _text(layer.get("key")): _text(layer.get("title")) for layer in manifest_layers(inventory)
        }
        self.files = tuple(self._files())
        self._has_layers = any(file.layer != NO_LAYER for file in self.files)

    def flavour_of(self, layer: int) -> str:
        return self._layers[layer].flavour if 0 <= layer < len(self._layers) else ""

    def report(self, read_text: ReadText) -> ReportedImage:
        inventory = self._inventory
        texts = unit_files(inventory.units, inventory.files, read_text)
        units = started_units(inventory, texts, self._layer_at)
        packages = self._packages()
        layers = tuple(self._reported_layers(packages))
        command = _command(inventory.config)
        usable = {unit.name for unit in inventory.units if unit.state not in ("alias", "masked")}
        listeners = {name: text for name, text in texts.items() if name in usable}
        ports = listening_ports(listeners, [unit.name for unit in units], inventory.files, read_text)
        return ReportedImage(
            name=_shown_name(inventory),
            form=inventory.form,
            format=inventory.format,
            architecture=inventory.architecture,
            system=inventory.os_release.get("PRETTY_NAME") or inventory.os_release.get("ID", ""),
            digest=inventory.digest,
            totals=inventory.totals,
            views=self._views(layers),
            files=self.files,
            layers=layers,
            layers_of_files=self._has_layers,
            flavours=tuple(self._flavours(layers)),
            build=self._build(),
            packages=packages,
            units=units,
            ports=(*ports, *exposed_ports(inventory.config, command)),
            first_boot=first_boot_hooks(inventory, texts),
            kernels=inventory.kernels,
            cmdline=inventory.cmdline,
            users=inventory.users,
            privileged=tuple(self._privileged()),
            partitions=inventory.partitions,
            command=command,
            manifest=inventory.manifest or {},
            notes=inventory.notes,
        )

    def _files(self) -> Iterator[ReportedFile]:
        for path, record in self._inventory.files.items():
            yield ReportedFile(
                path=path,
                kind="hard link" if record.first_name else record.kind,
                mode=record.mode,
                owner=self._owners.get(record.uid, str(record.uid)),
                group=self._groups.get(record.gid, str(record.gid)),
                size=0 if record.first_name else record.size,
                layer=self._layer(path, record),
                package=record.package,
                target=record.first_name or record.target,
            )

    def _layer_at(self, path: bytes) -> int:
        record = self._inventory.files.get(path)
        return NO_LAYER if record is None else self._layer(path, record)

    def _layer(self, path: bytes, record: FileRecord) -> int:
        if record.layer != NO_LAYER or self._origin is None:
            return record.layer
        original = self._origin.files.get(path)
        return original.layer if original is not None else NO_LAYER

    def _packages(self) -> tuple[ReportedPackage, ...] | None:
        if self._inventory.packages is None:
            return None
        sizes: Counter[str] = Counter()
        counts: Counter[str] = Counter()
        layers: dict[str, Counter[int]] = {}
        for file in self.files:
            if file.package and file.kind in ("file", "symlink", "hard link"):
                sizes[file.package] += file.size
                counts[file.package] += 1
                layers.setdefault(file.package, Counter())[file.layer] += 1
        places = {file.path: file.layer for file in self.files if file.path.startswith(b"var/lib/dpkg/info/")}
        return tuple(
            self._package(package, sizes, counts, _package_layer(package, places, layers))
            for package in self._inventory.packages
        )

    def _package(
        self, package: InstalledPackage, sizes: Counter[str], counts: Counter[str], layer: int
    ) -> ReportedPackage:
        return ReportedPackage(
            name=package.name,
            version=package.version,
            architecture=package.architecture,
            manager=package.manager,
            source=package.source,
            summary=package.summary,
            size=sizes[package.name] if counts[package.name] else package.size,
            files=counts[package.name],
            layer=layer,
            flavour=self.flavour_of(layer),
        )

    def _reported_layers(self, packages: Sequence[ReportedPackage] | None) -> Iterator[ReportedLayer]:
        sizes: Counter[int] = Counter()
        counts: Counter[int] = Counter()
        for file in self.files:
            if file.kind == "file":
                sizes[file.layer] += file.size
                counts[file.layer] += 1
        brought = Counter(package.layer for package in packages or ())
        fates = {fate.key: fate for fate in self._notes.record.layers} if self._notes.record else {}
        local = {_text(layer.get("key")) for layer in manifest_layers(self._inventory) if layer.get("local")}
        times = dict(self._notes.times or {})
        for number, layer in enumerate(self._layers):
            # The layers of a base share one key: what took time counts at the last of them.
            last = number + 1 == len(self._layers) or self._layers[number + 1].key != layer.key
            took = times.get(layer.key) if last else None
            fate = fates.get(layer.key) if layer.key else None
            yield ReportedLayer(
                number=number,
                title=(fate.title if fate is not None else self._titles.get(layer.key, "")) or layer.title,
                key=layer.key,
                flavour=layer.flavour,
                local=bool(layer.key) and layer.key in local,
                stored=layer.size,
                size=sizes[number],
                files=counts[number],
                packages=brought[number],
                seconds=took.seconds if took is not None else None,
                hooks=took.hooks if took is not None else (),
                **_of_fate(fate if last else None),
            )

    def _flavours(self, layers: Sequence[ReportedLayer]) -> Iterator[ReportedFlavour]:
        """Those of the manifest in the order of the stack, or those of layers."""
        listed = (self._inventory.manifest or {}).get("flavours")
        stack = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
        names = [_text(item.get("name")) for item in stack]
        names += dict.fromkeys(
            layer.flavour for layer in layers if layer.flavour and layer.flavour not in names
        )
        about = dict(zip(names, stack, strict=False))
        for name in names:
            own = [layer for layer in layers if layer.flavour == name]
            known = [layer.seconds for layer in own if layer.seconds is not None]
            item = about.get(name)
            yield ReportedFlavour(
                name=name,
                requested=None if item is None else bool(item.get("asked")),
                built_in=None if item is None else item.get("from") == "dibo",
                size=sum(layer.size for layer in own) if self._has_layers else None,
                files=sum(layer.files for layer in own) if self._has_layers else None,
                packages=sum(layer.packages for layer in own) if self._has_layers else None,
                seconds=sum(known) if known else None,
            )

    def _build(self) -> BuildSummary | None:
        record = self._notes.record
        if record is None:
            return None
        took = sum(layer.took or 0.0 for layer in record.layers) + sum(seconds for _, seconds in record.steps)
        seconds, unknown = self._notes.saved
        return BuildSummary(
            seconds=round(took, 3),
            saved=round(seconds, 3),
            unknown=unknown,
            steps=record.steps,
            ended=record.ended,
        )

    def _privileged(self) -> Iterator[PrivilegedFile]:
        for file, record in zip(self.files, self._inventory.files.values(), strict=True):
            attribute = record.xattrs.get(ATTRIBUTE)
            if record.kind != "file" or not (record.mode & _SET_ID or attribute is not None):
                continue
            yield PrivilegedFile(
                path=file.path,
                mode=record.mode,
                owner=file.owner,
                group=file.group,
                capabilities=capability_names(attribute) if attribute is not None else (),
                size=record.size,
                package=file.package,
                layer=file.layer,
                flavour=self.flavour_of(file.layer),
            )

    def _views(self, layers: Sequence[ReportedLayer]) -> SizeViews:
        titles = _unique([layer.title or f"layer {layer.number}" for layer in layers])

        def tree(names_of: Callable[[ReportedFile], Sequence[str]]) -> SizeNode:
            return size_tree("all", self.files, names_of)

        def flavour(file: ReportedFile) -> str:
            return self.flavour_of(file.layer) or _title(titles, file.layer)

        def package_or_path(file: ReportedFile) -> Sequence[str]:
            return (file.package,) if file.package else (_NO_PACKAGE, *_parts(file.path))

        has_flavours = self._has_layers and any(layer.flavour for layer in self._layers)
        return SizeViews(
            directories=tree(lambda file: _parts(file.path)),
            packages=tree(package_or_path) if self._inventory.packages else None,
            flavours=tree(lambda file: (flavour(file), *package_or_path(file))) if has_flavours else None,
            layers=tree(lambda file: (_title(titles, file.layer), *_parts(file.path)))
            if self._has_layers
            else None,
        )


def _shown_name(inventory: Inventory) -> str:
    """Without the directories that a file is in: a page is read by others."""
    if inventory.form == "image":
        return public_name(inventory.name)
    return Path(inventory.name).name or inventory.name


def _layer_records(inventory: Inventory) -> tuple[LayerRecord, ...]:
    """Those of the image; of a disk that dibo built, those that its manifest lists."""
    if inventory.layers:
        return inventory.layers
    return tuple(
        LayerRecord(
            digest=_text(layer.get("digest")),
            diff_id=_text(layer.get("diff-id")),
            size=0,
            key=_text(layer.get("key")),
            flavour=_flavour_in(_text(layer.get("title"))),
            title=_text(layer.get("title")),
        )
        for layer in manifest_layers(inventory)
    )


def _flavour_in(title: str) -> str:
    """The flavour of a step by its title, as dibo.plan.recipe.Step has it: `web install.d: packages, 10-site`."""
    step, colon, _ = title.partition(": ")
    flavour, space, phase = step.partition(" ")
    return flavour if colon and space and phase.endswith(".d") else ""


def _package_layer(
    package: InstalledPackage, places: Mapping[bytes, int], layers: Mapping[str, Counter[int]]
) -> int:
    """That which has dpkg's list of its files; else the one that has most of them."""
    for name in (package.name, f"{package.name}:{package.architecture}"):
        place = places.get(f"var/lib/dpkg/info/{name}.list".encode(errors="surrogateescape"))
        if place is not None:
            return place
    most = layers.get(package.name, Counter()).most_common(1)
    return most[0][0] if most else NO_LAYER


def _of_fate(fate: LayerFate | None) -> dict[str, Any]:
    if fate is None:
        return {}
    return {"origin": fate.origin, "registry": fate.registry, "took": fate.took}


def _parts(path: bytes) -> Sequence[str]:
    return path.decode(errors="surrogateescape").split("/")


def _title(titles: Sequence[str], layer: int) -> str:
    return titles[layer] if 0 <= layer < len(titles) else "in no layer"


def _unique(titles: Sequence[str]) -> list[str]:
    """Titles that differ: further ones of one text get their number."""
    counts: Counter[str] = Counter()
    result = []
    for title in titles:
        counts[title] += 1
        result.append(f"{title} ({counts[title]})" if counts[title] > 1 else title)
    return result


def _command(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Entry point and arguments of a container (OCI image specification, config.md)."""
    words: list[str] = []
    for name in ("Entrypoint", "Cmd"):
        value = config.get(name)
        words += [str(word) for word in value] if isinstance(value, list) else []
    return tuple(words)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
