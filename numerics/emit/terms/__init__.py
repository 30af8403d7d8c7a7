"""Terms: scalar expressions, reads, sums of products, and the plan of one term."""
