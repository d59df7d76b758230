"""Optimizers: how parameters follow their gradients."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any, ClassVar

from pynn import engine
from pynn.checks import as_flag, as_number, as_rates, changeable, checked_gradients

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pynn.checks import Array

    Place = tuple[Any, str, int, int]  # a layer, the name of a parameter, and where it begins and ends


class _Hyperparameter:
    """A number that an optimizer's kernel reads; assigned between steps, it holds from the next one on."""

    def __init__(self, index: int, least: float = 0.0, below: float = math.inf) -> None:
        self.index, self.least, self.below = index, least, below

    def __set_name__(self, owner: type[Optimizer], name: str) -> None:
        self.name = name

    def __get__(self, optimizer: Optimizer | None, owner: type[Optimizer]) -> Any:
        if optimizer is None:
            return self
        return optimizer._values.get(self.name)

    def __set__(self, optimizer: Optimizer, value: float) -> None:
        number = as_number(value, type(optimizer).__name__, self.name, self.least, self.below)
        optimizer._values[self.name] = number
        optimizer._updater.handle.hyperparameters[self.index] = number
        if optimizer._followed is not None:  # momentum, say, that was 0 before
            optimizer._updater.keep_state_for(optimizer._followed, optimizer._state_count())


class _Limit:
    """A limit of the gradient, None where there is none; assigned between steps, it holds from the next one on."""

    def __set_name__(self, owner: type[Optimizer], name: str) -> None:
        self.name = name

    def __get__(self, optimizer: Optimizer | None, owner: type[Optimizer]) -> Any:
        if optimizer is None:
            return self
        limit: float = getattr(optimizer._updater.handle, self.name)
        return None if limit == math.inf else limit

    def __set__(self, optimizer: Optimizer, value: float | None) -> None:
        limit = math.inf if value is None else as_number(value, type(optimizer).__name__, self.name, 0)
        setattr(optimizer._updater.handle, self.name, limit)


class _Penalty:
    """A penalty on parameters, a number or a flag; assigned between steps, it holds from the next one on."""

    def __init__(self, check: Any) -> None:
        self.check = check

    def __set_name__(self, owner: type[Optimizer], name: str) -> None:
        self.name = name

    def __get__(self, optimizer: Optimizer | None, owner: type[Optimizer]) -> Any:
        return self if optimizer is None else optimizer._penalties[self.name]

    def __set__(self, optimizer: Optimizer, value: Any) -> None:
        optimizer._penalties[self.name] = self.check(value, type(optimizer).__name__, self.name)
        if optimizer._followed is not None:
            optimizer._penalize()


