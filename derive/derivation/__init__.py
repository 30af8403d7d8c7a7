"""What people ask for: gradients, products, Hessians, expansions, update rules; and the object that holds the result."""
