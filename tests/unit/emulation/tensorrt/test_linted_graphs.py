"""The linter and the emulated parser give the same answer, in the same words, for every way to break a Q/DQ graph."""

import importlib

import pytest

from tests.unit.precision.lint.conftest import clean, clean_bytes, table  # noqa: F401  # fixtures
from tests.unit.precision.lint.mutations import MUTATIONS
from yolotrt_lab.emulation import modules
from yolotrt_lab.precision.lint.linter import lint_qdq


def parse(trt, lab, model):
    parser = trt.OnnxParser(lab.builder.create_network(), lab.log)
    parsed = parser.parse(model.SerializeToString())
    return parsed, [parser.get_error(index) for index in range(parser.num_errors)]


@pytest.fixture
def trt():
    """One version is enough: both parsers are one."""
    modules.activate(11)
    return importlib.import_module("tensorrt")


@pytest.mark.parametrize("name", MUTATIONS)
def test_refused_is_refused(trt, lab, clean, name):  # noqa: F811  # fixtures
    MUTATIONS[name].change(clean)
    refused = [violation for violation in lint_qdq(clean) if violation.severity == "refused"]
    parsed, errors = parse(trt, lab, clean)
    assert parsed == (not refused)
    for violation in refused:
        assert violation.answer
        assert any(violation.answer in error.desc() for error in errors)
    if refused:
        assert {error.node_name() for error in errors if error.node() >= 0} <= {each.name for each in clean.graph.node}


def test_a_clean_graph_is_taken(trt, lab, clean):  # noqa: F811  # fixtures
    assert parse(trt, lab, clean) == (True, [])
