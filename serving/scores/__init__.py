"""What scoring leaves: a file of scores for each tile, and the catalogue and report made from them."""
