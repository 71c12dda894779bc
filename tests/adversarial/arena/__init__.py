"""Where the grader meets its adversaries: one batch grades them all, beside their honest twins and classmates."""

from arena.adversary import NOTHING, Adversary, Work, adversaries_in, adversary, correct
from arena.batch import GradedClass, grade_class
from arena.first_lab import DOUBLE, FIRST_LAB, SCALE, SMALLEST, WRITTEN
from arena.rules import CLASS_RULES, RULES
from arena.target import TargetLab

__all__ = [
    "CLASS_RULES",
    "DOUBLE",
    "FIRST_LAB",
    "NOTHING",
    "RULES",
    "SCALE",
    "SMALLEST",
    "WRITTEN",
    "Adversary",
    "GradedClass",
    "TargetLab",
    "Work",
    "adversaries_in",
    "adversary",
    "correct",
    "grade_class",
]
