"""A folder with an exported model and the files of its deployment, as the checks read it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from morph.errors import InputError
from serving.protocol.configuration import new_configuration, parse_configuration


@dataclass(frozen=True)
class Manifest:
    """One document of a Kubernetes file: the file's path in the deployment, and its content."""

    file: str
    content: dict[str, Any]

    @property
    def kind(self) -> str:
        return self.content.get("kind", "")

    @property
    def name(self) -> str:
        return self.content.get("metadata", {}).get("name", "")

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".strip() or self.file


class Deployment:
    """The content of `folder`, for the model `name`. Each file is read when it is needed.

    Every property raises InputError where the file that it reads is missing or cannot be understood.
    """

    def __init__(self, folder: Path, name: str = "morph"):
        self.folder, self.name = folder, name

    def has(self, file: str) -> bool:
        return (self.folder / file).exists()

    def text(self, file: str) -> str:
        path = self.folder / file
        if not path.is_file():
            raise InputError(f"There is no '{file}'; `morph deploy write` makes one.")
        return path.read_text()

    def yaml(self, file: str) -> list[Any]:
        """The documents of a YAML file."""
        import yaml

        class Loader(yaml.SafeLoader):
            """Knows Compose's tags: a value that is reset or overridden counts as it stands."""

        for tag in ("!reset", "!override"):
            Loader.add_constructor(tag, lambda loader, node: _plain(loader, node))
        try:
            return [document for document in yaml.load_all(self.text(file), Loader) if document is not None]
        except yaml.YAMLError as error:
            raise InputError(f"'{file}' is not YAML: {' '.join(str(error).split())}.") from None

    def mapping(self, file: str) -> dict[str, Any]:
        """A YAML file that holds one mapping."""
        documents = self.yaml(file)
        if len(documents) != 1 or not isinstance(documents[0], dict):
            raise InputError(f"'{file}' must hold one mapping.")
        return documents[0]

    # === Configuration files ===

    @cached_property
    def models(self):
        """models.config, a ModelServerConfig."""
        from tensorflow_serving.config import model_server_config_pb2

        return parse_configuration(
            self.text("models.config"), model_server_config_pb2.ModelServerConfig(), "models.config"
        )

    @cached_property
    def batching(self):
        """batching_parameters.txt, a BatchingParameters."""
        file = "batching_parameters.txt"
        return parse_configuration(self.text(file), new_configuration("BatchingParameters"), file)

    @cached_property
    def monitoring(self):
        """monitoring.config, a MonitoringConfig."""
        return parse_configuration(
            self.text("monitoring.config"), new_configuration("MonitoringConfig"), "monitoring.config"
        )

    # === The model ===

    @cached_property
    def version(self) -> Path:
        """The folder of the model's newest version."""
        from serving.savedmodel.export import version_folders

        found = version_folders(self.folder / self.name)
        if not found:
            raise InputError(f"There is no complete version in '{self.name}/'; export one with `morph export`.")
        return found[max(found)]

    @cached_property
    def graph(self):
        """The newest version's MetaGraphDef."""
        from google.protobuf.message import DecodeError
        from tensorflow.core.protobuf import saved_model_pb2

        try:
            saved = saved_model_pb2.SavedModel.FromString((self.version / "saved_model.pb").read_bytes())
            return next(meta for meta in saved.meta_graphs if "serve" in meta.meta_info_def.tags)
        except (DecodeError, StopIteration):
            raise InputError(f"'{self.version / 'saved_model.pb'}' is not a SavedModel; export it again.") from None

    @cached_property
    def signatures(self) -> dict[str, Any]:
        """Signature -> its SignatureDef."""
        return {name: each for name, each in self.graph.signature_def.items() if not name.startswith("__")}

    @cached_property
    def loaded(self) -> Any:
        """The newest version in TensorFlow. InputError where it cannot be loaded."""
        from serving.savedmodel.servable import load_saved_model

        return load_saved_model(self.version)

    def run(self, signature: str, inputs: dict[str, Any]) -> dict[str, Any]:
        """A signature's answer to named arrays. Raises ValueError with TensorFlow's message."""
        from serving.savedmodel.servable import call

        return call(self.loaded.signatures[signature], inputs)

    # === Kubernetes ===

    @cached_property
    def manifests(self) -> list[Manifest]:
        """Every document of the Kubernetes files."""
        files = ["kustomization.yaml"]
        files += sorted(path.relative_to(self.folder).as_posix() for path in self.folder.glob("kubernetes/**/*.yaml"))
        found = [(file, document) for file in files for document in self.yaml(file)]
        for file, document in found:
            if not isinstance(document, dict):
                raise InputError(f"'{file}' must hold mappings, each one object of Kubernetes.")
        return [Manifest(file, document) for file, document in found]

    def objects(self, kind: str) -> list[Manifest]:
        """The objects of one kind. Patches (files of a component that change another object) do not count."""
        patches = {
            str(Path(manifest.file).parent / patch.get("path", ""))
            for manifest in self.manifests
            for patch in manifest.content.get("patches", [])
        }
        return [found for found in self.manifests if found.kind == kind and found.file not in patches]

    @property
    def server(self) -> Manifest:
        """The Deployment that runs TensorFlow Serving."""
        for found in self.objects("Deployment"):
            if any(each.get("name") == "serving" for each in pod(found).get("containers", [])):
                return found
        raise InputError("No Deployment has a container 'serving'; `morph deploy write` makes one.")

    @property
    def container(self) -> dict[str, Any]:
        """Its container."""
        return next(each for each in pod(self.server)["containers"] if each["name"] == "serving")


def pod(manifest: Manifest) -> dict[str, Any]:
    """The specification of a Deployment's pods."""
    return manifest.content.get("spec", {}).get("template", {}).get("spec", {})


def _plain(loader, node):
    """The value under a tag, without the tag."""
    import yaml

    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return yaml.safe_load(node.value) if node.value else None
