"""How good the samples of a generative model are, by a classifier that was trained on real data."""

from __future__ import annotations

import numpy as np

from numerics.errors import InputError


def sample_scores(judge, samples, labels=None) -> dict[str, float]:
    r"""What a classifier says of samples: how sure it is of each, and how many kinds it sees.

    .. math::

        \text{confidence} = \frac1N \sum_n \max_k p_{nk}, \qquad
        \text{entropy} = -\sum_k c_k \log c_k, \quad c_k = \frac1N \,\#\{n : \operatorname{argmax}_j p_{nj} = k\}

    Good samples have a high confidence, near that of real data, and an entropy near :math:`\log K`: a model that makes
    one kind only has 0.

    Parameters
    ----------
    judge : Trainer
        Of a model that gives logits or probabilities (N, K) for what is sampled.
    samples : array (N, ...)
    labels : integers (N,), optional
        What each sample should show; then also ``accuracy``, the share that the classifier takes for it.

    Raises
    ------
    InputError
        For a model that does not give (N, K), or labels of another shape.

    References
    ----------
    Salimans et al., *Improved techniques for training GANs*, NIPS 2016, section 4 (both numbers in one, the inception score).

    >>> class Judge:
    ...     def predict(self, x): return np.array([[9.0, 0.0], [0.0, 9.0]])
    >>> sample_scores(Judge(), np.zeros((2, 3)), [0, 1])
    {'confidence': 0.9999, 'entropy': 0.6931, 'accuracy': 1.0}
    """
    z = np.asarray(judge.predict(samples), float)
    if z.ndim != 2 or z.shape[1] < 2:
        raise InputError(f"sample_scores: the judge gives {z.shape}; accepted is a classifier, which gives (N, K)")
    if not np.isfinite(z).all():
        raise InputError("sample_scores: the judge gave numbers that are not finite")
    is_probability = (z >= 0).all() and np.allclose(z.sum(axis=1), 1, atol=1e-3)
    e = z if is_probability else np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    seen = p.argmax(axis=1)
    share = np.bincount(seen, minlength=z.shape[1]) / len(seen)
    share = share[share > 0]
    found = {"confidence": p.max(axis=1).mean(), "entropy": abs((share * np.log(share)).sum())}
    if labels is not None:
        labels = np.asarray(labels)
        if labels.shape != seen.shape:
            raise InputError(f"sample_scores: labels have shape {labels.shape}; accepted is {seen.shape}, one a sample")
        found["accuracy"] = (seen == labels).mean()
    return {name: round(float(value), 4) for name, value in found.items()}
