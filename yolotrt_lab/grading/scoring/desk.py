"""The folder by which the grader and its judge talk: orders and records in, verdicts out."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from yolotrt_lab.errors import InputError
from yolotrt_lab.files import read_json, write_json
from yolotrt_lab.grading.nbgrader.untrusted_files import Limits, copy_folder, read_regular
from yolotrt_lab.grading.results import ExerciseResult
from yolotrt_lab.grading.scoring.forked import ForkLimits

__all__ = ["Desk", "Orders"]

_RESULT_BYTES = 64 << 20
_RECORDS = Limits(file_bytes=300_000_000, total_bytes=400_000_000, files=5_000, depth=4)


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What a judge is for.

    Attributes:
        exercises: The exercises that it may be asked about.
        hidden_seed: The seed that hidden cases were recorded with.
        requests: How many requests it answers before it ends; 0 for as many as come.
        limits: What judging one exercise may take.
    """

    exercises: tuple[str, ...]
    hidden_seed: int | None
    requests: int = 0
    limits: ForkLimits = field(default_factory=ForkLimits)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Orders:
        """Return the orders that were written as JSON."""
        limits = ForkLimits(**content["limits"])
        return cls(**{**content, "exercises": tuple(content["exercises"]), "limits": limits})


@dataclass(frozen=True)
class Desk:
    """The folder.

    Attributes:
        folder: Where this side sees it.
    """

    folder: Path

    @property
    def reference(self) -> Path:
        """The reference solution's records, if there are any."""
        return self.folder / "reference"

    # --- The grader's side

    def lay_orders(self, orders: Orders) -> None:
        """Write the orders, before the judge starts."""
        (self.folder / "verdicts").mkdir()
        self._give("orders.json", asdict(orders))

    def lay_reference(self, recorded: Path, exercises: Sequence[str]) -> None:
        """Put the reference solution's records down, before the judge starts."""
        self._copy_records(recorded, self.reference, exercises)

    def ask(self, number: int, recorded: Path, exercises: Sequence[str]) -> None:
        """Put a request down; the records are copied without following links."""
        self._copy_records(recorded, self.folder / f"records-{number}", exercises)
        self._give(f"request-{number}.json", {"exercises": list(exercises)})

    def verdicts(self, number: int) -> dict[str, ExerciseResult] | None:
        """Return the judge's answer to a request, None as long as there is none.

        Raises:
            InputError: It is something else than verdicts.
        """
        path = self.folder / "verdicts" / f"{number}.json"
        if not os.path.lexists(path):
            return None
        try:
            content = json.loads(read_regular(path, max_bytes=_RESULT_BYTES))
            return {str(name): ExerciseResult.from_json(result) for name, result in content.items()}
        except (ValueError, AttributeError, RecursionError) as error:
            raise InputError("The judge's answer cannot be read.", expected="verdicts", got=error) from None

    def clear(self, number: int) -> None:
        """Take a request away, and its answer."""
        shutil.rmtree(self.folder / f"records-{number}", ignore_errors=True)
        (self.folder / f"request-{number}.json").unlink(missing_ok=True)
        (self.folder / "verdicts" / f"{number}.json").unlink(missing_ok=True)

    def _copy_records(self, recorded: Path, target: Path, exercises: Sequence[str]) -> None:
        target.mkdir()
        for name in exercises:
            source = recorded / name
            if source.is_dir() and not source.is_symlink():
                copy_folder(source, target / name, _RECORDS)
        for place, _, files in os.walk(target):  # readable by the user that judges
            os.chmod(place, 0o755)
            for name in files:
                os.chmod(os.path.join(place, name), 0o644)

    def _give(self, name: str, content: dict[str, Any]) -> None:
        path = self.folder / name
        write_json(path, content)
        path.chmod(0o644)

    # --- The judge's side

    def orders(self) -> Orders:
        """Return the orders."""
        return Orders.from_json(read_json(self.folder / "orders.json"))

    def next_request(self, number: int) -> list[str] | None:
        """Return the exercises of a request, None as long as it is not there."""
        path = self.folder / f"request-{number}.json"
        return [str(name) for name in read_json(path)["exercises"]] if path.exists() else None

    def records(self, number: int) -> Path:
        """Return the records of a request."""
        return self.folder / f"records-{number}"

    def answer(self, number: int, results: dict[str, ExerciseResult]) -> None:
        """Write the verdicts of a request."""
        write_json(
            self.folder / "verdicts" / f"{number}.json", {name: each.to_json() for name, each in results.items()}
        )
