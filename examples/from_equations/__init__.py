"""The recurrent networks of the textbooks in NumPy, equation by equation.

``python -m examples.from_equations --help`` trains them beside their JAX twins.
"""

from examples.from_equations.gru import GRU
from examples.from_equations.lstm import LSTM
from examples.from_equations.simple_rnn import SimpleRNN

__all__ = ["GRU", "LSTM", "SimpleRNN"]
