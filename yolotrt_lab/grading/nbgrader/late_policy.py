"""What a late submission costs."""

from __future__ import annotations

import math

from nbgrader.plugins import BasePlugin  # type: ignore[import-untyped]
from traitlets import Float, Integer

__all__ = ["LatePolicy"]

_DAY_S = 24 * 60 * 60


class LatePolicy(BasePlugin):  # type: ignore[misc]
    """Takes a percentage of the earned points for each day that begins after the due date.

    Set in `nbgrader_config.py`; as it comes, nothing is taken:

        c.LatePolicy.percent_per_day = 10     # 10 % of the earned points per day that has begun
        c.LatePolicy.grace_minutes = 15       # the first quarter of an hour is free
        c.LatePolicy.most_percent = 50        # however late, half of the points stay
    """

    percent_per_day = Float(0.0, min=0.0, max=100.0, help="Percent of the earned points per day begun.").tag(
        config=True
    )
    grace_minutes = Integer(0, min=0, help="Minutes after the due date that cost nothing.").tag(config=True)
    most_percent = Float(100.0, min=0.0, max=100.0, help="The most that can be taken, in percent.").tag(config=True)

    def late_submission_penalty(self, student_id: str, score: float, total_seconds_late: float) -> float | None:
        """Return the points to take. Called by nbgrader's AssignLatePenalties for late submissions.

        Args:
            student_id: Whose submission it is; everybody is treated alike.
            score: The points earned.
            total_seconds_late: How late it came, extensions allowed for.
        """
        seconds = total_seconds_late - 60 * self.grace_minutes
        if seconds <= 0 or not self.percent_per_day:
            return None
        days = math.ceil(seconds / _DAY_S)
        percent = min(self.percent_per_day * days, self.most_percent)
        return round(score * percent / 100, 2)