class Optimizer:
    """What all optimizers of pynn share; an optimizer is any object with ``step(parameters, gradients)``, which changes the
    parameters in place. Gradient descent is θ := θ - α ∂C/∂θ (Gradient Descent); they go another way about it.

    ``learning_rate`` α is a finite number from 0 up, or a schedule (:mod:`pynn.schedules`): it may be assigned between steps.
    ``weight_decay`` λ takes α λ θ off each parameter besides (Loshchilov and Hutter, 2019), ``l2`` and ``l1`` add l₂ θ and
    l₁ sign θ to its gradient, which is that of l₂ θ²/2 + l₁ |θ|; costs are reported without these. In a network they hold for
    weights, for biases too if ``regularize_bias``; a Dense layer can have numbers of its own. ``clip_value`` limits each number
    of the gradient, ``clip_norm`` its length as one vector (Pascanu et al., 2013), before the rest is added.

    An optimizer with state follows the parameters that it first met: another network needs another one.

    >>> import numpy as np, pynn
    >>> theta = np.array([1.0])
    >>> pynn.SGD(0.5, l2=1.0, clip_value=0.25).step(theta, np.array([2.0]))
    >>> theta
    array([0.375])
    """

    _name = ""
    l1, l2, weight_decay = _Penalty(as_number), _Penalty(as_number), _Penalty(as_number)
    regularize_bias = _Penalty(as_flag)
    clip_value, clip_norm = _Limit(), _Limit()

    def __init__(
        self,
        learning_rate: Any,
        *,
        weight_decay: float = 0.0,
        l1: float = 0.0,
        l2: float = 0.0,
        regularize_bias: bool = False,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        **hyperparameters: float,
    ) -> None:
        if not self._name:
            raise TypeError("Optimizer is the base of SGD, Adam and the others")
        self._updater = engine.Updater(self._name)
        self._values: dict[str, float] = {}
        self._penalties: dict[str, Any] = {}
        self._followed: Array | None = None  # the parameters
        self._places: Sequence[Place] = ()  # of a network's, in them
        self.learning_rate = learning_rate
        self.weight_decay, self.l1, self.l2, self.regularize_bias = weight_decay, l1, l2, regularize_bias
        self.clip_value, self.clip_norm = clip_value, clip_norm
        for name, value in hyperparameters.items():
            if not isinstance(getattr(type(self), name, None), _Hyperparameter):
                raise TypeError(f"{type(self).__name__}: unexpected argument {name!r}")
            setattr(self, name, value)

    # ---- the learning rate ---------------------------------------------------------------------------------------------------

    @property
    def learning_rate(self) -> Any:
        """The learning rate α: a float, or a schedule.

        >>> import pynn
        >>> pynn.SGD(0.1).learning_rate
        0.1
        """
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        scheduled = callable(getattr(value, "rates", None)) and not isinstance(value, type)
        self._learning_rate = value if scheduled else as_number(value, type(self).__name__, "learning_rate")

    @property
    def steps(self) -> int:
        """How many steps it has taken.

        >>> import pynn
        >>> pynn.SGD(0.1).steps
        0
        """
        steps: int = self._updater.handle.steps
        return steps

    def rates(self, count: int) -> NDArray[Any] | None:
        """The learning rates of the next ``count`` steps, float64, where a schedule gives them, else None.

        Raises ``ValueError`` or ``TypeError`` unless it gives ``count`` finite numbers from 0 up.

        >>> import pynn
        >>> pynn.SGD(0.1).rates(3) is None
        True
        """
        if isinstance(self._learning_rate, float):
            return None
        where = f"{type(self).__name__}: learning_rate, {self._learning_rate!r}"
        return as_rates(self._learning_rate.rates(self.steps, count), self.steps, count, where)

    # ---- steps ---------------------------------------------------------------------------------------------------------------

    def step(self, parameters: Array, gradients: Array) -> None:
        """Update ``parameters``, float32 or float64, in place; ``gradients`` has their shape.

        Raises ``TypeError`` or ``ValueError`` for arrays that do not fit, or that are not those of the steps before.

        >>> import numpy as np, pynn
        >>> theta = np.array([1.0])
        >>> pynn.SGD(0.25).step(theta, np.array([2.0]))
        >>> theta
        array([0.5])
        """
        where = type(self).__name__
        followed = self._followed
        if followed is None or parameters is not followed:
            changeable(parameters, where)
            if followed is None or _place(followed) != _place(parameters):
                if followed is not None and self._bound():
                    raise ValueError(
                        f"{self}: it follows an array of shape {followed.shape} and was given another one, "
                        f"of {parameters.shape}; another array needs another optimizer"
                    )
                checked_gradients(parameters, gradients, where)
                self.follow(parameters)
        rates = self.rates(1)
        rate = self._learning_rate if rates is None else float(rates[0])
        self._updater.step(parameters, gradients, rate, where)

    def penalties(self) -> tuple[float, float, float]:
        """(l1, l2, weight_decay), as a layer without numbers of its own has them.

        >>> import pynn
        >>> pynn.SGD(0.1, l2=0.5).penalties()
        (0.0, 0.5, 0.0)
        """
        return self.l1, self.l2, self.weight_decay

    def follow(self, parameters: Array, places: Sequence[Place] = ()) -> None:
        """Keep state for these parameters; ``places`` tells, for penalties, which layers' they are: (layer, name, begin, end).

        A network calls it. Raises ``ValueError`` if there is state of other parameters, of another number or dtype.
        """
        if problem := self.does_not_fit(parameters.size, parameters.dtype):
            raise ValueError(f"{self}: {problem}")
        self._updater.keep_state_for(parameters, self._state_count())
        self._followed, self._places = parameters, places
        self._penalize()

    def does_not_fit(self, size: int, dtype: Any) -> str:
        """Why it cannot follow so many parameters of this dtype, having followed others; "" if it can.

        >>> import numpy as np, pynn
        >>> pynn.Adam().does_not_fit(3, np.dtype("float32"))
        ''
        """
        states = self._updater.states
        if not states or (states[0].size, states[0].dtype) == (size, dtype):
            return ""
        return (
            f"it has followed {states[0].size} parameters of {states[0].dtype}, here are {size} of {dtype}; "
            "copy.copy(optimizer).reset() makes a fresh one"
        )

    def _penalize(self) -> None:
        assert self._followed is not None
        runs = [(begin, end, *layer.penalties(name, self)) for layer, name, begin, end in self._places]
        runs = runs or [(0, self._followed.size, *self.penalties())]
        self._updater.penalize(runs if any(any(run[2:]) for run in runs) else [])

    def _state_count(self) -> int:
        """How many arrays of state it needs."""
        return self._updater.most_states

    def reset(self) -> Optimizer:
        """Forget all steps: it is as new, for the parameters that it follows; returns the optimizer itself.

        >>> import pynn
        >>> pynn.Adam().reset().steps
        0
        """
        self._updater.reset(keep=self._followed is not None)
        return self

    def follows_others(self, parameters: Array | None) -> bool:
        """Whether it keeps state, or penalties, for other parameters than these.

        >>> import pynn
        >>> pynn.Adam().follows_others(None)
        False
        """
        return self._followed is not None and self._followed is not parameters and self._bound()

    def _bound(self) -> bool:
        """Whether it may serve one array of parameters only."""
        return bool(self._updater.states) or self._updater.handle.runs > 0

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_updater": copy.copy(self._updater), "_followed": None, "_places": ()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._values, self._penalties = dict(self._values), dict(self._penalties)

    def __repr__(self) -> str:
        names = [name.lstrip("_") for name in self._values] + list(Optimizer._defaults)
        given = {"learning_rate": self._learning_rate} | {name: getattr(self, name) for name in names}
        shown = ", ".join(f"{name}={value!r}" for name, value in given.items() if value != self._defaults.get(name))
        return f"{type(self).__name__}({shown})"

    _defaults: ClassVar[dict[str, Any]] = {  # what __repr__ leaves out
        "weight_decay": 0.0,
        "l1": 0.0,
        "l2": 0.0,
        "regularize_bias": False,
        "clip_value": None,
        "clip_norm": None,
    }


