"""Judge what was recorded, and put one trusted output with one score into each check cell."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor  # type: ignore[import-untyped]
from traitlets import Integer

from yolotrt_lab.errors import LabError
from yolotrt_lab.grading.display import html_table
from yolotrt_lab.grading.nbgrader.answer_errors import why_undefined
from yolotrt_lab.grading.nbgrader.findings import Finding
from yolotrt_lab.grading.nbgrader.given import given_in
from yolotrt_lab.grading.nbgrader.instructor_note import add_instructor_note
from yolotrt_lab.grading.nbgrader.judge_process import judge_in_process
from yolotrt_lab.grading.nbgrader.marks import RESULT_TYPE, Marks
from yolotrt_lab.grading.nbgrader.private_folder import PrivateFolder
from yolotrt_lab.grading.nbgrader.rebuilding import is_check, marks_of
from yolotrt_lab.grading.nbgrader.record_exercises import RUN_KEY, RecordExercises, Run
from yolotrt_lab.grading.nbgrader.release import coursedir_of, exercise_of, node_from
from yolotrt_lab.grading.nbgrader.stand_ins import has_records, shortcuts_in
from yolotrt_lab.grading.results import ExerciseResult, State
from yolotrt_lab.grading.sandbox.preflight import SandboxError
from yolotrt_lab.grading.scoring.run import trouble

__all__ = ["UNSCORED_KEY", "ScoreExercises"]

UNSCORED_KEY = "yolotrt_unscored"
"""Where the grade ids without an automatic score are in nbconvert's resources, each with the reason."""

_FOR_STUDENTS = "This could not be graded automatically. It costs you nothing: your instructor will grade it by hand."


class ScoreExercises(NbGraderPreprocessor):  # type: ignore[misc]
    """Replaces whatever check cells printed by their verdict.

    nbgrader reads the score from a cell's outputs: full marks for none, for text, for NaN and for negative numbers;
    none for anything on stderr. So each check cell gets exactly one output, made here, whose plain text is a finite
    number between 0 and the cell's points. What could not be judged gets no score, and a reason.
    """

    judge_seconds = Integer(600, help="How long judging one submission may take.").tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        """Score the notebook. Called by nbgrader's Autograde after RecordExercises and CleanOutputs."""
        place = resources["nbgrader"]
        private = PrivateFolder(Path(coursedir_of(self).root))
        marks, run = Marks.read(nb), resources.get(RUN_KEY) or None
        checks = {index: exercise_of(cell.source) for index, cell in enumerate(nb.cells) if is_check(cell)}
        given = given_in(resources)
        judged = None if given is None else given.results
        results = self._results(nb, marks, run, private.hidden_seed(place["assignment"]), judged)
        unscored: dict[str, str] = {}
        for index, exercise_id in checks.items():
            cell = nb.cells[index]
            grade_id, points = str(marks_of(cell)["grade_id"]), float(str(marks_of(cell)["points"]))
            result = _fitting(results[exercise_id], points) if exercise_id else _by_hand_only(grade_id)
            if result.state is State.TROUBLE:
                unscored[grade_id] = result.note
                result = dataclasses.replace(result, note=_FOR_STUDENTS)
            cell.outputs, cell.execution_count = [_trusted_output(result, points)], None
        if marks.unreadable:
            ids = [str(marks_of(cell)["grade_id"]) for cell in nb.cells if marks_of(cell).get("grade")]
            unscored |= dict.fromkeys(ids, marks.unreadable)
        resources[UNSCORED_KEY] = unscored
        findings = [
            *marks.findings,
            *_shortcuts(run, results),
            *_odd_answers(results),
            *(given.findings if given else ()),
        ]
        add_instructor_note(nb, findings, unscored)
        record = {
            "graded": datetime.now(UTC).isoformat(timespec="seconds"),
            "unreadable": marks.unreadable,
            "trouble": unscored,
            "findings": [finding.to_json() for finding in findings],
            "answers": marks.answers,
            # Pictures are in the notebook, for the student's page.
            "results": {name: dataclasses.replace(result, picture=None).to_json() for name, result in results.items()},
        }
        if given is not None:
            given.record.update(record)
        else:
            private.student(place["assignment"], place["student"]).write("grading", record)
        return nb, resources

    def _results(
        self,
        nb: NotebookNode,
        marks: Marks,
        run: Run | None,
        seed: int,
        judged: Mapping[str, ExerciseResult] | None = None,
    ) -> dict[str, ExerciseResult]:
        """Return a result for every exercise of the notebook, "trouble" where there is no verdict."""
        ids = [name for cell in nb.cells if is_check(cell) and (name := exercise_of(cell.source))]
        reason = marks.unreadable or (run.trouble if run else "The notebook was not run.")
        if reason or run is None:
            return {name: trouble(name, reason) for name in ids}
        recorded = [name for name in ids if has_records(run.recorded, name)]
        if judged is not None:
            results = {name: judged[name] for name in recorded if name in judged}
        else:
            results = self._judged(run.recorded, recorded, seed) if recorded else {}
        results |= {name: trouble(name, _why_nothing(nb, name)) for name in ids if name not in results}
        return {name: why_undefined(nb, run.ended, result) for name, result in results.items()}

    def _judged(self, recorded: Path, ids: list[str], seed: int) -> dict[str, ExerciseResult]:
        try:
            return judge_in_process(
                recorded,
                exercises=ids,
                hidden_seed=seed,
                timeout_s=self.judge_seconds,
                unsafe=RecordExercises(parent=self).unsafe_no_sandbox,
            )
        except SandboxError:
            raise
        except LabError as error:
            self.log.error("%s", error.one_line)
            return {name: trouble(name, error.one_line) for name in ids}


