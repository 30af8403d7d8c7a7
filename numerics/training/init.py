r"""Initial parameters of a network, by name and seed.

=================  =====================================================  =======================================
name               distribution                                           variance
=================  =====================================================  =======================================
glorot_uniform     uniform on :math:`\pm\sqrt{6/(n_{in}+n_{out})}`         :math:`2/(n_{in}+n_{out})`
glorot_normal      normal, cut at two standard deviations                 :math:`2/(n_{in}+n_{out})`
he_uniform         uniform on :math:`\pm\sqrt{6/n_{in}}`                   :math:`2/n_{in}`
he_normal          normal, cut at two standard deviations                 :math:`2/n_{in}`
lecun_uniform      uniform on :math:`\pm\sqrt{3/n_{in}}`                   :math:`1/n_{in}`
lecun_normal       normal, cut at two standard deviations                 :math:`1/n_{in}`
orthogonal         orthonormal columns (or rows)                          :math:`1/\max(n_{in}, n_{out})`
uniform            uniform on :math:`\pm 0.05`                             :math:`0.05^2/3`
normal             normal                                                 :math:`0.05^2`
standard_normal    normal                                                 1
zeros, ones        constant                                               0
=================  =====================================================  =======================================

:math:`n_{in}` and :math:`n_{out}` are the last two axes of a kernel times its window, the axes before them (kernels are
(in, out) or HWIO).  Weights before an activation start with its gain unless the layer says otherwise: he_normal
(:math:`\sqrt2`) before relu, glorot_uniform (1) before the rest; ``model.summary()`` shows which.

Every parameter draws from a stream of its own, keyed by the seed and its name, so adding a layer or reordering them
leaves the others' numbers as they were.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from derive.networks.initializers import AsMatrix, PerGate
from numerics.errors import NumericsError

CUT_DEVIATION = 0.87962566103423978  # the standard deviation of a unit normal cut at +-2
PLAIN = 0.05  # the spread of "uniform" and "normal"


def init(model, seed: int = 0, dtype="float32") -> dict[str, jax.Array]:
    """Initial arrays for the parameters of a model.

    Parameters
    ----------
    model : derive.Sequential
        Anything with ``parameters``: a dict of name to :class:`derive.networks.layers.Parameter`.
    seed : int
        A whole number, at least 0; the same seed gives the same arrays.
    dtype : dtype, optional
        A float dtype; float32.

    Returns
    -------
    dict of str to jax.Array
        By parameter name, each of the parameter's shape.

    Raises
    ------
    NumericsError
        A seed that is not a whole number, or an initializer of your own that gives a wrong shape, NaN or infinity.

    References
    ----------
    Glorot and Bengio, *Understanding the difficulty of training deep feedforward neural networks*, AISTATS 2010.
    He, Zhang, Ren, Sun, *Delving deep into rectifiers*, ICCV 2015.
    Saxe, McClelland, Ganguli, *Exact solutions to the nonlinear dynamics of learning in deep linear networks*, 2014.
    LeCun, Bottou, Orr, Mueller, *Efficient BackProp*, 1998.

    >>> import derive as dv
    >>> from derive import layers as L
    >>> params = init(dv.Sequential([L.Dense(3)], input_shape=(2,)), seed=0)
    >>> {name: a.shape for name, a in params.items()}
    {'dense_1_kernel': (2, 3), 'dense_1_bias': (3,)}
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise NumericsError(f"init: seed is {seed!r}; accepted is a whole number from 0")
    if not jnp.issubdtype(dtype, jnp.floating):
        raise NumericsError(f"init: dtype {dtype!r} is not a float dtype")
    if np.dtype(dtype) == np.float64:
        dtype = jnp.asarray(0.0, dtype).dtype  # JAX warns, and gives float32, where float64 is not switched on
    return on_device({p.name: np.asarray(draw(p, seed), dtype) for p in model.parameters.values()})


def on_device(arrays: dict[str, np.ndarray]) -> dict[str, jax.Array]:
    """Arrays handed to JAX together, in their order."""
    return dict(zip(arrays, jax.device_put(list(arrays.values())), strict=True))