def _place(parameters: Array) -> tuple[Any, ...]:
    """Where its elements lie, one after the other."""
    layout = () if parameters.flags.c_contiguous else (parameters.shape, parameters.strides)
    return parameters.__array_interface__["data"][0], parameters.size, parameters.dtype, layout


class SGD(Optimizer):
    """Gradient descent, θ := θ - α ∂C/∂θ (Gradient Descent), with momentum: v := μ v + ∂C/∂θ, θ := θ - α v (Polyak, 1964), or
    with Nesterov's: θ := θ - α (∂C/∂θ + μ v) (Sutskever et al., 2013).

    Raises ``ValueError`` or ``TypeError`` for numbers that make no sense; ``options`` are those of :class:`Optimizer`.

    >>> import numpy as np, pynn
    >>> optimizer = pynn.SGD(learning_rate=0.5)
    >>> theta = np.array([1.0, 2.0])
    >>> optimizer.step(theta, np.array([1.0, 1.0]))
    >>> theta
    array([0.5, 1.5])
    """

    _name = "sgd"
    momentum = _Hyperparameter(0)
    _nesterov = _Hyperparameter(1)
    _defaults: ClassVar[dict[str, Any]] = {**Optimizer._defaults, "momentum": 0.0, "nesterov": False}

    def __init__(self, learning_rate: Any = 0.01, momentum: float = 0.0, nesterov: bool = False, **options: Any) -> None:
        super().__init__(learning_rate, **options, momentum=momentum)
        self.nesterov = nesterov

    @property
    def nesterov(self) -> bool:
        """Whether momentum is Nesterov's.

        >>> import pynn
        >>> pynn.SGD(0.1, momentum=0.9, nesterov=True).nesterov
        True
        """
        return bool(self._nesterov)

    @nesterov.setter
    def nesterov(self, value: bool) -> None:
        self._nesterov = float(as_flag(value, type(self).__name__, "nesterov"))

    def _state_count(self) -> int:
        return 1 if self.momentum else 0


