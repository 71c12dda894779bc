"""Training for real, on eight images of 64 pixels."""

import errno
import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from yolotrt_lab.errors import InputError, LabError, OutputError
from yolotrt_lab.files import sha256_of
from yolotrt_lab.training import PRESETS, TrainConfig, read_history, run_folder, train
from yolotrt_lab.training import config as config_module
from yolotrt_lab.training.run import nominal_batch


@pytest.fixture(scope="module")
def config(tiny_data, tiny_model, tmp_path_factory):
    return TrainConfig(
        data_yaml=tiny_data,
        weights=tiny_model,
        preset="plain",
        epochs=12,
        image_size=64,
        batch=4,
        learning_rate=0.02,
        device="cpu",
        threads=1,
        output=tmp_path_factory.mktemp("runs") / "first",
    )


@pytest.fixture(scope="module")
def steps():
    return []


@pytest.fixture(scope="module")
def result(config, steps):
    threads = torch.get_num_threads()
    result = train(config, on_progress=lambda done, total: steps.append((done, total)))
    assert torch.get_num_threads() == threads
    return result


def load(path: Path) -> dict:
    return torch.load(path, map_location="cpu", weights_only=False)


def states_equal(left: Path, right: Path) -> bool:
    a, b = (load(path)["model"].state_dict() for path in (left, right))
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_the_folder_holds_what_the_result_says(result, config):
    assert result.run_dir == config.output
    names = {path.name for path in config.output.iterdir()}
    events = {name for name in names if name.startswith("events.out.tfevents")}
    assert names - events == {"best.pt", "last.pt", "training.json", "results.csv", "curves.png", "train.log"}
    assert len(events) == 1
    assert [path.name for path in config.output.parent.iterdir()] == [config.output.name]  # nothing temporary left


def test_progress_counts_every_batch(steps, result):
    assert steps == [(done, 24) for done in range(1, 25)]
    assert result.epochs == 12


def test_the_network_learns(result, config, tmp_path):
    assert result.metrics["map50"] > 0.1
    control = train(replace(config, learning_rate=1e-9, output=tmp_path / "control"))
    assert control.metrics["map50"] < 0.01


@pytest.mark.parametrize(
    ("images", "batch", "expected"),
    [
        (1200, 16, 64),  # 75 batches: Ultralytics' own rule
        (205, 16, 16),  # 13 batches: every one is a step
        (400, 16, 48),  # 25 batches: three at a time leave eight steps
        (1, 16, 16),
        (8, 4, 4),
        (100_000, 128, 128),  # never less than a batch
        (100_000, 1, 64),
    ],
)
def test_steps_are_not_starved(images, batch, expected):
    assert nominal_batch(images=images, batch=batch) == expected


def test_metrics_are_fractions(result):
    assert set(result.metrics) == {"map50", "map50_95", "precision", "recall"}
    assert all(0 <= value <= 1 for value in result.metrics.values())


def test_the_checkpoint_is_small_and_has_no_past(result, tiny_data, class_names):
    checkpoint = load(result.best_weights)
    model = checkpoint["model"]
    assert {value.dtype for value in model.state_dict().values() if value.is_floating_point()} == {torch.float16}
    assert checkpoint["optimizer"] is None
    assert checkpoint["ema"] is None
    assert tuple(model.names.values()) == class_names
    text = result.best_weights.read_bytes()
    for path in (tiny_data.parent, result.run_dir.parent, Path.cwd(), Path(torch.__file__).parent):
        assert str(path).encode() not in text


def test_provenance(result, config, tiny_model):
    provenance = json.loads((result.run_dir / "training.json").read_text())
    assert provenance == result.provenance
    assert provenance["sha256"] == sha256_of(result.best_weights)
    assert provenance["bytes"] == result.best_weights.stat().st_size
    assert provenance["seed"] == 0
    assert provenance["start"] == {"weights": str(tiny_model), "sha256": None}
    assert provenance["data"]["train_images"] == 8
    assert re.fullmatch(r"[0-9a-f]{64}", provenance["data"]["sha256"])
    assert provenance["hyperparameters"]["lr0"] == 0.02
    assert {"python", "torch", "ultralytics"} <= provenance["versions"].keys()
    assert provenance["metrics"] == result.metrics
    assert provenance["config"]["output"] == str(config.output)


def test_tensorboard_has_every_epoch(result):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(result.run_dir)).Reload()
    history = read_history(result.run_dir)
    for tag in ("train/cls_loss", "metrics/mAP50(B)", "val/box_loss"):
        scalars = events.Scalars(tag)
        assert [scalar.step for scalar in scalars] == list(range(1, 13))
        assert [scalar.value for scalar in scalars] == pytest.approx(history[tag], rel=1e-4)


def test_the_same_config_gives_the_same_weights(result, config, tmp_path):
    again = train(replace(config, output=tmp_path / "again"))
    assert states_equal(again.last_weights, result.last_weights)
    other = train(replace(config, output=tmp_path / "other", seed=1))
    assert not states_equal(other.last_weights, result.last_weights)


def test_nothing_is_printed(config, tmp_path, capfd):
    train(replace(config, epochs=1, output=tmp_path / "quiet"))
    assert capfd.readouterr() == ("", "")


