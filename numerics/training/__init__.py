"""Training with derived gradients: ``nx.Trainer``, its callbacks and what it measures.

programs.py    the compiled programs of a network and its losses, as pure functions
examples.py    checked arrays by name, their order, and batches put on the device ahead of their use
use.py         evaluation and prediction in batches
optimizer.py   rates, clipping, accumulation, and state that follows freezing
fit.py         one call of fit: epochs of steps
callbacks.py   what is told of a fit: early stopping, and your own
saving.py, loading.py  a trainer as files, and back
resume.py      the checkpoints of a fit, and going on from them
init.py        initial parameters
trainer.py     nx.Trainer
transfer.py    a trained network with another head
game.py        several players, each with a loss of its own
samples.py     how good samples are, by a classifier of real data
progress.py    a live line of a fit on a terminal
log.py         a line an epoch, tab-separated or JSON
trace.py       where a number that is not finite came from, element by element
diagnosis.py   what is not finite, dead, saturated or vanishing: layer, equation, term
explain.py     the equations of the gradients, the source that computes them, their sizes
watch.py       the three of them on a trainer
"""

from .callbacks import Callback, EarlyStopping
from .game import Player, play
from .log import Log, read_log
from .trainer import Trainer
from .transfer import transfer
from .watch import TrainingWarning, Watch
