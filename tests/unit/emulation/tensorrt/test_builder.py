"""Configurations, profiles and builds: what works, and each refusal in TensorRT's words."""

import pytest

from yolotrt_lab.emulation.tensorrt.precision_choice import choose_precision
from yolotrt_lab.errors import EmulationError


class TestConfig:
    def test_flags(self, trt, lab):
        flag = trt.BuilderFlag.DEBUG
        assert not lab.config.get_flag(flag)
        lab.config.set_flag(flag)
        assert lab.config.get_flag(flag)
        assert lab.config.flags >> int(flag) & 1
        lab.config.clear_flag(flag)
        assert not lab.config.get_flag(flag)

    def test_tf32_is_on_by_default(self, trt, lab):
        assert lab.config.get_flag(trt.BuilderFlag.TF32)

    def test_memory_pools(self, trt, lab):
        pool = trt.MemoryPoolType.WORKSPACE
        assert lab.config.get_memory_pool_limit(pool) > 1 << 30
        assert lab.config.get_memory_pool_limit(trt.MemoryPoolType.TACTIC_DRAM) > 1 << 30
        assert lab.config.get_memory_pool_limit(trt.MemoryPoolType.TACTIC_SHARED_MEMORY) == 1 << 30
        assert lab.config.get_memory_pool_limit(trt.MemoryPoolType.DLA_MANAGED_SRAM) == 0
        lab.config.set_memory_pool_limit(pool, 1 << 20)
        assert lab.config.get_memory_pool_limit(pool) == 1 << 20
        lab.config.set_memory_pool_limit(pool, -1)
        assert lab.config.get_memory_pool_limit(pool) == 1 << 20
        assert "poolSize" in lab.log.errors

    @pytest.mark.parametrize(
        ("name", "value"), [("builder_optimization_level", 5), ("avg_timing_iterations", 8), ("max_aux_streams", 2)]
    )
    def test_settings_without_effect_are_kept_and_say_so(self, lab, name, value):
        setattr(lab.config, name, value)
        assert getattr(lab.config, name) == value
        assert ("WARNING", f"[emulation] IBuilderConfig.{name} has no effect on the CPU.") in lab.log.messages

    def test_defaults(self, trt, lab):
        config = lab.builder.create_builder_config()
        assert config.builder_optimization_level == 3
        assert config.tiling_optimization_level == trt.TilingOptimizationLevel.NONE
        assert config.profiling_verbosity == trt.ProfilingVerbosity.LAYER_NAMES_ONLY
        assert config.engine_capability == trt.EngineCapability.STANDARD
        assert config.num_optimization_profiles == 0
        assert config.progress_monitor is None
        sources = {name for name, source in trt.TacticSource.__members__.items()
                   if config.get_tactic_sources() >> int(source) & 1}  # fmt: skip
        assert sources == {"EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS"}  # as Polygraphy reports them on a GPU
        assert lab.log.messages == []

    @pytest.mark.parametrize(
        ("name", "usual", "other"),
        [
            ("engine_capability", ("EngineCapability", "STANDARD"), ("EngineCapability", "SAFETY")),
            ("default_device_type", ("DeviceType", "GPU"), ("DeviceType", "DLA")),
            (
                "hardware_compatibility_level",
                ("HardwareCompatibilityLevel", "NONE"),
                ("HardwareCompatibilityLevel", "AMPERE_PLUS"),
            ),
            ("runtime_platform", ("RuntimePlatform", "SAME_AS_BUILD"), ("RuntimePlatform", "WINDOWS_AMD64")),
            ("DLA_core", -1, 0),
            ("plugins_to_serialize", [], ["libmine.so"]),
            ("remote_auto_tuning_config", "", "ssh://orin"),
            ("build_route", "", "-conv_use_long_w=off"),
        ],
    )
    def test_settings_with_one_value(self, trt, lab, name, usual, other):
        if name == "build_route" and trt.__version__.startswith("10."):
            assert not hasattr(lab.config, name)
            return
        usual, other = (
            getattr(getattr(trt, value[0]), value[1]) if isinstance(value, tuple) else value for value in (usual, other)
        )
        assert getattr(lab.config, name) == usual
        setattr(lab.config, name, usual)
        with pytest.raises(EmulationError, match=rf"IBuilderConfig\.{name} = .* is not emulated"):
            setattr(lab.config, name, other)
        assert getattr(lab.config, name) == usual

    def test_devices_of_layers(self, trt, lab, model):
        layer = lab.network(model()).get_layer(0)
        assert lab.config.get_device_type(layer) == trt.DeviceType.GPU
        lab.config.set_device_type(layer, trt.DeviceType.GPU)
        assert not lab.config.is_device_type_set(layer)
        lab.config.reset_device_type(layer)
        assert not lab.config.can_run_on_DLA(layer)
        with pytest.raises(EmulationError, match="DLA"):
            lab.config.set_device_type(layer, trt.DeviceType.DLA)

    def test_reset(self, trt, lab):
        lab.config.set_flag(trt.BuilderFlag.DEBUG)
        lab.config.reset()
        assert not lab.config.get_flag(trt.BuilderFlag.DEBUG)
        assert lab.config.get_flag(trt.BuilderFlag.TF32)


