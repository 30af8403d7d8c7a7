"""Two players with opposite aims, each with its own derived gradient: a forger learns a distribution from a critic's verdicts.

The forger turns noise n into m + a n; the critic scores numbers by a parabola and learns to tell real ones from forged. What
the forger gets to see is only the gradient that comes through the critic's score.
"""

import jax
import numpy as np
import optax

import derive as dv
import numerics as nx

MEAN, SPREAD = 3.0, 0.5  # of the real numbers


def players() -> tuple[dv.Derivation, dv.Derivation]:
    """The derivations of the critic's and of the forger's gradients, over one set of definitions."""
    b = dv.index("b")
    real, noise = dv.tensor("real", b), dv.tensor("noise", b)
    w0, w1, w2 = (dv.tensor(name, role="parameter") for name in ("w0", "w1", "w2"))
    m, a = dv.tensor("m", role="parameter"), dv.tensor("a", role="parameter")

    forged = dv.define("forged", (b,), m + a * noise[b])
    passed = dv.define("passed", (b,), w0 + w1 * real[b] + w2 * real[b] ** 2)
    caught = dv.define("caught", (b,), w0 + w1 * forged[b] + w2 * forged[b] ** 2)
    caution = (w0**2 + w1**2 + w2**2) / 50  # a critic without it is never at rest
    critic = dv.define("critic", (), dv.Sum(dv.softplus(-passed[b]) + dv.softplus(caught[b]), b) / b.size + caution)
    forger = dv.define("forger", (), dv.Sum(dv.softplus(-caught[b]), b) / b.size)
    return dv.backprop(critic, [w0, w1, w2]), dv.backprop(forger, [m, a])


def main(steps: int = 1500, batch: int = 256, seed: int = 0) -> tuple[float, float]:
    """Returns the mean and the spread that the forger ended with, averaged over the last third of the steps."""
    critic, forger = players()
    kernels = [nx.compile(critic), nx.compile(forger)]
    for kern in kernels:
        assert nx.verify(kern).ok
    for name in ("caught", "m", "a"):
        print(forger.gradient(name))

    rng = np.random.default_rng(seed)
    optimizer = optax.adam(2e-2, b1=0.5)
    params = {"w0": 0.0, "w1": 0.0, "w2": 0.0, "m": 0.0, "a": 1.0}
    params = {name: np.float32(value) for name, value in params.items()}
    states = [optimizer.init({n: params[n] for n in kern.derivation.gradients}) for kern in kernels]

    @jax.jit
    def turn(params, states, real, noise):
        """The critic moves, then the forger."""
        after = []
        for kern, state in zip(kernels, states, strict=True):
            given = {**params, "real": real, "noise": noise}
            _, grads = kern.fn(*[given[t.name] for t in kern.inputs])
            updates, state = optimizer.update(grads, state)
            params = {**params, **optax.apply_updates({n: params[n] for n in grads}, updates)}
            after.append(state)
        return params, after

    trace = []
    for _ in range(steps):
        real, noise = rng.normal(MEAN, SPREAD, batch).astype("float32"), rng.normal(size=batch).astype("float32")
        params, states = turn(params, states, real, noise)
        trace.append((float(params["m"]), abs(float(params["a"]))))
    mean, spread = np.mean(trace[-steps // 3 :], axis=0)
    print(f"the forger's numbers have mean {mean:.2f} and spread {spread:.2f}; the real ones {MEAN} and {SPREAD}")
    return float(mean), float(spread)


if __name__ == "__main__":
    main()
