"""``dv.Model`` and ``dv.Sequential``: networks of layers, put together into forward definitions.

given.py        what people pass: symbols, lists of layers, names; checked, with messages
connecting.py   layers in their places become definitions; sizes that meet are solved for
network.py      what the parts below read of a model
objective.py    the loss of each output, its target, and their total
functional.py   dv.Model: the graph, what it consists of, what it is for
sequential.py   dv.Sequential: layers that follow one another
serialise.py    networks as plain data and back
"""

from .connecting import Graph, Placed
from .functional import Model
from .sequential import Sequential
