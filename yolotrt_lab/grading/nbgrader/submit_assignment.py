"""Hand in so that only the instructor can read it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from nbgrader.exchange.default import ExchangeSubmit  # type: ignore[import-untyped]

__all__ = ["SubmitAssignment"]


class SubmitAssignment(ExchangeSubmit):  # type: ignore[misc]
    """Hands in as nbgrader does, which leaves the folder open to everybody who gets to know its name.

    Where the exchange's inbound folder has a group that the student is not in, the submission is the student's and
    that group's alone. `course/jupyter/jupyterhub_config.py` makes it so: the group is the instructor's.
    """

    def copy_files(self) -> None:
        """Copy the student's folder. Called by nbgrader's start."""
        before = os.umask(stat.S_IRWXG | stat.S_IRWXO)
        try:
            super().copy_files()
        finally:
            os.umask(before)
        folder = Path(self.inbound_path, self.assignment_filename)
        if not _close(folder):
            self.log.warning("%s can be read by who knows its name: its group is one of yours.", folder)


def _close(folder: Path) -> bool:
    """Let no other student into a submission's folder; return whether that is possible."""
    if folder.parent.stat().st_uid == os.getuid():  # instructor and student in one account
        folder.chmod(0o700)
    elif folder.stat().st_gid not in {os.getgid(), os.getegid(), *os.getgroups()}:
        folder.chmod(0o770)  # who cannot enter it cannot read what is in it, whatever that allows
    else:
        return False
    return True
