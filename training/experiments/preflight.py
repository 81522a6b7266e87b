"""What can be known of MLflow before a long command starts: that it answers, and that it will take an alias."""

from morph.errors import InputError, first_line
from training.experiments import tracking


def check_alias(alias: str | None) -> None:
    """InputError unless MLflow takes this alias for a registered model; None is no alias."""
    if alias is None:
        return
    from mlflow.exceptions import MlflowException
    from mlflow.utils.validation import _validate_model_alias_name, _validate_model_alias_name_reserved

    try:
        _validate_model_alias_name(alias)
        _validate_model_alias_name_reserved(alias)
    except MlflowException as error:
        why = first_line(error.message)
        raise InputError(
            f"'{alias}' cannot be an alias ({why}); give --alias another name, such as champion."
        ) from None


def check_tracking() -> None:
    """InputError unless runs can be tracked and models registered where they are to be."""
    uri = tracking.setup()

    import mlflow
    from mlflow.exceptions import MlflowException

    where = mlflow.get_registry_uri()
    try:
        mlflow.MlflowClient().search_registered_models(max_results=1)
    except (MlflowException, OSError) as error:
        why = first_line(error)
        what = f"The model registry at {where}" if where != uri else f"MLflow at {uri}"
        raise InputError(f"{what} does not answer ({why}); start it, or set MLFLOW_TRACKING_URI to another.") from None
