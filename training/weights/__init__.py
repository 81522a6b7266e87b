"""The weights that ship: how they are made, and the card that says what they are worth."""
