"""What NVIDIA's bindings were observed to do when they are used, rightly and wrongly; the emulation does the same."""

import importlib
import pickle
import sys

import numpy as np
import pytest

from yolotrt_lab.errors import EmulationError


class TestLoggers:
    def test_a_message_at_the_severity_is_printed(self, trt, capsys):
        logger = trt.Logger(trt.Logger.ERROR)
        logger.log(trt.Logger.ERROR, "hello")
        logger.log(trt.Logger.WARNING, "too quiet")
        captured = capsys.readouterr()
        assert captured.out.endswith("] [TRT] [E] hello\n")
        assert captured.err == ""

    def test_severities(self, trt):
        numbers = {name: int(value) for name, value in trt.ILogger.Severity.__members__.items()}
        assert numbers == {"INTERNAL_ERROR": 0, "ERROR": 1, "WARNING": 2, "INFO": 3, "VERBOSE": 4}
        assert trt.Logger.Severity is trt.ILogger.Severity
        assert trt.Logger.VERBOSE == trt.ILogger.Severity.VERBOSE

    def test_the_default_severity(self, trt):
        logger = trt.Logger()
        assert logger.min_severity == trt.Logger.WARNING
        logger.min_severity = trt.Logger.VERBOSE
        assert logger.min_severity == trt.Logger.VERBOSE

    def test_a_subclass_gets_the_messages(self, trt, log):
        trt.Builder(log).create_network()
        trt.Runtime(log).deserialize_cuda_engine(b"no plan")
        assert [severity for severity, _ in log.messages] == ["INFO", "ERROR"]

    def test_an_exception_in_log_is_printed_and_swallowed(self, trt, capsys):
        class Broken(trt.ILogger):
            def __init__(self):
                trt.ILogger.__init__(self)

            def log(self, severity, msg):
                raise ValueError("broken logger")

        assert trt.Runtime(Broken()).deserialize_cuda_engine(b"no plan") is None
        assert "[ERROR] Exception caught in log(): broken logger" in capsys.readouterr().err

    def test_a_logger_without_log(self, trt, capsys):
        class Silent(trt.ILogger):
            def __init__(self):
                trt.ILogger.__init__(self)

        Silent().log(trt.Logger.ERROR, "x")
        assert 'Tried to call pure virtual function "ILogger::log"' in capsys.readouterr().err


class TestConstruction:
    @pytest.mark.parametrize("name", ["ILogger", "IProfiler", "IProgressMonitor", "IOutputAllocator", "IErrorRecorder"])
    def test_a_forgotten_base_constructor_is_noticed(self, trt, name):
        base = getattr(trt, name)

        class Forgetful(base):
            def __init__(self):
                pass

        with pytest.raises(TypeError, match=rf"tensorrt\.{name}\.__init__\(\) must be called when overriding __init__"):
            Forgetful()

    def test_no_own_constructor_is_fine(self, trt):
        class Plain(trt.IProfiler):
            pass

        Plain()

    @pytest.mark.parametrize(
        "name", ["ICudaEngine", "IBuilderConfig", "IExecutionContext", "IHostMemory", "ParserError"]
    )
    def test_what_tensorrt_makes_itself_has_no_constructor(self, trt, name):
        with pytest.raises(TypeError, match=rf"tensorrt\.{name}: No constructor defined!"):
            getattr(trt, name)()

    @pytest.mark.parametrize("arguments", [(), (3,), ("logger",)])
    def test_wrong_constructor_arguments(self, trt, arguments):
        with pytest.raises(TypeError) as caught:
            trt.Builder(*arguments)
        assert str(caught.value).startswith(
            "__init__(): incompatible constructor arguments. The following argument types are supported:\n"
            "    1. tensorrt.tensorrt.Builder(logger: tensorrt.tensorrt.ILogger)\n\nInvoked with: "
        )

    def test_the_logger_is_no_plain_number(self, trt):
        with pytest.raises(
            TypeError, match=r"min_severity: tensorrt\.tensorrt\.ILogger\.Severity = <Severity\.WARNING"
        ):
            trt.Logger(5)