class TestProfiles:
    def test_shapes_are_kept(self, lab):
        profile = lab.builder.create_optimization_profile()
        assert profile.get_shape("images") == []
        profile.set_shape("images", (1, 3, 16, 16), [2, 3, 16, 16], lab.trt.Dims((4, 3, 16, 16)))
        assert [tuple(shape) for shape in profile.get_shape("images")] == [
            (1, 3, 16, 16), (2, 3, 16, 16), (4, 3, 16, 16),
        ]  # fmt: skip
        assert profile
        assert [lab.config.add_optimization_profile(profile) for _ in range(2)] == [0, 1]
        assert lab.config.num_optimization_profiles == 2

    @pytest.mark.parametrize(
        ("low", "preferred", "high"), [((2, 3), (1, 3), (4, 3)), ((1, 3), (5, 3), (4, 3)), ((4, 3), (4, 3), (1, 3))]
    )
    def test_out_of_order_is_index_minus_one(self, lab, low, preferred, high):
        assert lab.profile(low, preferred, high) == -1
        assert "MIN<=OPT<=MAX" in lab.log.errors
        assert lab.config.num_optimization_profiles == 0

    @pytest.mark.parametrize(
        ("shapes", "wrong"),
        [(((1, 3), (1,), (1, 3)), "opt"), (((1, 3), (1, 3), (1, 3, 4)), "max"), (((-1, 3), (1, 3), (1, 3)), "min")],
    )
    def test_inconsistent_shapes_raise(self, lab, shapes, wrong):
        profile = lab.builder.create_optimization_profile()
        with pytest.raises(ValueError, match=f"Shape provided for {wrong} is inconsistent with other shapes"):
            profile.set_shape("images", *shapes)

    def test_shape_tensors_are_refused(self, lab):
        profile = lab.builder.create_optimization_profile()
        with pytest.raises(EmulationError, match="Shape tensors"):
            profile.set_shape_input("images", [1], [1], [1])

    def test_none_for_a_dynamic_input(self, lab, model):
        assert lab.plan(model(batch="n")) is None
        assert lab.log.errors == (
            "IBuilder::buildSerializedNetwork: Error Code 4: Internal Error (Network has dynamic or shape inputs, but "
            "no optimization profile has been defined.)"
        )

    @pytest.mark.parametrize(
        ("shapes", "message"),
        [
            (
                [(1, 4, 16, 16)] * 3,
                "images: for dimension number 1 in profile 0 does not match network definition (got min=4, opt=4, "
                "max=4), expected min=opt=max=3.",
            ),
            ([(1, 3, 16)] * 3, "images: number of dimensions in profile 0 (3) does not match network definition (4)."),
        ],
    )
    def test_one_that_does_not_fit_the_network(self, lab, model, shapes, message):
        lab.profile(*shapes)
        assert lab.plan(model(batch="n")) is None
        assert message in lab.log.errors

    def test_one_for_another_input(self, lab, model):
        profile = lab.builder.create_optimization_profile()
        profile.set_shape("pictures", (1, 3), (1, 3), (1, 3))
        lab.config.add_optimization_profile(profile)
        assert lab.plan(model(batch="n")) is None
        assert "pictures: profile 0 sets a shape for a tensor that is not a network input" in lab.log.errors

    def test_an_empty_one_misses_the_input(self, lab, model):
        lab.config.add_optimization_profile(lab.builder.create_optimization_profile())
        assert lab.plan(model(batch="n")) is None
        assert "images: dynamic input is missing dimensions in profile 0." in lab.log.errors


class TestBuilds:
    def test_is_network_supported(self, lab, model):
        assert lab.builder.is_network_supported(lab.network(model()), lab.config)
        assert not lab.builder.is_network_supported(lab.network(model(batch="n")), lab.config)

    def test_an_empty_network(self, lab):
        assert lab.builder.build_serialized_network(lab.builder.create_network(), lab.config) is None
        assert "Network must have at least one output" in lab.log.errors

    def test_a_batch_baked_into_the_graph(self, lab, model):
        lab.profile((1, 3, 16, 16), (2, 3, 16, 16), (4, 3, 16, 16))
        assert lab.plan(model(batch="n", baked_batch=True)) is None
        assert "Shapes do not fit the network" in lab.log.errors

    def test_build_engine_with_config(self, lab, model):
        engine = lab.builder.build_engine_with_config(lab.network(model()), lab.config)
        assert engine.num_io_tensors == 2
        assert lab.builder.build_engine_with_config(lab.network(model(batch="n")), lab.config) is None

    def test_builder_facts(self, trt, lab):
        assert lab.builder.num_DLA_cores == 0
        assert lab.builder.logger is lab.log
        assert lab.builder.max_threads == 1
        lab.builder.max_threads = 3
        lab.builder.max_threads = 0
        assert "maxThreads is 0" in lab.log.errors
        assert lab.builder.max_threads == 3
        lab.builder.reset()
        assert lab.builder.max_threads == 1
        if trt.__version__.startswith("10."):
            assert lab.builder.platform_has_fast_int8 in (True, False)
            assert lab.builder.platform_has_tf32 is False


