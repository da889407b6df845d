"""A conversion again, from the manifest of the first one: the same image, the same options."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from dibo.api.conversion import ConvertRequest, convert
from dibo.api.conversions.opened import conversion_workspace, open_trusted
from dibo.api.settings import current_settings
from dibo.artefacts.recorded import Manifest
from dibo.build.engines.sweeping import sweepers
from dibo.errors import ManifestError
from dibo.images.image import Image
from dibo.images.layers.limits import Limits
from dibo.kits.choose import KitRequest
from dibo.settings.settings import Options, Settings
from dibo.system.report import Report
from dibo.units import format_gib


class ConversionAgain:
    """What a manifest of `dibo convert` asks for. Raises ManifestError for what only its first run had."""

    def __init__(self, manifest: Manifest, options: Options, environment: Mapping[str, str]) -> None:
        self._manifest = manifest
        self._conversion = manifest.get("conversion", {})
        if "flavours" in manifest:
            raise ManifestError(
                "an engine made boot files for this image (--prepare), which is not verified",
                hint="convert the image again, and compare: dibo diff",
            )
        if "secure-boot-certificate" in self._conversion:
            raise ManifestError(
                "programs for UEFI are signed with a key that the manifest cannot have",
                hint="convert the image again with --secure-boot-key, and compare with cmp",
            )
        self.reference = options.base or str(manifest["image"]["name"])
        disk = manifest["disk"]
        set_by_user = disk["size-set-by"] in ("--image-size", "IMAGE_SIZE")
        self.options = replace(
            options,
            base=None,
            architecture=manifest["architecture"],
            types=",".join(artefact["type"] for artefact in manifest["artefacts"]),
            image_size=format_gib(disk["size"]) if set_by_user else None,
            filesystem=str(disk["filesystem"]) if disk["filesystem"] != "ext4" else None,
            loop=bool(disk["loop"]),
        )
        self.environment = {**environment, **manifest["options"]}
        if manifest["source-date-epoch"] is not None:
            self.environment["SOURCE_DATE_EPOCH"] = str(manifest["source-date-epoch"])

    def settings(self, output: Path | None = None) -> Settings:
        """To make the artefacts under that name."""
        name = str(output) if output is not None else None
        return current_settings(replace(self.options, name=name), self.environment)

    def make(self, output: Path, layout_file: Path | None, report: Report) -> None:
        """Convert the image again, to the name `output`. Raises ManifestError for another image, and what a conversion
        raises."""
        kit = self._manifest.get("kit")
        request = ConvertRequest(
            reference=self.reference,
            layout_file=layout_file,
            bare=self._manifest["disk"]["layout"] is None,
            prepare=False,
            checksums=False,
            limits=Limits(),
            loader=str(self._conversion.get("boot-loader", "auto")),
            kit=KitRequest(
                reference=str(kit["name"]) if kit is not None else None,
                own_init=self._conversion.get("init"),
                restart=str(self._conversion.get("restart", "always")),
            ),
            with_layers=self._check,
        )
        convert(self.settings(output), request, report)

    def check(self) -> None:
        """Open the image, and compare it with the manifest. Raises ManifestError, and what opening it raises."""
        with self._opened() as image:
            self._check(image)

    def _check(self, image: Image) -> Image:
        """Raises ManifestError unless it is the image, or the kit, that the manifest has."""
        manifest = self._manifest
        known = {manifest["image"]["digest"], manifest.get("kit", {}).get("digest")}
        if image.digest not in known:
            raise ManifestError(
                f"{image.name} is another image now: its config is {image.digest[:19]}, the manifest has "
                f"{manifest['image']['digest'][:19]}",
                hint="name the image by its digest, or where a copy of it is: --base",
            )
        recorded = [layer["diff-id"] for layer in manifest["layers"] if "diff-id" in layer]
        if image.digest == manifest["image"]["digest"]:
            diff_ids = [layer.diff_id for layer in image.layers]
            if recorded and diff_ids != recorded[: len(diff_ids)]:
                raise ManifestError(f"{image.name} has other layers than the manifest")
        return image

    @contextmanager
    def _opened(self) -> Iterator[Image]:
        settings = self.settings()
        with (
            conversion_workspace(settings) as workspace,
            workspace.run(sweepers=sweepers()) as run,
            open_trusted(settings, self.reference, run.subdirectory("source")) as image,
        ):
            yield image


def recorded_layout(manifest: Manifest, directory: Path) -> Path | None:
    """The layout of a disk, as a file in `directory`, where it came from a file."""
    if not manifest["disk"]["layout-of-a-file"]:
        return None
    layout_file = directory / "layout.yaml"
    layout_file.write_text(json.dumps(manifest["disk"]["layout"]))
    return layout_file
