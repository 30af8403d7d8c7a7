"""Through time part by part: scans that keep what each part started from."""

import jax
import jax.numpy as jnp
from jax import lax


def in_parts(steps, n, reverse):
    """Arrays (T, ...) as (T // n, n, ...) and the T % n steps that come last in the direction of time."""
    T = jax.tree.leaves(steps)[0].shape[0]
    rest, cut = T % n, T - T % n
    whole = jax.tree.map(lambda a: (a[rest:] if reverse else a[:cut]).reshape(T // n, n, *a.shape[1:]), steps)
    return whole, jax.tree.map(lambda a: a[:rest] if reverse else a[cut:], steps)


def joined(out, last, reverse):
    """The inverse of ``in_parts``."""
    out = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), out)
    return jax.tree.map(lambda a, b: jnp.concatenate((b, a) if reverse else (a, b)), out, last)


def scan_parts(part, carry, steps, n, reverse=False):
    """A scan by parts of n steps: what each part started from, and the outputs of all steps."""
    steps, rest = in_parts(steps, n, reverse)
    carry, (starts, out) = lax.scan(part, carry, steps, reverse=reverse)
    _, (start, last) = part(carry, rest)
    return (starts, start), joined(out, last, reverse)


def scan_parts_back(part, carry, starts, steps, n, reverse=False):
    """The reverse of ``scan_parts``, last part first; each is given what it started from."""
    steps, rest = in_parts(steps, n, not reverse)
    carry, last = part(carry, (starts[1], rest))
    _, out = lax.scan(part, carry, (starts[0], steps), reverse=reverse)
    return joined(out, last, not reverse)
