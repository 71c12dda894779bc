"""Attacks on the notebook, the kernel, the grader and its host: one class of them, graded in one batch."""

from pathlib import Path

import pytest
from arena import CLASS_RULES, FIRST_LAB, RULES, adversaries_in, grade_class

ADVERSARIES = adversaries_in(Path(__file__).parent / "attacks")

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("adversaries"), pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    return grade_class(tmp_path_factory.mktemp("adversaries"), FIRST_LAB, ADVERSARIES.values())


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", ADVERSARIES)
def test_adversary(graded, name, rule):
    assert list(RULES[rule](graded, ADVERSARIES[name])) == []


@pytest.mark.parametrize("rule", CLASS_RULES)
def test_class(graded, rule):
    assert list(CLASS_RULES[rule](graded)) == []
