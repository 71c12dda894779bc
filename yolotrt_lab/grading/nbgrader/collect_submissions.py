"""Collect submissions from the exchange: regular files only, stamped with the time they arrived."""

from __future__ import annotations

import datetime as dt
import pwd
import shutil
from pathlib import Path
from typing import Any

from nbgrader.exchange.abc import ExchangeError  # type: ignore[import-untyped]
from nbgrader.exchange.default import ExchangeCollect  # type: ignore[import-untyped]
from traitlets import Bool, Integer

from yolotrt_lab.errors import LabError
from yolotrt_lab.files import write_text
from yolotrt_lab.grading.nbgrader.findings import Finding
from yolotrt_lab.grading.nbgrader.intake import TIMESTAMP, format_time, limits_of
from yolotrt_lab.grading.nbgrader.private_folder import PrivateFolder
from yolotrt_lab.grading.nbgrader.untrusted_files import copy_folder, latest_change

__all__ = ["CollectSubmissions"]


class CollectSubmissions(ExchangeCollect):  # type: ignore[misc]
    """Collects as nbgrader does, and trusts less.

    The folders in the exchange are made by the students' own programs. So the time in a folder's name counts only as
    far as the file system agrees, links are not followed, a folder that belongs to another student's account is
    refused, and one bad folder does not keep the others from being collected.
    """

    trust_client_clock = Bool(
        False,
        help="Believe the times that submissions state. Needed after the exchange was moved or restored from a backup,"
        " when the file system no longer knows when they arrived.",
    ).tag(config=True)
    clock_tolerance_s = Integer(600, help="How far stated and noted time may differ, in seconds.").tag(config=True)

    def init_src(self) -> None:
        """List the submissions. Called by nbgrader's start."""
        self.refused: list[str] = []
        self.collected: list[str] = []
        super().init_src()

    def _path_to_record(self, path: str) -> dict[str, Any]:
        """Return who submitted when. Called by nbgrader for each folder in the exchange; must not fail for one."""
        try:
            record: dict[str, Any] = super()._path_to_record(path)
            if record["timestamp"] is None:
                raise ValueError("no time in the name")
        except (ExchangeError, ValueError, OverflowError, TypeError) as error:
            self._refuse(path, f"its name is not of the form student+lab+time ({error})")
            return _nobodys(path)
        reason = self._not_the_students(Path(path), record["username"])
        if reason:  # it must not stand in the way of the student's own, which may be older
            self._refuse(path, reason)
            return _nobodys(path)
        record["folder"] = Path(path)
        record["stated"] = record["timestamp"]
        record["timestamp"], record["findings"] = self._arrival(Path(path), record["stated"])
        return record

    def _arrival(self, folder: Path, stated: dt.datetime) -> tuple[dt.datetime, list[Finding]]:
        """Return when a submission came, and what is odd about the time it states."""
        try:
            noted = dt.datetime.fromtimestamp(latest_change(folder), dt.UTC).replace(tzinfo=None)
        except (OSError, LabError):
            return stated, []  # copying will say what is wrong with it
        if self.trust_client_clock or abs((noted - stated).total_seconds()) <= self.clock_tolerance_s:
            return stated, []
        text = (
            f"The submission states {stated:%Y-%m-%d %H:%M} UTC; it arrived at {noted:%Y-%m-%d %H:%M} UTC: that counts."
        )
        return noted, [Finding("stated time", text, suspicious=True)]

    def copy_files(self) -> None:
        """Copy the newest submission of each student. Called by nbgrader's start."""
        records = [record for record in self.src_records if record["username"]]
        if not records:
            self.log.warning("There are no submissions of '%s' to collect.", self.coursedir.assignment_id)
        for record in records:
            try:
                self._collect(record)
            except (LabError, OSError) as error:
                self._refuse(str(record["folder"]), str(error))

    def _collect(self, record: dict[str, Any]) -> None:
        student, lab = record["username"], self.coursedir.assignment_id
        target = Path(self.coursedir.format_path(self.coursedir.submitted_directory, student, lab))
        kept = PrivateFolder(Path(self.coursedir.root)).student(lab, student)
        if target.is_dir() and not self._replaces(target, record["timestamp"]):
            self.log.info("There is no newer submission of %s by %s.", lab, student)
            return
        fresh = target.with_name(f".{target.name}.collecting")
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            findings = copy_folder(record["folder"], fresh, limits_of(self.coursedir))
            write_text(fresh / TIMESTAMP, format_time(record["timestamp"]))
            if target.is_dir():
                shutil.rmtree(target)
            fresh.rename(target)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        kept.write(
            "intake",
            {
                "submitted": record["timestamp"].isoformat(),
                "stated": record["stated"].isoformat(),
                "folder": record["filename"],
                "findings": [finding.to_json() for finding in (*record["findings"], *findings)],
            },
        )
        self.collected.append(student)
        self.log.info("Collected %s of %s.", lab, student)

    def _replaces(self, target: Path, moment: dt.datetime) -> bool:
        """Whether a submission takes the place of the one that was collected before, by nbgrader's options."""
        before = self.coursedir.get_existing_timestamp(str(target))
        if self.update and (before is None or moment > before):
            return True
        return bool(self.before_duedate and before != moment)

    def _not_the_students(self, folder: Path, student: str) -> str:
        """Return why a folder is no submission of the student it names; "" if it is one."""
        if student != Path(student).name or student.startswith("."):
            return "its student's name is no name"  # "..", a path
        try:
            owner = self._foreign_owner(folder, student)
        except OSError as error:
            return f"it cannot be read ({error.strerror})"
        if not owner:
            return ""
        reason = f"it is in the name of {student} but belongs to the account {owner}"
        return f"{reason} (c.ExchangeCollect.check_owner = False would allow that)"

    def _foreign_owner(self, folder: Path, student: str) -> str:
        """Return the account a folder belongs to, if it is neither the student's nor the instructor's."""
        if not self.check_owner:
            return ""
        uid = _owner_of(folder)
        if uid == _owner_of(Path(self.coursedir.root)):
            return ""  # put there by the instructor, or everybody works under one account
        try:
            owner = pwd.getpwuid(uid).pw_name
        except KeyError:
            owner = f"number {uid}"
        return "" if owner == student else owner

    def _refuse(self, path: str, reason: str) -> None:
        self.refused.append(f"{Path(path).name}: {reason}")
        self.log.error("Not collected: %s: %s", path, reason)


def _nobodys(path: str) -> dict[str, Any]:
    """Return nbgrader's record of a folder that is passed over."""
    return {"username": "", "filename": Path(path).name, "timestamp": dt.datetime.min}


def _owner_of(path: Path) -> int:
    return path.lstat().st_uid
