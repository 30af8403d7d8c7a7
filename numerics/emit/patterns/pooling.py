"""Max pooling, written: one call forward, which keeps the first maximiser as one small integer, and one for the gradient.

    h, h_argmax = max_pool(x, (2, 2), (U, V), strides=(2, 2))
    dx = max_pool_gradient(dh, h_argmax, (2, 2), (H, W), strides=(2, 2))

Which equations a pool stands for is found in :mod:`.pools`.
"""

from __future__ import annotations

from derive.language.tensor import Read
from derive.program.program import Term
from numerics.emit.source.choose import choose
from numerics.emit.source.code import Code, Name, Tuple, call, number_of
from numerics.emit.source.scope import Scope
from numerics.emit.source.value import Val, full, named, transpose
from numerics.emit.terms.arithmetic import Order
from numerics.emit.terms.plan import Plain

from .pools import Pool, Pools
from .windows import options


def write(scope: Scope, pools: Pools, name: str) -> None:
    """``h, h_argmax = max_pool(...)`` at the place of the outermost max."""
    pool = pools.outer[name]
    choose(scope, "pool")
    plain = {pool.spot(a): a.m for a in pool.axes}
    read = Read(pool.image.tensor, *(plain.get(n, e) for n, e in enumerate(pool.image.idx)))
    order = pool.layout("m")
    v = transpose(scope.read(read, order), order)
    made, wanted = pool.layout("u"), list(pool.outer.idx)
    target = scope.arrays[pool.outer.name]
    window, reach = scope.shape([a.r for a in pool.axes]), scope.shape([a.u for a in pool.axes])
    node = call(scope.helper("max_pool"), v.node, window, reach, **_options(scope, pool))
    at = scope.arrays[pool.argmaxes[-1].name] if pool.argmaxes else "_"
    scope.assign(Tuple((Name(target), Name(at))), node, _numbers(pool))
    if made != wanted:
        scope.assign(target, transpose(named(target, made), wanted).node)


def gradient(scope: Scope, pools: Pools, term: Term, idx: Order, plain: Plain) -> Val | None:
    """The value of a term of the image's gradient, if it is the adjoint of a pool."""
    names = {r.tensor.name for row in term.rows for r in row.reads()} & set(pools.inner_argmax)
    if len(names) != 1:
        return None
    pool = pools.inner_argmax[names.pop()]
    found = pools.adjoint(pool, tuple(idx), term)
    if found is None:
        return None
    rest, own, places = found
    made = [own.get(i, i) for i in pool.layout("u")]
    lead, tail = pool.lead_and_tail()
    g = full(plain(scope, [rest], made), made, scope.shape)
    shape = [places[pool.spot(a)] for a in pool.axes]
    node = call(
        scope.helper("max_pool_gradient"),
        g.node,
        Name(scope.arrays[pool.argmaxes[-1].name]),
        scope.shape([a.r for a in pool.axes]),
        scope.shape(shape),
        **_options(scope, pool),
    )
    axes = [*(own.get(i, i) for i in lead), *shape, *(own.get(i, i) for i in tail)]
    return transpose(Val(node, tuple(axes)), [i for i in idx if i in axes])


def _options(scope: Scope, pool: Pool) -> dict[str, Code]:
    lead, _ = pool.lead_and_tail()
    return {**options(scope, pool.axes), **({"axis": number_of(len(lead))} if len(lead) != 1 else {})}


def _numbers(pool: Pool) -> str:
    """``(3)-(6)`` of the equations that one line stands for."""
    first, last = min(pool.numbers), max(pool.numbers)
    if first == last:
        return f"({first})"
    if last - first == len(pool.numbers) - 1:
        return f"({first})-({last})"
    return ", ".join(f"({n})" for n in sorted(pool.numbers))
