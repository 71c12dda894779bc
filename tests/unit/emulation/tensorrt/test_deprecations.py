"""What TensorRT calls deprecated still works, and says so where it is used."""

from types import SimpleNamespace

import pytest


class TestDeprecations:
    """Warnings point at the program's own line."""

    @pytest.mark.parametrize(
        ("use", "words"),
        [
            (lambda lab: lab.config.int8_calibrator, "explicit quantization"),
            (lambda lab: setattr(lab.config, "int8_calibrator", None), "explicit quantization"),
            (lambda lab: lab.config.get_calibration_profile(), "explicit quantization"),
            (lambda lab: lab.trt.IInt8EntropyCalibrator2().get_batch_size(), "Implicit batch dimensions"),
        ],
    )
    def test_name_the_successor_in_version_10(self, trt10, use, words):
        builder = trt10.Builder(trt10.Logger())
        lab = SimpleNamespace(trt=trt10, builder=builder, config=builder.create_builder_config())
        with pytest.warns(DeprecationWarning, match=f"^Use .*{words}.* instead") as caught:
            use(lab)
        assert {item.filename for item in caught} == {__file__}

    def test_of_what_both_versions_have(self, lab):
        with pytest.warns(DeprecationWarning, match=r"^Use Implicit batch dimensions .* instead"):
            assert not lab.builder.create_network().has_implicit_batch_dimension

    def test_del_frees_nothing(self, lab):
        with pytest.warns(DeprecationWarning, match=r"^Use del obj instead\.$") as caught:
            lab.builder.__del__()
        assert caught[0].filename == __file__
        assert lab.builder.create_builder_config()
        assert not hasattr(lab.log, "__del__")

    def test_are_not_given_for_the_rest(self, lab, recwarn):
        lab.config.builder_optimization_level = 2
        assert lab.config.get_flag(lab.trt.BuilderFlag.TF32)
        assert not recwarn


class TestWith:
    """Old programs use `with`; it does nothing, and says that it is deprecated."""

    @staticmethod
    def old_program(trt, log):
        with trt.Builder(log) as builder, builder.create_network() as network, trt.OnnxParser(network, log) as parser:
            return builder.create_builder_config(), parser

    def test_builder_objects(self, trt, log):
        with pytest.warns(DeprecationWarning, match="Context managers for TensorRT types are deprecated"):
            config, parser = self.old_program(trt, log)
        assert isinstance(config, trt.IBuilderConfig)
        assert isinstance(parser, trt.OnnxParser)

    @pytest.mark.parametrize("name", ["ICudaEngine", "IExecutionContext", "IHostMemory", "Runtime", "Logger"])
    def test_the_others(self, trt, name):
        assert hasattr(getattr(trt, name), "__enter__")
        assert not hasattr(trt.Dims, "__enter__")
