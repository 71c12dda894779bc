"""Wrong and right answers to lab2.fine_tune: ONNX files made here from the base checkpoint, in seconds, and cached.

None of them is trained. The right ones undo the dust by knowing its physics, and by letting the network's
normalisation see what station B's pictures look like (adaptive batch normalisation, Li et al. 2016). The trained
model of the reference solution comes from `artifacts.py`.
"""

import shutil
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from tests_course_api import right, wrong

from yolotrt_lab.data.parts import draw_part_image
from yolotrt_lab.detection.letterbox import preprocess
from yolotrt_lab.export.onnx_export import export_onnx, load_detector
from yolotrt_lab.grading import sibling
from yolotrt_lab.training import base_checkpoint

STATION = sibling(str(Path(__file__).parents[2] / "grading" / "lab2" / "test_fine_tune.py"), "station_b")
_FOLDER = tempfile.TemporaryDirectory(prefix="yolotrt-lab2-answers-", ignore_cleanup_errors=True)
FOLDER = Path(_FOLDER.name)
ADAPTATION_IMAGES = 24


@cache
def base_onnx() -> Path:
    """Return the base checkpoint as ONNX."""
    export_onnx("base", FOLDER / "base.onnx", image_size=320)
    return FOLDER / "base.onnx"


@cache
def clearing_onnx(*, exchanged: bool = False, divided: bool = False) -> Path:
    """Return the base checkpoint behind two nodes that take the veil off: scene = (picture - (1 - t) veil) / t."""
    model = onnx.load(base_onnx())
    share = STATION.TRANSMISSION
    veil = np.array(STATION.VEIL_BGR[:: 1 if exchanged else -1]) / 255  # the network sees red, green, blue
    scale, offset = 1 / share, -(1 - share) / share * veil
    graph, name = model.graph, model.graph.input[0].name
    for node in graph.node:
        node.input[:] = [f"{name}_clear" if given == name else given for given in node.input]
    constants = {"scale": np.float32(scale), "offset": offset.astype(np.float32).reshape(1, 3, 1, 1)}
    source = name
    first = []
    if divided:
        constants["full"] = np.float32(1 / 255)
        source = f"{name}_divided"
        first.append(helper.make_node("Mul", [name, "full"], [source]))
    first.append(helper.make_node("Mul", [source, "scale"], [f"{name}_scaled"]))
    first.append(helper.make_node("Add", [f"{name}_scaled", "offset"], [f"{name}_clear"]))
    for node in reversed(first):
        graph.node.insert(0, node)
    graph.initializer.extend(numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items())
    path = FOLDER / f"clearing-{exchanged}-{divided}.onnx"
    onnx.save(model, path)
    return path


@cache
def adapted_onnx() -> Path:
    """Return the base checkpoint with batch statistics of station B's pictures; no weight is changed."""
    yolo = load_detector(base_checkpoint(), folder=FOLDER)
    network = yolo.model.float()
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for module in norms:
        module.reset_running_stats()
        module.momentum = None  # a plain mean over all batches
        module.train()
    pictures = (STATION.through_the_window(_training_scene(index)) for index in range(ADAPTATION_IMAGES))
    rows = [preprocess(picture, input_hw=STATION.INPUT_HW)[0] for picture in pictures]
    with torch.no_grad():
        for start in range(0, len(rows), 8):
            network(torch.from_numpy(np.concatenate(rows[start : start + 8])))
    network.eval()
    yolo.save(str(FOLDER / "adapted.pt"))
    export_onnx(FOLDER / "adapted.pt", FOLDER / "adapted.onnx", image_size=320)
    return FOLDER / "adapted.onnx"


def _training_scene(index: int) -> np.ndarray:
    return draw_part_image(7, split="train", index=index).image


@cache
def shuffled_classes_onnx() -> Path:
    """Return a good model whose classes are in alphabetical order."""
    model = onnx.load(clearing_onnx())
    graph = model.graph
    (output,) = graph.output
    order = [0, 1, 2, 3, *(4 + int(index) for index in np.argsort(STATION.CLASS_NAMES))]
    for node in graph.node:
        node.output[:] = ["unsorted" if name == output.name else name for name in node.output]
    graph.initializer.append(numpy_helper.from_array(np.array(order, np.int64), "class_order"))
    graph.node.append(helper.make_node("Gather", ["unsorted", "class_order"], [output.name], axis=1))
    onnx.save(model, FOLDER / "shuffled.onnx")
    return FOLDER / "shuffled.onnx"


@cache
def destroyed_onnx() -> Path:
    """Return what a far too large learning rate leaves: weights with as much noise as signal."""
    model = onnx.load(clearing_onnx())
    rng = np.random.default_rng(0)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.ndim == 4:
            noisy = values + rng.normal(0, values.std(), values.shape)
            tensor.CopyFrom(numpy_helper.from_array(noisy.astype(values.dtype), tensor.name))
    onnx.save(model, FOLDER / "destroyed.onnx")
    return FOLDER / "destroyed.onnx"


@wrong(caught_by="test_it_sees_more_than_the_base_checkpoint", says="in clear air it does well")
def base_checkpoint_as_it_is():
    """Exports and does not train."""
    return base_onnx()


@wrong(caught_by="test_it_reaches_the_floor", says="red and blue exchanged")
def channels_exchanged():
    """Was made for pictures in the other channel order."""
    return clearing_onnx(exchanged=True)


@wrong(caught_by="test_it_reaches_the_floor", says="their names are not")
def classes_in_another_order():
    """Learned from a data.yaml with its names sorted."""
    return shuffled_classes_onnx()


@wrong(caught_by="test_it_reaches_the_floor", says="divides by 255")
def divides_by_255_twice():
    """Carries its own division by 255."""
    return clearing_onnx(divided=True)


@wrong(caught_by="test_it_reaches_the_floor", says="training destroyed")
def learning_rate_too_large():
    """Forgot everything."""
    return destroyed_onnx()


@wrong(caught_by="test_it_is_a_detector_of_these_parts", says="image_size=320")
def exported_for_640():
    """Leaves the input size as it was."""
    path = FOLDER / "base-640.onnx"
    if not path.exists():
        export_onnx("base", path, image_size=640)
    return path


@wrong(caught_by="test_it_is_a_detector_of_these_parts", says="run the training cell")
def path_of_no_file():
    """Names a file that was never written."""
    return Path("station_b_that_was_never_written.onnx")


@wrong(caught_by="test_it_is_a_detector_of_these_parts", says=".onnx file")
def the_checkpoint_itself():
    """Hands in the pickle."""
    return base_checkpoint()


@wrong(caught_by="test_it_is_a_detector_of_these_parts", says="whole")
def half_a_file():
    """Was copied while it was written."""
    path = FOLDER / "half.onnx"
    path.write_bytes(base_onnx().read_bytes()[: base_onnx().stat().st_size // 2])
    return path


@right
def statistics_of_the_new_station():
    """Re-estimates the batch normalisation and trains nothing."""
    return adapted_onnx()


@right
def physics_instead_of_training():
    """Takes the veil off in the graph itself; a copy under another name."""
    path = FOLDER / "by-physics.onnx"
    shutil.copyfile(clearing_onnx(), path)
    return path
