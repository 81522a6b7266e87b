"""What Compose and Kubernetes have in common: the image of the server and the options of its program."""

import re

from morph.errors import InputError
from serving.deploy import stock
from serving.deploy.deployment import Deployment

#: Option -> the file that it must name, as the deployment folder has it.
_FILES = {
    "model_config_file": "models.config",
    "batching_parameters_file": "batching_parameters.txt",
    "monitoring_config_file": "monitoring.config",
}


def check_image(image: str, where: str) -> None:
    """Raise InputError unless the image is stock TensorFlow Serving of the release that the checks know."""
    match = re.fullmatch(r"tensorflow/serving:([\d.]+)(-gpu)?(@sha256:[0-9a-f]{64})?", image)
    if not match:
        raise InputError(f"{where}: '{image}' is not a pinned image like tensorflow/serving:{stock.VERSION}-gpu.")
    if match[1] != stock.VERSION:
        raise InputError(
            f"{where}: the image is TensorFlow Serving {match[1]}; the operations are checked for {stock.VERSION}."
        )


def options(arguments: list[str], where: str) -> dict[str, str]:
    """The program's options. InputError where one is unknown to it or written in a way that it does not read."""
    if not arguments or arguments[0] != "tensorflow_model_server":
        raise InputError(f"{where}: the container must run tensorflow_model_server.")
    found = {}
    for argument in arguments[1:]:
        match = re.fullmatch(r"--(\w+)=(.*)", argument)
        if not match or match[1] not in stock.OPTIONS:
            raise InputError(
                f"{where}: tensorflow_model_server has no option '{argument}' (they are written --name=value)."
            )
        found[match[1]] = match[2]
    return found


def proxy(deployment: Deployment) -> tuple[int, int, list[str]]:
    """What envoy.yaml says: the port that it listens on, the one that it asks, and the paths that it lets through."""
    config = deployment.mapping("envoy.yaml").get("static_resources", {})
    try:
        listener = config["listeners"][0]
        cluster = config["clusters"][0]["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        routes = manager["route_config"]["virtual_hosts"][0]["routes"]
        passed = [each["match"].get("prefix") or each["match"]["path"] for each in routes if "route" in each]
        ports = [each["address"]["socket_address"]["port_value"] for each in (listener, cluster)]
    except (KeyError, IndexError, TypeError):
        raise InputError(
            "envoy.yaml must hold a listener with routes and a cluster, as `morph deploy write` has it."
        ) from None
    if open_to_all := [path for path in passed if "/tensorflow.serving.ModelService/".startswith(path)]:
        raise InputError(f"envoy.yaml lets '{open_to_all[0]}' through, and with it HandleReloadConfigRequest.")
    return ports[0], ports[1], passed


def check_options(given: dict[str, str], mounted: dict[str, str], deployment: Deployment, where: str) -> None:
    """Raise InputError unless the server reads the deployment's files from where they are mounted.

    Parameters
    ----------
    given : the program's options.
    mounted : path in the container -> file or folder of the deployment.
    """
    for option, file in _FILES.items():
        path = given.get(option)
        if path is None:
            raise InputError(f"{where}: --{option} is missing, so that {file} is not read.")
        if mounted.get(path) != file:
            raise InputError(f"{where}: --{option} names {path}, where {file} is not mounted.")
    if given.get("enable_batching") != "true":
        raise InputError(f"{where}: without --enable_batching=true every galaxy passes the network alone.")
    for model in deployment.models.model_config_list.config:
        if model.version_labels and given.get("allow_version_labels_for_unavailable_models") != "true":
            raise InputError(
                f"{where}: without --allow_version_labels_for_unavailable_models=true the server does not start with "
                "labels in models.config."
            )
        base = model.base_path
        local = model.name == deployment.name and base.startswith("/")
        if local and not any(base == path or base.startswith(f"{path}/") for path in mounted):
            raise InputError(f"{where}: nothing is mounted at {base}, where models.config has the model.")
    for option in ("port", "rest_api_port"):
        if not given.get(option, "").isdigit():
            raise InputError(f"{where}: --{option} is missing; the probes and the clients need it.")
