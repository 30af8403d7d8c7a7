"""Training with derived gradients: ``nx.Trainer``, its callbacks and what it measures.

    programs.py    the compiled programs of a network and its losses, as pure functions
    examples.py    checked arrays by name, their order, and batches put on the device ahead of their use
    optimizer.py   rates, clipping, accumulation, and state that follows freezing
    fit.py         one call of fit: epochs of steps
    callbacks.py   what is told of a fit: early stopping, and your own
    trainer.py     nx.Trainer
"""

from .callbacks import Callback, EarlyStopping
from .trainer import Trainer