class TestArguments:
    def test_wrong_types_name_the_overloads(self, lab):
        with pytest.raises(TypeError) as caught:
            lab.config.set_memory_pool_limit("WORKSPACE", 1)
        text = str(caught.value)
        assert text.startswith("set_memory_pool_limit(): incompatible function arguments.")
        assert (
            "1. (self: tensorrt.tensorrt.IBuilderConfig, pool: tensorrt.tensorrt.MemoryPoolType, "
            "pool_size: typing.SupportsInt) -> None"
        ) in text
        assert "Invoked with: <tensorrt.tensorrt.IBuilderConfig object at" in text

    @pytest.mark.parametrize("size", [1 << 20, np.int64(1 << 20)])
    def test_integers_of_all_kinds(self, trt, lab, size):
        lab.config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, size)
        assert lab.config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE) == 1 << 20

    @pytest.mark.parametrize("size", [1.5, "1", None])
    def test_no_integers(self, trt, lab, size):
        with pytest.raises(TypeError):
            lab.config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, size)

    def test_names_work(self, trt, lab):
        lab.config.set_memory_pool_limit(pool=trt.MemoryPoolType.WORKSPACE, pool_size=5)
        assert lab.config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE) == 5
        with pytest.raises(TypeError, match="kwargs: size=5"):
            lab.config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, size=5)

    def test_another_enum_is_no_substitute(self, trt, lab):
        with pytest.raises(TypeError):
            lab.config.set_flag(trt.MemoryPoolType.WORKSPACE)


class TestAttributes:
    def test_a_misspelt_setting_is_refused(self, lab):
        with pytest.raises(AttributeError, match=r"'tensorrt.tensorrt.IBuilderConfig' object has no attribute 'flagz'"):
            lab.config.flagz = 1

    def test_a_read_only_property_stays(self, lab):
        with pytest.raises(AttributeError):
            lab.config.num_optimization_profiles = 3

    def test_a_subclass_may_keep_what_it_likes(self, trt):
        class Mine(trt.IProfiler):
            def __init__(self):
                super().__init__()
                self.times = []

        assert Mine().times == []

    @pytest.mark.parametrize(
        ("owner", "name", "successor"),
        [
            ("ICudaEngine", "num_bindings", "num_io_tensors"),
            ("IExecutionContext", "execute_async_v2", "execute_async_v3"),
            ("IBuilderConfig", "max_workspace_size", "set_memory_pool_limit"),
            ("Builder", "build_engine", "build_serialized_network"),
        ],
    )
    def test_names_of_old_versions_tell_their_successor(self, trt, owner, name, successor):
        with pytest.raises(AttributeError, match=f"has no attribute '{name}'.*use {successor}"):
            getattr(getattr(trt, owner), name)

    def test_setting_the_old_workspace_tells_its_successor(self, lab):
        with pytest.raises(AttributeError, match="set_memory_pool_limit"):
            lab.config.max_workspace_size = 1 << 30

    def test_the_module_has_no_invented_names(self, trt):
        with pytest.raises(AttributeError, match="module 'tensorrt' has no attribute 'nosuch'"):
            _ = trt.nosuch

    @pytest.mark.parametrize("name", ["IAttention", "ISymExpr"])
    def test_what_tensorrt_makes_itself_is_there_by_name(self, trt, name):
        assert not isinstance(trt.Logger(), getattr(trt, name))

    def test_a_class_that_is_there_by_name_only_says_so(self, trt):
        with pytest.raises(EmulationError, match=r"tensorrt\.DimsExprs is not emulated"):
            trt.DimsExprs()

    def test_the_plugin_decorators_say_that_they_are_not_emulated(self, trt):
        plugin = importlib.import_module("tensorrt.plugin")
        with pytest.raises(EmulationError, match=r"tensorrt\.plugin\.register is not emulated"):
            _ = plugin.register
        assert not hasattr(plugin, "nosuch")

    def test_methods_that_are_not_emulated_say_so(self, lab):
        network = lab.builder.create_network()
        with pytest.raises(EmulationError, match=r"INetworkDefinition\.add_loop is not emulated"):
            network.add_loop()
        with pytest.raises(EmulationError, match=r"IBuilderConfig\.plugins_to_serialize = .* is not emulated"):
            lab.config.plugins_to_serialize = ["libmine.so"]

    def test_methods_can_be_looked_at_although_a_call_is_refused(self, trt, lab, model):
        """Programs list what an object has by `callable(getattr(...))`."""
        context = lab.engine(model()).create_execution_context()
        assert callable(context.set_communicator)
        assert context.set_communicator.__name__ == "set_communicator"
        with pytest.raises(EmulationError, match=r"IExecutionContext\.set_communicator is not emulated"):
            context.set_communicator(None)


