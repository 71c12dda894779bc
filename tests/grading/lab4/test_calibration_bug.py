"""lab4.calibration_bug: calibration that runs without an error and ruins the engine."""

import copy
import functools

import cv2
import numpy as np

from yolotrt_lab.detection.letterbox import PAD_VALUE, letterbox, preprocess
from yolotrt_lab.grading import Exercise, Mismatch, expect, points

EXERCISE = Exercise(
    id="lab4.calibration_bug",
    title="Find and fix calibration bugs",
    objective="Calibrate on what the network will see, and tell from statistics when somebody did not.",
    answer="Calibration",
    difficulty=3,
    minutes=20,
    cases=("many images", "a rare class"),
    hidden=("many images", "a rare class"),
    seconds=10.0,
    reading="https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/work-quantized-types.html",
)

BUGS = ("scale", "channels", "letterbox", "selection")
INPUT_HW = (96, 96)
CLASSES = 4


def inputs(case, rng):
    """Images, what they show, and statistics of healthy and of suspicious calibrations."""
    return copy.deepcopy(_made(case, int(rng.integers(1 << 62))))


@functools.cache  # every test asks for the inputs anew
def _made(case, seed):
    rng = np.random.default_rng(seed)
    warmth = rng.uniform(0.12, 0.2)
    class_ids = _labels(rng, rare=case == "a rare class")
    sizes = [(72, 96), (96, 64), (61, 97)]
    suspects = [(bug,) for bug in BUGS] + [("scale twice",), (), ("scale", "channels"), ("letterbox", "selection")]
    suspects += [("channels", "letterbox"), ("scale", "channels", "letterbox", "selection")]
    return {
        "images": [_scene(rng, hw, warmth) for hw in sizes],
        "class_ids": class_ids,
        "count": int(rng.integers(20, 25)),
        "input_hw": INPUT_HW,
        "healthy": _statistics(rng, warmth, (), images=24),
        "suspects": [_statistics(rng, warmth, bugs, images=12) for bugs in suspects],
    }


def _labels(rng, *, rare):
    """Return what 90 images show, sorted as a folder is whose files are named after their first class."""
    first = np.sort(rng.integers(0, CLASSES, 90))
    if rare:
        first = np.sort(np.where((first == 2) & (rng.random(90) < 0.9), 0, first))
        first[first.searchsorted(2)] = 2
    shown = [sorted({int(main), *(rng.integers(0, 2, rng.integers(0, 2)).tolist())}) for main in first]
    shown[int(rng.integers(30))] = []  # an image of nothing but background
    return shown


