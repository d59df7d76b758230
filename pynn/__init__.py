"""pynn: dense neural networks on a CPU.

>>> import numpy as np, pynn
>>> net = pynn.Network([pynn.Dense(2, 8), pynn.Sigmoid(), pynn.Dense(8, 1)], optimizer=pynn.SGD(0.1), seed=0)
>>> net.predict(np.zeros(2)).shape
(1,)
"""

import sys
from typing import TYPE_CHECKING, Any

from pynn import costs, initializers, kernels, layers, network, optimizers, rows, training
from pynn.costs import *  # noqa: F403 - whose list is C's
from pynn.engine import get_num_threads, instruction_set, instruction_sets, set_num_threads
from pynn.layers import *  # noqa: F403 - Dense, Layer, and the activations, whose list is C's
from pynn.network import Network
from pynn.optimizers import SGD, Adagrad, Adam, AdamW, NAdam, Optimizer, RMSProp, Rprop
from pynn.rows import Dropout, LayerNorm, LogSoftmax, Softmax, Standardize
from pynn.training import DivergenceError, History, Progress

if TYPE_CHECKING:
    from pynn.callbacks import EarlyStopping, ReduceOnPlateau
    from pynn.gradient_check import GradientReport, gradcheck
    from pynn.whole_batch import fit_lbfgs

__version__ = "0.1.0"

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Dropout",
    "DivergenceError",
    "EarlyStopping",
    "GradientReport",
    "History",
    "LayerNorm",
    "LogSoftmax",
    "NAdam",
    "Network",
    "Optimizer",
    "Progress",
    "RMSProp",
    "ReduceOnPlateau",
    "Rprop",
    "Softmax",
    "Standardize",
    "callbacks",  # noqa: F405 - below
    "costs",
    "datasets",  # noqa: F405 - below
    "fit_lbfgs",
    "get_num_threads",
    "gradcheck",
    "initializers",
    "instruction_set",
    "instruction_sets",
    "kernels",
    "metrics",  # noqa: F405 - below
    "network",
    "optimizers",
    "reference",  # noqa: F405 - below
    "rows",
    "schedules",  # noqa: F405 - below
    "set_num_threads",
    "training",
    *costs.__all__,
    *layers.__all__,
]


if "threadpoolctl" in sys.modules:
    from pynn import threadpool  # noqa: F401 - registers itself


def __getattr__(name: str) -> Any:
    """Import on first use what few programs need."""
    if name in ("callbacks", "datasets", "display", "metrics", "reference", "schedules", "threadpool"):
        import importlib

        return importlib.import_module(f"pynn.{name}")
    if name in ("gradcheck", "GradientReport"):
        from pynn import gradient_check

        return getattr(gradient_check, name)
    if name == "fit_lbfgs":
        from pynn import whole_batch

        return whole_batch.fit_lbfgs
    if name in ("EarlyStopping", "ReduceOnPlateau"):
        from pynn import callbacks

        return getattr(callbacks, name)
    raise AttributeError(f"module 'pynn' has no attribute {name!r}")
