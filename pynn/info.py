"""What ``python -m pynn info`` reports: the first thing to look at, or to send along, when something is odd."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

import numpy as np

from pynn import __version__
from pynn.engine import compiler, get_num_threads, instruction_set, instruction_sets


def information() -> dict[str, Any]:
    """Versions and choices, by name, in the order in which to print them: text, numbers and lists alone.

    >>> import pynn, pynn.info
    >>> pynn.info.information()["pynn"] == pynn.__version__
    True
    """
    return {
        "pynn": __version__,
        "instruction set": instruction_set(),
        "instruction sets": instruction_sets(),
        "threads": get_num_threads(),
        "compiler": compiler(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "numpy": np.__version__,
        "cffi": metadata.version("cffi"),
        "platform": platform.platform(),
        "machine": platform.machine(),
    }
