"""Requests for sampled galaxies: the noise that a seed gives, and what is asked of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from morph.errors import InputError
from morph.given import QUANTITIES, Given
from serving.client.answers import Columns


def sample_inputs(
    description: dict[str, Any],
    n: int,
    given: "str | Mapping | Given | None",
    survey: str | None,
    seed: int,
    decoder: str | None = None,
) -> dict[str, np.ndarray]:
    """The inputs of the signature ``sample``.

    Parameters
    ----------
    description : the model's own.
    n : how many galaxies.
    given : what is asked of them, as `MorphClient.sample` takes it.
    survey : the survey whose galaxies they are; the model's if not given.
    seed : of the noise, and of the values in ranges.
    decoder : that draws them; the model's own choice if not given.

    Returns
    -------
    dict : ``noise`` float32 [n, d], or with the numbers of the detail after these, and ``conditions`` float32
    [n, conditions].

    Raises
    ------
    InputError : the model cannot sample, or not for this survey or by this decoder, or a condition cannot be met by
        any galaxy.
    """
    about = description.get("sampling")
    if not about:
        raise InputError(
            "The server's model cannot sample: it has no latent prior, or was exported by an earlier morph; export a "
            "model that `morph pretrain` made."
        )
    if n < 1:
        raise InputError(f"The number of galaxies is {n}; it must be at least 1.")
    if seed < 0:
        raise InputError(f"The seed is {seed}; it must be at least 0.")
    survey = (survey or description["survey"]).lower()
    if survey not in about["surveys"]:
        raise InputError(f"The model has no samples of '{survey}'; use {' or '.join(about['surveys'])}.")
    detail = about.get("detail_noise", 0)
    decoders = ("plain", "detail") if detail else ("plain",)
    if decoder is not None and decoder not in decoders:
        raise InputError(f"The model has no decoder '{decoder}'; use {' or '.join(decoders)}.")
    random = np.random.default_rng(seed)
    columns = about["conditions"]
    conditions = Given.of(given).rows(n, random, columns)
    conditions[:, columns.index("survey")] = about["surveys"][survey]
    conditions[:, columns.index("composite")] = 0.0
    noise = random.standard_normal((n, description["embedding_size"]), dtype="float32")
    more = random.standard_normal((n, detail), dtype="float32")
    if decoder == "plain":
        more[:] = np.nan
    return {"noise": np.concatenate([noise, more], axis=1), "conditions": conditions}


def samples(description: dict[str, Any], inputs: dict[str, np.ndarray], image: np.ndarray) -> Columns:
    """What a client returns: ``image``, and what was asked of each galaxy, NaN where it was free.

    Parameters
    ----------
    description : the model's own.
    inputs : as `sample_inputs` gives them.
    image : float32 [n, size, size, 3].
    """
    columns = description["sampling"]["conditions"]
    asked = {name: inputs["conditions"][:, columns.index(name)] for name in QUANTITIES}
    return Columns({"image": image, **asked})
