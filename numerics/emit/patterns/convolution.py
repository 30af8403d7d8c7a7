"""Windows with a kernel: forward, the kernel's gradient and the image's, by the functions of :mod:`.library`.

    y  = convolution(x, K, (U, V), low=(1, 1))           y[b,u,v,o] = sum_{r,s,c} x[b,u+r-1,v+s-1,c] K[r,s,c,o]
    dK = kernel_gradient(x, dy, (3, 3), low=(1, 1))      dK[r,s,c,o] = sum_{b,u,v} x[b,u+r-1,v+s-1,c] dy[b,u,v,o]
    dx = input_gradient(dy, K, (H, W), low=(1, 1))       dx[b,p,q,c] = sum dy[b,u,v,o] K[r,s,c,o] [u+r-1 = p, v+s-1 = q]

Groups, channels per group and sums over taps without a kernel (average pooling) are the same three forms.
"""

from __future__ import annotations

from collections.abc import Sequence

from sympy import Expr, Integer, Mul

from derive.language.index import Index
from numerics.emit.source.choose import choose
from numerics.emit.source.code import (
    Attribute,
    Binary,
    Code,
    Constant,
    Each,
    Lambda,
    Name,
    Subscript,
    Tuple,
    call,
    method,
    number_of,
)
from numerics.emit.source.scope import Scope
from numerics.emit.source.value import Val, full, transpose
from numerics.emit.terms import pointwise
from numerics.emit.terms.arithmetic import Order

from .windows import Windows, options

# the axes of each part, positions and taps standing for themselves
LAYOUT = {
    "image": ("batch", "m", "group", "ins"),
    "output": ("batch", "u", "group", "outs"),
    "kernel": ("r", "ins", "group", "outs"),
}


def value(scope: Scope, w: Windows, order: Order) -> Val | None:
    """The array of a term with windows, or None where the general path was asked for."""
    if not (w.operands.get("kernel") or w.operands["output"]).fac:
        return _taps_only(scope, w, order)
    depthwise = bool(w.channels["group"]) and not w.channels["ins"]
    if depthwise:
        return None if choose(scope, "depthwise") == "windows" else _call(scope, w, order, "depthwise")
    if w.channels["group"]:
        return None if choose(scope, "groups") == "windows" else _call(scope, w, order, "group")
    return _dense(scope, w, order)


def _dense(scope: Scope, w: Windows, order: Order) -> Val | None:
    if _side_by_side(scope, w) and choose(scope, "tiles") == "product":
        return _tiles(scope, w, order)
    pattern = {"output": "convolution", "kernel": "kernel-gradient", "image": "input-gradient"}[w.computes]
    how = choose(scope, pattern, w.channels["ins"], w.axes)
    if how == "windows":
        return None
    return _patches(scope, w, order) if how == "patches" else _call(scope, w, order, how)


def _call(scope: Scope, w: Windows, order: Order, how: str) -> Val:
    """One call of a library function."""
    name, more = _function(w, how)
    first, second = (_laid_out(scope, w, part, order).node for part in LAYOUT if part != w.computes)
    function, geometry = scope.helper(name), {**options(scope, w.axes), **more}
    made = _computed(scope, w)
    if how == "group":
        node: Code = call(scope.helper("by_group"), Name(function), first, second, made, **geometry)
    elif how == "depthwise" and w.channels["outs"]:
        node = _by_multiplier(scope, w, function, (first, second), made, geometry)
    else:
        node = call(function, first, second, made, **geometry)
    return _result(scope, w, node, order)


def _by_multiplier(
    scope: Scope, w: Windows, function: str, operands: tuple[Code, Code], made: Code, geometry: dict[str, Code]
) -> Code:
    """Several outputs a channel: a depthwise convolution for each, stacked, or added in the image's gradient."""
    n = scope.fresh_everywhere("n", "which")
    count = scope.size(Mul(*(i.size for i in w.channels["outs"]))).node
    parts = [part for part in LAYOUT if part != w.computes]
    one = [
        node if part == "image" else Subscript(node, (Constant(...), Name(n)))
        for part, node in zip(parts, operands, strict=True)
    ]
    added = w.computes == "image"
    each = Each(call(function, *one, made, **geometry), n, call("range", count), listed=not added)
    return call("sum", each) if added else call("jnp.stack", each, axis=number_of(-1))


def _function(w: Windows, how: str) -> tuple[str, dict[str, Code]]:
    """The function of the library, and what it is given besides its operands and geometry."""
    if how == "depthwise":
        names = {"output": "depthwise", "kernel": "depthwise_kernel_gradient", "image": "depthwise_input_gradient"}
        return names[w.computes], {}
    if w.computes == "output" and how == "rows":
        return "convolution_by_rows", {}
    if w.computes != "kernel":
        return {"output": "convolution", "image": "input_gradient"}[w.computes], {}
    if how in ("conv", "blocks"):
        return {"conv": "kernel_convolution", "blocks": "kernel_gradient_by_blocks"}[how], {}
    loop = len(w.axes) if how == "taps" else min(1, len(w.axes) - 1)
    return "kernel_gradient", {"loop": number_of(loop)} if loop != 1 else {}


def _patches(scope: Scope, w: Windows, order: Order) -> Val:
    """The patches are named, so that the kernel's gradient reads those of the forward pass."""
    image = _laid_out(scope, w, "image", order).node
    window, out = scope.shape([a.r for a in w.axes]), scope.shape([a.u for a in w.axes])
    patches = call(scope.helper("patches"), image, window, out, **options(scope, w.axes))
    name = f"{image.name}_patches" if isinstance(image, Name) else "patches_of_input"
    met = scope.share(("patches", patches), (name,), Val(patches)).node
    other = _laid_out(scope, w, "kernel" if w.computes == "output" else "output", order)
    size = scope.size(Mul(*(i.size for i in w.channels["outs"]))).node
    right = method(other.node, "reshape", number_of(-1), size)
    product = Binary(met if w.computes == "output" else Attribute(met, "T"), "@", right)
    return _result(scope, w, method(product, "reshape", *scope.shape(_sizes(w, w.computes)).items), order)


