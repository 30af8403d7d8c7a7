"""A training run as a whole: derive, check, train, measure, and leave pages, plots, log and checkpoints in a folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from derive.networks.model import Model
from numerics.pages.folder import brief, summary, write_folder
from numerics.pages.plots import confusion_matrix, curves, save
from numerics.training import EarlyStopping, Log, Trainer

from .dataset import DataSet

TRAINED_WITH = {True: ("sparse_softmax_cross_entropy", ["accuracy"]), False: ("mean_squared_error", ["mae", "r2"])}


@dataclass(frozen=True)
class Run:
    """What is asked of a run.

    Attributes
    ----------
    model : Model
    data
        With ``x``, ``y``, ``x_test``, ``y_test``, ``labels`` (whether they are classes) and ``classes`` (their names).
    out : Path
        Gets ``index.html`` and the other pages, the module, ``evidence.json``, ``training.png``, the checkpoint.
    optimizer
        Of optax.
    loss : str, optional
        Cross-entropy for classes and squared error for numbers, if not given.
    validation : float
        The share of the training part that is held out while training; 0 shows the test part's curve instead.
    patience : int, optional
        Stop when ``val_loss`` has not improved for so many epochs, and go back to the best.
    log : Path, optional
        A line an epoch, ``.jsonl`` or ``.tsv``.
    resume : bool
        Go on with the run in ``out``.
    pages : bool
        Whether to check the program and write the pages.
    say : callable
        Where lines of progress go.
    """

    model: Model
    data: DataSet
    out: Path
    optimizer: object
    loss: str | None = None
    epochs: int = 30
    batch_size: int = 64
    seed: int = 0
    validation: float = 0.0
    patience: int | None = None
    log: Path | None = None
    augment: Callable | None = None
    resume: bool = False
    pages: bool = True
    verbose: bool = True
    say: Callable[[str], None] = field(default=print)


def train(run: Run) -> dict:
    """Carry out a run; returns what it came to, as plain data.

    Returns
    -------
    dict
        ``test`` (loss and metrics on the test part), ``history``, ``epochs``, ``parameters``, ``seconds``, ``ok`` (whether
        the checks accept the program; None where they were left out) and ``files``.
    """
    start = time.perf_counter()
    data, say = run.data, run.say
    loss, metrics = TRAINED_WITH[data.labels]
    say(str(run.model.summary()))
    trainer = Trainer(run.model, loss=run.loss or loss, optimizer=run.optimizer, metrics=metrics, seed=run.seed)
    say(f"\n{summary(trainer.derivation)}\n")
    for equation in key_equations(trainer.derivation):
        say(f"  ({equation.number})  {equation}")
    run.out.mkdir(parents=True, exist_ok=True)
    history = trainer.fit(
        data.x,
        data.y,
        batch_size=min(run.batch_size, len(data.x)),
        epochs=run.epochs,
        **({"validation_split": run.validation} if run.validation else {"validation_data": (data.x_test, data.y_test)}),
        callbacks=[
            *([Log(run.log)] if run.log else []),
            *([EarlyStopping(patience=run.patience)] if run.patience else []),
        ],
        augment=run.augment,
        checkpoint=run.out,
        resume=run.resume,
        verbose=run.verbose,
    )
    save(curves(history, run.model.name), run.out / "training.png")
    pictures = [("training.png", "Training, and what was held out.")]
    if data.labels:
        predicted = np.asarray(trainer.predict(data.x_test)).argmax(axis=-1)
        save(confusion_matrix(data.y_test, predicted, data.classes), run.out / "confusion.png")
        pictures.append(("confusion.png", "The test part: what was taken for what."))
    ok = _checked(run, trainer, pictures) if run.pages else None
    test = trainer.evaluate(data.x_test, data.y_test)
    files = sorted(p.name for p in run.out.iterdir() if p.is_file())
    say(f"\nleft in {run.out}: {', '.join(files)}")
    seconds = time.perf_counter() - start
    say(f"{seconds:.0f} s in all; no autodiff in the training step")
    return {
        "ok": ok,
        "model": run.model.name,
        "data": data.name,
        "parameters": int(run.model.summary().total),
        "epochs": trainer.epoch,
        "test": test,
        "history": history,
        "out": str(run.out),
        "files": files,
        "seconds": seconds,
    }


def _checked(run: Run, trainer: Trainer, pictures) -> bool:
    run.say("\nchecking every step and the compiled program ...")
    name = run.model.name
    ok = write_folder(
        trainer.derivation,
        trainer.kernel,
        run.out,
        title=name,
        text=str(run.model.summary()),
        seed=run.seed,
        pictures=pictures,
    )
    run.say(brief((run.out / "evidence.txt").read_text(encoding="utf-8")))
    return ok


def key_equations(derivation):
    """The equations worth a look: the last adjoints on the way, and the gradients themselves."""
    adjoints = {t.name for _, t in derivation.adjoints}
    return [e for e in derivation.program if e.name in adjoints]