class TestProgress:
    @pytest.fixture
    def monitor(self, trt):
        class Monitor(trt.IProgressMonitor):
            def __init__(self, cancel_at=None):
                trt.IProgressMonitor.__init__(self)
                self.events, self.cancel_at = [], cancel_at

            def phase_start(self, phase_name, parent_phase, num_steps):
                self.events.append(("start", phase_name, parent_phase, num_steps))

            def step_complete(self, phase_name, step):
                self.events.append(("step", phase_name, step))
                return (phase_name, step) != self.cancel_at

            def phase_finish(self, phase_name):
                self.events.append(("finish", phase_name))

        return Monitor

    def test_phases(self, lab, model, monitor):
        lab.config.progress_monitor = watching = monitor()
        assert lab.plan(model()) is not None
        name, inner = "Building Engine", "Compiling network"
        assert watching.events == [
            ("start", name, None, 4), ("step", name, 0),
            ("start", inner, name, 1), ("step", inner, 0), ("finish", inner),
            *[("step", name, step) for step in (1, 2, 3)], ("finish", name),
        ]  # fmt: skip

    @pytest.mark.parametrize("step", [*[("Building Engine", step) for step in range(4)], ("Compiling network", 0)])
    def test_cancelling_anywhere(self, lab, model, monitor, step):
        lab.config.progress_monitor = watching = monitor(cancel_at=step)
        assert lab.plan(model()) is None
        outer = [("finish", "Building Engine")]
        assert watching.events[watching.events.index(("step", *step)) + 1 :] == [
            *([("finish", step[0])] if step[0] != "Building Engine" else []), *outer,
        ]  # fmt: skip
        assert "cancelled" in lab.log.errors

    def test_a_broken_monitor_does_not_stop_the_build(self, trt, lab, model, capsys):
        class Broken(trt.IProgressMonitor):
            def step_complete(self, phase_name, step):
                raise ValueError("broken monitor")

        lab.config.progress_monitor = Broken()
        assert lab.plan(model()) is not None
        assert "broken monitor" in capsys.readouterr().err


class TestPrecision:
    """Which arithmetic is chosen; what really runs is the inspector's business."""

    @pytest.mark.parametrize(
        ("variant", "hint"),
        [({}, "f32"), ({"dtype": "float16"}, "f16"), ({"quantized": True}, "f32"),
         ({"quantized": True, "dtype": "float16"}, "f16")],
    )  # fmt: skip
    def test_strongly_typed_networks_follow_the_graph(self, lab, model, variant, hint):
        assert choose_precision(lab.network(model(**variant)), lab.config).hint == hint

    @pytest.mark.parametrize("trt", [10], indirect=True)
    @pytest.mark.parametrize(("flags", "hint"), [([], "f32"), (["FP16"], "f16"), (["BF16"], "bf16")])
    def test_weakly_typed_networks_follow_the_flags(self, trt, lab, model, flags, hint):
        for flag in flags:
            lab.config.set_flag(getattr(trt.BuilderFlag, flag))
        assert choose_precision(lab.network(model(), strong=False), lab.config).hint == hint

    @pytest.mark.parametrize("trt", [10], indirect=True)
    def test_precision_flags_on_a_strongly_typed_network(self, trt, lab, model):
        lab.config.set_flag(trt.BuilderFlag.FP16)
        assert lab.plan(model()) is None
        assert "not allowed for a strongly typed network, but these are set: FP16" in lab.log.errors

    @pytest.mark.parametrize("trt", [10], indirect=True)
    def test_quantized_graph_without_the_int8_flag(self, trt, lab, model):
        assert lab.plan(model(quantized=True), strong=False) is None
        assert "int8 is not configured in the builder" in lab.log.errors
        lab.config.set_flag(trt.BuilderFlag.INT8)
        assert lab.plan(model(quantized=True), strong=False) is not None

    @pytest.mark.parametrize("trt", [10], indirect=True)
    def test_int8_without_calibrator_builds_no_int8_and_warns(
        self, trt, lab, model, infer, images, reference, distance
    ):
        lab.config.set_flag(trt.BuilderFlag.INT8)
        path = model()
        engine = lab.engine(path, strong=False)
        warnings = [text for severity, text in lab.log.messages if severity == "WARNING"]
        assert any("Calibrator is not being used" in text for text in warnings)
        assert any("Missing scale and zero-point for tensor images" in text for text in warnings)
        found = infer(engine.create_execution_context(), images())
        assert distance(found, reference(path, images())) < 1e-4

    def test_other_quantized_types_are_refused(self, lab, model, monkeypatch):
        network = lab.network(model())
        monkeypatch.setattr(type(network), "_precisions", lambda self: {"FLOAT", "FP8"})
        with pytest.raises(EmulationError, match="FP8 is not emulated"):
            lab.builder.build_serialized_network(network, lab.config)
