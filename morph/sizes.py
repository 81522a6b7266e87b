"""How large a galaxy is drawn: the sizes that images, datasets and the network agree on.

A stamp is centred on its galaxy and spans `FIELD` half-light radii per `NETWORK_SIZE` pixels, so that all galaxies
look equally large to the network.
"""

#: Pixels on a side of what the network reads.
NETWORK_SIZE = 64
#: Pixels on a side of a stored stamp: the network's view and a margin around it.
STAMP_SIZE = 96
#: The largest stamp that can be stored: 24 half-light radii across.
LARGEST_STAMP_SIZE = 256
#: Half-light radii across the network's view: three to each side hold 93 % of the light of an exponential
#: disk and 80 % of that of a de Vaucouleurs profile, and leave some sky around both.
FIELD = 6.0
#: The narrowest point-spread function of a restored image, pixels of full width at half maximum: a Gaussian so wide
#: passes 5 % at the highest frequency that pixels bear, and a narrower one would be sampled too coarsely.
NARROWEST_PSF = 1.84
