"""Pages in Chromium without a window: the document that scripts leave, and what the console says."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.support.markdown import PROJECT
from tests.support.requirements import unmet
from tests.support.timeouts import TIMEOUT

_OPTIONS = (
    "--headless",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--no-first-run",
    "--enable-logging=stderr",
    "--virtual-time-budget=20000",
)


def need_browser() -> str:
    """Chromium; installed if need be."""
    argv = [str(PROJECT / "tools/setup"), "browser"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    browser = shutil.which("chromium")
    if done.returncode or browser is None:
        unmet(f"tools/setup browser ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return browser


def opened(page: Path, browser: str, *options: str) -> tuple[str, list[str]]:
    """The document once scripts have run, as HTML, and lines of the console."""
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="dibo-") as home:  # a short path: the browser has sockets in it
        argv = [
            browser,
            *_OPTIONS,
            *sandbox,
            *options,
            f"--user-data-dir={home}/data",
            "--dump-dom",
            page.as_uri(),
        ]
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=True,
            env={**os.environ, "HOME": home, "TMPDIR": home, "XDG_RUNTIME_DIR": home},
        )
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]
