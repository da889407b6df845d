"""Why layers are missing: which ingredients differ from those of the most alike layers that are kept."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from dibo.api.documents import CommandAnswer, new_document
from dibo.api.session import new_session, stack_of
from dibo.build import ingredients_store
from dibo.cache.entry import key_in
from dibo.cache.lookup import Caches, read_entry
from dibo.errors import DiboError
from dibo.images.reference import ImageName
from dibo.images.registry import api
from dibo.plan import explain
from dibo.settings.settings import Settings
from dibo.system.report import Report
from dibo.system.workspace import Workspace

_TOGETHER: Final = 8
_MOST_UNKNOWN: Final = 300  # entries whose ingredients are fetched in order to compare


def why(settings: Settings, report: Report) -> CommandAnswer:
    """For each layer that a build would make: the most alike layer that is kept, and what differs."""
    with new_session(settings, report) as session:
        job = session.job(stack_of(settings, session.run))
        place = dict.fromkeys(session.held, "in the engine's store")
        documents = ingredients_store.load(session.workspace.keys, session.held)
        if session.caches is not None:
            for key, repository in _remote_keys(session.caches, session.workspace).items():
                place.setdefault(key, f"in {repository}")
            documents |= ingredients_store.load(session.workspace.keys, place)
        reasons = explain.explain(job.plan, documents)
        refused = session.refused(job)
        missing = [
            {
                "key": reason.key,
                "title": reason.title,
                "nearest": reason.nearest,
                "place": None if reason.nearest is None else place[reason.nearest],
                "differences": list(reason.lines),
                "below": reason.below,
                "refused": refused.get(reason.key),
            }
            for reason in reasons
        ]
        return CommandAnswer(
            text=explain.describe(
                job.plan,
                reasons,
                place_of=place.__getitem__,
                refused=refused,
                only_here=len(session.only_here(job)),
            ),
            document=new_document("why", layers=len(job.plan.keys), missing=missing),
        )


def _remote_keys(caches: Caches, workspace: Workspace) -> dict[str, ImageName]:
    """Keys that caches have, whose ingredients are known here after this."""
    repositories: dict[str, ImageName] = {}
    for remote in caches.remotes:
        if remote.off or not remote.reads:
            continue
        try:
            keys = [key for tag in api.tags(remote.name) if (key := key_in(tag))]
        except DiboError as error:
            remote.trouble(error, "cannot be listed")
            continue
        unknown = [key for key in keys if not (workspace.keys / f"{key}.json").exists()]
        with ThreadPoolExecutor(_TOGETHER) as pool:
            list(pool.map(partial(_learn, remote.name, workspace), unknown[:_MOST_UNKNOWN]))
        repositories |= dict.fromkeys(keys, remote.name)
    return repositories


def _learn(name: ImageName, workspace: Workspace, key: str) -> None:
    try:
        ingredients_store.save(workspace.keys, key, read_entry(name, key).ingredients)
    except DiboError:
        return
