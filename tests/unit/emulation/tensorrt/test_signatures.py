"""What programs and editors can see of the emulated calls, and how arguments and assigned values are checked."""

import importlib
import inspect

import numpy as np
import pytest


class TestShown:
    def test_names_and_defaults(self, trt):
        parameters = inspect.signature(trt.Builder.create_network).parameters
        assert list(parameters) == ["self", "flags"]
        assert parameters["flags"].default == 0
        default = inspect.signature(trt.Logger.__init__).parameters["min_severity"].default
        assert default == trt.Logger.WARNING

    def test_documents_begin_like_nvidias(self, trt):
        lines = trt.IBuilderConfig.set_memory_pool_limit.__doc__.splitlines()
        assert lines[0] == (
            "set_memory_pool_limit(self: tensorrt.tensorrt.IBuilderConfig, pool: tensorrt.tensorrt.MemoryPoolType, "
            "pool_size: typing.SupportsInt) -> None"
        )
        assert lines[2]
        assert trt.Builder.build_serialized_network.__doc__.startswith("build_serialized_network(")

    def test_overloads_are_numbered(self, trt):
        lines = trt.Dims.__init__.__doc__.splitlines()
        assert lines[1] == "Overloaded function."
        assert lines[3:5] == [
            "1. __init__(self: tensorrt.tensorrt.Dims) -> None",
            "2. __init__(self: tensorrt.tensorrt.Dims, shape: collections.abc.Sequence[typing.SupportsInt]) -> None",
        ]

    def test_nothing_of_the_emulation_is_listed(self, trt):
        for thing in (trt.Builder, trt.Logger(), trt.DataType, trt.IBuilderConfig, trt.Dims((1,))):
            private = [name for name in dir(thing) if name.startswith("_") and not name.startswith("__")]
            assert not private

    def test_what_another_version_has_is_not_listed(self, trt):
        assert ("int8_calibrator" in dir(trt.IBuilderConfig)) == trt.__version__.startswith("10.")

    def test_the_package_offers_what_its_code_leaks(self, trt):
        names = {}
        exec("from tensorrt import *", names)
        assert {"Builder", "float32", "os", "warnings", "common_enter"} <= set(names)
        assert trt.tensorrt is importlib.import_module("tensorrt.tensorrt")


class TestAssigned:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("profiling_verbosity", "DETAILED"),
            ("builder_optimization_level", 2.5),
            ("builder_optimization_level", None),
            ("progress_monitor", 3),
            ("flags", "0"),
        ],
    )
    def test_wrong_kinds_are_refused(self, lab, name, value):
        with pytest.raises(TypeError, match=r"^\(\): incompatible function arguments") as caught:
            setattr(lab.config, name, value)
        assert str(caught.value).endswith(repr(value))

    @pytest.mark.parametrize(("value", "kept"), [(2, 2), (np.int64(4), 4), (True, 1)])
    def test_right_kinds_arrive_as_numbers(self, lab, value, kept):
        lab.config.builder_optimization_level = value
        assert lab.config.builder_optimization_level == kept
        assert isinstance(lab.config.builder_optimization_level, int)

    @pytest.mark.parametrize(
        ("value", "kept"),
        [(1, True), (0, False), (0.5, True), (None, False), (np.bool_(True), True), (np.array([0]), False)],
    )
    def test_what_is_true_or_false_arrives_as_a_bool(self, trt, lab, value, kept):
        network = lab.builder.create_network(0)
        layer = network.add_reduce(network.add_input("x", trt.float32, (2, 3)), trt.ReduceOperation.SUM, 1, value)
        assert layer.keep_dims is kept
        layer.keep_dims = not kept
        layer.keep_dims = value
        assert layer.keep_dims is kept

    @pytest.mark.parametrize("value", ["yes", [], [1], {}, np.array([1, 0])])
    def test_other_things_are_no_bools(self, trt, lab, value):
        network = lab.builder.create_network(0)
        x = network.add_input("x", trt.float32, (2, 3))
        with pytest.raises(TypeError, match="incompatible function arguments"):
            network.add_reduce(x, trt.ReduceOperation.SUM, 1, value)
        with pytest.raises(TypeError, match="incompatible function arguments"):
            network.add_reduce(x, trt.ReduceOperation.SUM, 1, False).keep_dims = value

    def test_interfaces_are_taken_back_by_none(self, lab):
        lab.config.progress_monitor = None
        lab.builder.error_recorder = None
        assert lab.config.progress_monitor is None


class TestShapes:
    @pytest.mark.parametrize("shape", [(1, 3), [1, 3], np.array([1, 3]), range(2), (np.int32(1), np.int64(3))])
    def test_sequences_are_taken(self, trt, lab, shape):
        profile = lab.builder.create_optimization_profile()
        profile.set_shape("images", shape, shape, shape)
        assert len(profile.get_shape("images")) == 3

    @pytest.mark.parametrize("shape", ["13", {1, 3}, {1: 3}, (1.0, 3), (1,) * 9, iter((1, 3)), 3, None])
    def test_others_are_not(self, lab, shape):
        with pytest.raises(TypeError, match="incompatible function arguments"):
            lab.builder.create_optimization_profile().set_shape("images", shape, shape, shape)

    def test_items_in_a_row_are_set_as_if_there_were_eight(self, trt):
        dims = trt.Dims((1, 2, 3))
        dims[0:2] = (7,)
        assert dims == (7, 0, 3)
        with pytest.raises(IndexError, match="Out of bounds"):
            dims[1:] = (1, 1)
