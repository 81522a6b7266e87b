"""How much of the machine a process may use."""

import os


def threads_allowed() -> int:
    """How many threads this process may compute with: as TensorFlow would be told, or else one for every core that it
    may run on."""
    for name in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS"):
        if os.environ.get(name, "").isdigit() and int(os.environ[name]) > 0:
            return int(os.environ[name])
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
