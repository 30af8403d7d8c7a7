"""``derive train``: a network trained with derived gradients."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from derive.language.hints import did_you_mean
from numerics.errors import NumericsError

from . import dataset, networks
from .common import Folder, Json, Seed, plainly, write_json

OPTIMIZERS = ("adam", "adamw", "sgd", "momentum", "nesterov", "rmsprop", "adagrad")


@plainly
def train(
    name: Annotated[
        str | None, typer.Argument(metavar="DATA", help="digits (the default), mnist, csv, npz or images.")
    ] = None,
    data: Annotated[str | None, typer.Option(metavar="DATA", help="The same, as an option.")] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="Where it is: the IDX files' folder, the .csv or .npz file, the image folder."
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Of a CSV file: the column to predict; the last, if not given.")
    ] = None,
    image_size: Annotated[int | None, typer.Option(min=1, help="Of an image folder: scale all images to this.")] = None,
    model: Annotated[
        str,
        typer.Option(metavar="KIND", help="linear, mlp, cnn, lstm, lenet5, ..., FILE.py:NAME, or a trained folder."),
    ] = "mlp",
    hidden: Annotated[
        str | None,
        typer.Option(metavar="128,64", help="Units of the hidden layers of an mlp (128,64) or an lstm (64)."),
    ] = None,
    dropout: Annotated[float, typer.Option(min=0.0, max=0.95, help="After each hidden layer of an mlp.")] = 0.0,
    loss: Annotated[str | None, typer.Option(metavar="NAME", help="Otherwise cross-entropy, or squared error.")] = None,
    optimizer: Annotated[str, typer.Option(metavar="NAME", help=", ".join(OPTIMIZERS) + ".")] = "adam",
    learning_rate: Annotated[float, typer.Option(min=0.0, help="Of the optimizer.")] = 2e-3,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training data.")] = 30,
    batch_size: Annotated[int, typer.Option(min=1, help="Examples in one step.")] = 64,
    validation: Annotated[
        float,
        typer.Option(
            min=0.0, max=0.9, help="Share of the training part held out while training (0.1 with --patience)."
        ),
    ] = 0.0,
    patience: Annotated[
        int | None, typer.Option(min=1, help="Stop after so many epochs without a better val_loss; the best is kept.")
    ] = None,
    shift: Annotated[int, typer.Option(min=0, help="Move training images by up to so many pixels.")] = 0,
    flip: Annotated[bool, typer.Option("--flip", help="Mirror half of the training images.")] = False,
    log: Annotated[Path | None, typer.Option(metavar="FILE", help="A line an epoch: .jsonl or .tsv.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out, as if it had not ended.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Begin anew in a folder that holds a run.")] = False,
    pages: Annotated[bool, typer.Option("--pages/--no-pages", help="Check the program and write its pages.")] = True,
    seed: Seed = 0,
    out: Folder = None,
    as_json: Json = False,
) -> None:
    """Train a network with derived gradients; leave checkpoints, plots, the derivation, the source and the evidence.

    The last line printed is the accuracy (or error) on the test part, a fifth of the data unless it comes with one.

    Examples:

        derive train digits

        derive train digits --epochs 10 --hidden 64,32 --seed 1 -o run/ --log run/log.tsv

        derive train digits --model cnn --epochs 15 --shift 1

        derive train --data mnist --data-dir mnist/ --model lenet5 --epochs 3 -o run/

        derive train --data csv --data-dir flowers.csv --target species --patience 5

        derive train digits -o run/ --epochs 60 --resume
    """
    from numerics.training import saving as checkpoint

    from .runs import Run, train

    if name is not None and data is not None and name != data:
        raise NumericsError(f"train {name} --data {data}: name one data set")
    kind = name or data or "digits"
    _meant("--target", target, kind == "csv", "--data csv")
    _meant("--image-size", image_size, kind == "images", "--data images")
    _meant("--hidden", hidden, model in ("mlp", "lstm"), "--model mlp or lstm")
    _meant("--dropout", dropout, model == "mlp", "--model mlp")
    rule = _optimizer(optimizer, learning_rate)
    found = dataset.load(kind, data_dir, target, image_size, seed=seed)
    network = networks.build(model, found, hidden, dropout)
    if len(network.inputs) == 1 and network.input.dtype == "float":
        found = found.shaped(network.shape(network.input)[1:])
    folder = out or Path("out") / (found.name if model == "mlp" else f"{found.name}_{network.name}")
    if checkpoint.holds(folder) and not resume:
        if not overwrite:
            raise NumericsError(
                f"{folder} holds another run; --resume goes on with it, --overwrite begins anew, -o names "
                f"another folder"
            )
        _emptied(folder)
    if resume and not checkpoint.holds(folder):
        raise NumericsError(f"--resume: {folder} holds no run; -o names the folder of one")
    result = train(
        Run(
            network,
            found,
            folder,
            rule,
            loss,
            epochs,
            batch_size,
            seed,
            validation or (0.1 if patience else 0.0),
            patience,
            log,
            _augment(found, shift, flip),
            resume,
            pages,
            verbose=not as_json,
            say=(lambda text: None) if as_json else typer.echo,
        )
    )
    if as_json:
        write_json(result)
    if result["ok"] is False:
        typer.echo(f"the checks refused the program: see {folder / 'evidence.html'}", err=True)
        raise typer.Exit(1)
    if as_json:
        return
    key, label = ("accuracy", "test accuracy") if found.labels else ("mae", "test mean absolute error")
    typer.echo(f"{label}: {result['test'][key]:.4f}")


def _meant(option: str, given, fits: bool, where: str) -> None:
    """An option that would do nothing is refused."""
    if given and not fits:
        raise NumericsError(f"{option} is for {where}")


def _optimizer(name: str, rate: float):
    import optax

    if name not in OPTIMIZERS:
        raise NumericsError(f"--optimizer {name}: accepted are {', '.join(OPTIMIZERS)}{did_you_mean(name, OPTIMIZERS)}")
    if name in ("momentum", "nesterov"):
        return optax.sgd(rate, momentum=0.9, nesterov=name == "nesterov")
    return getattr(optax, name)(rate)


def _augment(data, shift: int, flip: bool):
    from numerics.data.images import Augment

    if not (shift or flip):
        return None
    if data.image is None:
        raise NumericsError(
            f"--shift and --flip are for images; an example of {data.name} has shape {data.x.shape[1:]}"
        )
    move, shape = Augment(shift=shift, flip=flip), data.x.shape[1:]
    return lambda x, generator: move(x.reshape(-1, *data.image), generator).reshape(-1, *shape)


def _emptied(folder: Path) -> None:
    """Remove the run of a folder, and nothing else that may be in it."""
    for path in (folder / "trainer.json", *folder.glob("arrays-*.safetensors")):
        path.unlink(missing_ok=True)
    shutil.rmtree(folder / "__pycache__", ignore_errors=True)