class RMSProp(Optimizer):
    """s := ρ s + (1 - ρ) g², u := μ u + g / (√s + ε), θ := θ - α u, g = ∂C/∂θ (Tieleman and Hinton, 2012, lecture 6.5).

    Raises ``ValueError`` or ``TypeError`` for numbers that make no sense; ``options`` are those of :class:`Optimizer`.

    >>> import numpy as np, pynn
    >>> theta = np.array([1.0])
    >>> pynn.RMSProp(0.1, rho=0.75).step(theta, np.array([2.0]))
    >>> theta.round(6)
    array([0.8])
    """

    _name = "rmsprop"
    rho, epsilon, momentum = _Hyperparameter(0, below=1), _Hyperparameter(1), _Hyperparameter(2)
    _defaults: ClassVar[dict[str, Any]] = {**Optimizer._defaults, "rho": 0.99, "epsilon": 1e-8, "momentum": 0.0}

    def __init__(
        self, learning_rate: Any = 0.01, rho: float = 0.99, epsilon: float = 1e-8, momentum: float = 0.0, **options: Any
    ) -> None:
        super().__init__(learning_rate, **options, rho=rho, epsilon=epsilon, momentum=momentum)

    def _state_count(self) -> int:
        return 2 if self.momentum else 1


class Adagrad(Optimizer):
    """s := s + g², θ := θ - α g / (√s + ε), g = ∂C/∂θ (Duchi, Hazan and Singer, 2011).

    Raises ``ValueError`` or ``TypeError`` for numbers that make no sense; ``options`` are those of :class:`Optimizer`.

    >>> import numpy as np, pynn
    >>> theta = np.array([1.0])
    >>> pynn.Adagrad(0.25).step(theta, np.array([2.0]))
    >>> theta.round(6)
    array([0.75])
    """

    _name = "adagrad"
    epsilon = _Hyperparameter(0)
    _defaults: ClassVar[dict[str, Any]] = {**Optimizer._defaults, "epsilon": 1e-10}

    def __init__(self, learning_rate: Any = 0.01, epsilon: float = 1e-10, **options: Any) -> None:
        super().__init__(learning_rate, **options, epsilon=epsilon)


class Adam(Optimizer):
    """m := β₁ m + (1 - β₁) g, v := β₂ v + (1 - β₂) g², θ := θ - α m̂ / (√v̂ + ε), g = ∂C/∂θ, where in step t
    m̂ = m / (1 - β₁ᵗ), v̂ = v / (1 - β₂ᵗ) (Kingma and Ba, 2015).

    Raises ``ValueError`` or ``TypeError`` for numbers that make no sense; ``options`` are those of :class:`Optimizer`.

    >>> import numpy as np, pynn
    >>> theta = np.array([1.0])
    >>> pynn.Adam(0.25).step(theta, np.array([2.0]))
    >>> theta.round(6)
    array([0.75])
    """

    _name = "adam"
    beta_1, beta_2, epsilon = _Hyperparameter(0, below=1), _Hyperparameter(1, below=1), _Hyperparameter(2)
    _defaults: ClassVar[dict[str, Any]] = {**Optimizer._defaults, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8}

    def __init__(
        self, learning_rate: Any = 0.001, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8, **options: Any
    ) -> None:
        super().__init__(learning_rate, **options, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon)


