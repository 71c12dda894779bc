import io
import json

import numpy as np
import pytest

from yolotrt_lab.data.statistics import dataset_statistics, plot_statistics
from yolotrt_lab.errors import InputError


def test_numbers(dataset_root):
    (dataset_root / "labels/val/val1.txt").write_text("")
    statistics = dataset_statistics(dataset_root)
    assert statistics.images == {"train": 4, "val": 2}
    assert statistics.background_images == {"train": 0, "val": 1}
    assert {split: counts.tolist() for split, counts in statistics.class_counts.items()} == {
        "train": [2, 6],
        "val": [1, 1],
    }
    assert statistics.boxes == 10
    assert statistics.objects_per_image.tolist() == [2, 2, 2, 2, 2, 0]
    np.testing.assert_allclose(statistics.box_wh[:2], [[16, 24], [8, 6]])
    np.testing.assert_allclose(statistics.box_centres[:2], [[0.5, 0.5], [0.25, 0.25]])
    assert statistics.class_ids[:4].tolist() == [0, 1, 1, 1]


def test_summary_is_json_and_sizes_follow_coco(dataset_root, draw):
    draw(dataset_root / "images/val/val0.png", image_hw=(200, 200))
    (dataset_root / "labels/val/val0.txt").write_text("0 0.5 0.5 0.16 0.16\n0 0.5 0.5 0.48 0.48\n0 0.5 0.5 0.5 0.5\n")
    summary = dataset_statistics(dataset_root).summary()
    assert json.loads(json.dumps(summary)) == summary
    # 32 px and 96 px are still medium.
    assert summary["box_sizes"] == {"small": 10, "medium": 2, "large": 1}
    assert summary["boxes_per_class"] == {"nut": 5, "bolt": 8}
    assert summary["objects_per_image_max"] == 3
    assert summary["objects_per_image_mean"] == pytest.approx(13 / 6)


def test_a_data_set_without_objects(dataset_root):
    for path in dataset_root.rglob("labels/*/*.txt"):
        path.unlink()
    statistics = dataset_statistics(dataset_root)
    assert statistics.boxes == 0
    assert statistics.summary()["box_side_px"] == {"p5": None, "median": None, "p95": None}
    assert len(plot_statistics(statistics).axes) >= 6


def test_a_figure_with_six_panels(dataset_root):
    figure = plot_statistics(dataset_statistics(dataset_root), title="my set")
    assert [axis.get_title() for axis in figure.axes[:6]] == [
        "Objects per class",
        "Objects per image",
        "Box centres",
        "Box sizes",
        "Box shapes",
        "Box side by class",
    ]
    assert figure.get_suptitle() == "my set"
    bars = [bar.get_width() for bar in figure.axes[0].patches]
    assert bars == [2, 6, 1, 3]
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    assert len(stream.getvalue()) > 10_000


def test_pyplot_does_not_keep_the_figure(dataset_root):
    """pyplot would hold every figure in memory for as long as the program runs."""
    import matplotlib.pyplot

    before = matplotlib.pyplot.get_fignums()
    plot_statistics(dataset_statistics(dataset_root))
    assert matplotlib.pyplot.get_fignums() == before


def test_broken_labels_are_an_error(dataset_root):
    (dataset_root / "labels/train/train1.txt").write_text("x")
    with pytest.raises(InputError, match=r"train1\.txt"):
        dataset_statistics(dataset_root)


def test_progress(dataset_root):
    seen = []
    dataset_statistics(dataset_root, on_progress=lambda *step: seen.append(step))
    assert seen == [(k, 6) for k in range(1, 7)]
