"""What the engine works on: equations in normal form, their order, their keys, and how definitions become them."""
