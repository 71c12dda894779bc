"""The arena itself: each rule is broken once, and has to notice."""

import contextlib
import os
import socket
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
from arena import CLASS_RULES, DOUBLE, FIRST_LAB, RULES, SMALLEST, GradedClass, Work, adversary, correct
from arena.batch import CLASSMATES, Outcome
from arena.host import Host, guard
from arena.page import dangers_of

from yolotrt_lab.grading.nbgrader.findings import Finding

CHECKS = {"lab0-double-check": 6.0, "lab0-smallest-check": 4.0, "lab0-scale-check": 4.0}
PAGE = '<head><meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:"></head><body>'


@adversary(tries="nothing", twin={DOUBLE: "def double(x): return 0"}, flagged=["edited cell"], costs=[SMALLEST])
def attack(work):
    """Do nothing."""


@correct(tries="nothing")
def right_work(work):
    """Do nothing."""


def graded(item, **changes):
    """Return a class in which all is well, but for changes of the adversary's outcome."""
    scores = {**CHECKS, "lab0-written": None}
    if not item.is_correct:
        scores["lab0-double-check"] = 0.0
    findings = tuple(Finding(kind, "") for kind in item.flagged)
    good = Outcome(scores=scores, by_hand=frozenset({"lab0-written"}), findings=findings, page=PAGE)
    made = GradedClass(None, FIRST_LAB, secrets={"the seed": "12345678"})
    made.works[item.name] = Work(FIRST_LAB, {}, None, {}, answered=[DOUBLE])
    made.outcomes = {item.twin_name: good, item.name: replace(good, **changes)}
    return made


def broken(item, **changes):
    """Return the rules that are broken."""
    made = graded(item, **changes)
    return {name for name, rule in RULES.items() if list(rule(made, item))}


@pytest.mark.parametrize("item", [attack, right_work])
def test_where_all_is_well_no_rule_is_broken(item):
    assert broken(item) == set()


@pytest.mark.parametrize(
    ("item", "changes", "rules"),
    [
        (attack, {"failed": "no reason"}, {"finishes"}),
        (attack, {"scores": {**CHECKS, "lab0-double-check": 2.0}}, {"gains_nothing"}),
        (attack, {"scores": {**CHECKS, "lab0-double-check": -1.0}}, {"gains_nothing"}),
        (attack, {"scores": {**CHECKS, "lab0-double-check": float("nan")}}, {"gains_nothing"}),
        (attack, {"scores": {"lab0-scale-check": 3.0}}, {"loses_nothing_else"}),
        (attack, {"scores": {"lab0-smallest-check": 0.0}}, set()),
        (attack, {"scores": {"lab0-double-check": None}}, {"waits_where_it_has_no_score"}),
        (attack, {"findings": ()}, {"is_flagged"}),
        (right_work, {"scores": {**CHECKS, "lab0-double-check": 5.0}}, {"loses_nothing_else"}),
        (right_work, {"findings": (Finding("x", "", suspicious=True),)}, {"is_flagged"}),
        (attack, {"page": ""}, {"page_is_harmless"}),
        (attack, {"page": f"{PAGE}<img src=x onerror=alert(1)>"}, {"page_is_harmless"}),
        (attack, {"kept": "seed 12345678"}, {"tells_no_secret"}),
        (attack, {"page": f"{PAGE}12345678"}, {"tells_no_secret"}),
    ],
)
def test_each_rule_notices(item, changes, rules):
    assert broken(item, **changes) == rules


def test_who_was_not_graded_is_missed():
    made = graded(attack)
    del made.outcomes[attack.name]
    assert list(RULES["finishes"](made, attack)) == ["it was not graded at all"]


@pytest.mark.parametrize(
    "danger",
    [
        "<script>1</script>",
        "<IFRAME src='https://x'>",
        "<a href='javascript:alert(1)'>",
        "<a href=' JavaScript:x'>",
        "<svg/onload=alert(1)>",
        "<b onclick=x>",
        "<a href='data:text/html,x'>",
        "<meta http-equiv=refresh content='0;url=https://x'>",
    ],
)
def test_dangers_of_a_page(danger):
    assert dangers_of(PAGE) == []
    assert dangers_of(f"{PAGE}{danger}") != []
    assert dangers_of("<head></head><body>") == ["no policy that forbids loading"]


