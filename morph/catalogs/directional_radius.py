"""The distance of a transient from a galaxy in units of the galaxy's size in that direction.

The directional light radius (Sullivan et al. 2006) is the half-light radius of an ellipse along the line from the
galaxy's centre to the transient, as Gupta et al. (2016) used it for the Dark Energy Survey.
"""

import numpy as np


def directional_distance(
    along_x: np.ndarray | float,
    along_y: np.ndarray | float,
    radius: np.ndarray | float,
    axis_ratio: np.ndarray | float,
    angle: np.ndarray | float,
) -> np.ndarray:
    """Distances in directional light radii, d_DLR.

    Parameters
    ----------
    along_x, along_y : of the transient from the galaxy's centre, any unit; all arguments broadcast.
    radius : half-light radius of the circle that is as large as the ellipse, the same unit.
    axis_ratio : minor over major axis.
    angle : of the major axis, radians from the x axis towards the y axis.

    Returns
    -------
    float64; the ellipse of half the light has 1.

    >>> directional_distance(np.array([2.0, 0.0]), np.array([0.0, 2.0]), 1.0, 0.25, 0.0).tolist()
    [1.0, 4.0]
    """
    cos, sin = np.cos(angle), np.sin(angle)
    major, minor = cos * along_x + sin * along_y, cos * along_y - sin * along_x
    return np.sqrt(axis_ratio * major**2 + minor**2 / axis_ratio) / radius
