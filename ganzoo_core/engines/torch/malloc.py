"""What is asked of the C library before training begins."""

from __future__ import annotations

import contextlib
import ctypes
import os

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # as glibc's malloc.h has them
MMAP_THRESHOLDS = (1 << 30, 32 << 20)  # bytes; older glibc takes no more than the second
USER_VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> bool:
    """Let freed memory stay with this process, for the next step; whether that was done.

    glibc gives each large activation back to the kernel when it is freed, and the next step faults it in again, page
    by page: 29,000 faults a step of DCGAN at 64 pixels and 4 % of its time. Without that there are none, and as a step
    needs what the last one did, the peak does not rise. Nothing is changed on other C libraries, nor where the user
    chose by an environment variable.
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
    except (AttributeError, ValueError, OSError):  # not a Unix, or not of GNU
        return False
