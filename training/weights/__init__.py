"""The weights that ship: their recipe, their publication and their model card."""
