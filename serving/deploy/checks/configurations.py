"""The files that every server reads: models.config, batching_parameters.txt, monitoring.config and ssl.config."""

from pathlib import PurePosixPath

from morph.errors import InputError
from serving.deploy.checks import Skipped, check
from serving.deploy.deployment import Deployment
from serving.savedmodel.export import version_number


@check("models.config")
def models_config(deployment: Deployment) -> str:
    listed = {model.name: model for model in deployment.models.model_config_list.config}
    model = listed.get(deployment.name)
    if model is None:
        names = ", ".join(listed) or "none"
        raise InputError(f"models.config has no model '{deployment.name}' (it has {names}); choose it with --name.")
    if model.model_platform != "tensorflow":
        raise InputError(f"models.config: model_platform is '{model.model_platform}'; it must be 'tensorflow'.")
    if model.base_path.startswith("s3://"):
        raise InputError(
            "models.config: stock TensorFlow Serving reads no s3:// since 2.7; mount the bucket and give its path."
        )
    if not model.base_path.startswith(("/", "gs://")):
        raise InputError(f"models.config: base_path '{model.base_path}' must be absolute, or begin with gs://.")
    if version_number(PurePosixPath(model.base_path).name) is not None:
        raise InputError(f"models.config: base_path '{model.base_path}' is one version; give the folder above it.")
    return f"serves {model.name} from {model.base_path}"


@check("versions and labels")
def versions_and_labels(deployment: Deployment) -> str:
    from serving.savedmodel.export import versions

    there = versions(deployment.folder / deployment.name)
    for model in deployment.models.model_config_list.config:
        if model.name != deployment.name:
            continue
        policy = model.model_version_policy
        kind = policy.WhichOneof("policy_choice") or "latest"
        loaded = {
            "latest": there[-(policy.latest.num_versions or 1) :],
            "all": there,
            "specific": list(policy.specific.versions),
        }[kind]
        for version in loaded:
            if version not in there:
                raise InputError(f"models.config asks for version {version}, which is not in '{model.name}/'.")
        for label, version in model.version_labels.items():
            if version not in loaded:
                raise InputError(f"models.config: label '{label}' is on version {version}, which is not loaded.")
        return f"loads {_listed(loaded)} of {_listed(there)}"
    raise Skipped("models.config does not have the model.")


def _listed(versions: list[int]) -> str:
    return ", ".join(map(str, versions)) or "none"


@check("batching_parameters.txt")
def batching_parameters(deployment: Deployment) -> str:
    sizes, largest = list(deployment.batching.allowed_batch_sizes), deployment.batching.max_batch_size.value
    if largest < 1:
        raise InputError("batching_parameters.txt: max_batch_size must be at least 1.")
    if sizes != sorted(set(sizes)):
        raise InputError(f"batching_parameters.txt: allowed_batch_sizes must rise; they are {sizes}.")
    if sizes and sizes[-1] != largest:
        raise InputError(
            f"batching_parameters.txt: allowed_batch_sizes must end with max_batch_size ({largest}); "
            f"they end with {sizes[-1]}."
        )
    if deployment.batching.HasField("num_batch_threads") and deployment.batching.num_batch_threads.value < 1:
        raise InputError("batching_parameters.txt: num_batch_threads must be at least 1.")
    return f"passes of up to {largest} galaxies" + (f", padded to one of {len(sizes)} sizes" if sizes else "")


@check("monitoring.config")
def monitoring_config(deployment: Deployment) -> str:
    prometheus = deployment.monitoring.prometheus_config
    if not prometheus.enable:
        raise InputError("monitoring.config: prometheus_config needs `enable: true`, or nothing is counted.")
    if not prometheus.path.startswith("/"):
        raise InputError(f"monitoring.config: path '{prometheus.path}' must begin with a slash.")
    return f"metrics at {prometheus.path}"


@check("ssl.config")
def ssl_config(deployment: Deployment) -> str:
    from serving.server.configuration import Tls

    if not deployment.has("ssl.config"):
        raise Skipped("There is no ssl.config; `morph deploy tls` makes one.")
    tls = Tls.read(deployment.folder / "ssl.config")
    return "key and certificate belong together" + ("; clients need one too" if tls.client_verify else "")
