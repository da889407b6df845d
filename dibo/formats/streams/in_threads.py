"""Work on the pieces of a stream in several threads; results come in the order of the pieces."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

_MOST_THREADS: Final = 8
Piece = TypeVar("Piece")
Result = TypeVar("Result")


def thread_count() -> int:
    """As many as this process may use processors, up to 8: more compress faster than anybody writes."""
    return min(_MOST_THREADS, len(os.sched_getaffinity(0)))


def in_order(
    work: Callable[[Piece], Result], stream: Iterable[Piece], *, threads: int | None = None
) -> Iterator[Result]:
    """`work` on every piece, with a few pieces per thread in memory at most."""
    threads = threads or thread_count()
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="stream") as pool:
        try:
            for piece in stream:
                waiting.append(pool.submit(work, piece))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
