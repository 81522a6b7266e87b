"""The picture of docs/explanation/methods.md: a dataset's domain shift from a model's training set.

python docs/images/domain_shift.py quickstart/des models:/morph@sdss DES
"""

import sys
from pathlib import Path

from morph.dataset import Galaxies
from morph.domain_shift.report import lines, plot
from morph.model.store import load_model
from training.fitting.reference_sample import shift_of


def main(dataset: str, model: str, name: str) -> None:
    """Draw docs/images/domain-shift.png, and print the comparison in sentences."""
    shift = shift_of(load_model(model), Galaxies.open(dataset))
    print("\n".join(lines(shift)))
    if not isinstance(shift, str):
        plot(shift, name).savefig(Path(__file__).with_name("domain-shift.png"), dpi=130)


if __name__ == "__main__":
    main(*sys.argv[1:4])
