"""One image on its way: pinned memory at both ends, buffers, a stream, and a CUDA graph of everything between.

Two slots make a double buffer: while the GPU works on one, the host fills the other.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from yolotrt_lab.detection.decode import OutputLayout, detect_layout
from yolotrt_lab.gpu.letterbox import GpuLetterbox, LetterboxPlan
from yolotrt_lab.gpu.networks import DeviceNetwork
from yolotrt_lab.gpu.postprocess import GpuPostprocess, PostprocessConfig, detections_from_result
from yolotrt_lab.optional import require
from yolotrt_lab.types import Detections, ImageArray

if TYPE_CHECKING:
    import torch

__all__ = ["Slot", "SlotOptions"]

_WARMUP_RUNS = 3
_MOST_GRAPHS = 8  # of image sizes; the oldest is dropped, and made again when its size comes back


@dataclass(frozen=True)
class SlotOptions:
    """What every slot of a detector has in common.

    Attributes:
        input_hw: Height and width of the network's input.
        num_classes: How many classes it knows.
        config: Which boxes stay.
        batch: Images per run, all of one size.
        image_bytes: Room for the largest batch of images.
        layout: Arrangement of the output; None reads it off the shape.
        use_graphs: Replay CUDA graphs; otherwise launch kernel by kernel.
    """

    input_hw: tuple[int, int]
    num_classes: int
    config: PostprocessConfig
    batch: int
    image_bytes: int
    layout: OutputLayout | None
    use_graphs: bool


@dataclass(frozen=True, eq=False)
class _Prepared:
    """What one image size needs: the steps in order, and what must outlive them."""

    steps: tuple[Callable[[], object], ...]
    plan: LetterboxPlan


class Slot:
    """Buffers, stream and graphs for one batch at a time.

    Args:
        network: What runs between letterbox and NMS.
        options: Sizes and thresholds.
    """

    def __init__(self, network: DeviceNetwork, options: SlotOptions) -> None:
        torch: Any = require("torch", purpose="detect on a GPU")
        self._torch, self._options, self._network = torch, options, network
        self.stream: torch.cuda.Stream = torch.cuda.Stream()
        self._pinned = torch.empty(options.image_bytes, dtype=torch.uint8, pin_memory=True)
        self._images = torch.empty(options.image_bytes, dtype=torch.uint8, device="cuda")
        layout = torch.channels_last if network.channels_last else torch.contiguous_format
        shape = (options.batch, 3, *options.input_hw)
        self._input = torch.zeros(shape, dtype=getattr(torch, network.dtype), device="cuda").to(memory_format=layout)
        self._letterbox = GpuLetterbox(input_hw=options.input_hw)
        torch.cuda.synchronize()  # the tensors were made on another stream
        self._bound = network.bind(self._input, self.stream)
        for _ in range(_WARMUP_RUNS):
            self._output = self._bound.enqueue()
        self.stream.synchronize()
        output_shape = tuple(self._output.shape)
        self._postprocess = GpuPostprocess(
            output_shape,
            layout=options.layout or detect_layout(output_shape, num_classes=options.num_classes),
            num_classes=options.num_classes,
            config=options.config,
        )
        self._result = torch.empty(self._postprocess.result.shape, dtype=torch.float32, pin_memory=True)
        self._result_view = self._result.numpy()
        self._done = torch.cuda.Event()
        self._prepared: OrderedDict[tuple[int, int], _Prepared] = OrderedDict()
        self._pool: Any = None
        self.is_busy = False
        torch.cuda.synchronize()

    def pinned_images(self, image_hw: tuple[int, int]) -> ImageArray:
        """Return the slot's pinned memory as (batch, height, width, 3) uint8, to write the next images into."""
        shape = (self._options.batch, *image_hw, 3)
        view: ImageArray = self._pinned.numpy()[: int(np.prod(shape))].reshape(shape)
        return view

    def submit(self, image_hw: tuple[int, int]) -> None:
        """Ask for everything, from the pinned images to the pinned boxes, and return at once."""
        if image_hw not in self._prepared:
            self._prepare(image_hw)
        for step in self._prepared[image_hw].steps:
            step()
        self._done.record(self.stream)
        self.is_busy = True

    def wait(self) -> list[Detections]:
        """Wait for what was submitted and return each image's detections.

        Raises:
            InputError: The network's output was unusable.
        """
        self._done.synchronize()
        self.is_busy = False
        return detections_from_result(self._result_view, max_candidates=self._options.config.max_candidates)

    def stages(self, image_hw: tuple[int, int]) -> dict[str, Callable[[], object]]:
        """Return what `submit` asks for, by name and in order, each to be called on `stream`; to measure them apart."""
        plan = self._letterbox.plan(image_hw)
        shape = (self._options.batch, *image_hw, 3)
        nbytes = int(np.prod(shape))
        pinned, device = self._pinned[:nbytes].view(shape), self._images[:nbytes].view(shape)

        def run_network() -> None:
            self._output = self._bound.enqueue()

        return {
            "copy to the device": lambda: device.copy_(pinned, non_blocking=True),
            "letterbox": lambda: self._letterbox(device, self._input, plan=plan),
            "network": run_network,
            "decode and NMS": lambda: self._postprocess(self._output, plan.transform),
            "copy to the host": lambda: self._result.copy_(self._postprocess.result, non_blocking=True),
        }

    def captured(self, run: Callable[[], object]) -> Callable[[], None]:
        """Return a function that replays, on `stream`, the graph of what `run` asks for there."""
        graph = self._torch.cuda.CUDAGraph()
        # The graphs of one slot never run at the same time, so they may use the same memory between their ends.
        with self._torch.cuda.graph(graph, pool=self._pool, stream=self.stream, capture_error_mode="thread_local"):
            run()
        self._pool = self._pool or graph.pool()

        def replay() -> None:
            with self._torch.cuda.stream(self.stream):
                graph.replay()

        return replay

    def _prepare(self, image_hw: tuple[int, int]) -> None:
        stages = list(self.stages(image_hw).values())
        before, network, after = stages[:2], stages[2], stages[3:]
        groups = [[*before, network, *after]] if self._network.capturable else [before, [network], after]
        self._on_stream(stages)()  # compiles the kernels, which a capture must not
        self.stream.synchronize()
        steps = []
        for group in groups:
            run = self._on_stream(group)
            uses_graph = self._options.use_graphs and (group != [network])
            steps.append(self.captured(run) if uses_graph else run)
        self._prepared[image_hw] = _Prepared(tuple(steps), self._letterbox.plan(image_hw))
        if len(self._prepared) > _MOST_GRAPHS:
            self._prepared.popitem(last=False)

    def _on_stream(self, stages: list[Callable[[], object]]) -> Callable[[], None]:
        def run() -> None:
            with self._torch.cuda.stream(self.stream):
                for stage in stages:
                    stage()

        return run
