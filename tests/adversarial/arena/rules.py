"""What must hold for every adversary and for everybody else: each function yields what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from arena.adversary import Adversary
from arena.batch import BYSTANDER, CLASSMATES, GradedClass
from arena.page import dangers_of

__all__ = ["CLASS_RULES", "RULES"]

Rule = Callable[[GradedClass, Adversary], Iterator[str]]


def finishes(graded: GradedClass, item: Adversary) -> Iterator[str]:
    """It is graded, or refused with a reason."""
    if item.name not in graded.outcomes:
        yield "it was not graded at all"
    elif graded.outcomes[item.name].failed:
        yield f"grading failed: {graded.outcomes[item.name].failed}"


def gains_nothing(graded: GradedClass, item: Adversary) -> Iterator[str]:
    """No exercise has more points than the honest twin's."""
    twin = graded.outcomes[item.twin_name].scores
    for grade_id, score in graded.outcomes[item.name].scores.items():
        if score is not None and not 0.0 <= score <= (twin[grade_id] or 0.0):
            yield f"{grade_id} has {score} points, the honest twin's {twin[grade_id]}"


def loses_nothing_else(graded: GradedClass, item: Adversary) -> Iterator[str]:
    """Exercises that the attack has nothing to do with keep their points; of right work, all do."""
    outcome, twin = graded.outcomes[item.name], graded.outcomes[item.twin_name]
    own = set() if item.is_correct else {*graded.works[item.name].answered, *item.costs}
    for grade_id, score in outcome.scores.items():
        if grade_id.removesuffix("-check") not in own and score != twin.scores[grade_id] and not outcome.unreadable:
            yield f"{grade_id} has {score} points, the honest twin's {twin.scores[grade_id]}"


def waits_where_it_has_no_score(graded: GradedClass, item: Adversary) -> Iterator[str]:
    """What has no score waits for a human: nothing is silently zeroed or left open."""
    outcome = graded.outcomes[item.name]
    for grade_id, score in outcome.scores.items():
        if score is None and grade_id not in outcome.by_hand:
            yield f"{grade_id} has no score and does not wait for one"


def is_flagged(graded: GradedClass, item: Adversary) -> Iterator[str]:
    """What looks odd is written down; right work is not suspected."""
    findings = graded.outcomes[item.name].findings
    for kind in set(item.flagged) - {finding.kind for finding in findings}:
        yield f"there is no finding {kind!r}, only {sorted(finding.kind for finding in findings)}"
    if item.is_correct:
        yield from (f"right work is suspected: {finding.text}" for finding in findings if finding.suspicious)


def page_is_harmless(graded: GradedClass, item: Adversary) -> Iterator[str]:
    """The feedback page runs and loads nothing."""
    page = graded.outcomes[item.name].page
    if not page:
        yield "there is no feedback page"
    yield from dangers_of(page)


def tells_no_secret(graded: GradedClass, item: Adversary) -> Iterator[str]:
    """Neither the page nor what is kept of the run holds a secret that the code was after."""
    outcome = graded.outcomes[item.name]
    for what, secret in graded.secrets.items():
        if secret in outcome.page or secret in outcome.kept:
            yield f"it got hold of {what}"


RULES: Mapping[str, Rule] = {
    rule.__name__: rule
    for rule in (
        finishes,
        gains_nothing,
        loses_nothing_else,
        waits_where_it_has_no_score,
        is_flagged,
        page_is_harmless,
        tells_no_secret,
    )
}


def classmates_keep_their_points(graded: GradedClass) -> Iterator[str]:
    """Honest classmates have full marks, whoever was graded before and after them."""
    for name in CLASSMATES:
        outcome = graded.outcomes.get(name)
        points = {grade_id: score for grade_id, score in outcome.scores.items() if score is not None} if outcome else {}
        if points != _full_marks(graded):
            yield f"{name} has {points}"
        yield from (f"{name}: {finding.text}" for finding in (outcome.findings if outcome else ()))


def bystander_keeps_their_grades(graded: GradedClass) -> Iterator[str]:
    """Who is not in the batch has the same grades as before."""
    before, after = graded.bystander
    if before != after or not before:
        yield f"{BYSTANDER} had {before} and has {after}"


def host_is_untouched(graded: GradedClass) -> Iterator[str]:
    """Files, processes and sockets of the machine are as before."""
    yield from graded.violations


def gradebook_knows_the_class_only(graded: GradedClass) -> Iterator[str]:
    """Nobody was added to the gradebook, and nobody is gone."""
    with graded.course.gradebook() as gradebook:
        known = {student.id for student in gradebook.students}
    expected = {*graded.outcomes, BYSTANDER} - {name for name, item in graded.outcomes.items() if item.failed}
    if known != expected:
        yield f"differing: {sorted(known ^ expected)}"


CLASS_RULES: Mapping[str, Callable[[GradedClass], Iterator[str]]] = {
    rule.__name__: rule
    for rule in (
        classmates_keep_their_points,
        bystander_keeps_their_grades,
        host_is_untouched,
        gradebook_knows_the_class_only,
    )
}


def _full_marks(graded: GradedClass) -> dict[str, float]:
    with graded.course.gradebook() as gradebook:
        notebook = gradebook.find_notebook(graded.lab.name, graded.lab.name)
        return {cell.name: float(cell.max_score) for cell in notebook.grade_cells if cell.cell_type == "code"}
