"""The demonstration: derive, prove, verify and train a digit classifier, and leave the evidence in a folder."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

import derive as dv
from derive import layers as L

from .data import digits
from .errors import NumericsError
from .pages import brief, summary, write_folder
from .plots import training_curves
from .training import Trainer

LOSS = "sparse_softmax_cross_entropy"


def train_digits(
    epochs: int = 30,
    hidden: tuple[int, ...] = (128, 64),
    batch_size: int = 64,
    learning_rate: float = 2e-3,
    seed: int = 0,
    out: Path = Path("out/digits"),
) -> float:
    """Train a multilayer perceptron with derived gradients; print what happens, fill ``out``, return the accuracy.

    Parameters
    ----------
    epochs, batch_size : int
    hidden : tuple of int
        Units of the hidden relu layers.
    learning_rate : float
        Of Adam.
    seed : int
        Of the split, the parameters and the order of the batches.
    out : Path
        Gets ``index.html``, ``derivation.html``, ``digits_mlp.py``, ``evidence.json``, ``training.png``.
    """
    import optax

    start = time.perf_counter()
    (x, y), (x_test, y_test) = digits(seed)
    stack = [*(L.Dense(units, activation="relu") for units in hidden), L.Dense(10)]
    model = dv.Sequential(stack, input_shape=(64,), name="digits_mlp")
    print(model.summary())

    trainer = Trainer(model, loss=LOSS, optimizer=optax.adam(learning_rate), metrics=["accuracy"], seed=seed)
    derivation = trainer.derivation
    print(f"\n{summary(derivation)}\n")
    for equation in key_equations(derivation):
        print(f"  ({equation.number})  {equation}")

    print("\nchecking every step and the compiled program ...")
    ok = write_folder(derivation, trainer.kernel, out, title="digits_mlp", text=str(model.summary()), seed=seed)
    print(brief((out / "evidence.txt").read_text(encoding="utf-8")))

    history = trainer.fit(x, y, batch_size=batch_size, epochs=epochs, validation_data=(x_test, y_test))
    training_curves(history, out / "training.png")
    print(f"\nleft in {out}: {', '.join(sorted(p.name for p in out.iterdir() if p.is_file()))}")
    print(f"{time.perf_counter() - start:.0f} s in all; no autodiff in the training step")
    accuracy = float(np.mean(np.argmax(np.asarray(trainer.predict(x_test)), axis=1) == y_test))
    if not ok:
        raise NumericsError(f"the checks refused the program; see {out / 'index.html'}")
    print(f"test accuracy: {accuracy:.4f}")
    return accuracy


def key_equations(derivation):
    """The equations worth a look: the last adjoints on the way, and the gradients themselves."""
    forward = {e.name for e in derivation.source}
    return [e for e in derivation.program if e.name not in forward and e.name.startswith("d")]
