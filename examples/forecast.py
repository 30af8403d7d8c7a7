"""One step ahead in a noisy oscillation of slowly changing period: a GRU against "as today, so tomorrow".

The series is generated (a relaxation oscillator driven by noise), not measured.
"""

import numpy as np
import optax

import derive as dv
import numerics as nx
from derive.networks import layers as L


def series(length: int, seed: int) -> np.ndarray:
    """Van der Pol's oscillator with noise, scaled to variance 1."""
    rng, x, v, out = np.random.default_rng(seed), 1.0, 0.0, []
    for _ in range(length):
        for _ in range(10):
            x, v = x + 0.03 * v, v + 0.03 * (1.5 * (1 - x * x) * v - x) + 0.03 * rng.normal()
        out.append(x)
    out = np.array(out, np.float32)
    return (out - out.mean()) / out.std()


def main(length: int = 1200, window: int = 20, epochs: int = 15, seed: int = 0) -> tuple[float, float]:
    """Returns the mean squared error of the network and of persistence, on the last fifth."""
    s = series(length, seed)
    x = np.stack([s[n : n + window] for n in range(length - window)])[..., None]
    y = s[window:, None]
    cut = len(x) * 4 // 5
    model = dv.Sequential([L.GRU(16), L.Dense(1)], input_shape=(window, 1))
    trainer = nx.Trainer(model, loss="mean_squared_error", optimizer=optax.adam(1e-2), seed=seed)
    trainer.fit(x[:cut], y[:cut], batch_size=64, epochs=epochs)
    error = trainer.evaluate(x[cut:], y[cut:])["loss"]
    persistence = float(np.mean((x[cut:, -1] - y[cut:]) ** 2))
    print(f"mean squared error: GRU {error:.4f}, persistence {persistence:.4f}")
    return error, persistence


if __name__ == "__main__":
    main()
