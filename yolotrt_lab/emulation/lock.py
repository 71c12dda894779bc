"""The one lock of the emulated device.

Memory, streams, contexts, counters and recordings all change together, and the garbage collector may free device memory
in any thread at any moment, also inside of them. With a lock for each, two threads could wait for each other for ever;
with one, which its holder may take again, they cannot.
"""

from __future__ import annotations

import threading

__all__ = ["DEVICE_LOCK"]

DEVICE_LOCK = threading.RLock()
