"""What people name when they ask for a derivation: a catalogue's name, a text, a formula, a Python object, a trained folder.

The command line and the Sphinx directives read it alike.
"""
