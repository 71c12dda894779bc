"""The judge in a process of its own: started once, killed, started again; in a sandbox and without."""

import json
import os
import signal

import pytest

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.results import ExerciseResult, State, TestResult
from yolotrt_lab.grading.sandbox.preflight import sandbox_works
from yolotrt_lab.grading.scoring import JudgeError, JudgeService, records_digest, score, score_key
from yolotrt_lab.grading.scoring.desk import Desk
from yolotrt_lab.grading.scoring.run import fitting

IDS = ("lab0.clip", "lab0.trusting")


def states(results):
    return [results[name].state for name in IDS]


@pytest.fixture(params=["unsafe", "sandbox"])
def unsafe(request):
    if request.param == "sandbox" and not sandbox_works():
        pytest.skip("no sandbox can be made here")
    return request.param == "unsafe"


def test_one_judge_for_many_submissions(recorded, rewrite, unsafe):
    reference, wrong = recorded("reference"), recorded("wrong", trusting=lambda values: -1.0)
    odd = rewrite(recorded("odd"), "lab0.trusting", "text")
    with JudgeService(IDS, hidden_seed=11, reference=reference, unsafe=unsafe) as judge:
        for folder, state in ((reference, State.PASSED), (wrong, State.FAILED), (odd, State.FAILED)):
            results = score(folder, exercises=IDS, hidden_seed=11, warm=judge)
            assert states(results) == [State.PASSED, state]
        assert results["lab0.trusting"].tests[0].odd.startswith("UFuncTypeError")
        again = score(wrong, exercises=IDS, hidden_seed=11, warm=judge)
    assert again == score(wrong, exercises=IDS, hidden_seed=11, reference=reference, unsafe=unsafe)


class TestWithoutASandbox:
    def test_a_judge_that_is_killed_starts_again(self, recorded):
        folder = recorded("one")
        with JudgeService(IDS, hidden_seed=11, unsafe=True) as judge:
            assert states(judge.judge(folder, IDS)) == [State.PASSED, State.PASSED]
            os.kill(judge._host._process.pid, signal.SIGKILL)
            judge._host._process.wait()
            with pytest.raises(JudgeError, match="The judge failed"):
                judge.judge(folder, IDS)
            assert states(score(folder, exercises=IDS, hidden_seed=11, warm=judge)) == [State.PASSED, State.PASSED]

    def test_trouble_is_said_after_two_attempts(self, recorded, monkeypatch):
        folder, calls = recorded("one"), []

        def fail(self, *_, **__):
            calls.append(self)
            raise JudgeError("The judge failed.", got="no memory")

        monkeypatch.setattr(JudgeService, "judge", fail)
        results = score(folder, exercises=IDS, hidden_seed=11, unsafe=True)
        assert states(results) == [State.TROUBLE, State.TROUBLE]
        assert "no memory" in results["lab0.clip"].note
        assert len(calls) == 2

    def test_it_takes_too_long(self, recorded):
        with JudgeService(IDS, hidden_seed=11, unsafe=True) as judge:
            with pytest.raises(JudgeError, match="too long"):
                judge.judge(recorded("one"), IDS, timeout_s=0.0)
            assert judge._host is None