def _scene(rng, image_hw, warmth):
    """Return a BGR image with blotches, redder than blue."""
    coarse = rng.uniform(0.15, 0.75, (-(-image_hw[0] // 8), -(-image_hw[1] // 8), 1)) + rng.normal(0, 0.05, (1, 1, 3))
    coarse = coarse + np.array([-warmth, 0.0, warmth])
    image = np.kron(np.clip(coarse, 0.02, 0.97) * 255, np.ones((8, 8, 1)))[: image_hw[0], : image_hw[1]]
    return np.ascontiguousarray(np.rint(image).astype(np.uint8))


def wrongly_prepared(image, input_hw, bugs):
    """Return the network's input, (1, 3, H, W), with the bugs asked for."""
    if "letterbox" in bugs:
        canvas = cv2.resize(image, input_hw[::-1])
    elif "corner" in bugs:
        height, width = image.shape[:2]
        scale = min(input_hw[0] / height, input_hw[1] / width)
        resized = cv2.resize(image, (round(width * scale), round(height * scale)))
        canvas = np.full((*input_hw, 3), PAD_VALUE, np.uint8)
        canvas[: resized.shape[0], : resized.shape[1]] = resized
    else:
        canvas = letterbox(image, input_hw=input_hw, pad_value=0 if "black" in bugs else PAD_VALUE)[0]
    rgb = canvas if "channels" in bugs else canvas[..., ::-1]
    divisor = 1 if "scale" in bugs else 255**2 if "scale twice" in bugs else 255
    return np.ascontiguousarray(rgb.transpose(2, 0, 1)[None].astype(np.float32) / divisor)


def _statistics(rng, warmth, bugs, *, images):
    """Return what one sees of a calibration: its largest value, means, borders, and images per class."""
    if "letterbox" in bugs and rng.random() < 0.5:
        bugs = ("corner", *(bug for bug in bugs if bug != "letterbox"))
    wide = round(images * rng.uniform(0.6, 0.72))  # the rest stand upright
    sizes = [(64, 96)] * wide + [(96, 72)] * (images - wide)
    batch = np.concatenate([wrongly_prepared(_scene(rng, hw, warmth), INPUT_HW, bugs) for hw in sizes])
    factor = 255 if "scale" in bugs else 1 / 255 if "scale twice" in bugs else 1
    gray = PAD_VALUE / 255 * factor
    plain = np.isclose(batch, gray, rtol=1e-3).all(axis=1)
    rows, columns = plain.all(axis=2), plain.all(axis=1)
    sides = (columns, rows, columns[:, ::-1], rows[:, ::-1])
    shares = np.full(CLASSES, 0.5) + rng.uniform(-0.08, 0.08, CLASSES)
    if "selection" in bugs:
        shares = np.where(np.arange(CLASSES) == rng.integers(CLASSES), 1.0, rng.uniform(0, 0.06, CLASSES))
    return {
        "largest": float(batch.max()),
        "channel_mean": [float(value) for value in batch.mean(axis=(0, 2, 3))],
        "border": [float(np.cumprod(side, axis=1).sum(axis=1).mean()) for side in sides],
        "images": 5 * images,
        "images_per_class": [round(5 * images * share) for share in shares],
    }


def bugs_of(number):
    """Return what is wrong in the suspect of that number."""
    single = [{bug} for bug in BUGS]
    several = [{"scale", "channels"}, {"letterbox", "selection"}, {"channels", "letterbox"}, set(BUGS)]
    return [*single, {"scale"}, set(), *several][number]


def run(answer, images, class_ids, count, input_hw, healthy, suspects):
    """Call the three methods, each for itself, so that one can be right while another is not."""
    calibration = answer()
    calls = {
        "chosen": lambda: calibration.choose([list(ids) for ids in class_ids], count),
        "prepared": lambda: [calibration.prepare(image.copy(), input_hw) for image in images],
        "diagnoses": lambda: [calibration.diagnose(dict(healthy), dict(suspect)) for suspect in suspects],
    }
    result, unwritten = {}, 0
    for name, call in calls.items():
        try:
            result[name] = {"value": call()}
        except NotImplementedError:
            unwritten += 1
            result[name] = {"error": "it is not written yet"}
        except Exception as error:
            result[name] = {"error": f"{type(error).__name__}: {error}"}
    if unwritten == len(calls):
        raise NotImplementedError
    return result


def value_of(answer, name):
    """Return what a method gave, or say what it raised."""
    entry = answer.item(name)
    methods = {"chosen": "choose", "prepared": "prepare", "diagnoses": "diagnose"}
    content = entry.mapping()
    expect("error" not in content, expected=f"a result of {methods[name]}", seen=content.get("error"))
    return entry.item("value")


@points(2)
def test_images_are_prepared_as_at_inference(answer):
    """Images are prepared as at inference."""
    images, input_hw = answer.inputs["images"], answer.inputs["input_hw"]
    prepared = value_of(answer, "prepared")
    for number, image in enumerate(images):
        right = preprocess(image, input_hw=input_hw)[0]
        seen = prepared.item(number)
        array = seen.array()
        if array.shape == (1, *input_hw, 3) or array.shape == (*input_hw, 3):
            raise Mismatch(
                expected=f"shape {right.shape}",
                seen=f"shape {array.shape}",
                misconception="The channels are last, as OpenCV has them. Networks of PyTorch take them first.",
            )
        array = seen.array(shape=right.shape)
        expect(
            array.dtype == np.float32,
            expected="float32",
            seen=f"{array.dtype}",
            misconception="An 8-bit image is not divided yet; the network's input is float32.",
        )
        # Resizing may round one step differently.
        apart = np.abs(array - right)
        if apart.max() <= 2.1 / 255 and apart.mean() < 5e-4:  # false for NaN
            continue
        raise Mismatch(
            expected=f"what the detector makes of image {number}, {image.shape[1]} x {image.shape[0]} pixels",
            seen=f"{array.min():.3g} to {array.max():.3g}, means {_means(array)} instead of {_means(right)}",
            misconception=_idea(array, image, input_hw),
        )


def _means(array):
    return " ".join(f"{value:.3g}" for value in array.reshape(-1, 3, *array.shape[-2:]).mean(axis=(0, 2, 3)))


def _idea(array, image, input_hw):
    texts = {
        "scale": "Pixels are not divided by 255: the first layer sees values 255 times too large.",
        "scale twice": "Pixels are divided by 255 twice.",
        "channels": "Blue comes first: OpenCV reads BGR, the network was trained on RGB.",
        "letterbox": "The image is stretched. The detector letterboxes: one scale for both axes, gray beside.",
        "corner": "The image lies in the corner. The detector centers it.",
        "black": "The border is black; the network was trained with gray, 114.",
    }
    names = list(texts)
    for count in (1, 2, 3):
        for first in range(len(names)):
            bugs = names[first : first + 1] if count == 1 else _combination(names, first, count)
            guess = wrongly_prepared(image, input_hw, bugs)
            if np.allclose(array, guess, atol=2.1 / 255 * max(1.0, float(np.abs(guess).max())), rtol=0.01):
                return " ".join(texts[bug] for bug in bugs)
    return ""


def _combination(names, first, count):
    geometry = {"letterbox", "corner", "black"}
    chosen = [names[first]]
    for name in names[first + 1 :]:
        if len(chosen) < count and not (name in geometry and geometry & {*chosen}) and name != "scale twice":
            chosen.append(name)
    return chosen


@points(1)
def test_every_class_is_chosen(answer):
    """The chosen images show every class."""
    class_ids, count = answer.inputs["class_ids"], answer.inputs["count"]
    chosen = value_of(answer, "chosen").list()
    whole = all(isinstance(i, (int, np.integer)) and 0 <= i < len(class_ids) for i in chosen)
    expect(whole, expected=f"numbers of images, 0 to {len(class_ids) - 1}", seen=str(chosen)[:80])
    expect(
        len(chosen) == count == len(set(chosen)),
        expected=f"{count} different images",
        seen=f"{len(chosen)}, of which {len(set(chosen))} different",
        misconception="An image taken twice counts twice in the histogram." if len(set(chosen)) < len(chosen) else "",
    )
    for number in range(CLASSES):
        available = sum(number in ids for ids in class_ids)
        least = min(count // CLASSES, available)
        shown = sum(number in class_ids[i] for i in chosen)
        in_order = sorted(chosen) == list(range(count))
        expect(
            shown >= least,
            expected=f"class {number} in at least {least} of the {count} images ({available} show it)",
            seen=f"in {shown}",
            misconception="Those are the first files of the folder, and a folder tends to be sorted."
            if in_order
            else "Chance does not look after rare classes; their activations are missing from the histogram.",
        )


def judge_diagnoses(answer, numbers):
    """Compare the diagnoses of some suspects."""
    diagnoses = value_of(answer, "diagnoses")
    healthy, suspects = answer.inputs["healthy"], answer.inputs["suspects"]
    for number in numbers:
        truth, found = bugs_of(number), diagnoses.item(number).list()
        known = all(isinstance(name, str) and name in BUGS for name in found)
        expect(known, expected=f"a set of {', '.join(BUGS)}", seen=str(found)[:80])
        if {*found} == truth:
            continue
        raise Mismatch(
            expected=f"the bugs in: {_shown(suspects[number])}; healthy: {_shown(healthy)}",
            seen=", ".join(sorted(found)) or "none",
            misconception=_diagnosis_idea({*found} - truth, truth - {*found}, suspects[number]),
        )


def _shown(statistics):
    means = " ".join(f"{value:.3g}" for value in statistics["channel_mean"])
    border = " ".join(f"{value:.0f}" for value in statistics["border"])
    return (
        f"largest {statistics['largest']:.3g}, means {means}, border {border}, "
        f"{statistics['images_per_class']} of {statistics['images']} images per class"
    )


def _diagnosis_idea(extra, missed, suspect):
    if extra == {"channels"} or (missed == {"channels"} and suspect["largest"] > 1.5):
        return "Means can only be compared in one scale: divide first, then ask whether they fit better in reverse."
    if missed == {"scale"} and suspect["largest"] < 0.1:
        return "A scale can be wrong in both directions."
    if extra == {"selection"}:
        return "There may be fewer images than in the healthy calibration: compare shares, not numbers."
    if missed == {"letterbox"} and any(suspect["border"]):
        return "There is a border, but is it on the same sides?"
    if extra:
        return "Other images give slightly other statistics; that alone is no bug."
    return "Bugs come in company: one that is found is no reason to stop looking."


@points(1)
def test_single_bugs_are_told_apart(answer):
    """Each single bug is recognised from its statistics."""
    judge_diagnoses(answer, range(5))


@points(1)
def test_several_bugs_and_none(answer):
    """Several bugs at once, and none."""
    judge_diagnoses(answer, range(5, 10))
