"""The judge's program, which runs in its sandbox.

    python -m yolotrt_lab.grading.scoring.service DESK

It reads its orders from the desk, learns from the reference solution's records if they are there, and then answers
requests in their order.
"""

from __future__ import annotations

import gc
import sys
import time
from pathlib import Path

from yolotrt_lab.grading.scoring.desk import Desk
from yolotrt_lab.grading.scoring.session import JudgeSession

__all__ = ["main", "serve"]

_POLL_S = 0.01


def serve(desk: Desk) -> None:
    """Judge what is asked for, until all requests are answered."""
    orders = desk.orders()
    session = JudgeSession(desk.folder, orders.hidden_seed, limits=orders.limits)

    def answer() -> None:
        if desk.reference.is_dir():
            session.prime(desk.reference)
        gc.collect()
        gc.freeze()  # what is there stays as it is: forks share its memory
        number = 0
        while not orders.requests or number < orders.requests:
            exercises = desk.next_request(number)
            if exercises is None:
                time.sleep(_POLL_S)
                continue
            desk.answer(number, {name: session.judge(name, desk.records(number)) for name in exercises})
            number += 1

    session.run(orders.exercises, answer)


def main(arguments: list[str] | None = None) -> int:
    """Serve the desk that the command line names, and return the exit code."""
    (folder,) = sys.argv[1:] if arguments is None else arguments
    serve(Desk(Path(folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
