"""Plans that cannot be loaded: the emulation says what NVIDIA's lean runtimes said on an H200, word for word.

`real_lean_rejections.json` holds what `plan_rejections.py` printed there.
"""

import importlib
import json
from pathlib import Path

import plan_rejections
import pytest

from yolotrt_lab.emulation import modules
from yolotrt_lab.emulation.tensorrt.plan_format import MAGIC

REAL = json.loads(Path(__file__).with_name("real_lean_rejections.json").read_text(encoding="utf-8"))
VERSIONS = {int(version.partition(".")[0]): version for version in REAL}
NUMBERS = [str(int.from_bytes(magic[:4], "little")) for magic in (MAGIC, plan_rejections.REAL_MAGIC)]


@pytest.fixture(scope="module", params=sorted(VERSIONS))
def verdicts(request):
    """What the lean runtime said and what the emulation says."""
    modules.activate(request.param)
    plans = plan_rejections.bad_plans(MAGIC, plan_rejections.REAL_MAGIC)
    emulated = plan_rejections.observe(importlib.import_module("tensorrt"), plans)
    modules.deactivate()
    return REAL[VERSIONS[request.param]], emulated


@pytest.mark.parametrize("name", plan_rejections.bad_plans())
def test_same_words(verdicts, name):
    real, emulated = verdicts
    expected = real[name]
    if name == "other":  # each is shown the other's plan
        mine, theirs = NUMBERS
        text = json.dumps(expected)
        assert f"({mine} != {theirs})" in text
        expected = json.loads(text.replace(f"({mine} != {theirs})", f"({theirs} != {mine})"))
    assert emulated[name] == expected


def test_every_verdict_is_compared(verdicts):
    real, emulated = verdicts
    assert sorted(real) == sorted(emulated) == sorted(plan_rejections.bad_plans())
    assert all(item["result"] == "None" for item in real.values())


def test_the_emulations_magic_is_known():
    assert plan_rejections.EMULATED_MAGIC == MAGIC
