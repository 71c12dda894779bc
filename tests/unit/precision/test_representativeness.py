import json

import numpy as np
import pytest

from yolotrt_lab.precision.image_profile import ImageProfile
from yolotrt_lab.precision.representativeness import judge_representativeness, kolmogorov_smirnov

NAMES = ("bolt", "nut")


def profile(*, images=100, objects=(300, 100), showing=(90, 60), seed=0, **changes):
    rng = np.random.default_rng(seed)
    values = {
        "brightness": rng.normal(0.5, 0.1, images).clip(0, 1),
        "image_aspect": np.full(images, 4 / 3),
        "object_px": rng.lognormal(4, 0.5, sum(objects)),
        "object_aspect": rng.lognormal(0, 0.3, sum(objects)),
    } | changes
    return ImageProfile(images, np.array(objects), np.array(showing), **values)


def judge(calibration, reference, **changes):
    facts = {"class_names": NAMES, "method": "mse", "saturation": {"x": 0.0}, "threshold_shifts": {"x": 0.01}}
    return judge_representativeness(calibration, reference, **(facts | changes))


@pytest.mark.parametrize("seed", range(5))
def test_nothing_to_say_about_a_random_sample(seed):
    """Drawn from the same population, also when few: chance alone gives no warning."""
    for images in (100, 12):
        own = profile(images=images, objects=(3 * images, images), showing=(images, images // 2), seed=seed + 10)
        report = judge(own, profile(images=200, seed=seed))
        assert [text for text in report.warnings if "beyond" not in text] == []
        assert all(item.alike for item in report.comparisons)
        assert {item.verdict for item in report.classes} == {"shown"}


@pytest.mark.parametrize("seed", range(3))
def test_the_distance_is_the_definition(seed):
    rng = np.random.default_rng(seed)
    one, other = rng.normal(size=40).round(1), rng.normal(0.3, 1.2, 70).round(1)
    gaps = [abs(sum(v <= x for v in one) / 40 - sum(v <= x for v in other) / 70) for x in np.arange(-5, 5.01, 0.05)]
    assert kolmogorov_smirnov(one, other) == pytest.approx(max(gaps))


def test_edges_of_the_distance():
    same = np.array([1.0, 2.0, 2.0])
    assert kolmogorov_smirnov(same, same) == 0.0
    assert kolmogorov_smirnov(same, same + 10) == 1.0
    assert kolmogorov_smirnov(np.array([1.0]), np.array([1.0])) == 0.0


@pytest.mark.parametrize(
    ("objects", "showing", "verdict", "words"),
    [
        ((300, 0), (90, 0), "missing", "No calibration image shows class 'nut', which has 100 objects in 60"),
        ((300, 2), (90, 2), "rare", "Class 'nut' is rare: 2 objects in 2 calibration images. Add images"),
        ((300, 15), (90, 9), "rare", "Class 'nut' is rare"),
        ((300, 40), (90, 30), "shown", None),
    ],
)
def test_classes(objects, showing, verdict, words):
    report = judge(profile(objects=objects, showing=showing, seed=1), profile())
    assert [item.verdict for item in report.classes] == ["shown", verdict]
    assert [text for text in report.warnings if "lass" in text] == [] if words is None else words in report.warnings[0]


def test_a_class_that_nobody_shows():
    report = judge(profile(objects=(300, 0), showing=(90, 0)), profile(objects=(300, 0), showing=(90, 0)))
    assert report.classes[1].verdict == "unknown"
    assert "Neither set shows nut" in report.warnings[0]


def test_a_class_only_few_images_of_the_reference_show():
    """Three images of a class cannot be asked for where the reference has but one."""
    report = judge(profile(objects=(300, 5), showing=(90, 1)), profile(objects=(300, 5), showing=(90, 1)))
    assert report.classes[1].verdict == "shown"


@pytest.mark.parametrize(
    ("quantity", "change", "words"),
    [
        ("brightness", lambda v: v * 0.5, "are darker than those they stand for (brightness: median 0.2"),
        ("brightness", lambda v: v * 1.5, "are brighter than"),
        ("brightness", lambda v: 0.5 + 3 * (v - 0.5), "are spread differently from"),
        ("object_px", lambda v: v * 0.4, "objects of the calibration set are smaller than"),
        ("object_px", lambda v: v * 2.5, "larger than"),
        ("object_aspect", lambda v: v * 2, "wider than"),
        ("image_aspect", lambda v: v / 2, "narrower than those they stand for (image width / height"),
    ],
)
def test_shifted_distributions(quantity, change, words):
    reference = profile()
    own = profile(seed=1, **{quantity: change(getattr(profile(seed=1), quantity))})
    report = judge(own, reference)
    assert any(words in text for text in report.warnings)
    assert [item.alike for item in report.comparisons].count(False) == 1


def test_a_range_that_the_calibration_images_do_not_cover():
    reference = profile()
    middle = np.sort(profile(seed=1).object_px)[40:-60]
    report = judge(profile(seed=1, object_px=middle), reference)
    (text,) = [text for text in report.warnings if "beyond all" in text]
    share = np.mean((reference.object_px < middle.min()) | (reference.object_px > middle.max()))
    assert f"{share:.0%} of the objects they stand for lie beyond" in text
    sizes = next(item for item in report.comparisons if item.quantity.startswith("object size"))
    assert sizes.outside == pytest.approx(share)


def test_without_labels():
    nothing = np.zeros(0)
    bare = profile(objects=(), showing=(), object_px=nothing, object_aspect=nothing)
    report = judge(bare, bare, class_names=())
    assert [item.quantity for item in report.comparisons] == ["brightness", "image width / height"]
    assert (report.classes, report.warnings) == ((), ())


@pytest.mark.parametrize(("method", "better"), [("mse", "minmax"), ("entropy", "mse")])
def test_saturation_and_shifts(method, better):
    report = judge(
        profile(),
        profile(),
        method=method,
        saturation={"a": 0.02, "b": 0.004, "c": 0.03},
        threshold_shifts={"a": 0.3, "b": 0.2},
    )
    clipped, moved = report.warnings
    assert clipped.startswith("2 tensors have more than 0.5% of their values clipped, most of all c (3.0%)")
    assert clipped.endswith(f"--method {better}.")
    assert moved.startswith("1 tensor has thresholds that move by more than 25%")
    assert "Use twice as many images" in moved


def test_the_summary_is_json():
    report = judge(profile(objects=(300, 0), showing=(90, 0)), profile())
    summary = json.loads(json.dumps(report.summary(), allow_nan=False))
    assert summary["classes"][1] == {
        "name": "nut", "calibration_objects": 0, "calibration_images": 0, "reference_objects": 100,
        "reference_images": 60, "verdict": "missing",
    }  # fmt: skip
    assert summary["warnings"] == list(report.warnings)
    assert len(summary["comparisons"]) == 4