def draw(parameter, seed: int) -> np.ndarray:
    """One parameter's initial values, in float64."""
    generator = np.random.default_rng([int(seed), zlib.crc32(parameter.name.encode())])
    made = _drawn(parameter.init, parameter.shape, generator)
    if made.shape != parameter.shape:
        raise NumericsError(
            f"init: the initializer {parameter.init_name} of {parameter.name} gave shape {made.shape}; "
            f"{parameter.name} has shape {parameter.shape}"
        )
    if not np.isfinite(made).all():
        raise NumericsError(f"init: the initializer {parameter.init_name} of {parameter.name} gave NaN or infinity")
    return made


def _drawn(how, shape, generator) -> np.ndarray:
    if isinstance(how, PerGate):
        each, others = shape[: how.axis] + shape[how.axis + 1 :], dict(how.others)
        return np.stack([_drawn(others.get(n, how.init), each, generator) for n in range(shape[how.axis])], how.axis)
    if isinstance(how, AsMatrix):
        rows = math.prod(shape[: how.inputs])
        return _drawn(how.init, (rows, math.prod(shape) // rows), generator).reshape(shape)
    if isinstance(how, int | float):
        return np.full(shape, float(how))
    function = INITIALIZERS[how] if isinstance(how, str) else how
    return np.asarray(function(shape, generator), dtype=np.float64)


def fans(shape) -> tuple[int, int]:
    """How many numbers flow into, and out of, one unit: the last two axes times the window before them.

    >>> fans((64, 128)), fans((3, 3, 16, 32)), fans((7,))
    ((64, 128), (144, 288), (7, 7))
    """
    if not shape:
        return 1, 1
    if len(shape) == 1:
        return shape[0], shape[0]
    window = math.prod(shape[:-2])
    return window * shape[-2], window * shape[-1]


def _scaled(scale: float, count: Callable, uniform: bool) -> Callable:
    """Variance ``scale / count(n_in, n_out)``."""

    def function(shape, generator):
        deviation = math.sqrt(scale / count(*fans(shape)))
        if uniform:
            limit = math.sqrt(3) * deviation
            return generator.uniform(-limit, limit, shape)
        return cut_normal(shape, generator) * (deviation / CUT_DEVIATION)

    return function


def cut_normal(shape, generator) -> np.ndarray:
    """Unit normals, those beyond two standard deviations drawn again."""
    values = np.array(generator.standard_normal(shape))
    while (outside := np.abs(values) > 2).any():
        values[outside] = generator.standard_normal(int(outside.sum()))
    return values


def _mean(n_in, n_out):
    return (n_in + n_out) / 2


def _in(n_in, n_out):
    return n_in


def orthogonal(shape, generator) -> np.ndarray:
    """Orthonormal columns, or rows where there are fewer; uniform over all such matrices."""
    rows, columns = int(np.prod(shape[:-1])), shape[-1]
    q, r = np.linalg.qr(generator.standard_normal((max(rows, columns), min(rows, columns))))
    q = q * np.sign(np.diagonal(r))
    return (q if rows >= columns else q.T).reshape(shape)


INITIALIZERS: dict[str, Callable] = {
    "glorot_uniform": _scaled(1, _mean, True),
    "glorot_normal": _scaled(1, _mean, False),
    "he_uniform": _scaled(2, _in, True),
    "he_normal": _scaled(2, _in, False),
    "lecun_uniform": _scaled(1, _in, True),
    "lecun_normal": _scaled(1, _in, False),
    "orthogonal": orthogonal,
    "uniform": lambda shape, generator: generator.uniform(-PLAIN, PLAIN, shape),
    "normal": lambda shape, generator: PLAIN * generator.standard_normal(shape),
    "standard_normal": lambda shape, generator: generator.standard_normal(shape),
    "zeros": lambda shape, generator: np.zeros(shape),
    "ones": lambda shape, generator: np.ones(shape),
}
