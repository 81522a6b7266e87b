"""How well answers agree with volunteers: figures with intervals, tables and pictures of them."""
