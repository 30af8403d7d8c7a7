"""What emitted code is made of: the code tree and its printer, names, scopes, choices, and the functions of modules."""
