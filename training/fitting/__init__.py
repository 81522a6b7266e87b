"""Teaching a network: what goes into a batch, the loss, and what is settled at the end."""
