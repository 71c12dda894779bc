"""The judge in one process and its forks: what ends badly is told apart by whether the reference passes."""

import os
import time

import pytest

from yolotrt_lab.grading.results import State
from yolotrt_lab.grading.scoring.forked import ForkLimits, run_forked
from yolotrt_lab.grading.scoring.session import JudgeSession

IDS = ("lab0.clip", "lab0.trusting")
LIMITS = ForkLimits(cpu_s=1, wall_s=5, memory_bytes=1 << 30)


def judged(folder, *, reference=None, limits=LIMITS, ids=IDS):
    session, results = JudgeSession(folder, 11, limits=limits), {}

    def serve():
        if reference is not None:
            session.prime(reference)
        results.update({name: session.judge(name, folder) for name in ids})

    session.run(ids, serve)
    return results


class TestRightAndWrong:
    def test_right_answers(self, recorded):
        reference = recorded("reference")
        for results in (judged(reference), judged(recorded("one"), reference=reference)):
            assert {result.state for result in results.values()} == {State.PASSED}
            assert [result.score for result in results.values()] == [5, 6]

    def test_a_wrong_one_fails_on_its_own(self, recorded):
        folder = recorded("one", trusting=lambda values: values.sum() + 1)
        results = judged(folder, reference=recorded("reference"))
        assert results["lab0.clip"].state is State.PASSED
        trusting = results["lab0.trusting"]
        assert (trusting.state, trusting.score) == (State.FAILED, 3)
        assert trusting.tests[0].case == "one"

    def test_one_submission_does_not_see_another(self, recorded):
        reference, wrong = recorded("reference"), recorded("wrong", trusting=lambda values: None)
        session, states = JudgeSession(reference, 11, limits=LIMITS), []

        def serve():
            session.prime(reference)
            states.extend(session.judge("lab0.trusting", folder).state for folder in (reference, wrong, reference))

        session.run(IDS, serve)
        assert states == [State.PASSED, State.FAILED, State.PASSED]

    def test_inputs_are_made_once(self, recorded, root):
        from yolotrt_lab.grading.suite import load_exercise

        reference, counts = recorded("reference"), []
        session = JudgeSession(reference, 11, limits=LIMITS)

        def serve():
            session.prime(reference)
            counts.append(len(load_exercise("lab0.trusting", root=root).module.MADE))
            session._judge_here(load_exercise("lab0.trusting", root=root), reference, lambda _: None)
            counts.append(len(load_exercise("lab0.trusting", root=root).module.MADE))

        session.run(IDS, serve)
        assert counts[0] == counts[1]
        assert load_exercise("lab0.trusting", root=root).module.PREPARED == [4, 4, 4]


class TestOddAnswers:
    """Whatever the answer does to a test: its failure where the reference passes, the judge's trouble else."""

    @pytest.mark.parametrize(
        ("output", "odd"),
        [
            ({"$": "dict", "items": []}, "TypeError"),
            ("text", "TypeError"),
            ("crash", "SIGSEGV"),
            ("vanish", "exit code 3"),
            ("spin", "time"),
            ("grow", "MemoryError"),
            ([[]], "TypeError"),
            ({"$": "nonsense"}, ""),
        ],
    )
    def test_with_a_reference(self, recorded, rewrite, output, odd):
        folder = rewrite(recorded("one"), "lab0.trusting", output)
        result = judged(folder, reference=recorded("reference"), ids=("lab0.trusting",))["lab0.trusting"]
        assert result.state is State.FAILED
        assert result.score <= 1
        assert not any(test.trouble for test in result.tests)
        assert not odd or any(odd in test.odd for test in result.tests), [test.odd for test in result.tests]
        assert all(test.seen or test.hidden for test in result.tests if not test.passed), result.tests

    def test_without_one(self, recorded, rewrite):
        folder = rewrite(recorded("one"), "lab0.trusting", "text")
        result = judged(folder, ids=("lab0.trusting",))["lab0.trusting"]
        assert result.state is State.TROUBLE
        assert "TypeError" in result.tests[0].trouble

    @pytest.mark.parametrize("output", ["vanish", "fill"])
    def test_what_no_answer_does(self, recorded, rewrite, output):
        """An error of the machine, or of a test that the reference does not pass either."""
        reference = recorded("reference")
        if output != "fill":
            rewrite(reference, "lab0.trusting", output)
        folder = rewrite(recorded("one"), "lab0.trusting", output)
        result = judged(folder, reference=reference, ids=("lab0.trusting",))["lab0.trusting"]
        assert result.state is State.TROUBLE

    def test_hanging_costs_its_own_exercise(self, recorded, rewrite):
        folder = rewrite(recorded("one"), "lab0.trusting", "hang")
        limits = ForkLimits(cpu_s=2, wall_s=0.4)
        results = judged(folder, reference=recorded("reference"), limits=limits)
        assert results["lab0.clip"].state is State.PASSED
        assert results["lab0.trusting"].state is State.FAILED
        assert "time" in results["lab0.trusting"].tests[1].odd


def test_a_broken_file_is_trouble_for_itself(recorded, root):
    folder = recorded("one")
    (root / "lab0" / "test_trusting.py").write_text("import nothing_of_that_name")
    results = judged(folder)
    assert results["lab0.clip"].state is State.PASSED
    assert results["lab0.trusting"].state is State.TROUBLE
    assert "nothing_of_that_name" in results["lab0.trusting"].note
    assert judged(folder, ids=("lab0.trusting",))["lab0.trusting"].state is State.TROUBLE


class TestForks:
    def test_what_is_said_is_heard(self):
        def talk(say):
            say({"number": 1})
            say({"text": "x" * 200_000})

        ended = run_forked(talk, limits=LIMITS)
        assert (ended.reason, len(ended.said), ended.said[0]) == ("", 2, {"number": 1})
        assert ended.cpu_s > 0

    @pytest.mark.parametrize(
        ("function", "reason", "detail"),
        [
            (lambda say: 1 / 0, "crash", "ZeroDivisionError"),
            (lambda say: os.abort(), "crash", "SIGABRT"),
            (lambda say: os.kill(os.getpid(), 9), "killed", "SIGKILL"),
            (lambda say: [say({"x": "y" * (1 << 20)}) for _ in range(20)], "output", ""),
        ],
    )
    def test_bad_ends(self, function, reason, detail):
        ended = run_forked(function, limits=LIMITS)
        assert ended.reason == reason
        assert detail in ended.detail

    def test_memory_that_grows(self):
        def grow(say):
            kept = []
            while True:
                kept.append(b"x" * (1 << 22))

        ended = run_forked(grow, limits=ForkLimits(cpu_s=20, wall_s=20, memory_bytes=200 << 20))
        assert ended.reason in ("memory", "crash")
        assert ended.reason == "memory" or "MemoryError" in ended.detail

    def test_memory_of_its_parent_is_not_its_own(self):
        held = b"x" * (300 << 20)
        ended = run_forked(
            lambda say: (time.sleep(0.3), say({"held": len(held)})),
            limits=ForkLimits(cpu_s=20, wall_s=20, memory_bytes=200 << 20),
        )
        assert (ended.reason, ended.said) == ("", [{"held": 300 << 20}])

    def test_nothing_of_it_stays(self, tmp_path):
        state = {"changed": False}

        def leave(say):
            state["changed"] = True
            if os.fork() == 0:
                os.execvp("sleep", ["sleep", "60"])
            say({"done": True})

        ended = run_forked(leave, limits=ForkLimits(wall_s=1))
        assert not state["changed"]
        assert ended.said == [{"done": True}]
        assert os.getpgid(0) == os.getpgrp()
