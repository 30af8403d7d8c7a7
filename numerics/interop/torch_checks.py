"""What cannot go in from torch whatever is computed of it, refused by name before a module is exported."""

from __future__ import annotations

import contextlib
import re
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from derive.language.errors import UnsupportedError
from derive.language.hints import did_you_mean
from numerics.errors import InputError

from .source import Frame

_HERE = str(Path(__file__).parent)
_BY_VALUE = ("GuardOnDataDependentSymNode", "DataDependentOutputException", "DynamicOutputShapeException")


def identifier(name: str) -> str:
    """A name in a state dictionary as a name here: dots are underscores."""
    text = "_".join(p for p in re.split(r"\W+", name) if p)
    return text if text.isidentifier() else f"p_{text}"


def check_module(module: Any, args: Sequence[Any]) -> None:
    """Refuse a module, or arguments, that are no tensors of one precision with values.

    Raises
    ------
    InputError
        For what is no module, a scripted one, parameters without shapes or values, packed sequences.
    UnsupportedError
        For complex numbers, float16 and bfloat16.
    """
    import torch

    if isinstance(module, torch.jit.ScriptModule):
        raise InputError("nx.from_torch: a scripted module is not read; accepted: the module that it was scripted of")
    if not isinstance(module, torch.nn.Module):
        raise InputError(
            f"nx.from_torch: {type(module).__name__} is no torch.nn.Module; nx.from_jax reads JAX functions"
        )
    for a in args:
        if isinstance(a, torch.nn.utils.rnn.PackedSequence):
            raise InputError(
                "nx.from_torch: a PackedSequence is not read; accepted: a padded tensor, and a mask in the loss"
            )
    for kind, found in (("parameter", module.named_parameters()), ("buffer", module.named_buffers())):
        for name, x in found:
            if torch.nn.parameter.is_lazy(x):
                raise InputError(
                    f"nx.from_torch: {kind} {name!r} has no shape yet; accepted: the module after one call of it"
                )
            _check_tensor(f"{kind} {name!r}", x, "module.float()", "module.to_empty(device='cpu') with weights loaded")
    for n, x in enumerate(torch.utils._pytree.tree_flatten(tuple(args))[0]):
        if isinstance(x, torch.Tensor):
            _check_tensor(f"argument {n}", x, "x.float()", "a tensor of values, as torch.zeros")


def _check_tensor(said: str, x: Any, widened: str, real: str) -> None:
    if x.is_meta:
        raise InputError(f"nx.from_torch: {said} is on the device 'meta', without values; accepted: {real}")
    dtype = str(x.dtype).removeprefix("torch.")
    if x.is_complex():
        raise UnsupportedError(
            f"nx.from_torch: {said} is {dtype}, and complex numbers are not in the language; accepted: its real and "
            f"imaginary parts as tensors of their own"
        )
    if x.is_floating_point() and x.element_size() < 4:
        raise UnsupportedError(
            f"nx.from_torch: {said} is {dtype}, in which torch rounds between operations; accepted: float32 and float64, "
            f"as {widened}"
        )


@contextlib.contextmanager
def as_it_was(module: Any) -> Iterator[set[str]]:
    """Put back what a module changes of itself while it is called; the names of the tensors that it keeps."""
    parts = dict(module.named_modules())
    before = {path: dict(vars(part)) for path, part in parts.items()}
    lists = {path: {k: list(v) for k, v in own.items() if isinstance(v, list)} for path, own in before.items()}
    kept: set[str] = set()
    try:
        yield kept
    finally:
        for path, part in parts.items():
            own: dict[str, Any] = part.__dict__
            for k in [k for k in own if k not in before[path]]:
                kept.add(k)
                del own[k]
            own.update(before[path])
            for k, values in lists[path].items():
                if len(values) != len(before[path][k]):
                    kept.add(k)
                    before[path][k][:] = values


def refuse_call(error: Exception) -> NoReturn:
    """What torch says where a module cannot be called with the arguments, which its export does not look at."""
    raise InputError(
        f"nx.from_torch: the module does not run at these arguments: {type(error).__name__}: {' '.join(str(error).split())}"
    ) from error


def own_rules(outputs: Sequence[Any]) -> list[str]:
    """The names of the functions with backward passes of their own, ``torch.autograd.Function``, that tensors are made by."""
    from torch.autograd.function import BackwardCFunction

    found: dict[str, None] = {}
    seen, stack = set[Any](), [x.grad_fn for x in outputs if x.grad_fn is not None]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        stack += [n for n, _ in node.next_functions if n is not None]
        if isinstance(node, BackwardCFunction):
            function = type(node)._forward_cls  # type: ignore[attr-defined]  # made by torch's metaclass
            if not function.__module__.startswith("torch."):
                found[function.__name__] = None
    return list(found)


def refuse_export(error: Exception) -> NoReturn:
    """What torch says where it cannot export a module, with the line of the author's that it stopped at."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(("<", _HERE))]
    own = [Frame(f.filename, f.lineno or 0, f.name) for f in frames]
    stands = next((f for f in reversed(own) if not f.is_library), None)
    inside = stands is not None and any(
        f.is_library for f in own[: own.index(stands)]
    )  # not the line that calls from_torch
    where = f" at {stands.shown} (in {stands.function})" if stands is not None and inside else ""
    if type(error).__name__ in _BY_VALUE:
        asked = any("/torch/distributions/" in f.filename for f in frames)
        raise UnsupportedError(
            f"nx.from_torch: the value of a tensor decides what is computed{where}; accepted: torch.where(condition, a, b), "
            f"or a Python number as an argument{', or a distribution with validate_args=False' if asked else ''}"
        ) from error
    said = " ".join(str(error).partition("The error above")[0].split())
    raise InputError(
        f"nx.from_torch: torch.export cannot read the module{where}: {type(error).__name__}: {said[:400]}; accepted: "
        f"a module and a loss that run at these arguments, whose operations do not depend on values"
    ) from error


def check_wrt(
    wrt: str | Sequence[str], known: Mapping[str, str], integers: Mapping[str, str], buffers: Sequence[str]
) -> None:
    """Refuse names that are neither parameters nor inputs of floats.

    ``known`` are the names by those that they have here, ``integers`` dtypes by name.
    """
    for name in [wrt] if isinstance(wrt, str) else wrt:
        here = identifier(str(name))
        if name in buffers or here in map(identifier, buffers):
            raise InputError(
                f"nx.from_torch: wrt={wrt!r}: {name!r} is a buffer; accepted: parameters and inputs, so make it an argument "
                f"or a torch.nn.Parameter"
            )
        if here not in known:
            raise InputError(
                f"nx.from_torch: wrt={wrt!r}: {name!r} is neither parameter nor input; they are {', '.join(known.values())}"
                f"{did_you_mean(name, known.values())}"
            )
        if here in integers:
            raise InputError(
                f"nx.from_torch: wrt={wrt!r}: {name!r} is {integers[here]}; accepted: parameters and inputs of floats"
            )