class TestAnswersOfTheJudge:
    """Not even the judge is believed to the letter: it has read what strangers wrote."""

    TESTS = (TestResult("test_sums", "t", 3, True), TestResult("test_does_as_told", "t", 2, True))

    def result(self, *tests, state=State.PASSED, name="lab0.trusting"):
        return ExerciseResult(name, "t", state, tests)

    def test_other_tests_or_points(self, root):
        last = TestResult("test_is_there", "t", 1, True)
        assert fitting("lab0.trusting", self.result(*self.TESTS, last), root).score == 6
        rich = TestResult("test_is_there", "t", 100, True)
        for tests in ((), self.TESTS, (*self.TESTS, rich), (*self.TESTS, last, last)):
            assert fitting("lab0.trusting", self.result(*tests), root).state is State.TROUBLE
        other = self.result(*self.TESTS, last, name="lab0.clip")
        assert fitting("lab0.trusting", other, root).state is State.TROUBLE

    def test_nothing_handed_in_earns_nothing(self, root):
        last = TestResult("test_is_there", "t", 1, True)
        assert fitting("lab0.trusting", self.result(*self.TESTS, last, state=State.MISSING), root).score == 0

    @pytest.mark.parametrize("content", ["", "[]", '{"a": 1}', '{"lab0.clip": {"state": "best"}}', "[" * 5000])
    def test_nonsense(self, tmp_path, content):
        (tmp_path / "verdicts").mkdir()
        (tmp_path / "verdicts" / "0.json").write_text(content)
        with pytest.raises(InputError):
            Desk(tmp_path).verdicts(0)

    def test_links(self, tmp_path):
        (tmp_path / "verdicts").mkdir()
        (tmp_path / "secret.json").write_text(json.dumps({}))
        (tmp_path / "verdicts" / "0.json").symlink_to(tmp_path / "secret.json")
        with pytest.raises(InputError, match="link"):
            Desk(tmp_path).verdicts(0)


class TestRecordsOfStrangers:
    def test_links_are_not_followed(self, recorded, tmp_path):
        folder, secret = recorded("one"), tmp_path / "secret"
        secret.mkdir()
        (secret / "record.json").write_text("{}")
        (folder / "lab0.clip" / "public-7").symlink_to(secret, target_is_directory=True)
        (folder / "lab0.linked").symlink_to(secret, target_is_directory=True)
        (folder / "lab0.clip" / "public-0" / "x").symlink_to(secret / "record.json")
        desk = Desk(tmp_path / "desk")
        desk.folder.mkdir()
        desk.ask(0, folder, (*IDS, "lab0.linked", "lab0.absent"))
        found = {str(path.relative_to(desk.records(0))) for path in desk.records(0).rglob("*")}
        assert "lab0.clip/public-0/record.json" in found
        assert not any("public-7" in name or "linked" in name or name.endswith("x") for name in found)


class TestKeys:
    def test_a_verdict_depends_on_these(self, recorded, root):
        folder = recorded("one")

        def key(**more):
            return score_key("lab0.clip", folder, **{"hidden_seed": 11, "root": root, **more})

        keys = [key(), key(hidden_seed=12), key(outcome="hung")]
        path = folder / "lab0.clip" / "public-0" / "record.json"
        path.write_text(path.read_text() + " ")
        keys.append(key())
        suite = root / "lab0" / "test_clip.py"
        suite.write_text(suite.read_text() + "\n")
        keys.append(key())
        assert len(set(keys)) == len(keys)
        assert key() == keys[-1]

    def test_and_on_no_other_exercise(self, recorded, root):
        folder = recorded("one")
        before = score_key("lab0.clip", folder, hidden_seed=11, root=root)
        (root / "lab0" / "test_trusting.py").write_text("x = 1")
        (folder / "lab0.trusting" / "public-0" / "record.json").write_text("{}")
        assert score_key("lab0.clip", folder, hidden_seed=11, root=root) == before

    def test_special_files_are_noted_and_not_read(self, recorded, tmp_path):
        folder = recorded("one")
        digests = [records_digest(folder, "lab0.clip")]
        os.mkfifo(folder / "lab0.clip" / "pipe")
        digests.append(records_digest(folder, "lab0.clip"))
        (folder / "lab0.clip" / "link").symlink_to("/etc/passwd")
        digests.append(records_digest(folder, "lab0.clip"))
        (folder / "lab0.clip" / "folder").symlink_to("/etc", target_is_directory=True)
        digests.append(records_digest(folder, "lab0.clip"))
        assert len(set(digests)) == 4
        assert records_digest(folder, "lab0.absent") == records_digest(tmp_path, "lab0.absent")