class TestVersions:
    """What TensorRT 11 took away."""

    @pytest.mark.parametrize(
        ("owner", "name"),
        [
            ("BuilderFlag", "FP16"),
            ("BuilderFlag", "INT8"),
            ("NetworkDefinitionCreationFlag", "EXPLICIT_BATCH"),
            ("IBuilderConfig", "int8_calibrator"),
            ("Builder", "platform_has_fast_fp16"),
            ("ICudaEngine", "device_memory_size"),
            ("IExecutionContext", "all_shape_inputs_specified"),
            ("ILayer", "precision"),
            (None, "IInt8EntropyCalibrator2"),
            (None, "CalibrationAlgoType"),
        ],
    )
    def test_removed(self, trt, owner, name):
        there = hasattr(trt if owner is None else getattr(trt, owner), name)
        assert there == trt.__version__.startswith("10.")

    def test_an_instance_hides_it_too(self, trt, lab):
        if trt.__version__.startswith("11."):
            with pytest.raises(AttributeError, match="has no attribute 'int8_calibrator'"):
                lab.config.int8_calibrator = None
            assert not hasattr(lab.config, "int8_calibrator")
        else:
            assert lab.config.int8_calibrator is None

    def test_networks_of_version_11_are_always_strongly_typed(self, trt, lab):
        flag = trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED
        assert lab.builder.create_network().get_flag(flag) == trt.__version__.startswith("11.")
        assert lab.builder.create_network(1 << int(flag)).get_flag(flag)


class TestDims:
    def test_behaves_like_a_tuple(self, trt):
        dims = trt.Dims((1, 2, 3))
        assert (repr(dims), str(dims)) == ("(1, 2, 3)", "(1, 2, 3)")
        assert (tuple(dims), list(dims), len(dims), dims[0], dims[-1], dims[-2:]) == (
            (1, 2, 3), [1, 2, 3], 3, 1, 3, (2, 3),
        )  # fmt: skip
        assert dims == (1, 2, 3)
        assert dims == [1, 2, 3]
        assert dims == (1, 2, 3)
        assert dims != (1, 2)
        assert trt.Dims.MAX_DIMS == dims.MAX_DIMS == 8

    def test_items_can_be_set(self, trt):
        dims = trt.Dims([1, 2])
        dims[0] = 5
        assert dims == (5, 2)

    def test_mistakes(self, trt):
        dims = trt.Dims((1, 2, 3))
        with pytest.raises(IndexError, match="Out of bounds"):
            dims[7]
        with pytest.raises(TypeError, match="unhashable"):
            hash(dims)
        with pytest.raises(TypeError, match="incompatible function arguments"):
            _ = dims == trt.Dims((1, 2, 3))
        with pytest.raises(ValueError, match=r"Input length 9. Max expected length is 8"):
            trt.Dims(range(9))
        with pytest.raises(ValueError, match="Input length 2 not equal to expected Dims4 length, which is 4"):
            trt.Dims4((1, 2))

    def test_fixed_lengths(self, trt):
        assert trt.DimsHW(3, 4).h == 3
        assert trt.DimsHW((3, 4)).w == 4
        assert trt.DimsHW(w=4, h=3) == (3, 4)
        assert trt.Dims4(1, 2, 3, 4) == (1, 2, 3, 4)
        assert isinstance(trt.DimsHW(1, 1), trt.Dims2)


