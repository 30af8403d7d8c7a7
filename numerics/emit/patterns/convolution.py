"""Windows with a kernel: forward, the kernel's gradient and the image's, by the functions of :mod:`.library`.

    y  = convolution(x, K, (U, V), low=(1, 1))           y[b,u,v,o] = sum_{r,s,c} x[b,u+r-1,v+s-1,c] K[r,s,c,o]
    dK = kernel_gradient(x, dy, (3, 3), low=(1, 1))      dK[r,s,c,o] = sum_{b,u,v} x[b,u+r-1,v+s-1,c] dy[b,u,v,o]
    dx = input_gradient(dy, K, (H, W), low=(1, 1))       dx[b,p,q,c] = sum dy[b,u,v,o] K[r,s,c,o] [u+r-1 = p, v+s-1 = q]

Groups, channels per group and sums over taps without a kernel (average pooling) are the same three forms.
"""

from __future__ import annotations

from sympy import Integer, Mul

from numerics.emit.source.choose import choose
from numerics.emit.source.scope import Scope
from numerics.emit.source.value import ATOM, Val, align, transpose
from numerics.emit.terms import pointwise

from .windows import Windows, options

# the axes of each part, positions and taps standing for themselves
LAYOUT = {
    "image": ("batch", "m", "group", "ins"),
    "output": ("batch", "u", "group", "outs"),
    "kernel": ("r", "ins", "group", "outs"),
}


def value(scope: Scope, w: Windows, order) -> Val | None:
    """The array of a term with windows, or None where the general path was asked for."""
    if not w.operands.get("kernel", w.operands.get("output")).fac:
        return _taps_only(scope, w, order)
    depthwise = bool(w.channels["group"]) and not w.channels["ins"]
    if depthwise:
        return None if choose(scope, "depthwise") == "windows" else _call(scope, w, order, "depthwise")
    if w.channels["group"]:
        return None if choose(scope, "groups") == "windows" else _call(scope, w, order, "group")
    return _dense(scope, w, order)


def _dense(scope: Scope, w: Windows, order) -> Val | None:
    pattern = {"output": "convolution", "kernel": "kernel-gradient", "image": "input-gradient"}[w.computes]
    how = choose(scope, pattern, w.channels["ins"], w.axes)
    if how == "windows":
        return None
    return _patches(scope, w, order) if how == "patches" else _call(scope, w, order, how)


def _call(scope: Scope, w: Windows, order, how: str) -> Val:
    """One call of a library function."""
    name, more = _function(w, how)
    first, second = (_laid_out(scope, w, part, order) for part in LAYOUT if part != w.computes)
    function, geometry = scope.helper(name), [*_geometry(scope, w), *more]
    if how == "group":
        text = f"{scope.helper('by_group')}({function}, {', '.join([first.src, second.src, *geometry])})"
    elif how == "depthwise" and w.channels["outs"]:
        text = _by_multiplier(scope, w, function, (first, second), geometry)
    else:
        text = f"{function}({', '.join([first.src, second.src, *geometry])})"
    return _result(scope, w, Val(text), order)


def _by_multiplier(scope: Scope, w: Windows, function: str, operands, geometry) -> str:
    """Several outputs a channel: a depthwise convolution for each, stacked, or added in the image's gradient."""
    n = scope.fresh_everywhere("n", "which")
    count = scope.size(Mul(*(i.size for i in w.channels["outs"]))).src
    parts = [part for part in LAYOUT if part != w.computes]
    one = [v.src if part == "image" else f"{v.atom}[..., {n}]" for part, v in zip(parts, operands, strict=True)]
    each = f"{function}({', '.join([*one, *geometry])}) for {n} in range({count})"
    return f"sum({each})" if w.computes == "image" else f"jnp.stack([{each}], axis=-1)"


def _function(w: Windows, how: str) -> tuple[str, list[str]]:
    if how == "depthwise":
        return {"output": "depthwise", "kernel": "depthwise_kernel_gradient", "image": "depthwise_input_gradient"}[
            w.computes
        ], []
    if w.computes == "output" and how == "rows":
        return "convolution_by_rows", []
    if w.computes != "kernel":
        return {"output": "convolution", "image": "input_gradient"}[w.computes], []
    if how == "conv":
        return "kernel_convolution", []
    loop = len(w.axes) if how == "taps" else min(1, len(w.axes) - 1)
    return "kernel_gradient", [f"loop={loop}"] if loop != 1 else []


