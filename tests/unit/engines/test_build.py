import json

import numpy as np
import onnx
import pytest
from onnx import helper

from yolotrt_lab.engines.build import EngineOptions, build_engine
from yolotrt_lab.engines.calibrator import ClassicCalibration
from yolotrt_lab.engines.graph_precision import read_graph_facts
from yolotrt_lab.engines.platform import activate
from yolotrt_lab.engines.provenance import read_provenance
from yolotrt_lab.errors import EngineBuildError, InputError, OutputError
from yolotrt_lab.files import sha256_of
from yolotrt_lab.types import Precision

DYNAMIC = EngineOptions(min_batch=1, opt_batch=2, max_batch=4)


def relative_l2(actual, expected):
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


def test_fp32_equals_onnx_runtime(api, detector, tmp_path, infer, images, reference):
    model = detector()
    built = build_engine(model, tmp_path / "m.engine", options=DYNAMIC)
    assert built.report.executed_precision is Precision.FP32
    assert built.report.precision_share == {Precision.FP32: 1.0}
    assert built.seconds > 0
    for batch in (1, 3, 4):
        assert relative_l2(infer(built.path, images(batch)), reference(model, images(batch))) < 1e-4


def test_int8_runs_in_int8(api, detector, tmp_path, infer, images, reference):
    built = build_engine(
        detector(quantized=True), tmp_path / "m.engine", options=EngineOptions(precision=Precision.INT8)
    )
    assert built.report.executed_precision is Precision.INT8
    assert built.report.precision_share[Precision.INT8] == pytest.approx(2 / 3)
    assert built.report.warnings == ()
    expected = reference(detector("fp32.onnx"), images())
    assert 1e-4 < relative_l2(infer(built.path, images()), expected) < 0.3


def test_the_graph_decides_when_nothing_is_asked(detector, tmp_path):
    built = build_engine(detector(quantized=True), tmp_path / "m.engine")
    assert built.report.executed_precision is Precision.INT8
    assert built.provenance.precision_requested is None


def test_half_precision_says_what_it_runs_in(detector, tmp_path):
    built = build_engine(
        detector(dtype="float16"), tmp_path / "m.engine", options=EngineOptions(precision=Precision.FP16)
    )
    found = built.report.executed_precision
    assert found in (Precision.FP16, Precision.BF16, Precision.FP32)
    assert bool(built.report.warnings) == (found is not Precision.FP16)
    if found is Precision.BF16:
        assert "no FP16 arithmetic" in built.report.warnings[0]


@pytest.mark.parametrize(
    ("variant", "facts"),
    [
        ({}, (Precision.FP32, Precision.FP32)),
        ({"dtype": "float16"}, (Precision.FP16, Precision.FP16)),
        ({"quantized": True}, (Precision.INT8, Precision.FP32)),
        ({"quantized": True, "dtype": "float16"}, (Precision.INT8, Precision.FP16)),
    ],
)
def test_graph_facts(detector, variant, facts):
    found = read_graph_facts(detector(**variant))
    assert (found.precision, found.base) == facts
    assert found.metadata["task"] == "detect"


@pytest.mark.parametrize(
    ("variant", "asked", "fix"),
    [
        ({}, Precision.INT8, "yolotrt quantize"),
        ({}, Precision.FP16, "--precision fp16"),
        ({"quantized": True}, Precision.FP32, "yolotrt export"),
        ({"dtype": "float16"}, Precision.INT8, "yolotrt quantize"),
    ],
)
def test_a_graph_cannot_be_what_it_is_not(detector, tmp_path, variant, asked, fix):
    with pytest.raises(EngineBuildError) as caught:
        build_engine(detector(**variant), tmp_path / "m.engine", options=EngineOptions(precision=asked))
    assert f"cannot be {asked.upper()}" in str(caught.value)
    assert fix in str(caught.value)
    assert not (tmp_path / "m.engine").exists()


def test_every_parser_error_is_told(detector, tmp_path):
    path = detector()
    model = onnx.load(path)
    for index in (1, 2):
        model.graph.node.append(helper.make_node("Det", ["output0"], [f"d{index}"], name=f"bad_{index}"))
    onnx.save(model, path)
    with pytest.raises(EngineBuildError) as caught:
        build_engine(path, tmp_path / "m.engine", options=DYNAMIC)
    text = str(caught.value)
    for index in (1, 2):
        assert f"bad_{index} (Det): INVALID_NODE" in text
    assert "Export the model with other operators" in text


