"""What torch lacks for fast training on CPUs: attention by matrix products, cheap masks, bfloat16 layers, a crew."""

from hfkit.engine.cpu.crew import MOST, Crew, on_threads, twin
from hfkit.engine.cpu.joint import forget
from hfkit.engine.cpu.last import narrow_last
from hfkit.engine.cpu.layers import clear, lean
from hfkit.engine.cpu.masks import seed_masks
from hfkit.engine.cpu.memory import keep_freed_memory

__all__ = [
    "MOST",
    "Crew",
    "clear",
    "forget",
    "keep_freed_memory",
    "lean",
    "narrow_last",
    "on_threads",
    "seed_masks",
    "twin",
]
