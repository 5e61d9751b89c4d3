"""Tune the C library's memory allocation for training."""

from __future__ import annotations

import contextlib
import ctypes
import os

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h
MMAP_THRESHOLDS = (1 << 30, 32 << 20)  # bytes; older glibc accepts at most the second
USER_VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> bool:
    """Make glibc keep freed memory in this process for the next step; return whether it will.

    By default glibc returns each large activation to the kernel when it is freed, and the next step faults it in again,
    page by page: 29,000 faults in a step of DCGAN at 64 pixels, 4 % of its time. Keeping the memory avoids them, and
    does not raise the peak, since every step needs the same memory. Does nothing with other C libraries, or if the user
    set one of `USER_VARIABLES`.
    """
    if any(name in os.environ for name in USER_VARIABLES) or not is_glibc():
        return False
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mapped = any(mallopt(M_MMAP_THRESHOLD, size) for size in MMAP_THRESHOLDS)
        return bool(mallopt(M_TRIM_THRESHOLD, 2**31 - 1)) and mapped
    return False


def is_glibc() -> bool:
    """Whether the C library is GNU's."""
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, ValueError, OSError):  # not Unix, or not the GNU C library
        return False