def _trusted_output(result: ExerciseResult, points: float) -> NotebookNode:
    """Return the one output of a check cell, in the form that nbgrader's determine_grade reads."""
    score = min(max(float(result.score), 0.0), points)
    data = {"text/plain": str(score), "text/html": html_table(result), RESULT_TYPE: result.to_json()}
    return node_from({"output_type": "execute_result", "data": data, "metadata": {}, "execution_count": None})


def _fitting(result: ExerciseResult, points: float) -> ExerciseResult:
    """Return the result, or trouble where suite and notebook disagree about what the exercise is worth."""
    if result.state is State.TROUBLE or (math.isfinite(points) and result.points == points):
        return result
    text = f"The suite gives up to {result.points} points, the notebook's cell {points:g}."
    return dataclasses.replace(result, state=State.TROUBLE, note=f"{text} Build the notebooks and release them again.")


def _shortcuts(run: Run | None, results: dict[str, ExerciseResult]) -> list[Finding]:
    """Return what an instructor should know about calls of functions that would be the whole answer."""
    if run is None:
        return []
    found = {name: shortcuts_in(run.recorded, name) for name in results}
    return [
        Finding("shortcut", f"The answer to {name} calls {', '.join(sorted(calls))}.", suspicious=True)
        for name, calls in found.items()
        if calls
    ]


def _odd_answers(results: dict[str, ExerciseResult]) -> list[Finding]:
    """Return what an instructor should know about answers that a test stumbled over."""
    found = {
        name: [f"{test.name} ({test.odd})" for test in result.tests if test.odd] for name, result in results.items()
    }
    return [
        Finding("odd answer", f"What {name} returns cannot be checked: {'; '.join(odd)[:500]}.", suspicious=True)
        for name, odd in found.items()
        if odd
    ]


def _why_nothing(nb: NotebookNode, exercise_id: str) -> str:
    """Say why an exercise has no records though its check cell ran."""
    for cell in nb.cells:
        if is_check(cell) and exercise_of(cell.source) == exercise_id:
            for output in cell.outputs:
                if output.output_type == "error":
                    return f"Its check raised {output.ename}: {str(output.evalue)[:300]}"
    return "Its check ran and recorded nothing. Does an answer replace `check`, or change the environment?"


def _by_hand_only(grade_id: str) -> ExerciseResult:
    reason = 'This graded cell is not of the form check("lab.name"), so its output is not to be trusted.'
    return ExerciseResult(grade_id, "Graded by hand", State.TROUBLE, (), reason)
