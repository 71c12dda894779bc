"""Let a submission's folder hold nothing but regular files of sane size, and a time stamp that is one."""

from __future__ import annotations

import datetime as dt
import glob
from pathlib import Path
from typing import Any

from nbgrader.utils import parse_utc  # type: ignore[import-untyped]

from yolotrt_lab.errors import InputError, LabError
from yolotrt_lab.files import write_text
from yolotrt_lab.grading.nbgrader.findings import Finding
from yolotrt_lab.grading.nbgrader.private_folder import PrivateFolder, StudentFolder
from yolotrt_lab.grading.nbgrader.untrusted_files import Limits, read_regular, unfit_files

__all__ = ["TIMESTAMP", "admit", "admit_all", "format_time", "limits_of", "note_findings", "read_time"]

TIMESTAMP = "timestamp.txt"
_MOST_FINDINGS = 10
_FUTURE = dt.timedelta(hours=24)  # clocks differ, and so do time zones that somebody forgot to write


def format_time(moment: dt.datetime) -> str:
    """Return a UTC time in the form of nbgrader's `timestamp.txt`."""
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f UTC")


def read_time(folder: Path) -> dt.datetime | None:
    """Return the time in a submission's `timestamp.txt` as naive UTC; None if there is none or it is no time."""
    try:
        text = read_regular(folder / TIMESTAMP, max_bytes=1_000).decode("ascii").strip()
        moment = parse_utc(text) if text else None
    except (InputError, ValueError, OverflowError):
        return None
    return moment if isinstance(moment, dt.datetime) else None


def admit(folder: Path, kept: StudentFolder, limits: Limits) -> list[Finding]:
    """Clean a folder of `course/submitted` before it is graded, and return what was done.

    Links, pipes and files that are too large are moved to the instructor's folder. The time stamp becomes the one
    noted when the submission was collected; one that came by hand stays, if it is a time and not in the future.

    Args:
        folder: `course/submitted/<student>/<lab>`.
        kept: The instructor's records about this submission.
        limits: What a submission may hold.

    Raises:
        InputError: The folder itself is a link.
    """
    if folder.is_symlink() or folder.parent.is_symlink() or not folder.is_dir():
        raise InputError(f"{folder} is no submission.", expected="a folder", got="a link or file")
    findings = []
    for path, finding in unfit_files(folder, limits):
        target = kept.set_aside / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)  # moves a link as it is
        findings.append(finding)
    return _few(findings) + _settle_time(folder, kept)


def _few(findings: list[Finding]) -> list[Finding]:
    """Return the first findings, and one that says how many more there are: a thousand would hide the others."""
    more = findings[_MOST_FINDINGS:]
    if not more:
        return findings
    text = f"{len(more)} more files were left out."
    suspicious = any(finding.suspicious for finding in more)
    return [*findings[:_MOST_FINDINGS], Finding("unfit file", text, suspicious=suspicious)]


def admit_all(converter: Any) -> None:
    """Clean every submission that nbgrader is about to grade, and name the notebooks that should be there.

    nbgrader would skip a submission without a notebook, and one whose notebook has another name; it would stop at a
    broken time stamp, and copy what a link points to.

    Args:
        converter: nbgrader's Autograde, which has listed the submissions and has not begun to convert them.
    """
    coursedir = converter.coursedir
    solutions = Path(coursedir.format_path(coursedir.source_directory, ".", coursedir.assignment_id))
    expected = [path.name for path in sorted(solutions.glob("*.ipynb"))]
    pattern = coursedir.format_path(coursedir.submitted_directory, coursedir.student_id, coursedir.assignment_id)
    for folder in map(Path, sorted(glob.glob(pattern))):
        kept = PrivateFolder(Path(coursedir.root)).student(folder.name, folder.parent.name)
        try:
            note_findings(kept, admit(folder, kept, limits_of(coursedir)))
        except (LabError, OSError) as error:
            converter.log.error("%s is not graded: %s", folder, error)
            converter.assignments.pop(str(folder), None)
            continue
        if expected:
            converter.assignments[str(folder)] = [str(folder / name) for name in expected]


def limits_of(coursedir: Any) -> Limits:
    """Return what a submission may hold by nbgrader's configuration, which counts in kilobytes."""
    return Limits(1000 * coursedir.max_file_size, 1000 * coursedir.max_dir_size, ignored=tuple(coursedir.ignore))


def note_findings(kept: StudentFolder, findings: list[Finding]) -> None:
    """Add findings to the record of a submission's arrival, each once."""
    intake = kept.read("intake")
    known: list[dict[str, Any]] = list(intake.get("findings", []))
    known += [new for finding in findings if (new := finding.to_json()) not in known]
    kept.write("intake", {**intake, "findings": known})


def _settle_time(folder: Path, kept: StudentFolder) -> list[Finding]:
    path = folder / TIMESTAMP
    noted = kept.read("intake").get("submitted")
    stated = read_time(folder)
    if noted is not None:
        moment = dt.datetime.fromisoformat(str(noted))
        if stated == moment:
            return []
        write_text(path, format_time(moment))
        text = "The submission's time stamp was edited; the time of its arrival counts."
        return [Finding("edited time", text, suspicious=True)]
    if not path.is_file():
        return []
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    if stated is not None and stated <= now + _FUTURE:
        return []
    changed = [other.stat().st_mtime for other in folder.iterdir() if other.is_file() and other.name != TIMESTAMP]
    moment = dt.datetime.fromtimestamp(max(changed, default=path.stat().st_mtime), dt.UTC).replace(tzinfo=None)
    kept.set_aside.mkdir(parents=True, exist_ok=True)
    path.rename(kept.set_aside / TIMESTAMP)
    write_text(path, format_time(moment))
    text = "The submission's time stamp is not a possible time; the time of its newest file counts."
    return [Finding("impossible time", text)]
