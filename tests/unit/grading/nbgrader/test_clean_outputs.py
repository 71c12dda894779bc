import pytest

from yolotrt_lab.grading.nbgrader.clean_outputs import CleanOutputs
from yolotrt_lab.grading.nbgrader.release import node_from


def cleaned(*outputs, **options):
    cell = node_from({"cell_type": "code", "outputs": list(outputs), "source": "", "metadata": {}})
    return CleanOutputs(**options).preprocess_cell(cell, {}, 0)[0].outputs


def shown(data):
    return {"output_type": "display_data", "data": data, "metadata": {}}


@pytest.mark.parametrize(
    "data",
    [
        {"text/html": "<script>alert(1)</script>"},
        {"application/javascript": "alert(1)"},
        {"image/svg+xml": "<svg onload=alert(1)>"},
        {"text/markdown": "<script>"},
        {"text/latex": "\\href{javascript:alert(1)}{x}"},
        {"application/vnd.yolotrt.result+json": {"score": 1000}},
        {"image/png": 'AAAA" onerror="alert(1)'},
    ],
)
def test_what_could_run_is_dropped(data):
    assert cleaned(shown(data)) == []
    assert cleaned(shown({**data, "text/plain": "x"})) == [shown({"text/plain": "x"})]


def test_results_lose_their_place_as_a_score():
    """A number as a cell's result is a score to nbgrader."""
    (output,) = cleaned({"output_type": "execute_result", "data": {"text/plain": "6"}, "metadata": {}})
    assert output.output_type == "display_data"


def test_pictures_stay_unless_huge():
    assert cleaned(shown({"image/png": "A" * 10})) == [shown({"image/png": "A" * 10})]
    assert cleaned(shown({"image/png": "A" * 10}), max_picture_bytes=9) == []


def test_long_texts_are_cut_even_in_one_line():
    (output,) = cleaned({"output_type": "stream", "name": "stdout", "text": "x" * 10**6}, max_characters=100)
    assert len(output.text) < 200
    assert "999900 characters left out" in output.text


def test_floods_are_cut():
    assert len(cleaned(*[shown({"text/plain": "x"})] * 1000, max_outputs=7)) == 7


def test_errors_keep_their_words():
    error = {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": ["a", "b"]}
    assert cleaned(error) == [error]


@pytest.mark.parametrize(
    "odd",
    [
        {"output_type": "else"},
        {"output_type": "display_data"},
        {"output_type": "display_data", "data": 3},
        {"output_type": "display_data", "data": {"image/png": 3}},
    ],
)
def test_odd_outputs_are_dropped(odd):
    assert cleaned(odd) == []


@pytest.mark.parametrize(
    "odd",
    [
        {"output_type": "stream", "text": ["a", "b"]},
        {"output_type": "error"},
        {"output_type": "stream", "text": "\ud800"},
    ],
)
def test_odd_texts_can_be_written(odd):
    (output,) = cleaned(odd)
    str(output).encode()
