"""The files that every server reads: models.config, batching_parameters.txt, monitoring.config and ssl.config."""

import ssl
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from morph.errors import BadInput
from serving.deploy.checks import Skipped, check
from serving.deploy.deployment import Deployment
from serving.deploy.protos import message, parse


@check("models.config")
def models_config(deployment: Deployment) -> str:
    listed = {model.name: model for model in deployment.models.model_config_list.config}
    model = listed.get(deployment.name)
    if model is None:
        names = ", ".join(listed) or "none"
        raise BadInput(f"models.config has no model '{deployment.name}' (it has {names}); choose it with --name.")
    if model.model_platform != "tensorflow":
        raise BadInput(f"models.config: model_platform is '{model.model_platform}'; it must be 'tensorflow'.")
    if model.base_path.startswith("s3://"):
        raise BadInput(
            "models.config: stock TensorFlow Serving reads no s3:// since 2.7; mount the bucket and give its path."
        )
    if not model.base_path.startswith(("/", "gs://")):
        raise BadInput(f"models.config: base_path '{model.base_path}' must be absolute, or begin with gs://.")
    if PurePosixPath(model.base_path).name.isdigit():
        raise BadInput(f"models.config: base_path '{model.base_path}' is one version; give the folder above it.")
    return f"serves {model.name} from {model.base_path}"


@check("versions and labels")
def versions_and_labels(deployment: Deployment) -> str:
    from serving.export import versions

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
                raise BadInput(f"models.config asks for version {version}, which is not in '{model.name}/'.")
        for label, version in model.version_labels.items():
            if version not in loaded:
                raise BadInput(f"models.config: label '{label}' is on version {version}, which is not loaded.")
        return f"loads {_listed(loaded)} of {_listed(there)}"
    raise Skipped("models.config does not have the model.")


def _listed(versions: list[int]) -> str:
    return ", ".join(map(str, versions)) or "none"


@check("batching_parameters.txt")
def batching_parameters(deployment: Deployment) -> str:
    sizes, largest = list(deployment.batching.allowed_batch_sizes), deployment.batching.max_batch_size.value
    if largest < 1:
        raise BadInput("batching_parameters.txt: max_batch_size must be at least 1.")
    if sizes != sorted(set(sizes)):
        raise BadInput(f"batching_parameters.txt: allowed_batch_sizes must rise; they are {sizes}.")
    if sizes and sizes[-1] != largest:
        raise BadInput(
            f"batching_parameters.txt: allowed_batch_sizes must end with max_batch_size ({largest}); "
            f"they end with {sizes[-1]}."
        )
    if deployment.batching.HasField("num_batch_threads") and deployment.batching.num_batch_threads.value < 1:
        raise BadInput("batching_parameters.txt: num_batch_threads must be at least 1.")
    return f"passes of up to {largest} galaxies" + (f", padded to one of {len(sizes)} sizes" if sizes else "")


@check("monitoring.config")
def monitoring_config(deployment: Deployment) -> str:
    prometheus = deployment.monitoring.prometheus_config
    if not prometheus.enable:
        raise BadInput("monitoring.config: prometheus_config needs `enable: true`, or nothing is counted.")
    if not prometheus.path.startswith("/"):
        raise BadInput(f"monitoring.config: path '{prometheus.path}' must begin with a slash.")
    return f"metrics at {prometheus.path}"


@check("ssl.config")
def ssl_config(deployment: Deployment) -> str:
    if not deployment.has("ssl.config"):
        raise Skipped("There is no ssl.config; `morph deploy tls` makes one.")
    config = parse(deployment.text("ssl.config"), message("SSLConfig"), "ssl.config")
    if config.client_verify and not config.custom_ca:
        raise BadInput("ssl.config: client_verify needs custom_ca, the certificate that signs the clients'.")
    check_certificate(config.server_cert, config.server_key, config.custom_ca)
    return "key and certificate belong together" + ("; clients need one too" if config.client_verify else "")


def check_certificate(certificate: str, key: str, authority: str = "") -> None:
    """Raise BadInput unless the PEM texts are a certificate, its private key and, if given, an authority's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with TemporaryDirectory() as folder:
        # The folder is for its owner only.
        for name, text in (("certificate", certificate), ("key", key)):
            (Path(folder) / name).write_text(text)
        try:
            context.load_cert_chain(Path(folder) / "certificate", Path(folder) / "key", password="")
        except (ssl.SSLError, OSError) as error:
            raise BadInput(
                f"The server's certificate and private key are no PEM texts that belong together ({_reason(error)})."
            ) from None
    if authority:
        try:
            context.load_verify_locations(cadata=authority)
        except (ssl.SSLError, ValueError) as error:
            raise BadInput(f"The certificate that signs the clients' is no PEM text ({_reason(error)}).") from None


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or str(error).splitlines()[0]