def test_other_classes_get_a_new_head(result, config, tiny_data, class_names, tmp_path):
    data_yaml = tiny_data.with_name("three.yaml")
    data_yaml.write_text(tiny_data.read_text() + "  2: ring\n")
    tuned = train(
        replace(config, data_yaml=data_yaml, weights=result.best_weights, epochs=1, output=tmp_path / "three")
    )
    model = load(tuned.best_weights)["model"]
    assert tuple(model.names.values()) == (*class_names, "ring")
    assert tuned.provenance["start"] == {"weights": "best.pt", "sha256": sha256_of(result.best_weights)}
    start = load(result.last_weights)["model"].state_dict()["model.0.conv.weight"].float()
    change = (model.state_dict()["model.0.conv.weight"].float() - start).abs().max()
    assert change < 0.1  # it went on from there: random weights would differ by more


@pytest.mark.parametrize("kept", [True, False])
def test_batch_statistics_are_kept_where_the_preset_says_so(result, config, tmp_path, monkeypatch, kept):
    preset = replace(PRESETS["plain"], keep_statistics=kept)
    monkeypatch.setattr(config_module, "PRESETS", {"plain": preset})
    tuned = train(replace(config, weights=result.last_weights, epochs=1, output=tmp_path / "run"))
    before, after = (load(path)["model"].state_dict() for path in (result.last_weights, tuned.last_weights))
    statistics = [key for key in before if "running" in key]
    assert any(not torch.equal(before[key], after[key]) for key in before if key not in statistics)
    assert all(torch.equal(before[key], after[key]) for key in statistics) == kept


def test_a_network_too_small_for_the_demo(config, tmp_path):
    with pytest.raises(InputError, match="freezes every layer") as caught:
        train(replace(config, preset="demo", output=tmp_path / "run"))
    assert "--preset plain" in (caught.value.fix or "")


def test_an_interrupt_leaves_the_earlier_run(result, config):
    before = {path.name: sha256_of(path) for path in config.output.iterdir()}

    def interrupt(done: int, _total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, on_progress=interrupt)
    assert {path.name: sha256_of(path) for path in config.output.iterdir()} == before
    assert [path.name for path in config.output.parent.iterdir()] == [config.output.name]


def test_a_new_run_replaces_an_earlier_one(config, tmp_path):
    output = tmp_path / "again"
    output.mkdir()
    (output / "training.json").write_text("{}")
    (output / "stale.txt").write_text("of the earlier run")
    result = train(replace(config, epochs=1, output=output))
    assert not (output / "stale.txt").exists()
    assert result.best_weights.is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["again"]


def test_a_folder_with_other_things_is_not_replaced(config, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match="holds something else than a training run") as caught:
        train(replace(config, output=tmp_path))
    assert "--output" in (caught.value.fix or "")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_file_in_the_way(config, tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(OutputError, match="is a file"):
        train(replace(config, output=tmp_path / "run"))
    with pytest.raises(OutputError):
        train(replace(config, output=tmp_path / "run" / "below"))


def test_too_little_space(config, tmp_path, monkeypatch):
    monkeypatch.setattr(run_folder.shutil, "disk_usage", lambda _: SimpleNamespace(free=5 * 2**20))
    with pytest.raises(OutputError, match="too little space") as caught:
        train(replace(config, output=tmp_path / "run"))
    assert (caught.value.expected, caught.value.got) == ("200 MiB free", "5 MiB")


def test_a_disk_that_fills_up_while_training(config, tmp_path):
    def full(_done: int, _total: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OutputError, match="disk filled up"):
        train(replace(config, output=tmp_path / "run"), on_progress=full)
    assert list(tmp_path.iterdir()) == []


def test_memory_runs_out(config, tmp_path):
    def exhaust(_done: int, _total: int) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99999 bytes")

    with pytest.raises(LabError, match="Memory ran out") as caught:
        train(replace(config, output=tmp_path / "run"), on_progress=exhaust)
    assert "--batch (now 4)" in (caught.value.fix or "")


def test_divergence_is_named(result, config, tmp_path):
    checkpoint = load(result.best_weights)
    checkpoint["model"].state_dict()["model.0.conv.weight"].fill_(float("nan"))
    broken = tmp_path / "nan.pt"
    torch.save(checkpoint, broken)
    with pytest.raises(LabError, match=r"Training diverged in epoch 1: the \w+ is not a finite number") as caught:
        train(replace(config, weights=broken, output=tmp_path / "run"))
    assert "learning rate" in (caught.value.fix or "")
    assert not (tmp_path / "run").exists()


def test_a_time_limit_ends_the_run(config, tmp_path):
    result = train(replace(config, epochs=100_000, max_minutes=0.02, output=tmp_path / "run"))
    assert 1 <= result.epochs < 5_000
    assert len(read_history(result.run_dir)["epoch"]) == result.epochs


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the GPU that the test asks for in vain")
@pytest.mark.parametrize("device", ["cuda", "cuda:1", "7"])
def test_a_gpu_that_is_not_there(config, tmp_path, device):
    with pytest.raises(InputError, match=r"There is no GPU \d") as caught:
        train(replace(config, device=device, output=tmp_path / "run"))
    assert "yolotrt doctor" in (caught.value.fix or "")


@pytest.mark.parametrize("moves_before", [0, 1])
def test_an_interrupt_while_folders_are_swapped(tmp_path, monkeypatch, moves_before):
    output = tmp_path / "run"
    output.mkdir()
    (output / "best.pt").write_text("earlier")
    replace_path, moves = Path.replace, []

    def interrupted(self: Path, target: Path) -> Path:
        moves.append(self)
        if len(moves) == moves_before + 1:
            raise KeyboardInterrupt
        return replace_path(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt), run_folder.run_folder(output) as folder:
        (folder / "best.pt").write_text("new")
    assert (output / "best.pt").read_text() == "earlier"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
