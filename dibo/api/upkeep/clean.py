"""Free what dibo keeps on this machine: in the cache directory, and in the stores of engines."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from dibo.api.documents import CommandAnswer, Document, new_document
from dibo.artefacts import standing
from dibo.build import build as spine
from dibo.build import cleaning, store_pruning
from dibo.build.cleaning import CleanRules, CleanSelection, Stores
from dibo.build.engine import Engine, Setup
from dibo.build.engines.names import require_known
from dibo.build.engines.sweeping import sweepers
from dibo.build.engines.table import ENGINES
from dibo.build.store_pruning import UsedImage
from dibo.errors import DiboError, EngineError, OutputError, ToolMissing, UsageError
from dibo.settings.settings import AUTO, Settings
from dibo.system import cache_directory
from dibo.system.cache_directory import CacheItem, CacheKind
from dibo.system.exclusive import alone
from dibo.system.report import Report
from dibo.system.workspace import Run, Workspace
from dibo.units import human_size, parse_gb

_DAY: Final = 24 * 3600
_TEXTS: Final = {
    CacheKind.RUNS: "left by processes that were killed",
    CacheKind.LOCKS: "held by no process",
    CacheKind.DOWNLOADS: "bases and packages",
    CacheKind.NOTES: "lists and keys of bases and archives, and what was tried of this machine",
    CacheKind.LOGS: "of failed steps, and of defects",
    CacheKind.KEYS: "of layers that no engine has",
    CacheKind.ARTEFACTS: "records of artefacts that are gone or were changed",
    CacheKind.UNPACKED: "layers that were read before",
    CacheKind.KITS: "a kit that was built for `dibo convert`",
}
_KEEP_SIZE: Final = "--keep-size"
_IN_USE: Final = "another dibo uses them now"


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanRequest:
    """The options of `dibo clean`."""

    everything: bool = False
    older_than: int | None = None
    """Days since something was used."""
    keep_size: str | None = None
    """GB that layers and downloads may take."""
    dry_run: bool = False

    def check(self) -> None:
        """Raises UsageError."""
        if self.everything and (self.older_than is not None or self.keep_size is not None):
            raise UsageError(
                "--all takes everything, whatever its age and size", hint="leave out --all, or the others"
            )
        if self.keep_size is not None:
            parse_gb(self.keep_size, name=_KEEP_SIZE)


@dataclass(slots=True, kw_only=True)
class _Outcome:
    """What could not be looked at or removed: for people, and as codes."""

    kept: list[tuple[str, str]] = field(default_factory=list)
    """What stays, and why."""
    failed: list[tuple[str, str]] = field(default_factory=list)
    """What should have gone, and why it did not."""
    code: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanResult:
    answer: CommandAnswer
    exit_code: int
    """0; that of OutputError if something could not be removed; that of the error of an engine that was asked for."""


def clean(settings: Settings, report: Report, request: CleanRequest) -> CleanResult:
    """Remove what is of no further use, or what is asked for; with `dry_run` only say what that is. An engine that does
    not work, and files that cannot be removed, are warnings, and the rest goes. Raises UsageError, OutputError."""
    request.check()
    if settings.engine != AUTO:
        require_known(settings.engine)
    outcome, now = _Outcome(), time.time()
    has_cache = cache_directory.check_directory(settings.cache)
    with ExitStack() as stack:
        no_build = not has_cache or is_alone(settings.cache, stack)
        items = _items(settings.cache) if has_cache else ()
        run = stack.enter_context(_run(settings, report, keep=not has_cache or request.dry_run))
        engines = _engines(settings, run, report, stack, outcome) if no_build else {}
        stores = _stores(engines, settings, outcome, complete=no_build)
        rules = CleanRules(
            now=now,
            epoch=settings.epoch,
            everything=request.everything,
            used_before=None if request.older_than is None else now - request.older_than * _DAY,
            most=None if request.keep_size is None else parse_gb(request.keep_size, name=_KEEP_SIZE),
            shared=not no_build,
        )
        if not no_build:
            _stays(outcome, report, "layers, keys and downloads", _IN_USE)
        selection = cleaning.select(items, stores, rules)
        _tell_named(stores, request, report)
        if not request.dry_run:
            selection = _removed(selection, engines, settings, report, outcome)
    return CleanResult(answer=_answer(selection, stores, request, outcome), exit_code=outcome.code)


def is_alone(cache: Path, stack: ExitStack) -> bool:
    """Whether no build uses the cache directory; none begins until the stack is closed."""
    try:
        return stack.enter_context(alone(cache / "store.lock"))
    except OSError:  # there is no such file, and none can be made: no build has the cache either
        return True


def _items(cache: Path) -> tuple[CacheItem, ...]:
    """What is in the cache directory; of records of artefacts also whether they are outdated."""
    return tuple(
        replace(item, outdated=not standing.is_current(item.path))
        if item.kind is CacheKind.ARTEFACTS
        else item
        for item in cache_directory.survey(cache)
    )


@contextmanager
def _run(settings: Settings, report: Report, *, keep: bool) -> Iterator[Run]:
    """A run for engines to work in. In the cache directory, it first takes what killed runs left, there and with
    engines; where the directory is to be kept as it is, or cannot be written to, it is elsewhere."""
    with ExitStack() as stack:
        run = None
        if not keep:
            try:
                workspace = Workspace(settings.cache)
                run = stack.enter_context(workspace.run(sweepers=sweepers()))
            except (OutputError, OSError) as error:
                report.warn(str(error))
        if run is None:
            temporary = stack.enter_context(tempfile.TemporaryDirectory(prefix="dibo-clean-"))
            run = stack.enter_context(Workspace(Path(temporary) / "cache").run())
        yield run


def _engines(
    settings: Settings, run: Run, report: Report, stack: ExitStack, outcome: _Outcome
) -> Mapping[str, Engine]:
    """Those that are installed and work, by name; or the one that was asked for."""
    setup = Setup(run=run, report=report, confinement=spine.confinement_of(settings))
    engines: dict[str, Engine] = {}
    for kind in ENGINES:
        named = kind.name == settings.engine
        if not named and (settings.engine != AUTO or not kind.seems_there()):
            continue
        try:
            engine = stack.enter_context(kind.open(setup))
            engine.names()
        except (DiboError, OSError) as error:
            if isinstance(error, ToolMissing) and not named and not _has_keys(settings.cache):
                continue  # nothing was ever built here
            _stays(outcome, report, f"layers in the store of {kind.name}", str(error))
            if named:
                outcome.code = error.exit_code if isinstance(error, DiboError) else EngineError.exit_code
        else:
            engines[kind.name] = engine
    return engines


def _has_keys(cache: Path) -> bool:
    keys = cache / "keys"
    return keys.is_dir() and any(keys.iterdir())


def _stores(
    engines: Mapping[str, Engine], settings: Settings, outcome: _Outcome, *, complete: bool
) -> Stores:
    """Keys count as those of no layer only if every engine that may have them was asked."""
    keys = settings.cache / "keys"
    images = {name: store_pruning.used_images(engine.stored(), keys) for name, engine in engines.items()}
    asked = all(kind.name in engines or not kind.seems_there() for kind in ENGINES)
    return Stores(images=images, complete=complete and asked and not outcome.kept)


def _stays(outcome: _Outcome, report: Report, name: str, reason: str) -> None:
    outcome.kept.append((name, reason))
    report.warn(f"{name} stay: {reason}")


def _tell_named(stores: Stores, request: CleanRequest, report: Report) -> None:
    """Say that images which the user gave a name stay, if it may come as a surprise."""
    tagged = sum(entry.image.tagged for images in stores.images.values() for entry in images)
    if tagged and (request.everything or request.keep_size is not None):
        report.say(f"images that have a name of yours stay: {tagged}; remove them with the engine")


def _removed(
    selection: CleanSelection,
    engines: Mapping[str, Engine],
    settings: Settings,
    report: Report,
    outcome: _Outcome,
) -> CleanSelection:
    """Remove what was selected; what is gone then."""
    gone = [item for item in selection.items if _remove_item(item, outcome)]
    images: dict[str, tuple[UsedImage, ...]] = {}
    for name, engine in engines.items():
        store_pruning.remove(engine, selection.images[name], settings.cache / "keys", report)
        left = _identities(engine)
        images[name] = tuple(entry for entry in selection.images[name] if entry.image.identity not in left)
        stuck = len(selection.images[name]) - len(images[name])
        if stuck:
            outcome.failed.append((f"{stuck} layers in the store of {name}", "see above"))
            outcome.code = outcome.code or EngineError.exit_code
    _warn_of_failures(outcome, report)
    return CleanSelection(items=tuple(gone), images=images)


def _identities(engine: Engine) -> set[str]:
    return {image.identity for image in engine.stored() if image.names}


def _remove_item(item: CacheItem, outcome: _Outcome) -> bool:
    try:
        cache_directory.remove(item)
    except OSError as error:
        outcome.failed.append((str(item.path), cache_directory.reason(error, item.path)))
        outcome.code = OutputError.exit_code
        return False
    return True


def _warn_of_failures(outcome: _Outcome, report: Report) -> None:
    """A line for each directory and reason."""
    groups: dict[tuple[Path, str], int] = {}
    for name, reason in outcome.failed:
        if name.startswith("/"):
            place = Path(name).parent, reason
            groups[place] = groups.get(place, 0) + 1
    for (directory, reason), count in groups.items():
        report.warn(f"{directory}: {count} cannot be removed: {reason}")


def _answer(
    selection: CleanSelection, stores: Stores, request: CleanRequest, outcome: _Outcome
) -> CommandAnswer:
    rows = [*_rows_of_stores(selection, stores), *_rows_of_cache(selection.items)]
    total = sum(row["size"] for row in rows)
    done = "would free" if request.dry_run else "freed"
    width = max((len(row["kind"]) for row in rows), default=0)
    lines = [
        f"{row['kind']:{width}}  {row['count']:>5}  {human_size(row['size']):>9}  {row['text']}"
        for row in rows
    ]
    nothing = "nothing was removed" if outcome.failed else "nothing to clean"
    text = "\n".join([*lines, f"{done} {human_size(total)}"]) if rows else nothing
    return CommandAnswer(
        text=text,
        document=new_document(
            "clean",
            removed=not request.dry_run,
            kinds=[{key: value for key, value in row.items() if key != "text"} for row in rows],
            size=total,
            kept=[{"what": name, "why": reason} for name, reason in outcome.kept],
            failed=[{"what": name, "why": reason} for name, reason in outcome.failed],
        ),
    )


def _rows_of_stores(selection: CleanSelection, stores: Stores) -> Iterator[Document]:
    for engine, images in selection.images.items():
        if images:
            yield {
                "kind": "layers",
                "engine": engine,
                "count": len(images),
                "size": store_pruning.freed(stores.images[engine], images),
                "names": [name for entry in images for name in entry.image.names or (entry.image.identity,)],
                "text": f"in the store of {engine}",
            }


def _rows_of_cache(items: Sequence[CacheItem]) -> Iterator[Document]:
    for kind in CacheKind:
        of_kind = [item for item in items if item.kind is kind]
        if of_kind:
            yield {
                "kind": kind.value,
                "engine": None,
                "count": len(of_kind),
                "size": sum(item.size for item in of_kind),
                "names": [str(item.path) for item in of_kind],
                "text": _TEXTS[kind],
            }
