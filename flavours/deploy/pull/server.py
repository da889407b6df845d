"""What is said: to whoever sees the console, and to the boot server (docs/reference/deploy-protocol.md).

What comes while bytes are written is posted by a thread, so that a server which is slow or gone holds nothing up.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from urllib.parse import quote

from pull.errors import Passing, PullError, Refused
from pull.web import Client

_SAFE = "._:/@-"
_LONGEST = 500


class Server:
    """A boot server, or nobody where `url` is empty."""

    def __init__(
        self, client: Client, url: str, *, machine: dict[str, str], image: str, every: float = 5.0
    ) -> None:
        """`machine` has the fields i, k and a. `every` so many seconds progress is told."""
        self._client, self._url, self._every = client, url, every
        self._fields = machine
        self._image = image
        self._come: tuple[int, int | None] = (0, None)
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self.hears = bool(url)

    def started(self) -> None:
        """Raises Refused, PullError; then nothing more is told, here and in `done`."""
        self._tell_or_end(s="started")

    def writing(self, come: int, size: int | None) -> None:
        """Note how far it is; the thread tells it."""
        self._come = (come, size)
        if self._thread is None and self.hears:
            self._thread = threading.Thread(target=self._go_on_telling, daemon=True)
            self._thread.start()

    def _go_on_telling(self) -> None:
        while not self._ended.wait(self._every):
            with contextlib.suppress(PullError):
                self._post(self._form("writing", **self._progress()))

    def done(self, digest: str) -> None:
        """Raises PullError."""
        self._stop()
        self._tell_or_end(s="done", **self._progress(), d=digest)

    def failed(self, why: str) -> None:
        """Raises PullError."""
        self._stop()
        self._tell(s="failed", e=why[:_LONGEST])

    def _tell_or_end(self, **fields: str) -> None:
        try:
            self._tell(**fields)
        except PullError:
            self.hears = False
            raise

    def _stop(self) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def _progress(self) -> dict[str, str]:
        come, size = self._come
        return {"b": str(come), **({} if size is None else {"t": str(size)})}

    def _form(self, s: str, **more: str) -> bytes:
        fields = {**self._fields, "s": s, "m": self._image, **more}
        return "&".join(f"{name}={quote(value, safe=_SAFE)}" for name, value in fields.items()).encode()

    def _tell(self, **fields: str) -> None:
        if self.hears:
            form = self._form(**fields)
            self._client.patience.patiently(lambda: self._post(form))

    def _post(self, form: bytes) -> None:
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        with self._client.ask("POST", self._url, headers=kind, body=form, follow=False) as answer:
            if 400 <= answer.status < 500:
                raise Refused(
                    f"the boot server refused this machine ({answer.status}): see its log for the id and the key"
                )
            if not 200 <= answer.status < 300:
                raise Passing(f"the boot server answered {answer.status}")


class Console:
    """Lines of progress: at every tenth, and when half a minute passed without one."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say, self._clock = say, clock
        self._began = self._said = clock()
        self._tenth = 0

    def writing(self, come: int, size: int | None) -> None:
        now = self._clock()
        tenth = 10 * come // size if size else 0
        if tenth == self._tenth and now - self._said < 30.0:
            return
        self._tenth, self._said = tenth, now
        speed = come / max(now - self._began, 0.001) / (1 << 20)
        of = f" of {size >> 20} MiB, {100 * come // size} %" if size else " MiB"
        self._say(f"{come >> 20}{of}, {speed:.1f} MiB/s")
