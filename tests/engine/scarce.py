"""A task for which the memory of the second process does not suffice; imported by processes that tests start."""

from __future__ import annotations

import os
from typing import Any

from hfkit.tasks.classify import Classify


class Scarce(Classify):
    """Memory runs out for more than SCARCE_ROOM examples at once, from the pass SCARCE_FROM on (counted from 0).

    Pass 0 is a look at which weights the head leaves unused.
    """

    calls = 0

    def loss(self, outputs: Any, batch: Any) -> Any:
        concerned = os.environ["RANK"] == "1" and Scarce.calls >= int(os.environ["SCARCE_FROM"])
        if concerned and len(batch["input_ids"]) > int(os.environ["SCARCE_ROOM"]):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")
        Scarce.calls += 1
        return super().loss(outputs, batch)