def test_provenance(api, detector, tmp_path):
    model = detector()
    built = build_engine(model, tmp_path / "m.engine", options=DYNAMIC)
    platform = activate()
    stored = json.loads((tmp_path / "m.engine.json").read_text())
    assert stored == json.loads(json.dumps(built.provenance.to_json()))
    assert read_provenance(built.path) == built.provenance
    facts = built.provenance
    assert facts.plan_sha256 == sha256_of(built.path)
    assert facts.onnx_sha256 == sha256_of(model)
    assert facts.tensorrt_version == platform.tensorrt_version
    assert (facts.platform, facts.device_name) == ("emulated", platform.device_name)
    assert facts.precision_found == "fp32"
    assert facts.options["max_batch"] == 4
    assert facts.metadata["names"] == "{0: 'bolt', 1: 'nut'}"
    assert facts.rebuild_command(built.path) == (
        f"yolotrt build {model} -o {built.path} --min-batch 1 --opt-batch 2 --max-batch 4"
    )


def test_a_calibration_digest_in_the_model_is_kept(detector, tmp_path):
    path = detector()
    model = onnx.load(path)
    model.metadata_props.add(key="calibration_digest", value="abc")
    onnx.save(model, path)
    assert build_engine(path, tmp_path / "m.engine").provenance.calibration_digest == "abc"


class TestBatches:
    def test_a_fixed_batch_is_refused_others(self, detector, tmp_path):
        with pytest.raises(InputError, match=r"fixed batch of 1[\s\S]*yolotrt export"):
            build_engine(detector(batch=1), tmp_path / "m.engine", options=DYNAMIC)

    def test_a_fixed_batch_needs_no_options(self, detector, tmp_path, infer, images):
        built = build_engine(detector(batch=2), tmp_path / "m.engine")
        assert infer(built.path, images(2)).shape[0] == 2

    def test_profile(self, detector, tmp_path):
        (images, _) = build_engine(detector(), tmp_path / "m.engine", options=DYNAMIC).report.io
        assert [shape[0] for shape in images.profile] == [1, 2, 4]

    def test_a_dynamic_size_is_taken_from_the_metadata(self, detector, tmp_path):
        (images, _) = build_engine(detector(size="size"), tmp_path / "m.engine", options=DYNAMIC).report.io
        assert images.profile[2] == (4, 3, 32, 32)

    def test_a_dynamic_size_nobody_knows(self, detector, tmp_path):
        path = detector(size="size")
        model = onnx.load(path)
        del model.metadata_props[:]
        onnx.save(model, path)
        with pytest.raises(InputError, match="dynamic dimensions besides the batch"):
            build_engine(path, tmp_path / "m.engine", options=DYNAMIC)

    @pytest.mark.parametrize("batches", [(0, 1, 1), (2, 1, 4), (1, 5, 4)])
    def test_out_of_order(self, batches):
        with pytest.raises(InputError, match="out of order"):
            EngineOptions(min_batch=batches[0], opt_batch=batches[1], max_batch=batches[2])


class TestFiles:
    def test_bad_models(self, tmp_path):
        for content in (None, b"", b"garbage"):
            path = tmp_path / "bad.onnx"
            if content is not None:
                path.write_bytes(content)
            with pytest.raises(InputError):
                build_engine(path, tmp_path / "m.engine")

    def test_the_model_is_not_overwritten(self, detector):
        path = detector()
        with pytest.raises(InputError, match="would overwrite"):
            build_engine(path, path)

    def test_an_unwritable_place(self, detector, tmp_path):
        (tmp_path / "file").write_text("x")
        with pytest.raises(OutputError):
            build_engine(detector(), tmp_path / "file" / "folder" / "m.engine")

    def test_weights_in_another_file(self, detector, tmp_path, infer, images, reference):
        path = detector(batch=1)
        folder = tmp_path / "external"
        folder.mkdir()
        onnx.save(onnx.load(path), folder / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
        built = build_engine(folder / "m.onnx", tmp_path / "m.engine")
        assert relative_l2(infer(built.path, images()), reference(path, images())) < 1e-4


class TestProgress:
    def test_moves_forward_to_the_end(self, detector, tmp_path):
        seen = []
        build_engine(detector(), tmp_path / "m.engine", on_progress=lambda done, total: seen.append((done, total)))
        assert seen == sorted(seen)
        assert seen[0] == (0, 1000)
        assert seen[-1] == (1000, 1000)
        assert len(set(seen)) > 3

    @pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError])
    def test_an_exception_cancels_and_comes_out(self, detector, tmp_path, failure):
        def stop(done, total):
            if done:
                raise failure("stop")

        with pytest.raises(failure, match="stop"):
            build_engine(detector(), tmp_path / "m.engine", on_progress=stop)
        assert not list(tmp_path.glob("*.engine*"))


