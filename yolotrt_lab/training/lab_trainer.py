"""Ultralytics' detection trainer without integrations, with TensorBoard, progress and a check for divergence.

The only module of the package that imports Ultralytics and PyTorch at its top: `run` imports it when training starts.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import torch
from ultralytics.models.yolo.detect import DetectionTrainer

from yolotrt_lab.errors import LabError
from yolotrt_lab.types import ProgressCallback

__all__ = ["LabTraining"]


# Ultralytics adds its integrations (Comet, MLflow, its own platform ...) to classes with "Trainer" in their names.
class LabTraining(DetectionTrainer):  # type: ignore[misc]  # Ultralytics has no types
    """One training run.

    Args:
        overrides: Ultralytics settings.
        threads: CPU threads for the arithmetic.
        keep_statistics: Leave the batch normalisation of the starting weights alone.
        on_progress: Called after every batch with (batches done, batches in all).
    """

    def __init__(
        self, overrides: dict[str, Any], *, threads: int, keep_statistics: bool, on_progress: ProgressCallback
    ) -> None:
        super().__init__(overrides=overrides)
        self._keep_statistics = keep_statistics
        torch.set_num_threads(threads)  # Ultralytics leaves one core idle, half of a small laptop
        self._on_progress = on_progress
        self._batches_done = 0
        self._writer: Any = None
        self._finishing = False
        self.completed_epochs = 0
        self.add_callback("on_train_start", LabTraining._open_events)
        self.add_callback("on_train_batch_end", LabTraining._report_batch)
        self.add_callback("on_train_epoch_end", LabTraining._check_loss)
        self.add_callback("on_fit_epoch_end", LabTraining._log_epoch)
        self.add_callback("teardown", LabTraining._close_events)

    def read_results_csv(self) -> dict[str, list[float]]:
        """Return the curves so far as columns; unlike the original, without Polars."""
        if not Path(self.csv).is_file():
            return {}
        with Path(self.csv).open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        return {name.strip(): [float(row[name]) for row in rows] for name in (rows[0] if rows else {})}

    def final_eval(self) -> None:
        """Measure the best weights; the hooks that this calls once more belong to no epoch."""
        self._finishing = True
        super().final_eval()

    def _model_train(self) -> None:
        super()._model_train()
        if self._keep_statistics:
            for module in self.model.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.eval()

    def _open_events(self) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:  # a machine set up only to train may do without
            return
        self._writer = SummaryWriter(str(self.save_dir))

    def _report_batch(self) -> None:
        self._batches_done += 1
        self._on_progress(self._batches_done, max(self._batches_done, len(self.train_loader) * self.epochs))

    def _check_loss(self) -> None:
        losses = {name: float(value) for name, value in self.tloss.items()}
        broken = [name for name, value in losses.items() if not math.isfinite(value)]
        if broken:
            raise LabError(
                f"Training diverged in epoch {self.epoch + 1}: the {broken[0]} is not a finite number.",
                expected="finite losses",
                got=", ".join(f"{name} {value:.4g}" for name, value in losses.items()),
                fix="Use a lower learning rate (--learning-rate), or check the labels with `yolotrt data validate`.",
            )

    def _log_epoch(self) -> None:
        if self._finishing:
            return
        self.completed_epochs = self.epoch + 1
        if self._writer is not None:
            for name, value in {**self.label_loss_items(self.tloss), **self.metrics, **self.lr}.items():
                self._writer.add_scalar(name, float(value), self.epoch + 1)

    def _close_events(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
