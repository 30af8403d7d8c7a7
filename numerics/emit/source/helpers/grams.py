"""Symmetric products of a matrix with itself, for Hessians."""

import jax.numpy as jnp
from jax import lax


def gram(x, weights=None):
    """sum_b weights[b] x[b,i] x[b,j]: strips of columns meet what stands to their right, the rest is mirrored."""
    n, scaled = x.shape[1], x if weights is None else x * weights[:, None]
    width = n if n < 128 else -(-n // min(8, max(2, n // 80)))
    strips = {a: scaled[:, a:a + width].T @ x[:, a:] for a in range(0, n, width)}
    rows = [jnp.concatenate([*(s[:, a - c:a - c + width].T for c, s in strips.items() if c < a), strip], axis=1)
            for a, strip in strips.items()]
    return jnp.concatenate(rows)


def class_pairs(x, weights):
    """sum_b weights[b,k,l] x[b,i] x[b,j] as (i,k,j,l), weights symmetric in k and l: computed for the pairs k <= l.

    Rows are taken some at a time: an array (rows, pairs, columns) that stays in the cache.
    """
    (b, n), count = x.shape, weights.shape[1]
    pairs = [(k, l) for k in range(count) for l in range(k, count)]
    place = {pair: at for at, pair in enumerate(pairs)}
    place = jnp.asarray([[place[min(k, l), max(k, l)] for l in range(count)] for k in range(count)])
    weights = weights[:, jnp.asarray([k for k, _ in pairs]), jnp.asarray([l for _, l in pairs])]
    rows = max(1, 2**20 // (len(pairs) * n))
    whole = b // rows * rows

    def of_rows(x, weights):
        return x.T @ (weights[:, :, None] * x[:, None]).reshape(len(x), len(pairs) * n)

    total = of_rows(x[whole:], weights[whole:])
    if whole:
        chunks = x[:whole].reshape(-1, rows, n), weights[:whole].reshape(-1, rows, len(pairs))
        total, _ = lax.scan(lambda sums, chunk: (sums + of_rows(*chunk), None), total, chunks)
    return total.reshape(n, len(pairs), n)[:, place].transpose(0, 1, 3, 2)


def products(*pairs):
    """sum of a.T @ c over pairs (a, c): one product of stacked rows where copying them costs less than adding."""
    left, right = ([pair[n] for pair in pairs] for n in (0, 1))
    m, n, rows = left[0].shape[1], right[0].shape[1], sum(len(a) for a in left)
    if rows * (m + n) < 1.5 * m * n:
        return jnp.concatenate(left).T @ jnp.concatenate(right)
    return sum(a.T @ c for a, c in pairs)
