"""Pictures show public cases only, cost nothing but themselves when they fail, and reach the table escaped."""

import json

import numpy as np
import pytest

from yolotrt_lab.grading.display import html_table
from yolotrt_lab.grading.judging import judge
from yolotrt_lab.grading.recording import record
from yolotrt_lab.grading.results import ExerciseResult, Picture, State
from yolotrt_lab.grading.suite import load_exercise

PICTURE = '''

def picture(answer):
    """Draw."""
    from matplotlib.figure import Figure

    from yolotrt_lab.grading import Drawing

    answer.array()
    {body}
    return Drawing(Figure(figsize=(1, 1)), f"Case <{{answer.case.name}}>", 'It "differs".')
'''


def right(values, limit):
    return np.clip(values, -limit, limit)


def one_sided(values, limit):
    return np.minimum(values, limit)


def no_array(values, limit):
    return "eight"


@pytest.fixture
def verdict(suite, tmp_path, monkeypatch):
    """Judge an answer to lab0.clip, which draws."""

    def judged(answer, *, body="pass", seed=None):
        folder = tmp_path / "suite" / "lab0"
        folder.mkdir(parents=True, exist_ok=True)
        text = (suite / "lab0" / "test_clip.py").read_text()
        (folder / "test_clip.py").write_text(text + PICTURE.format(body=body))
        monkeypatch.setenv("YOLOTRT_GRADING_SUITE", str(folder.parent))
        record(load_exercise("lab0.clip"), answer, folder=tmp_path / "recorded", hidden_seed=seed)
        return judge(tmp_path / "recorded", exercises=["lab0.clip"], hidden_seed=seed)["lab0.clip"]

    return judged


def test_the_first_public_case_that_failed_is_drawn(verdict):
    result = verdict(one_sided, seed=7)
    assert result.picture is not None
    assert result.picture.png.startswith(b"\x89PNG")
    assert result.picture.caption == "Case <outside>"


def test_right_answers_need_no_picture(verdict):
    assert verdict(right).picture is None


def test_what_only_a_hidden_case_shows_is_not_drawn(verdict):
    public = load_exercise("lab0.clip")
    known = {public.inputs(case)["values"].tobytes() for case in public.exercise.all_cases(with_hidden=False)}

    def knows_the_public_ones(values, limit):
        return right(values, limit) if values.tobytes() in known else one_sided(values, limit)

    result = verdict(knows_the_public_ones, seed=7)
    assert result.state is State.FAILED
    assert result.picture is None


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (one_sided, "raise RuntimeError('broken')"),
        (one_sided, "return None"),
        (one_sided, "return Drawing(Figure(figsize=(90, 90)), '', '') if not Figure().text(0, 0, '$x_$') else 0"),
        (no_array, "pass"),
    ],
)
def test_no_picture_changes_a_verdict(verdict, answer, body):
    result = verdict(answer, body=body)
    assert result.state is State.FAILED
    assert result.picture is None
    assert not any(test.trouble for test in result.tests)


def test_a_picture_that_would_be_too_large_is_left_out(verdict):
    noise = "import numpy as np; f = Figure(figsize=(9, 9)); f.figimage(np.random.default_rng(0).random((900, 900, 3)))"
    assert verdict(one_sided, body=f"{noise}; return Drawing(f, '', '')").picture is None


def test_pictures_survive_json(verdict):
    result = verdict(one_sided)
    content = json.loads(json.dumps(result.to_json()))
    assert ExerciseResult.from_json(content) == result
    del content["picture"]  # as written before there were any
    assert ExerciseResult.from_json(content).picture is None


def test_the_table_shows_it_escaped():
    drawn = Picture(b"\x89PNG", caption="<b>`x`</b>", alt='"><script>')
    markup = html_table(ExerciseResult("lab0.clip", "Clip", State.FAILED, (), picture=drawn))
    assert 'src="data:image/png;base64,iVBORw=="' in markup
    assert "<script" not in markup
    assert "&lt;b&gt;<code>x</code>&lt;/b&gt;" in markup