def _side_by_side(scope: Scope, w: Windows) -> bool:
    """Whether the windows, of several taps, cover the image and do not overlap."""
    sizes = [[scope.known(n) for n in (a.r.size, a.stride, a.u.size, a.m.size, a.dilation, a.low)] for a in w.axes]
    if not all(n.is_Integer for many in sizes for n in many):
        return False
    fits = all(
        taps == stride and taps * count == image and step == 1 and low == 0
        for taps, stride, count, image, step, low in sizes
    )
    return fits and any(taps > 1 for taps, *_ in sizes)


def _tiles(scope: Scope, w: Windows, order: Order) -> Val:
    """The tiles of an image are named, so that the kernel's gradient reads those of the forward pass."""
    window = scope.shape([a.r for a in w.axes])
    image, output, kernel = (None if part == w.computes else _laid_out(scope, w, part, order).node for part in LAYOUT)
    outs = scope.size(Mul(*(i.size for i in w.channels["outs"]))).node
    rows = None if output is None else method(output, "reshape", number_of(-1), outs)
    weights = None if kernel is None else method(kernel, "reshape", number_of(-1), outs)
    if image is None:
        assert rows is not None and weights is not None
        product = Binary(rows, "@", Attribute(weights, "T"))
        return _result(scope, w, call(scope.helper("from_tiles"), product, _computed(scope, w), window), order)
    tiles = call(scope.helper("tiles"), image, window)
    name = f"{image.name}_tiles" if isinstance(image, Name) else "tiles_of_input"
    met = scope.share(("tiles", tiles), (name,), Val(tiles)).node
    if weights is not None:
        product = Binary(met, "@", weights)
    else:
        assert rows is not None
        product = Binary(Attribute(met, "T"), "@", rows)
    return _result(scope, w, method(product, "reshape", *scope.shape(_sizes(w, w.computes)).items), order)


# -- arrays in the library's layout -------------------------------------------------------------------------------


def _roles(w: Windows, part: str) -> list[tuple[Index, ...]]:
    """The indices of each axis of a part in the library's layout; channels are one axis each, whatever their number."""
    out: list[tuple[Index, ...]] = []
    for role in LAYOUT[part]:
        if role in ("m", "u", "r"):
            out += [(getattr(a, role),) for a in w.axes]
        elif role != "group" or w.channels["group"]:
            out.append(w.channels[role])
    if w.channels["group"] and not w.channels["ins"]:  # depthwise: no axis for channels in, nor for a single one out
        return [many for many in out if many]
    return out


def _sizes(w: Windows, part: str) -> list[Expr]:
    return [Mul(*(i.size for i in many)) if many else Integer(1) for many in _roles(w, part)]


def _laid_out(scope: Scope, w: Windows, part: str, order: Order) -> Val:
    """An operand with the library's axes: transposed, and reshaped where a role has no index or several."""
    roles = _roles(w, part)
    flat = [i for many in roles for i in many]
    v = full(w.operands[part].value(scope, flat), flat, scope.shape)
    if all(len(many) == 1 for many in roles):
        return v
    return Val(method(v.node, "reshape", *scope.shape(_sizes(w, part)).items), tuple(flat), v.kind)


def _result(scope: Scope, w: Windows, node: Code, order: Order) -> Val:
    """The labelled axes of what a library function returned, in the equation's order."""
    roles = _roles(w, w.computes)
    flat = tuple(i for many in roles for i in many)
    if any(len(many) != 1 for many in roles):
        node = method(node, "reshape", *scope.shape(flat).items)
    return outside(scope, w, transpose(Val(node, flat), [i for i in order if i in flat]), order)


def outside(scope: Scope, w: Windows, v: Val, order: Order) -> Val:
    """The value times the factors that hold no summed index, where their conditions hold."""
    if w.outside.fac:
        v = pointwise.plain_product(scope, w.outside.fac, order, first=v)
    return pointwise.masked(scope, w.outside.conditions, v, order) if w.outside.conditions else v


def _computed(scope: Scope, w: Windows) -> Code:
    """The sizes of what is computed, along the windows."""
    role = {"output": "u", "kernel": "r", "image": "m"}[w.computes]
    return scope.shape([getattr(a, role) for a in w.axes])


# -- taps without a kernel ----------------------------------------------------------------------------------------


def _taps_only(scope: Scope, w: Windows, order: Order) -> Val | None:
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
    given = {**options(scope, w.axes), **({} if lead else {"axis": number_of(0)})}
    window = scope.shape([a.r for a in w.axes])
    made: Sequence[Index]
    if w.computes == "output":
        reach = scope.shape([a.u for a in w.axes])
        taps = call(scope.helper("taps"), v.node, window, reach, **given)
        node, made = call("sum", method(taps, "values")), [*lead, *(a.u for a in w.axes), *other[1:]]
    else:
        shape = scope.shape([a.m for a in w.axes])
        itself = Lambda(("tap", "g"), Name("g"))
        node = call(scope.helper("spread"), itself, Tuple((v.node,)), window, shape, **given)
        made = [*lead, *(a.m for a in w.axes), *other[1:]]
    return outside(scope, w, transpose(Val(node, tuple(made)), [i for i in order if i in made]), order)
