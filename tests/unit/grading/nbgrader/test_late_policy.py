import pytest
from traitlets import TraitError

from yolotrt_lab.grading.nbgrader.late_policy import LatePolicy

DAY = 24 * 60 * 60


@pytest.mark.parametrize(
    ("seconds", "penalty"),
    [
        (0, None),
        (600, None),
        (601, 8),
        (DAY, 8),
        (DAY + 600, 8),
        (DAY + 601, 16),
        (4 * DAY, 32),
        (5 * DAY + 601, 40),
        (365 * DAY, 40),
    ],
)
def test_days_that_have_begun_cost_up_to_a_limit(seconds, penalty):
    policy = LatePolicy(percent_per_day=10, grace_minutes=10, most_percent=50)
    assert policy.late_submission_penalty("ada", 80.0, seconds) == penalty


def test_nothing_is_taken_unless_asked():
    assert LatePolicy().late_submission_penalty("ada", 80.0, 10 * DAY) is None


@pytest.mark.parametrize("options", [{"percent_per_day": -1}, {"percent_per_day": 101}, {"most_percent": 120}])
def test_nonsense_is_refused(options):
    with pytest.raises(TraitError):
        LatePolicy(**options)
