import pytest

from yolotrt_lab.errors import InputError
from yolotrt_lab.grading.jobs.journal import Journal, latest_unfinished


@pytest.fixture
def journal(tmp_path):
    return Journal.begin(tmp_path, {"students": ["zoë", "ada"], "again": True})


def test_lines_come_back(journal):
    journal.note("recorded", student="zoë")
    journal.note("recorded", student="ada")
    assert journal.options == {"students": ["zoë", "ada"], "again": True}
    assert [entry["student"] for entry in journal.entries("recorded")] == ["zoë", "ada"]
    assert [entry["event"] for entry in journal.entries()] == ["begun", "recorded", "recorded"]


def test_a_line_that_was_cut_off_costs_only_itself(journal):
    journal.note("recorded", student="ada")
    content = journal.path.read_bytes()
    for end in range(len(content) - len('"}\n'), len(content) - len('{"event": "recorded", "ti'), -7):
        journal.path.write_bytes(content[:end])
        assert list(journal.entries("recorded")) == []
        journal.note("recorded", student="ben")
        assert [entry["student"] for entry in journal.entries("recorded")] == ["ben"]


def test_only_the_youngest_unfinished_batch_is_resumed(tmp_path, journal):
    assert latest_unfinished(tmp_path).path == journal.path
    later = Journal.begin(tmp_path, {})
    assert latest_unfinished(tmp_path).path == later.path
    later.note("finished")
    assert latest_unfinished(tmp_path) is None
    assert latest_unfinished(tmp_path / "none") is None


def test_no_journal(tmp_path):
    (tmp_path / "x.jsonl").write_text("nonsense\n[1]\n")
    with pytest.raises(InputError, match="not the journal"):
        Journal(tmp_path / "x.jsonl").options  # noqa: B018
