"""The C library's allocator, told to keep what training frees: each step asks for the same blocks again."""

from __future__ import annotations

import ctypes
import sys

# glibc's malloc.h
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_BLOCK = 1 << 30  # bytes; larger ones still come from the system, and go back to it


def keep_freed_memory() -> bool:
    """Whether the allocator took the settings; only glibc has them.

    By default every block over a few MB is mapped afresh, and the kernel clears its pages as they are touched: a
    sequence of matrix products of MiniLM's shapes runs 1.2 to 1.3 times as fast without that.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST_BLOCK)) and bool(mallopt(M_TRIM_THRESHOLD, 2**31 - 1))
