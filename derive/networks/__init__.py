"""The catalogue: activations, losses, layers, models, and examples as text."""