def _patches(scope: Scope, w: Windows, order) -> Val:
    """The patches are named, so that the kernel's gradient reads those of the forward pass."""
    image = _laid_out(scope, w, "image", order)
    window = scope.shape([a.r for a in w.axes])
    out = scope.shape([a.u for a in w.axes])
    text = f"{scope.helper('patches')}({', '.join([image.src, window, out, *options(scope, w.axes)])})"
    name = f"{image.src}_patches" if image.src.isidentifier() else "patches_of_input"
    met = scope.share(("patches", text), (name,), Val(text))
    part = "kernel" if w.computes == "output" else "output"
    other = _laid_out(scope, w, part, order)
    size = scope.size(Mul(*(i.size for i in w.channels["outs"]))).src
    right = f"{other.atom}.reshape(-1, {size})"
    text = f"({met.src} @ {right})" if w.computes == "output" else f"({met.src}.T @ {right})"
    return _result(scope, w, Val(f"{text}.reshape{scope.shape(_sizes(w, w.computes))}", ATOM), order)


# -- arrays in the library's layout -------------------------------------------------------------------------------


def _roles(w: Windows, part: str) -> list[tuple]:
    """The indices of each axis of a part in the library's layout; channels are one axis each, whatever their number."""
    out = []
    for role in LAYOUT[part]:
        if role in ("m", "u", "r"):
            out += [(getattr(a, role),) for a in w.axes]
        elif role != "group" or w.channels["group"]:
            out.append(w.channels[role])
    if w.channels["group"] and not w.channels["ins"]:  # depthwise: no axis for channels in, nor for a single one out
        return [many for many in out if many]
    return out


def _sizes(w: Windows, part: str):
    return [Mul(*(i.size for i in many)) if many else Integer(1) for many in _roles(w, part)]


def _laid_out(scope: Scope, w: Windows, part: str, order) -> Val:
    """An operand with the library's axes: transposed, and reshaped where a role has no index or several."""
    roles = _roles(w, part)
    flat = [i for many in roles for i in many]
    v = w.operands[part].value(scope, flat)
    missing = [i for i in flat if i not in v.axes]
    if missing:
        v = Val(f"jnp.broadcast_to({align(v, flat).src}, {scope.shape(flat)})", ATOM, tuple(flat), v.kind)
    v = transpose(v, flat)
    if all(len(many) == 1 for many in roles):
        return v
    return Val(f"{v.atom}.reshape{scope.shape(_sizes(w, part))}", ATOM, tuple(flat), v.kind)


def _result(scope: Scope, w: Windows, v: Val, order) -> Val:
    """The labelled axes of what a library function returned, in the equation's order."""
    roles = _roles(w, w.computes)
    flat = tuple(i for many in roles for i in many)
    if any(len(many) != 1 for many in roles):
        v = Val(f"{v.atom}.reshape{scope.shape(flat)}")
    v = Val(v.src, v.prec, flat)
    v = transpose(v, [i for i in order if i in flat])
    return outside(scope, w, v, order)


def outside(scope: Scope, w: Windows, v: Val, order) -> Val:
    if w.outside.fac:
        v = pointwise.plain_product(scope, w.outside.fac, order, first=v)
    return pointwise.masked(scope, w.outside.conditions, v, order) if w.outside.conditions else v


# -- geometry -----------------------------------------------------------------------------------------------------


def _geometry(scope: Scope, w: Windows) -> list[str]:
    """The sizes of what is computed, then strides, dilations and padding where they are not the usual ones."""
    role = {"output": "u", "kernel": "r", "image": "m"}[w.computes]
    return [scope.shape([getattr(a, role) for a in w.axes]), *options(scope, w.axes)]


# -- taps without a kernel ----------------------------------------------------------------------------------------


def _taps_only(scope: Scope, w: Windows, order) -> Val | None:
    """Average pooling and its adjoint: the taps are added."""
    if w.computes == "kernel" or choose(scope, "pool") == "windows":
        return None
    part, role = ("image", "m") if w.computes == "output" else ("output", "u")
    own = w.operands[part].labels
    spots = [getattr(a, role) for a in w.axes]
    other = [i for i in order if i in own and i not in spots]
    lead = other[:1]
    flat = [*lead, *spots, *other[1:]]
    v = transpose(w.operands[part].value(scope, flat), flat)
    given = [*options(scope, w.axes), *([] if lead else ["axis=0"])]
    window, reach = scope.shape([a.r for a in w.axes]), scope.shape([a.u for a in w.axes])
    if w.computes == "output":
        text = f"sum({scope.helper('taps')}({', '.join([v.src, window, reach, *given])}).values())"
        made = [*lead, *(a.u for a in w.axes), *other[1:]]
    else:
        shape = scope.shape([a.m for a in w.axes])
        arguments = ["lambda tap, g: g", f"({v.src},)", window, shape, *given]
        text = f"{scope.helper('spread')}({', '.join(arguments)})"
        made = [*lead, *(a.m for a in w.axes), *other[1:]]
    return outside(scope, w, transpose(Val(text, ATOM, tuple(made)), [i for i in order if i in made]), order)
