from morph.catalogs.catalog import read_catalog as read_catalog
from morph.dataset import Galaxies as Galaxies
from morph.decision_tree import TREE as TREE
from morph.errors import InputError as InputError
from morph.model.classifier import Classifier as Classifier
from morph.model.store import load_model as load_model
from morph.stamps.cutout_files import read_cutouts as read_cutouts
from morph.surveys import Survey as Survey
from morph.surveys import get_survey as get_survey
from morph.tiles.tile import Tile as Tile
from serving.scores.score_files import open_scores as open_scores

__version__: str
