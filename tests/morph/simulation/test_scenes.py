import pickle
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from morph.simulation.population import FIELD_MIX, MIXES, draw_scene
from morph.simulation.scenes import (  # noqa: F401 - every part takes part in eval(repr(scene))
    Arms,
    Bar,
    Bulge,
    Colours,
    Companion,
    Disk,
    Ring,
    Scene,
    Tail,
)


@pytest.mark.parametrize("mix", [*MIXES.values(), FIELD_MIX], ids=lambda mix: mix.name)
def test_every_scene_is_what_its_repr_says_and_survives_pickling(mix, sdss):
    for index in range(60):
        scene = draw_scene(np.random.default_rng([1, index]), sdss, mix)
        plain = repr(scene).replace("np.float64", "float")
        assert eval(plain) == scene
        assert pickle.loads(pickle.dumps(scene)) == scene
        assert hash(scene) == hash(replace(scene))


def test_kinds_of_a_mix_sum_to_one():
    for mix in (*MIXES.values(), FIELD_MIX):
        assert sum(mix.kinds.values()) == pytest.approx(1.0)


def test_components_never_hold_more_light_than_the_galaxy_has(sdss):
    for index in range(300):
        scene = draw_scene(np.random.default_rng([2, index]), sdss, MIXES["balanced"])
        parts = [scene.bulge_fraction, scene.shells, *(tail.fraction for tail in scene.tails)]
        parts += [part.fraction for part in (scene.bar, scene.ring) if part]
        assert sum(parts) <= 1 + 1e-9


def test_a_scene_cannot_be_changed_or_be_nonsense(spiral):
    with pytest.raises(FrozenInstanceError):
        spiral.flux = 1.0
    with pytest.raises(ValueError, match="kind is 'nebula'"):
        replace(spiral, kind="nebula")
    with pytest.raises(ValueError, match="must be positive"):
        replace(spiral, radius=0.0)


def test_moving_a_scene_moves_its_companions_too(spiral, elliptical):
    pair = replace(spiral, companions=(Companion(elliptical, 1.0, 0.0),)).scaled(flux=0.5, radius=2.0)
    assert pair.radius == 2 * spiral.radius
    assert pair.companions[0].scene.flux == 0.5 * elliptical.flux
