"""What the MODEL of a command means: a text, a formula, a Python object, a trained folder, or a name of the catalogue."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from derive import backprop, derive_matrix, hessian, index, tensor, vjp
from derive.derivation.derivation import Derivation
from derive.language.define import define
from derive.language.errors import DeriveError
from derive.language.hints import did_you_mean
from derive.language.tensor import Tensor
from derive.networks.activations import ACTIVATIONS
from derive.networks.examples import SUFFIXES, load, model, names
from derive.networks.examples.networks import NETWORKS
from derive.networks.losses import LOSSES
from derive.networks.model import Model
from derive.program.ingest import ingest

from .userfile import object_from_file

LOSS = "sparse_softmax_cross_entropy"
FORMULA = re.compile(r"[-+*/^'()=\s]")


@dataclass(frozen=True)
class Subject:
    """Something that can be derived: its name, what its author wrote, and how its derivation is made."""

    name: str
    text: str
    first: Callable[[], Derivation]
    wrt: tuple[str, ...] | None = None
    sizes: dict = field(default_factory=dict)  # of a network: numbers for the sizes that no array fixes
    second: Callable[[], Derivation] | None = None  # what has a way of its own to second derivatives

    def derive(self, order: int = 1) -> Derivation:
        """The gradients, or all second derivatives."""
        if order == 2 and self.second is not None:
            return self.second()
        d = self.first()
        if self.wrt is not None and d.kind == "backprop" and set(self.wrt) != {t.name for t in d.wrt}:
            d = backprop(d.loss, wrt=[_named(d, n) for n in self.wrt], name=d.name)
        if order == 1 or d.kind == "hessian":
            return d
        if d.kind != "backprop":
            raise DeriveError(f"{self.name}: --order 2 needs a scalar loss, and this is a {d.kind}")
        return hessian(d.loss, wrt=list(d.wrt), name=f"{self.name}_hessian")

    def compile(self, d: Derivation):
        """The program of a derivation of this, with the sizes it needs."""
        from numerics.kernel.compile import compile

        needed = {s.name for s in d.program.sizes()} - {a.name for t in d.program.inputs for a in t.axes if a.is_Symbol}
        return compile(d, sizes={n: v for n, v in self.sizes.items() if n in needed})


def find(source: str, wrt: list[str] | None = None, loss: str | None = None) -> Subject:
    """What a MODEL argument stands for.

    Raises
    ------
    DeriveError
        For a name that is nowhere, with the nearest one; a file that is no model.
    """
    path = Path(source)
    if ".py:" in source:
        return of_object(_object(source), source, wrt, loss)
    if path.suffix in SUFFIXES or (path.is_file() and path.suffix != ".json"):
        return _from_text(source, wrt)
    if path.suffix == ".json" or path.is_dir():
        return _from_folder(path, wrt, loss)
    if source in names():
        return _from_text(source, wrt)
    if source in NETWORKS:
        return _of_model(NETWORKS[source](), wrt, loss)
    if source in LOSSES or source in ACTIVATIONS:
        return _of_entry(source)
    if FORMULA.search(source):
        return _from_formula(source, wrt)
    known = [*names(), *NETWORKS, *LOSSES, *ACTIVATIONS]
    raise DeriveError(
        f"{source}: there is no such file, and the catalogue has no such name"
        f"{did_you_mean(source, known)}\n  texts: the catalogue has {', '.join(names())}\n  networks: "
        f"{', '.join(NETWORKS)}\n  and every activation and loss"
    )


def _from_text(source: str, wrt) -> Subject:
    model = load(source, wrt)
    return Subject(model.name, model.text, model.backprop)


def network(source: str) -> Model:
    """A network by ``FILE.py:NAME``, or from a folder or file that holds one as data."""
    if ".py:" in source:
        found = _object(source)
        if callable(found) and not isinstance(found, Model):
            found = found()
        if not isinstance(found, Model):
            raise DeriveError(
                f"{source}: this is {type(found).__name__}; a network is wanted (dv.Sequential, dv.Model), or "
                f"a function that returns one"
            )
        return found
    return Model.from_dict(_described(Path(source))[0])


def _object(source: str):
    return object_from_file(source, "MODEL")


def of_text(text: str, wrt: list[str] | None = None, name: str = "model") -> Subject:
    """A text of definitions, whose last scalar is the loss."""
    made = model(text, name, wrt)
    return Subject(made.name, made.text, made.backprop)


def of_object(found: object, source: str, wrt: list[str] | None = None, loss: str | None = None) -> Subject:
    """A Python object, or what a function without arguments returns: a network, a scalar definition or a derivation.

    Raises
    ------
    DeriveError
        For anything else; for a definition without parameters where ``wrt`` does not say what to differentiate by.
    """
    if callable(found) and not isinstance(found, (Model, Tensor)):
        found = found()
    name = source.rpartition(":")[2]
    if isinstance(found, Model):
        return _of_model(found, wrt, loss)
    if isinstance(found, Derivation):
        return Subject(found.name, "\n".join(map(str, found.source)), lambda: found, _chosen(wrt))
    if isinstance(found, Tensor) and not found.is_input:
        if wrt is None:
            wrt = [t.name for t in _inputs(found) if t.role == "parameter"]
        if not wrt:
            raise DeriveError(
                f"{source}: say what to differentiate {found.name} by, as in --wrt "
                f"{next((t.name for t in _inputs(found)), 'W')}"
            )
        by = [_one(_inputs(found), n, found) for n in wrt]
        return Subject(name, "", lambda: backprop(found, wrt=by, name=name))
    raise DeriveError(
        f"{source}: {name} is {type(found).__name__}; accepted are a network (dv.Sequential, dv.Model), a "
        f"scalar made by dv.define, a derivation, or a function that returns one"
    )


def _from_folder(path: Path, wrt, loss) -> Subject:
    described, trained_with = _described(path)
    return _of_model(Model.from_dict(described), wrt, loss or trained_with)


def _described(path: Path) -> tuple[dict, object]:
    """A network as data, ``model.to_dict()`` in a JSON file or what training left; and the losses it was trained with."""
    file = path / "trainer.json" if path.is_dir() else path
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DeriveError(
            f"{path}: no {file.name} there; a folder that training left, or a JSON file, is expected"
        ) from None
    except (ValueError, UnicodeDecodeError) as error:
        raise DeriveError(f"{file}: not JSON: {error}") from None
    described = data.get("model", data) if isinstance(data, dict) else None
    if not isinstance(described, dict) or "layers" not in described and "nodes" not in described:
        raise DeriveError(f"{file}: holds no network; expected is what model.to_dict() or trainer.save() writes")
    return described, data.get("losses")


def _of_model(model: Model, wrt, loss) -> Subject:
    chosen = loss or LOSS
    return Subject(model.name, str(model.summary()), lambda: model.backprop(chosen), _chosen(wrt), dict(model.sizes))


def _of_entry(name: str) -> Subject:
    """A loss as the mean over a batch, by its prediction; an activation as a vector-Jacobian product."""
    b, k = index("b"), index("k")
    if name in LOSSES:
        entry = LOSSES[name]
        z = tensor("p" if entry.reads in ("probabilities", "bits") else "z", b, k)
        return Subject(name, _doc(entry), lambda: backprop(entry.define(z, entry.target_tensor(z)), [z], name=name))
    z = tensor("z", b, k)
    h = define("h", (b, k), ACTIVATIONS[name](z))
    return Subject(name, _doc(ACTIVATIONS[name]), lambda: vjp(h, [z], cotangent="w", name=name))


def _doc(entry) -> str:
    return f"{(entry.rule.__doc__ or '').strip().splitlines()[0]}\n\n{entry.caveats}"


def _from_formula(source: str, wrt) -> Subject:
    """A formula in matrix notation, as ``x'*A*x``; a value that is no scalar has a Jacobian."""
    by = tuple(wrt or ())
    return Subject(
        "formula", source, lambda: derive_matrix(source, by), second=lambda: derive_matrix(source, by, order=2)
    )


def _inputs(t: Tensor) -> tuple[Tensor, ...]:
    return ingest([t]).inputs


def _one(tensors, name: str, of: Tensor) -> Tensor:
    found = next((t for t in tensors if t.name == name), None)
    if found is None:
        raise DeriveError(f"--wrt {name}: {of.name} has no such input; it has {', '.join(t.name for t in tensors)}")
    return found


def _named(d: Derivation, name: str) -> Tensor:
    tensors = [*d.source.inputs, *(e.tensor for e in d.source)]
    found = next((t for t in tensors if t.name == name), None)
    if found is None:
        raise DeriveError(f"--wrt {name}: {d.name} has no such tensor{did_you_mean(name, [t.name for t in tensors])}")
    return found


def _chosen(wrt) -> tuple[str, ...] | None:
    return None if wrt is None else tuple(wrt)
