"""Which registered model serves: the alias `champion`, given to the best of several runs."""

from morph.errors import BadInput
from morph.model.store import SHIPPED_NAME, load_model
from training import tracking
from training.compare import Comparison


def promote(comparison: Comparison, alias: str = "champion") -> int:
    """Give the alias to the model that leads the comparison; returns its version in the registry.

    The runs should be evaluations on galaxies kept for choosing (the validation split), so that the test split stays
    unused. The shipped weights are registered first if they lead and no version of them is. BadInput when the leading
    run's model is not a registered one.
    """
    import mlflow

    leader = comparison.runs[comparison.best]
    model = leader.params.get("model", "")
    client = mlflow.MlflowClient()
    version = _version_of(client, model)
    if version is None and model == SHIPPED_NAME:
        with tracking.run(tracking.DEFAULT_EXPERIMENT, "shipped weights", "pretrain") as run:
            version = tracking.log_classifier(run, load_model(model), aliases=("sdss",))
    if version is None:
        raise BadInput(
            f"The model of run '{leader.name}' is '{model}', which is not registered; "
            f"evaluate it by its registered name, such as models:/{tracking.MODEL_NAME}/1."
        )
    tracking.set_alias(alias, version)
    return version


def _version_of(client, model: str) -> int | None:
    """The registered version that `models:/morph/3` or `models:/morph@alias` stands for."""
    from mlflow.exceptions import MlflowException

    prefix = f"models:/{tracking.MODEL_NAME}"
    try:
        if model.startswith(f"{prefix}@"):
            return int(
                client.get_model_version_by_alias(tracking.MODEL_NAME, model.removeprefix(f"{prefix}@")).version
            )
        if model.startswith(f"{prefix}/"):
            return int(client.get_model_version(tracking.MODEL_NAME, model.removeprefix(f"{prefix}/")).version)
    except MlflowException:
        return None
    return None