class TestEnums:
    def test_members(self, trt):
        value = trt.DataType.HALF
        assert (repr(value), str(value), value.name, value.value, int(value)) == (
            "<DataType.HALF: 1>", "DataType.HALF", "HALF", 1, 1,
        )  # fmt: skip
        assert trt.DataType(1) == value
        assert trt.float16 == value
        assert {trt.DataType(1): "x"}[value] == "x"
        assert pickle.loads(pickle.dumps(value)) == value

    def test_are_no_integers(self, trt):
        assert trt.DataType.FLOAT != 0
        assert 1 << int(trt.BuilderFlag.DEBUG) == 4
        for wrong in (
            lambda: 1 << trt.BuilderFlag.DEBUG,
            lambda: trt.BuilderFlag.DEBUG | 1,
            lambda: trt.DataType.FLOAT < trt.DataType.HALF,
            lambda: trt.DataType["FLOAT"],
            lambda: list(trt.DataType),
        ):
            with pytest.raises(TypeError):
                wrong()

    def test_an_unknown_number(self, trt):
        assert repr(trt.DataType(77)) == "<DataType.???: 77>"

    @pytest.mark.parametrize(
        ("name", "size"), [("float32", 4), ("float16", 2), ("bfloat16", 2), ("int8", 1), ("int64", 8), ("int4", 0.5)]
    )
    def test_item_sizes(self, trt, name, size):
        assert getattr(trt, name).itemsize == size

    @pytest.mark.parametrize("name", ["float32", "float16", "int8", "int32", "int64", "uint8"])
    def test_nptype(self, trt, name):
        assert trt.nptype(getattr(trt, name)) is getattr(np, name)

    def test_nptype_of_what_numpy_lacks(self, trt):
        with pytest.raises(TypeError, match="Could not resolve TensorRT datatype to an equivalent numpy datatype"):
            trt.nptype(trt.bfloat16)

    @pytest.mark.parametrize(("shape", "expected"), [((), 1), ((2, 3), 6), ((1, -1, 3), -3)])
    def test_volume(self, trt, shape, expected):
        assert trt.volume(shape) == expected
        assert trt.volume(trt.Dims(shape)) == expected

    def test_entries_as_pybind11_keeps_them(self, trt):
        entries = getattr(trt.BuilderFlag, "__entries")
        assert [name for name, (member, _) in entries.items() if member == trt.BuilderFlag.REFIT] == ["REFIT"]
        assert list(entries) == list(trt.BuilderFlag.__members__)


class TestHostMemory:
    @pytest.fixture
    def memory(self, lab):
        return lab.config.create_timing_cache(b"").serialize()

    def test_is_a_buffer(self, memory, tmp_path):
        data = bytes(memoryview(memory))
        assert bytes(memory) == data
        assert len(data) == memory.nbytes > 0
        with (tmp_path / "x").open("wb") as stream:
            assert stream.write(memory) == memory.nbytes
        assert (tmp_path / "x").read_bytes() == data

    @pytest.mark.parametrize("wrong", [len, lambda m: m[0], iter], ids=["len", "index", "iter"])
    def test_is_nothing_else(self, memory, wrong):
        with pytest.raises(TypeError):
            wrong(memory)

    def test_is_true(self, memory):
        assert memory


def test_weights(trt):
    weights = trt.Weights(np.ones((2, 3), np.float16))
    assert (weights.size, len(weights), weights.nbytes, weights.dtype) == (6, 6, 12, trt.float16)
    assert weights.numpy().shape == (6,)


def test_module_functions(trt):
    assert trt.init_libnvinfer_plugins(trt.Logger(), "") is True
    assert trt.init_libnvinfer_plugins(None, "") is True
    assert str(trt.get_nv_onnx_parser_version())[:2] == trt.__version__[:2]
    assert "emulation" in trt.__doc__.lower()
    assert sys.modules["tensorrt"] is trt
