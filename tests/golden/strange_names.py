"""Loss and gradients of it''' raise SystemExit ''', generated from its derivation, for cpu.

    I                       = 1/B sum_{b,i} 'jnp'''\\n\\\\'[b] tanh(B[b] + dtype[i] lambda[b,i] 'x; import os'[i])  (1)

    dB_sum[b]               = sum_i (1 - tanh(B[b] + lambda[b,i] dtype[i] 'x; import os'[i])^2)  (2)
    dB[b]                   = 'jnp'''\\n\\\\'[b] dB_sum[b] / B                           (3)   from 2
    'd_jnp'''\\n\\\\'[b]       = 1/B sum_i tanh(B[b] + lambda[b,i] dtype[i] 'x; import os'[i])  (4)
    d_lambda[b,i]           = 'jnp'''\\n\\\\'[b] dtype[i] 'x; import os'[i] (1 - tanh(B[b] + dtype[i] lambda[b,i]
                              'x; import os'[i])^2) / B                               (5)
    'd_x; import os_sum'[i] = sum_b 'jnp'''\\n\\\\'[b] lambda[b,i] (1 - tanh(B[b] + dtype[i] 'x; import os'[i]
                              lambda[b,i])^2)                                         (6)
    'd_x; import os'[i]     = dtype[i] 'd_x; import os_sum'[i] / B                    (7)   from 6

Facts used: none.
Kinks: none.
Emission: each equation in its plain form, no choice was made.
"""
import jax
import jax.numpy as jnp


def shapes(**axes):
    """Refuse arrays whose shapes do not belong together: while the function is traced, so at no cost inside jit."""

    def of(function):
        def checked(*arrays, **named):
            sizes = {}
            for name, array in {**dict(zip(axes, arrays, strict=False)), **named}.items():
                shape, wanted = jnp.shape(array), axes[name].split()
                said = f"{name} has shape {shape}, but it is ({', '.join(wanted)})"
                if len(shape) != len(wanted) or 0 in shape:
                    raise ValueError(f"{said}, each at least 1")
                for size, n in zip(wanted, shape, strict=True):
                    known = int(size) if size.isdigit() else sizes.setdefault(size, n) if size.isidentifier() else n
                    if n != known:
                        raise ValueError(f"{said}, with {size} = {known}")
            return function(*arrays, **named)

        checked.__name__, checked.__doc__, checked.__wrapped__ = function.__name__, function.__doc__, function
        return checked

    return of


@jax.jit
@shapes(lambda_="B I", x_import_os="I", B="B", jnp_="B", dtype="I")
def loss_and_grads(lambda_, x_import_os, B, jnp_, dtype):
    """lambda_ (B, I), x_import_os (I,), B (B,), jnp_ (B,), dtype (I,) floats of one dtype. Returns loss (), {"lambda",
    "x; import os", "B", 'jnp'''\\n\\\\'}.
    """
    B_size = lambda_.shape[0]

    I = (jnp_ @ jnp.tanh(dtype * x_import_os * lambda_ + B[:, None]).sum(axis=1)) / B_size  # (1)
    dB_sum = (1 - jnp.square(jnp.tanh(dtype * x_import_os * lambda_ + B[:, None]))).sum(axis=1)  # (2)
    dB = jnp_ * dB_sum / B_size                         # (3)
    d_jnp = jnp.tanh(dtype * x_import_os * lambda_ + B[:, None]).sum(axis=1) / B_size  # (4)
    d_lambda = (jnp_[:, None] * dtype * x_import_os     # (5)
        * (1 - jnp.square(jnp.tanh(dtype * x_import_os * lambda_ + B[:, None]))) / B_size)
    d_x_import_os_sum = jnp_ @ (lambda_ * (1 - jnp.square(jnp.tanh(dtype * x_import_os * lambda_ + B[:, None]))))  # (6)
    d_x_import_os = dtype * d_x_import_os_sum / B_size  # (7)
    return I, {"lambda": d_lambda, "x; import os": d_x_import_os, "B": dB, 'jnp"""\n\\': d_jnp}