class AdamW(Adam):
    """Adam with decoupled weight decay, θ := θ - α λ θ besides (Loshchilov and Hutter, 2019).

    Raises ``ValueError`` or ``TypeError`` for numbers that make no sense; ``options`` are those of :class:`Optimizer`.

    >>> import numpy as np, pynn
    >>> theta = np.array([1.0])
    >>> pynn.AdamW(0.25, weight_decay=0.5).step(theta, np.array([2.0]))
    >>> theta.round(6)
    array([0.625])
    """

    _defaults: ClassVar[dict[str, Any]] = {**Adam._defaults, "weight_decay": 0.01}

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.01,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, weight_decay=weight_decay, **options)


class NAdam(Optimizer):
    """Adam with Nesterov's momentum (Dozat, 2016): m and v as Adam's, μₜ = β₁ (1 - ½ 0.96^(t ψ)),
    θ := θ - α ((1 - μₜ) g / (1 - Π μ) + μₜ₊₁ m / (1 - Π μ μₜ₊₁)) / (√v̂ + ε), ψ = ``momentum_decay``, Π over all steps so far.

    Raises ``ValueError`` or ``TypeError`` for numbers that make no sense; ``options`` are those of :class:`Optimizer`.

    >>> import numpy as np, pynn
    >>> theta = np.array([1.0])
    >>> pynn.NAdam(0.25).step(theta, np.array([2.0]))
    >>> theta.round(3)
    array([0.736])
    """

    _name = "nadam"
    beta_1, beta_2, epsilon = _Hyperparameter(0, below=1), _Hyperparameter(1, below=1), _Hyperparameter(2)
    _momentum_decay = _Hyperparameter(3)
    _defaults: ClassVar[dict[str, Any]] = {**Adam._defaults, "momentum_decay": 4e-3}

    def __init__(
        self,
        learning_rate: Any = 0.002,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        momentum_decay: float = 4e-3,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, **options, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon)
        self.momentum_decay = momentum_decay

    @property
    def momentum_decay(self) -> float:
        """The number ψ, which says how fast μ comes near β₁.

        >>> import pynn
        >>> pynn.NAdam().momentum_decay
        0.004
        """
        return self._psi

    @momentum_decay.setter
    def momentum_decay(self, value: float) -> None:
        from decimal import Context, Decimal  # an eighth of the time that pynn would take to import

        self._psi = as_number(value, type(self).__name__, "momentum_decay")
        self._momentum_decay = float(Context(prec=28).power(Decimal("0.96"), Decimal(self._psi)))  # pow() differs by machine


class Rprop(Optimizer):
    """Each parameter has a step of its own, beginning at α: times η₊ while its gradient keeps its sign, times η₋ when it
    changes (and then the parameter rests once); θ := θ - step sign(g) (Riedmiller and Braun, 1993; iRprop⁻, Igel and Hüsken,
    2000). For whole batches of data.

    Raises ``ValueError`` or ``TypeError`` for numbers that make no sense; ``options`` are those of :class:`Optimizer`.

    >>> import numpy as np, pynn
    >>> theta = np.array([1.0])
    >>> pynn.Rprop(0.25).step(theta, np.array([2.0]))
    >>> theta
    array([0.75])
    """

    _name = "rprop"
    eta_minus, eta_plus = _Hyperparameter(0, below=1), _Hyperparameter(1, 1)
    least_step, most_step = _Hyperparameter(2), _Hyperparameter(3)
    _defaults: ClassVar[dict[str, Any]] = {
        **Optimizer._defaults,
        "eta_minus": 0.5,
        "eta_plus": 1.2,
        "least_step": 1e-6,
        "most_step": 50.0,
    }

    def __init__(
        self,
        learning_rate: Any = 0.01,
        eta_minus: float = 0.5,
        eta_plus: float = 1.2,
        least_step: float = 1e-6,
        most_step: float = 50.0,
        **options: Any,
    ) -> None:
        super().__init__(
            learning_rate, **options, eta_minus=eta_minus, eta_plus=eta_plus, least_step=least_step, most_step=most_step
        )


__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "NAdam", "Optimizer", "RMSProp", "Rprop"]
