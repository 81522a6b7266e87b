"""Which models a server serves, and which versions of each: TensorFlow Serving's models.config, or one folder."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from morph.errors import InputError, first_line
from serving.savedmodel.servable import Location, StatusError


@dataclass(frozen=True)
class Policy:
    """Which of the versions on disk are served: the `latest` so many, all (None), or the `specific` ones."""

    latest: int | None = 1
    specific: frozenset[int] | None = None

    def choose(self, versions: Iterable[int]) -> list[int]:
        """The versions to serve, in rising order."""
        found = sorted(versions)
        if self.specific is not None:
            return [version for version in found if version in self.specific]
        return found if self.latest is None else found[-self.latest :]


@dataclass(frozen=True)
class ModelConfig:
    """One model: its name, its folder, the versions to serve, and labels that stand for versions."""

    name: str
    base_path: Path
    policy: Policy = Policy()
    labels: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, location: Location, name: str) -> "ModelConfig":
        """The model of one folder: its newest version, or the one that the user named."""
        policy = Policy(specific=frozenset({location.version})) if location.pinned else Policy()
        return cls(name, location.base_path, policy)


def read_config(path: str | Path) -> list[ModelConfig]:
    """The models in a file in TensorFlow Serving's format. InputError when it is missing or says something else."""
    try:
        return models_of(read_message(path))
    except StatusError as refusal:
        raise InputError(f"'{path}': {refusal.sentence.rstrip('.')}.") from None


def read_message(path: str | Path):
    """The ModelServerConfig in a file, whatever it says. InputError when there is none."""
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no file of models at '{path}'.")
    try:
        return text_format.Parse(path.read_text(), model_server_config_pb2.ModelServerConfig())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise InputError(f"'{path}' is not a models.config of TensorFlow Serving: {first_line(error)}.") from None


def models_of(message) -> list[ModelConfig]:
    """The models that a ModelServerConfig names. Refused, in TensorFlow Serving's words, where it cannot be used."""
    if message.WhichOneof("config") != "model_config_list":
        raise StatusError(
            "INVALID_ARGUMENT",
            "ServerModelConfig type not supported by HandleReloadConfigRequest."
            " Only ModelConfigList is currently supported",
        )
    models: dict[str, ModelConfig] = {}
    for config in message.model_config_list.config:
        name = config.name
        if name in models:
            raise StatusError("INVALID_ARGUMENT", f"Illegal to list model {name} multiple times in config list")
        if "://" in config.base_path:
            raise StatusError(
                "INVALID_ARGUMENT",
                f"Model {name} lies at {config.base_path}, and the embedded server reads local folders only",
            )
        if not config.base_path.startswith("/"):
            raise StatusError(
                "INVALID_ARGUMENT",
                f"Expected model {name} to have an absolute path or URI; got base_path()={config.base_path}",
            )
        if config.model_platform != "tensorflow":
            raise StatusError(
                "INVALID_ARGUMENT", f"Model {name} requests unsupported platform {config.model_platform or 'none'}"
            )
        models[name] = ModelConfig(
            name, Path(config.base_path), _policy(name, config.model_version_policy), dict(config.version_labels)
        )
    return list(models.values())


def _policy(name: str, policy) -> Policy:
    kind = policy.WhichOneof("policy_choice")
    if kind == "all":
        return Policy(latest=None)
    if kind == "specific":
        if not policy.specific.versions:
            raise StatusError("INVALID_ARGUMENT", f"No specific versions configured for servable {name}.")
        return Policy(specific=frozenset(policy.specific.versions))
    # Zero is what the file says where it gives no number.
    return Policy(latest=policy.latest.num_versions or 1)
