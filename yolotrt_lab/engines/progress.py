"""Turns TensorRT's build phases into one moving bar, and lets the caller stop the build."""

from __future__ import annotations

from typing import Any

from yolotrt_lab.types import ProgressCallback

__all__ = ["make_progress_monitor"]

STEPS = 1000


def make_progress_monitor(trt: Any, on_progress: ProgressCallback) -> Any:
    """Return an `IProgressMonitor` that calls `on_progress(done, 1000)`.

    Phases nest: a phase's share of the bar is one step of the phase around it. An exception in the callback,
    KeyboardInterrupt included, cancels the build and is kept in the monitor's `failure`.

    Args:
        trt: The TensorRT module, real or emulated.
        on_progress: The caller's callback.
    """

    class _Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.failure: BaseException | None = None
            self._phases: list[list[Any]] = []  # name, steps, steps done
            self._shown = 0

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._phases.append([phase_name, max(int(num_steps), 1), 0])
            self._show()

        def step_complete(self, phase_name: str, step: int) -> bool:
            for phase in self._phases:
                if phase[0] == phase_name:
                    phase[2] = int(step) + 1
            self._show()
            return self.failure is None

        def phase_finish(self, phase_name: str) -> None:
            self._phases = [phase for phase in self._phases if phase[0] != phase_name]

        def _show(self) -> None:
            share = 0.0
            for _, steps, done in reversed(self._phases):
                share = min((done + share) / steps, 1.0)
            # Phases of the same name can start anew; the bar never goes back.
            self._shown = max(self._shown, int(share * STEPS))
            if self.failure is None:
                try:
                    on_progress(self._shown, STEPS)
                except BaseException as error:  # the bindings would swallow it
                    self.failure = error

    return _Monitor()
