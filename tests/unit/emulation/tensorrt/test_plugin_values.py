"""Values and interfaces around plugins and allocators, which the emulation has although it has neither."""

import copy
import pickle

import numpy as np
import pytest

from yolotrt_lab.errors import EmulationError


class TestPermutation:
    @pytest.mark.parametrize("order", [(), (0,), (2, 0, 1), tuple(range(8))])
    def test_has_eight_numbers(self, trt, order):
        permutation = trt.Permutation(order)
        assert tuple(permutation) == (*order, *[0] * (8 - len(order)))
        assert len(permutation) == 8
        assert repr(permutation) == str(permutation) == repr(tuple(permutation))

    def test_can_be_changed(self, trt):
        permutation = trt.Permutation((1, 0))
        permutation[0], permutation[-1] = 5, 7
        assert (permutation[0], permutation[7]) == (5, 7)

    @pytest.mark.parametrize("index", [8, -9])
    def test_ends(self, trt, index):
        with pytest.raises(IndexError, match="Out of bounds"):
            trt.Permutation()[index]
        with pytest.raises(IndexError, match="Out of bounds"):
            trt.Permutation()[index] = 1

    def test_mistakes(self, trt):
        with pytest.raises(ValueError, match="Max expected length is 8"):
            trt.Permutation(range(9))
        with pytest.raises(TypeError, match=r"Permutation\(arg0: collections\.abc\.Sequence\[typing\.SupportsInt\]\)"):
            trt.Permutation(5)


class TestPluginField:
    @pytest.mark.parametrize(
        ("data", "kind"),
        [
            (np.ones(3, np.float32), "FLOAT32"),
            (np.ones((2, 2), np.int32), "INT32"),
            (np.ones(2, np.float64), "FLOAT64"),
            (np.zeros(0, np.int8), "INT8"),
        ],
    )
    def test_keeps_its_data(self, trt, data, kind):
        field = trt.PluginField("f", data, getattr(trt.PluginFieldType, kind))
        assert (field.name, field.size) == ("f", data.size)
        assert field.data.dtype == data.dtype
        assert np.array_equal(field.data, data.ravel())

    def test_believes_what_it_is_told(self, trt):
        field = trt.PluginField("f", np.ones(2, np.int32))
        assert field.type == trt.PluginFieldType.UNKNOWN
        assert field.data.tolist() == [1, 0]
        field.type, field.size = trt.PluginFieldType.INT32, 1
        assert field.data.tolist() == [1]

    def test_no_array_is_refused(self, trt):
        with pytest.raises(TypeError, match=r"data: typing_extensions\.Buffer"):
            trt.PluginField("f", [1, 2])


class TestPluginFieldCollection:
    @pytest.fixture
    def fields(self, trt):
        return [trt.PluginField(name) for name in "abc"]

    def test_is_a_list(self, trt, fields):
        collection = trt.PluginFieldCollection(fields)
        assert collection.pop(0) is fields[0]
        collection.insert(0, fields[0])
        collection.append(fields[1])
        collection.extend(collection)
        assert "".join(field.name for field in collection) == "abcbabcb"
        del collection[0]
        assert "".join(field.name for field in collection[:2]) == "bc"
        collection.clear()
        assert not collection

    def test_mistakes(self, trt, fields):
        collection = trt.PluginFieldCollection(fields)
        for wrong in (lambda: collection[3], lambda: collection.pop(3), lambda: collection.insert(9, fields[0])):
            with pytest.raises(IndexError):
                wrong()
        with pytest.raises(RuntimeError, match="Unable to cast"):
            trt.PluginFieldCollection([1])
        with pytest.raises(TypeError, match="append"):
            collection.append(1)


class TestRegistry:
    def test_is_empty(self, trt, lab):
        registry = trt.get_plugin_registry()
        assert registry.all_creators == registry.all_creators_recursive == []
        assert registry.get_creator("NobodysPlugin", "1") is None
        if trt.__version__.startswith("10."):
            assert registry.plugin_creator_list == []
            assert registry.get_plugin_creator("NobodysPlugin", "1", "") is None
        assert registry is lab.builder.get_plugin_registry() is trt.Runtime(lab.log).get_plugin_registry()
        assert trt.get_builder_plugin_registry(trt.EngineCapability.STANDARD) is registry

    def test_does_not_deny_what_tensorrt_ships(self, trt):
        registry = trt.get_plugin_registry()
        ways = [registry.get_creator, *([registry.get_plugin_creator] if trt.__version__.startswith("10.") else [])]
        for find in ways:
            with pytest.raises(EmulationError, match="The plugin EfficientNMS_TRT is not emulated; TensorRT ships it"):
                find("EfficientNMS_TRT", "1", "")

    def test_cannot_be_filled(self, trt):
        with pytest.raises(EmulationError, match=r"plugin library plugins\.so is not emulated"):
            trt.get_plugin_registry().load_library("plugins.so")

        class Creator(trt.IPluginCreatorV3One):
            pass

        with pytest.raises(EmulationError, match=r"tensorrt\.IPluginCreatorV3One is not emulated"):
            Creator()

    def test_takes_an_engine_capability(self, trt):
        with pytest.raises(TypeError, match="incompatible function arguments"):
            trt.get_builder_plugin_registry(3)


class TestAllocators:
    @pytest.mark.parametrize("name", ["IGpuAllocator", "IGpuAsyncAllocator"])
    def test_can_be_written(self, trt, name):
        class Mine(getattr(trt, name)):
            def __init__(self):
                super().__init__()
                self.calls = []

        mine = Mine()
        assert (mine.interface_info.kind, mine.interface_info.major, mine.calls) == ("IGpuAllocator", 1, [])
        assert mine.api_language == trt.APILanguage.CPP

    def test_say_what_is_missing(self, trt, capsys):
        assert trt.IGpuAllocator().deallocate_async(None, 0) is False
        assert "Method: deallocate was not overriden." in capsys.readouterr().err


class TestTensorDescriptions:
    def test_keep_what_they_are_given(self, trt):
        description = trt.PluginTensorDesc()
        assert (description.dims, description.type, description.scale) == ((), trt.float32, 0.0)
        description.dims, description.scale = [1, 2], 3
        assert (description.dims, description.scale) == ((1, 2), 3.0)
        dynamic = trt.DynamicPluginTensorDesc()
        dynamic.desc, dynamic.max = description, (4,)
        assert (dynamic.desc, dynamic.min, dynamic.max) == (description, (), (4,))

    @pytest.mark.parametrize(
        ("name", "value"), [("dims", 5), ("dims", (1.5,)), ("dims", (1,) * 9), ("scale", "1"), ("type", 1)]
    )
    def test_check_it(self, trt, name, value):
        with pytest.raises(TypeError, match=r"\(self: tensorrt\.tensorrt\.PluginTensorDesc, arg0: "):
            setattr(trt.PluginTensorDesc(), name, value)


@pytest.mark.parametrize("how", [pickle.dumps, copy.copy, copy.deepcopy])
@pytest.mark.parametrize("name", ["Dims", "Permutation", "Weights", "PluginField", "Logger"])
def test_nothing_can_be_pickled_or_copied(trt, how, name):
    with pytest.raises(TypeError, match=rf"cannot pickle 'tensorrt\.tensorrt\.{name}' object"):
        how(getattr(trt, name)())
