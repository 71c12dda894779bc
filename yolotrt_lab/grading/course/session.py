"""A course's folder with nbgrader's configuration, and nbgrader's steps run in this process."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolotrt_lab.errors import InputError, LabError
from yolotrt_lab.grading.nbgrader.private_folder import PrivateFolder
from yolotrt_lab.optional import require

__all__ = ["Course", "CourseError", "open_course", "without_foreign_warnings"]

_CONFIG = "nbgrader_config.py"


class CourseError(LabError):
    """A step of nbgrader's did not come to its end."""


@dataclass(frozen=True)
class Course:
    """A course.

    Attributes:
        root: The folder that holds `nbgrader_config.py`.
        config: nbgrader's configuration.
    """

    root: Path
    config: Any

    @property
    def private(self) -> PrivateFolder:
        """The instructor's own folder."""
        return PrivateFolder(self.root)

    @property
    def exchange(self) -> Path:
        """Where labs, submissions and feedback change hands."""
        return Path(self.config.Exchange.root)

    def labs(self) -> tuple[str, ...]:
        """Return the labs that have a solution, "lab4_engines", sorted."""
        directory = self.coursedir()
        folder = Path(directory.format_path(directory.source_directory, ".", "x")).parent
        return tuple(sorted({path.parent.name for path in folder.glob("*/*.ipynb")}))

    def lab(self, name: str) -> str:
        """Return the full name of a lab; "lab4" will do for "lab4_engines".

        Raises:
            InputError: There is none of that name, or several.
        """
        labs = self.labs()
        found = [lab for lab in labs if lab == name] or [lab for lab in labs if lab.split("_")[0] == name]
        if len(found) != 1:
            raise InputError(
                f"There is no lab {name!r}.",
                expected=f"one of {', '.join(labs)}" if labs else "a notebook below solutions/",
                got=name,
                fix=None if labs else "make notebooks",
            )
        return found[0]

    def coursedir(self, *, lab: str = "", student: str = "*") -> Any:
        """Return nbgrader's CourseDirectory for one lab and the students of a glob pattern."""
        from nbgrader.coursedir import CourseDirectory  # type: ignore[import-untyped]

        directory = CourseDirectory(config=self.config)
        directory.assignment_id = lab
        directory.student_id = student
        return directory

    def folder(self, step: str, lab: str, student: str = ".") -> Path:
        """Return a folder of nbgrader's: step is "source", "release", "submitted", "autograded" or "feedback"."""
        directory = self.coursedir()
        return Path(directory.format_path(getattr(directory, f"{step}_directory"), student, lab))

    def submitted(self, lab: str) -> tuple[str, ...]:
        """Return the students whose submission of a lab is here, sorted."""
        return tuple(
            sorted(path.parent.name for path in self.folder("submitted", lab, "x").parents[1].glob(f"*/{lab}"))
        )

    @contextlib.contextmanager
    def gradebook(self) -> Iterator[Any]:
        """Open nbgrader's gradebook."""
        from nbgrader.api import Gradebook  # type: ignore[import-untyped]

        directory = self.coursedir()
        directory_of_file = self.root / "course"
        directory_of_file.mkdir(exist_ok=True)
        with without_foreign_warnings(), Gradebook(directory.db_url, directory.course_id) as gradebook:
            yield gradebook

    def run(self, step: Any, *, doing: str) -> list[str]:
        """Run a converter or an exchange step of nbgrader's, and return its warnings and errors.

        Args:
            step: Has `start()` and `log`.
            doing: What it does, for the message, completing "... did not work".

        Raises:
            CourseError: It failed; the message holds nbgrader's last words.
        """
        from nbgrader.converters import NbGraderException  # type: ignore[import-untyped]
        from nbgrader.exchange import ExchangeError  # type: ignore[import-untyped]

        heard = _Listener()
        step.log.addHandler(heard)
        try:
            with without_foreign_warnings():
                step.start()
        except (NbGraderException, ExchangeError, OSError, RuntimeError) as error:
            raise CourseError(f"{doing} did not work.", got=heard.reason() or error) from error
        finally:
            step.log.removeHandler(heard)
        return heard.lines(logging.WARNING, logging.ERROR)

    def exchange_step(self, name: str, *, lab: str, student: str = "*") -> Any:
        """Return a step of the exchange ("Collect", "ReleaseAssignment", "ReleaseFeedback"), ready to run."""
        from nbgrader.auth import Authenticator  # type: ignore[import-untyped]
        from nbgrader.exchange import ExchangeFactory

        factory = ExchangeFactory(config=self.config)
        directory = self.coursedir(lab=lab, student=student)
        return getattr(factory, name)(
            coursedir=directory, authenticator=Authenticator(config=self.config), config=self.config
        )


def open_course(root: Path | None = None) -> Course:
    """Return the course in a folder, or the one the current folder belongs to.

    Raises:
        InputError: There is no `nbgrader_config.py`, or it fails.
        MissingDependencyError: nbgrader is not installed.
    """
    require("nbgrader", purpose="work with a class")
    from nbgrader.apps import NbGrader  # type: ignore[import-untyped]

    start = (root or Path.cwd()).resolve()
    places = [start] if root is not None else [start, *start.parents]
    found = next((place for place in places if (place / _CONFIG).is_file()), None)
    if found is None:
        raise InputError(
            "This is not a course's folder.",
            expected=f"a folder with {_CONFIG}",
            got=start,
            fix="Go to the clone of the course, or name it with --course.",
        )
    app = NbGrader(raise_config_file_errors=True)
    try:
        with contextlib.chdir(found):  # where nbgrader looks first
            app.load_config_file(suppress_errors=False)
    except Exception as error:
        raise InputError(f"{found / _CONFIG} does not run.", expected="valid settings", got=error) from error
    return Course(found, app.config)


class _Listener(logging.Handler):
    """Keeps what nbgrader says."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line. Called by logging."""
        self.records.append(record)

    def lines(self, *levels: int) -> list[str]:
        """Return what was said at these levels."""
        return [record.getMessage() for record in self.records if record.levelno in levels]

    def reason(self) -> str:
        """Return why a step failed: the end of the last traceback it logged, or its last error."""
        errors = self.lines(logging.ERROR, logging.CRITICAL)
        tracebacks = [text for text in errors if text.startswith("Traceback")]
        text = (tracebacks or errors or [""])[-1].strip()
        if not tracebacks:
            return text
        lines = text.splitlines()
        last = max((number for number, line in enumerate(lines) if not line.startswith(" ")), default=0)
        first = lines[last].partition(": ")[2] or lines[last]
        return " ".join([first, *(line.strip() for line in lines[last + 1 :])])


@contextlib.contextmanager
def without_foreign_warnings() -> Iterator[None]:
    """Silence what SQLAlchemy 2.1 says about nbgrader's queries."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="nbgrader")
        yield
