"""Which sources on a tile are pieces of others: knots of a large galaxy, or what surrounds a saturated star."""

import numpy as np
from scipy.spatial import KDTree

#: Half-light radii of a galaxy within which its knots lie, and its flux over that of the brightest of them: no
#: companion that merges with it is so faint.
REACH, BRIGHTER = 2.0, 10.0

#: Half-light radii around a saturated star within which pieces of it lie, with less than a hundredth of its light; and
#: along its columns and rows, within half a radius of them, those of bleed trails, which are drawn out along the line:
#: by this ellipticity at least, and this close to it (radians).
HALO, FAINTER = 1.0, 100.0
TRAIL, DRAWN_OUT, ALIGNED = 6.0, 0.4, 0.35


def pieces(
    x: np.ndarray,
    y: np.ndarray,
    radius: np.ndarray,
    flux: np.ndarray,
    ellipticity: np.ndarray,
    angle: np.ndarray,
    saturated: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Which sources are pieces of a much brighter one: bool [n], of a galaxy or bleed trail, and of a star.

    Parameters
    ----------
    x, y, radius : [n], places and half-light radii, pixels; NaN where there is none.
    flux : [n], any unit; NaN where not measured.
    ellipticity, angle : [n], shapes, with the major axis's angle from x towards y, radians.
    saturated : bool [n].
    """
    of_galaxy, of_star, of_trail = (np.zeros(len(x), dtype=bool) for _ in range(3))
    placed = np.flatnonzero(np.isfinite(x) & np.isfinite(y) & (radius > 0))
    if len(placed) < 2:
        return of_galaxy | of_trail, of_star
    tree = KDTree(np.column_stack([x, y])[placed])
    light = np.nan_to_num(flux)
    for k in placed[np.argsort(-light[placed], kind="stable")].tolist():
        if not saturated[k] and not light[k] > 0:
            continue
        near = placed[tree.query_ball_point((x[k], y[k]), radius[k] * (TRAIL if saturated[k] else REACH))]
        near = near[near != k]
        if not len(near):
            continue
        dx, dy = x[near] - x[k], y[near] - y[k]
        if saturated[k]:
            close = (np.hypot(dx, dy) < HALO * radius[k]) & (FAINTER * light[near] < light[k])
            off = np.minimum(abs(dx), abs(dy)) < radius[k] / 2
            line = np.where(abs(dx) > abs(dy), 0.0, np.pi / 2)
            turned = abs((angle[near] - line + np.pi / 2) % np.pi - np.pi / 2)
            drawn = (ellipticity[near] > DRAWN_OUT) & (turned < ALIGNED) & (light[near] < light[k])
            of_star[near[close]] = True
            of_trail[near[off & drawn]] = True
        else:
            shape, turn = np.nan_to_num(ellipticity[k]), np.nan_to_num(angle[k])
            major = dx * np.cos(turn) + dy * np.sin(turn)
            minor = (dy * np.cos(turn) - dx * np.sin(turn)) / max(1 - shape, 0.1)
            inside = np.hypot(major, minor) < REACH * radius[k]
            of_galaxy[near[inside & (BRIGHTER * light[near] < light[k]) & (radius[near] < radius[k])]] = True
    return of_galaxy | of_trail, of_star
