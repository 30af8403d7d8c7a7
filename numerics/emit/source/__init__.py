"""What a generated module is made of besides its equations' code: header, names, sizes, and functions it may hold."""