class TestTimingCache:
    def test_is_made_and_used_again(self, detector, tmp_path):
        cache = tmp_path / "cache" / "timing.bin"
        options = EngineOptions(timing_cache=cache)
        build_engine(detector(), tmp_path / "m.engine", options=options)
        first = cache.read_bytes()
        assert len(first) > 100
        build_engine(detector("other.onnx", quantized=True), tmp_path / "n.engine", options=options)
        assert len(cache.read_bytes()) > len(first)

    @pytest.mark.parametrize("content", [b"garbage", b""])
    def test_an_unusable_one_is_replaced(self, detector, tmp_path, content):
        cache = tmp_path / "timing.bin"
        cache.write_bytes(content)
        build_engine(detector(), tmp_path / "m.engine", options=EngineOptions(timing_cache=cache))
        assert len(cache.read_bytes()) > 100

    def test_one_of_another_version_is_replaced(self, monkeypatch, detector, tmp_path):
        options = EngineOptions(timing_cache=tmp_path / "timing.bin")
        build_engine(detector(), tmp_path / "m.engine", options=options)
        monkeypatch.setenv("YOLOTRT_TRT_API", "11")
        build_engine(detector(), tmp_path / "m.engine", options=options)
        assert b"11.4.0.106" in options.timing_cache.read_bytes()


class TestClassicRoute:
    def batches(self, images, count=3):
        return [images() for _ in range(count)]

    def test_int8_with_a_calibrator(self, detector, tmp_path, images, infer, reference):
        cache = tmp_path / "calibration.cache"
        options = EngineOptions(precision=Precision.INT8, classic=True)
        model = detector()
        built = build_engine(
            model, tmp_path / "m.engine", options=options, calibration=ClassicCalibration(self.batches(images), cache)
        )
        assert built.report.executed_precision is Precision.INT8
        assert cache.read_text().startswith("TRT-")
        assert 1e-4 < relative_l2(infer(built.path, images()), reference(model, images())) < 0.3
        again = build_engine(model, tmp_path / "n.engine", options=options, calibration=ClassicCalibration([], cache))
        assert np.array_equal(infer(again.path, images()), infer(built.path, images()))
        assert "calibration=..." in built.provenance.rebuild_command(built.path)

    def test_batches_of_another_size_than_the_engine(self, detector, tmp_path, images):
        """All their images count, though the engine is tuned for single ones."""
        loud = np.concatenate([images(), images(), 50 * images()])
        tables = []
        for batch in (loud, loud[:2]):
            cache = tmp_path / f"{len(batch)}.cache"
            options = EngineOptions(precision=Precision.INT8, classic=True, max_batch=4)
            calibration = ClassicCalibration([batch], cache, method="minmax")
            build_engine(detector(), tmp_path / "m.engine", options=options, calibration=calibration)
            tables.append(cache.read_text())
        assert tables[0] != tables[1]

    def test_batches_of_another_size_than_the_model(self, detector, tmp_path, images):
        options = EngineOptions(precision=Precision.INT8, classic=True)
        with pytest.raises(InputError, match="calibration batches do not fit the model"):
            build_engine(
                detector(batch=1),
                tmp_path / "m.engine",
                options=options,
                calibration=ClassicCalibration([images(2)]),
            )

    def test_half_precision_by_flag(self, detector, tmp_path):
        options = EngineOptions(precision=Precision.BF16, classic=True)
        report = build_engine(detector(), tmp_path / "m.engine", options=options).report
        assert report.executed_precision in (Precision.BF16, Precision.FP32)

    def test_int8_needs_images(self, detector, tmp_path):
        options = EngineOptions(precision=Precision.INT8, classic=True)
        with pytest.raises(InputError, match="needs calibration images"):
            build_engine(detector(), tmp_path / "m.engine", options=options)

    def test_version_11_has_none(self, monkeypatch, detector, tmp_path):
        monkeypatch.setenv("YOLOTRT_TRT_API", "11")
        options = EngineOptions(precision=Precision.FP16, classic=True)
        with pytest.raises(InputError, match="TensorRT 11 has no classic route"):
            build_engine(detector(), tmp_path / "m.engine", options=options)

    @pytest.mark.parametrize(
        ("batches", "message"),
        [
            ([], "no calibration images"),
            ([np.zeros((1, 3, 32, 32), np.float32), np.zeros((1, 3, 16, 16), np.float32)], "another shape or type"),
            ([np.zeros((1, 3, 32, 32), np.float64)], "another shape or type"),
        ],
    )
    def test_bad_batches(self, detector, tmp_path, batches, message):
        options = EngineOptions(precision=Precision.INT8, classic=True)
        with pytest.raises(InputError, match=message):
            build_engine(detector(), tmp_path / "m.engine", options=options, calibration=ClassicCalibration(batches))

    def test_a_precision_is_needed(self):
        with pytest.raises(InputError, match="classic route needs a precision"):
            EngineOptions(classic=True)
