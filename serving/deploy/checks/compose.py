"""Docker Compose: the most useful rules of the Compose specification, and the references between files."""

import re
from typing import Any

from morph.errors import InputError
from serving.deploy.checks import check
from serving.deploy.checks.server import check_image, check_options, options, proxy
from serving.deploy.deployment import Deployment

FILE = "compose.yaml"

#: Keys of the Compose specification: at the top, of a service (those that a server may want), of a health check.
_TOP = {"name", "services", "volumes", "networks", "configs", "secrets", "include"}
_SERVICE_KEYS = """
image entrypoint command environment env_file ports expose volumes deploy healthcheck restart stop_grace_period
stop_signal read_only tmpfs cap_add cap_drop security_opt depends_on profiles user networks secrets configs labels
network_mode shm_size ulimits extra_hosts hostname init logging runtime gpus mem_limit cpus
"""
_SERVICE = frozenset(_SERVICE_KEYS.split())
_HEALTH = {"test", "interval", "timeout", "retries", "start_period", "start_interval", "disable"}
_DURATION = re.compile(r"(\d+(h|m|s|ms|us))+")


def _services(deployment: Deployment, file: str = FILE) -> dict[str, dict[str, Any]]:
    services = deployment.mapping(file).get("services")
    if not isinstance(services, dict) or not all(isinstance(service or {}, dict) for service in services.values()):
        raise InputError(f"{file}: 'services' must name services.")
    # A service that a file removes is null there.
    return {name: service for name, service in services.items() if service is not None}


def _serving(deployment: Deployment) -> dict[str, Any]:
    services = _services(deployment)
    if "serving" not in services:
        raise InputError(f"{FILE} has no service 'serving'; `morph deploy write` makes one.")
    return services["serving"]


@check("Compose files")
def compose_files(deployment: Deployment) -> str:
    files = sorted(path.name for path in deployment.folder.glob("compose*.yaml"))
    for file in files:
        if unknown := {key for key in deployment.mapping(file) if not key.startswith("x-")} - _TOP:
            raise InputError(f"{file}: Compose knows no '{sorted(unknown)[0]}' at the top.")
        for name, service in _services(deployment, file).items():
            where = f"{file}, service '{name}'"
            if unknown := set(service) - _SERVICE:
                raise InputError(f"{where}: Compose knows no '{sorted(unknown)[0]}'.")
            if file == FILE and "image" not in service:
                raise InputError(f"{where} has no image.")
            health = service.get("healthcheck") or {}
            if unknown := set(health) - _HEALTH:
                raise InputError(f"{where}: a health check has no '{sorted(unknown)[0]}'.")
            times = {key: health.get(key) for key in ("interval", "timeout", "start_period")}
            times["stop_grace_period"] = service.get("stop_grace_period")
            for key, time in times.items():
                if time is not None and not _DURATION.fullmatch(str(time)):
                    raise InputError(f"{where}: {key} '{time}' is not a duration; write it like 10s.")
    return ", ".join(files)


@check("Compose references")
def compose_references(deployment: Deployment) -> str:
    services, top = _services(deployment), deployment.mapping(FILE)
    published: dict[str, str] = {}
    for name, service in services.items():
        where = f"{FILE}, service '{name}'"
        for other in service.get("depends_on", []):
            if other not in services:
                raise InputError(f"{where} depends on '{other}', which is not a service.")
        for source, _ in mounts(service):
            if source.startswith(("./", "../")):
                if not (deployment.folder / source).exists():
                    raise InputError(
                        f"{where} mounts '{source}', which does not exist; Docker would make an empty folder."
                    )
            elif not source.startswith("/") and source not in (top.get("volumes") or {}):
                raise InputError(f"{where} uses the volume '{source}', which is not declared under 'volumes'.")
        for port in service.get("ports", []):
            outside = str(port).rsplit(":", 1)[0].rsplit(":", 1)[-1]
            if other := published.get(outside):
                raise InputError(f"{FILE}: services '{other}' and '{name}' both want port {outside}.")
            published[outside] = name
    return f"{len(services)} services, every file and volume exists"


@check("Compose server")
def compose_server(deployment: Deployment) -> str:
    service = _serving(deployment)
    where = f"{FILE}, service 'serving'"
    check_image(service["image"], where)
    given = options([*service.get("entrypoint", []), *service.get("command", [])], where)
    mounted = {target: source.removeprefix("./") for source, target in mounts(service)}
    check_options(given, mounted, deployment, where)
    inside = {str(port).rpartition(":")[2] for port in service.get("ports", [])}
    reached = {"gRPC": given["port"], "REST": given["rest_api_port"]}
    if "proxy" in _services(deployment):
        listens, asks, _ = proxy(deployment)
        if str(asks) != given["port"]:
            raise InputError(f"{where}: the server listens on {given['port']}, and envoy.yaml asks {asks}.")
        if given["port"] in inside:
            raise InputError(f"{where}: ports has {asks}, the server's own, which only the proxy may use.")
        reached["gRPC"] = str(listens)
    for port in reached.values():
        if port not in inside:
            raise InputError(f"{where}: the server listens on {port}, and ports has {', '.join(sorted(inside))}.")
    test = " ".join(map(str, service.get("healthcheck", {}).get("test", [])))
    if f"/{given['rest_api_port']}" not in test or f"/v1/models/{deployment.name} " not in test:
        raise InputError(
            f"{where}: the health check must ask /v1/models/{deployment.name} on {given['rest_api_port']}."
        )
    return f"{service['image']}, " + ", ".join(f"{what} on {port}" for what, port in reached.items())


@check("Compose TLS")
def compose_tls(deployment: Deployment) -> str:
    extra = _services(deployment, "compose.tls.yaml").get("serving", {})
    given = options(["tensorflow_model_server", *extra.get("command", [])], "compose.tls.yaml")
    if _serving(deployment).get("command"):
        raise InputError("compose.tls.yaml replaces 'command' of compose.yaml; say everything in 'entrypoint' there.")
    if given.get("ssl_config_file") not in {target for _, target in mounts(extra)}:
        raise InputError("compose.tls.yaml: --ssl_config_file must name the ssl.config that is mounted.")
    return "compose.tls.yaml adds ssl.config"


#: Services with more rights than the others -> the reason.
_NEED_RIGHTS = {"dcgm-exporter": "the GPU's counters"}


@check("Compose containers")
def compose_containers(deployment: Deployment) -> str:
    services = _services(deployment)
    for name, service in services.items():
        where = f"{FILE}, service '{name}'"
        limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
        right = {
            "cap_drop: [ALL]": service.get("cap_drop") == ["ALL"],
            "no-new-privileges": "no-new-privileges:true" in service.get("security_opt", []),
            "limits of cpus, memory and pids": {"cpus", "memory", "pids"} <= limits.keys(),
        }
        if name not in _NEED_RIGHTS:
            user = str(service.get("user", "root"))
            right["read_only: true"] = service.get("read_only") is True
            right["a user who is not root"] = not re.match("(root|0)(:|$)", user)
        if missing := [what for what, there in right.items() if not there]:
            raise InputError(f"{where}: give it {missing[0]}.")
    return f"{len(services)} services with limits and without needless rights"


def mounts(service: dict[str, Any]) -> list[tuple[str, str]]:
    """The mounts: pairs of source and path in the container."""
    pairs = []
    for volume in service.get("volumes", []):
        parts = str(volume).split(":")
        if not isinstance(volume, str) or len(parts) < 2:
            raise InputError(f"{FILE}: write the volume '{volume}' as SOURCE:PATH[:ro].")
        pairs.append((parts[0], parts[1]))
    return pairs
