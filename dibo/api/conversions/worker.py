"""The program of a worker: converts one image after the other, as it is told over the pipe whose descriptor is its
argument, until that is closed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from dibo.api.conversion import convert
from dibo.api.conversions.messages import (
    Answer,
    Convert,
    Converted,
    Failed,
    FindLayers,
    ImageConversion,
    ImageLayers,
    Order,
    Said,
    Unpacked,
)
from dibo.api.conversions.opened import conversion_workspace, open_kit, open_trusted
from dibo.api.workers.serve import Send, defect_of, serve
from dibo.build.engines.sweeping import sweepers
from dibo.errors import DiboError
from dibo.images.image import Image, Layer
from dibo.images.layers.unpacked import TooMuch, UnpackedContent, open_unpacked, unpack, with_content
from dibo.system.report import Report
from dibo.system.task import LayerOutcome, Notice, Task

_MOST_ENTRIES: Final = 500_000
"""Of layers that are kept in memory for images to come: about half a kilobyte each."""


def main() -> int:
    """The program; its exit code."""
    return serve(_Worker().carry_out)


class _Worker:
    def __init__(self) -> None:
        self._layers = _Layers()

    def carry_out(self, order: Order, send: Send) -> Answer:
        try:
            return _survey(order.job) if isinstance(order, FindLayers) else self._convert(order, send)
        except DiboError as error:
            return Failed(error=error)
        except Exception as error:
            return Failed(error=defect_of(error))

    def _convert(self, order: Convert, send: Send) -> Converted:
        report = Report(sink=_Sink(send))
        self._layers.keep_only({*order.to_unpack.values(), *order.unpacked.values()})
        known = dict(order.unpacked)
        share = partial(self._with_shared_layers, order=order, known=known, send=send)
        artefacts = convert(order.job.settings, replace(order.job.request, with_layers=share), report)
        return Converted(artefacts=artefacts, image=report.history.image)

    def _with_shared_layers(
        self, image: Image, *, order: Convert, known: dict[str, Path], send: Send
    ) -> Image:
        """The image, with the layers of `known` as they were read; before that, those that it is to read for all."""
        layers = []
        for layer in image.layers:
            path = order.to_unpack.get(layer.diff_id or "")
            if path is not None and layer.diff_id not in known and _unpack(layer, path, order, send):
                known[layer.diff_id or ""] = path
            layers.append(self._layers.shared(layer, known))
        return replace(image, layers=tuple(layers))


def _unpack(layer: Layer, path: Path, order: Convert, send: Send) -> bool:
    """Whether it worked. Where not, each image that has the layer reads it, and says what is wrong with it."""
    try:
        unpack(layer, path, limits=order.job.request.limits, room=order.room)
        size: int | None = path.stat().st_size
    except (DiboError, OSError, TooMuch):
        path.unlink(missing_ok=True)
        size = None
    send(Unpacked(diff_id=layer.diff_id or "", size=size))
    return size is not None


class _Layers:
    """Layers that were read, in memory; those used last come last."""

    def __init__(self) -> None:
        self._contents: dict[Path, UnpackedContent] = {}

    def shared(self, layer: Layer, known: Mapping[str, Path]) -> Layer:
        path = known.get(layer.diff_id or "")
        if path is None:
            return layer
        content = self._contents.pop(path, None) or open_unpacked(path)
        self._contents[path] = content
        return with_content(layer, content)

    def keep_only(self, paths: set[Path]) -> None:
        """Forget layers that are not wanted any more, and the oldest where there are too many entries."""
        entries = 0
        for path, content in reversed(list(self._contents.items())):
            entries += len(content.entries)
            if path not in paths or entries > _MOST_ENTRIES:
                os.close(self._contents.pop(path).descriptor)


def _survey(job: ImageConversion) -> ImageLayers:
    settings, kit = job.settings, job.request.kit.reference or job.settings.kit
    with ExitStack() as stack:
        workspace = stack.enter_context(conversion_workspace(settings))
        run = stack.enter_context(workspace.run(sweepers=sweepers()))
        images = [
            stack.enter_context(open_trusted(settings, job.request.reference, run.subdirectory("source")))
        ]
        if kit is not None:
            images.append(stack.enter_context(open_kit(settings, kit, run.subdirectory("kit"))))
        layers = [layer for image in images for layer in image.layers]
        return ImageLayers(diff_ids=tuple(dict.fromkeys(layer.diff_id for layer in layers if layer.diff_id)))


class _Sink:
    """Where the report of a conversion goes to: lines are sent to the command."""

    def __init__(self, send: Send) -> None:
        self._send = send

    def started(self, task: Task) -> None:
        pass

    def progressed(self, task: Task) -> None:
        pass

    def ended(self, task: Task) -> None:
        pass

    def layer(self, layer: LayerOutcome) -> None:
        pass

    def output(self, task: Task | None, text: str) -> None:  # noqa: ARG002
        self._send(Said(text=text, is_warning=False))

    def notice(self, notice: Notice) -> None:
        pass

    def message(self, text: str) -> None:
        self._send(Said(text=text, is_warning=False))

    def warning(self, text: str) -> None:
        self._send(Said(text=text, is_warning=True))

    def error(self, error: DiboError) -> None:
        pass

    def close(self) -> None:
        pass


if __name__ == "__main__":
    sys.exit(main())
