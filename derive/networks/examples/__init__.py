"""Models in the text language: the catalogue that the command line knows by name, and how a text becomes a model.

In a model text, the last scalar definition is the loss, and the tensors declared ``parameter`` are what it is
differentiated by.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from derive.derivation.backprop import backprop
from derive.derivation.derivation import Derivation
from derive.language.errors import DeriveError
from derive.language.text.parse import parse
from derive.language.tensor import Tensor

FOLDER = Path(__file__).parent
SUFFIXES = (".dv", ".txt")


@dataclass(frozen=True)
class Model:
    """A parsed text: its tensors by name, the loss, and the parameters in the order they are declared."""

    name: str
    text: str
    tensors: dict[str, Tensor]
    loss: Tensor
    wrt: tuple[Tensor, ...]

    def backprop(self) -> Derivation:
        """Derive the gradients of the loss."""
        return backprop(self.loss, wrt=list(self.wrt), name=self.name)


def names() -> list[str]:
    """The names of the catalogue.

    >>> "softmax_regression" in names()
    True
    """
    return sorted(path.stem for path in FOLDER.glob("*.dv"))


def load(source: str | Path, wrt: list[str] | None = None) -> Model:
    """A model by its name in the catalogue, or from a text file.

    Parameters
    ----------
    source : str or Path
        ``"mlp"``, or the path of a ``.dv`` or ``.txt`` file.
    wrt : list of str, optional
        Names to differentiate by instead of the tensors declared ``parameter``.

    Raises
    ------
    DeriveError
        A name that is in neither place, a file that is not text, or a text that is not a model.

    >>> model = load("softmax_regression")
    >>> model.loss.name, [t.name for t in model.wrt]
    ('loss', ['W', 'c'])
    """
    path = Path(source)
    if path.suffix not in SUFFIXES and not path.exists():
        path = FOLDER / f"{source}.dv"
    if not path.is_file():
        raise DeriveError(f"{source}: there is no such file, and the catalogue has {', '.join(names())}")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DeriveError(f"{source}: not a text in UTF-8 (byte {error.start})") from None
    return model(text, path.stem, wrt)


def model(text: str, name: str = "model", wrt: list[str] | None = None) -> Model:
    """A model from a text: its last scalar definition is the loss.

    >>> square = model("x: float[i] parameter; loss = sum[i](x[i]^2)")
    >>> [t.name for t in square.wrt]
    ['x']
    """
    tensors = parse(text)
    scalars = [t for t in tensors.values() if t.definition is not None and t.rank == 0]
    if not scalars:
        raise DeriveError(
            f"{name}: no scalar definition to take as the loss; add a last line such as loss = sum[b](...)"
        )
    if wrt is None:
        chosen = [t for t in tensors.values() if t.role == "parameter"]
        if not chosen:
            raise DeriveError(
                f"{name}: no tensor is declared a parameter; write 'W: float[i, k] parameter', or name "
                f"what to differentiate by with wrt"
            )
    else:
        missing = [n for n in wrt if n not in tensors]
        if missing:
            raise DeriveError(f"{name}: wrt names {missing[0]!r}, but the text declares {', '.join(tensors)}")
        chosen = [tensors[n] for n in wrt]
    return Model(name, text, tensors, scalars[-1], tuple(chosen))
