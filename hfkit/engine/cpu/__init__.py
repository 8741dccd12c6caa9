"""What torch lacks for fast training on CPUs: attention by matrix products, cheap dropout masks, bfloat16 layers."""

from hfkit.engine.cpu.layers import lean
from hfkit.engine.cpu.memory import keep_freed_memory

__all__ = ["keep_freed_memory", "lean"]
