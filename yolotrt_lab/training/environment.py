"""Ultralytics without surprises: no network, no telemetry, no installs, no output, nothing left in the home folder."""

from __future__ import annotations

import contextlib
import getpass
import logging
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from yolotrt_lab.optional import require

__all__ = ["import_ultralytics", "offline_settings", "silence"]

_ESCAPES = re.compile(r"\x1b\[[0-9;]*[mK]")


def import_ultralytics(*, purpose: str) -> ModuleType:
    """Import Ultralytics offline and return the module.

    Ultralytics reads its environment at import: it would write settings to the home folder, look for updates, and
    install packages it misses. Values the user has set stay.

    Args:
        purpose: What it is needed for, completing "... is needed to".

    Raises:
        MissingDependencyError: Ultralytics, PyTorch or OpenCV does not import.
    """
    for name, value in offline_settings().items():
        os.environ.setdefault(name, value)
    with _restored("OMP_NUM_THREADS", "YOLO_VERBOSE"):  # it sets the former to 1, for every later child process too
        os.environ["YOLO_VERBOSE"] = "False"
        module = require("ultralytics", purpose=purpose)
    require("ultralytics.utils.events", purpose=purpose).events.enabled = False
    return module


def offline_settings() -> dict[str, str]:
    """Return the environment variables that keep Ultralytics offline and out of the home folder."""
    return {"YOLO_AUTOINSTALL": "False", "YOLO_OFFLINE": "True", "YOLO_CONFIG_DIR": str(_private_folder())}


@contextlib.contextmanager
def _restored(*names: str) -> Iterator[None]:
    """Leave the named environment variables as they were."""
    before = {name: os.environ.get(name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class _PlainText(logging.Formatter):
    """Log lines without the escape codes for colours."""

    def format(self, record: logging.LogRecord) -> str:
        return _ESCAPES.sub("", super().format(record))


def _private_folder() -> Path:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container may run under a user id without a name
        user = str(os.getuid())
    return Path(tempfile.gettempdir()) / f"yolotrt-lab-{user}"


@contextlib.contextmanager
def silence(log: Path) -> Iterator[None]:
    """Send what Ultralytics prints and logs to a file, and keep it from fetching fonts.

    stderr stays free, so that a progress bar can be drawn there.

    Args:
        log: The file to append to.
    """
    utils = require("ultralytics.utils", purpose="train")
    data_utils: Any = require("ultralytics.data.utils", purpose="train")
    logger: logging.Logger = utils.LOGGER
    check_font = data_utils.check_font
    with log.open("a", encoding="utf-8") as stream, contextlib.redirect_stdout(stream):
        handlers, level = logger.handlers[:], logger.level
        handler = logging.StreamHandler(stream)
        handler.setFormatter(_PlainText())
        logger.handlers[:] = [handler]
        logger.setLevel(logging.INFO)
        data_utils.check_font = lambda *_args, **_kwargs: None  # only plots need it, and none are drawn
        try:
            yield
        finally:
            data_utils.check_font = check_font
            logger.handlers[:] = handlers
            logger.setLevel(level)
