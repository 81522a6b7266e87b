"""The mean image of many galaxies, far below the noise of one: haloes and their colours, with checks of the result."""