def test_classmates_and_bystanders(monkeypatch):
    made = graded(attack)
    monkeypatch.setattr("arena.rules._full_marks", lambda _: CHECKS)
    full = Outcome(scores={**CHECKS, "lab0-written": None}, by_hand=frozenset(), findings=())
    made.outcomes |= dict.fromkeys(CLASSMATES, full)
    made.bystander = [[("a", None, 1.0, False)]] * 2
    rules = ("classmates_keep_their_points", "bystander_keeps_their_grades")
    assert [list(CLASS_RULES[name](made)) for name in rules] == [[], []]
    made.outcomes[CLASSMATES[0]] = replace(full, scores={**CHECKS, "lab0-double-check": None})
    made.outcomes[CLASSMATES[1]] = replace(full, findings=(Finding("limit exceeded", "slow"),))
    made.bystander = [made.bystander[0], [("a", 99.0, 1.0, False)]]
    assert [len(list(CLASS_RULES[name](made))) for name in rules] == [2, 1]


def test_the_gradebook_holds_nobody_else():
    made = graded(attack)
    names = {*made.outcomes, "noor"}
    book = SimpleNamespace(students=[SimpleNamespace(id=name) for name in names])
    made.course = SimpleNamespace(gradebook=lambda: contextlib.nullcontext(book))
    assert list(CLASS_RULES["gradebook_knows_the_class_only"](made)) == []
    book.students.pop()
    assert list(CLASS_RULES["gradebook_knows_the_class_only"](made)) != []


@pytest.fixture
def host(tmp_path, monkeypatch):
    monkeypatch.setattr("arena.host._PATIENCE_S", 0.2)
    monkeypatch.setattr("arena.host._PLACES", (tmp_path,))
    watched = tmp_path / "watched"
    watched.mkdir()
    with Host(tmp_path, watched=(watched,)) as host:
        yield host


def test_a_quiet_host(host):
    assert host.violations() == []


def _connect(host, family, address):
    with socket.socket(family) as found:
        found.connect(address)
        found.sendall(b"here")
        found.shutdown(socket.SHUT_WR)
        found.recv(1)


DEEDS = {
    "id_ed25519 was changed": lambda host: (host.home / ".ssh" / "id_ed25519").write_text("x"),
    ".bashrc was removed": lambda host: (host.home / ".bashrc").unlink(),
    "new was added": lambda host: (host.watched[1] / "new").symlink_to("/"),
    "watched was changed": lambda host: os.utime(host.watched[1], (1, 1)),
    "-late was written": lambda host: (host.home.parent / f"{host.token}-late").touch(),
    "was ended": lambda host: os.kill(int(host.known["CANARY_PID"]), 9),
    "was stopped": lambda host: os.kill(int(host.known["CANARY_PID"]), 19),
    "TCP: b'here'": lambda host: _connect(host, socket.AF_INET, ("127.0.0.1", host.port)),
    "abstract socket: b'here'": lambda host: _connect(host, socket.AF_UNIX, f"\0{host.token}"),
    "socket file: b'here'": lambda host: _connect(host, socket.AF_UNIX, host.known["SOCKET"]),
}


@pytest.mark.parametrize("words", DEEDS)
def test_a_host_notices(host, words):
    DEEDS[words](host)
    deadline = 50
    while not (found := host.violations()) and (deadline := deadline - 1):
        pass
    assert any(words in text for text in found)


def test_a_host_notices_processes_that_stay(host):
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", host.token]) as process:
        found = host.violations()
        process.kill()
    assert any("still there" in text for text in found)


def test_the_guard_stops_code_outside_of_a_sandbox():
    with pytest.raises(RuntimeError, match="NO SANDBOX"):
        exec(guard(), {})


def test_two_adversaries_with_the_same_answers_share_a_twin():
    @adversary(tries="something else", twin={DOUBLE: "def double(x): return 0"})
    def other(work):
        """Do nothing."""

    assert attack.twin_name == other.twin_name != right_work.twin_name
