"""Text from a trained character language model, with every strategy."""
