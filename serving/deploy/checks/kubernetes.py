"""Kubernetes: each object against its schema, and the references between them."""

from pathlib import PurePosixPath
from typing import Any

from morph.errors import InputError
from serving.deploy.checks import Skipped, check
from serving.deploy.checks.server import check_image, check_options, options, proxy
from serving.deploy.deployment import Deployment, Manifest, pod

#: The release whose schemas the objects must fit.
RELEASE = "1.33"

#: Kinds that Kubernetes itself does not have -> the fields that they cannot do without.
_EXTENSIONS = {
    ("kustomize.config.k8s.io/v1beta1", "Kustomization"): ("resources",),
    ("kustomize.config.k8s.io/v1alpha1", "Component"): (),
    ("monitoring.coreos.com/v1", "PodMonitor"): ("metadata.name", "spec.selector", "spec.podMetricsEndpoints"),
    ("monitoring.coreos.com/v1", "PrometheusRule"): ("metadata.name", "spec.groups"),
    ("keda.sh/v1alpha1", "ScaledObject"): ("metadata.name", "spec.scaleTargetRef.name", "spec.triggers"),
}


@check("Kubernetes objects")
def objects(deployment: Deployment) -> str:
    seen: set[tuple[str, str]] = set()
    for manifest in deployment.manifests:
        if not manifest.content.get("apiVersion") or not manifest.kind:
            raise InputError(f"{manifest.file}: every object needs apiVersion and kind.")
        for field in _EXTENSIONS.get((manifest.content["apiVersion"], manifest.kind), ("metadata.name",)):
            if _at(manifest.content, field) in (None, "", []):
                raise InputError(f"{manifest.file}: {manifest} needs {field}.")
    for kind in {manifest.kind for manifest in deployment.manifests} - {"Kustomization", "Component"}:
        for manifest in deployment.objects(kind):
            if (kind, manifest.name) in seen:
                raise InputError(f"{manifest.file}: there are two objects {manifest}.")
            seen.add((kind, manifest.name))
    return f"{len(seen)} objects"


@check("Kubernetes schemas")
def schemas(deployment: Deployment) -> str:
    try:
        import kubernetes_validate
    except ImportError:
        raise Skipped("`pip install 'morph-galaxies[deploy]'` installs the schemas.") from None
    checked = 0
    for manifest in deployment.manifests:
        if (manifest.content["apiVersion"], manifest.kind) in _EXTENSIONS or manifest not in deployment.objects(
            manifest.kind
        ):
            continue
        try:
            kubernetes_validate.validate(manifest.content, RELEASE, strict=True)
        except kubernetes_validate.ValidationError as error:
            place = ".".join(map(str, error.path))
            raise InputError(f"{manifest.file}: {manifest}, at '{place}': {error.message}.") from None
        except kubernetes_validate.SchemaNotFoundError:
            raise InputError(
                f"{manifest.file}: Kubernetes {RELEASE} has no {manifest.kind} in {manifest.content['apiVersion']}."
            ) from None
        checked += 1
    return f"{checked} objects fit Kubernetes {RELEASE}"


@check("kustomization")
def kustomization(deployment: Deployment) -> str:
    for manifest in deployment.manifests:
        if manifest.kind not in ("Kustomization", "Component"):
            continue
        here = PurePosixPath(manifest.file).parent
        content = manifest.content
        files = [*content.get("resources", []), *(patch["path"] for patch in content.get("patches", []))]
        files += [file for maker in content.get("configMapGenerator", []) for file in maker.get("files", [])]
        for file in files:
            if not deployment.has(str(here / file)):
                raise InputError(f"{manifest.file} names '{file}', which does not exist.")
        for component in content.get("components", []):
            if not deployment.has(str(here / component / "kustomization.yaml")):
                raise InputError(
                    f"{manifest.file} names the component '{component}', which has no kustomization.yaml."
                )
        for patch in content.get("patches", []):
            _check_patch(deployment, str(here / patch["path"]))
    return "every named file exists"


def _check_patch(deployment: Deployment, file: str) -> None:
    change = deployment.mapping(file)
    kind, name = change.get("kind", ""), change.get("metadata", {}).get("name")
    if name not in {found.name for found in deployment.objects(kind)}:
        raise InputError(f"{file} changes the {kind} '{name}', which does not exist.")
    for container in pod(Manifest(file, change)).get("containers", []):
        if container["name"] not in {each["name"] for each in pod(deployment.server)["containers"]}:
            raise InputError(f"{file} changes the container '{container['name']}', which does not exist.")


@check("selectors")
def selectors(deployment: Deployment) -> str:
    server = deployment.server
    labels = _at(server.content, "spec.template.metadata.labels") or {}
    _must_match(_at(server.content, "spec.selector.matchLabels"), labels, str(server))
    for service in deployment.objects("Service"):
        _must_match(_at(service.content, "spec.selector"), labels, str(service))
    for budget in deployment.objects("PodDisruptionBudget"):
        _must_match(_at(budget.content, "spec.selector.matchLabels"), labels, str(budget))
    for policy in deployment.objects("NetworkPolicy"):
        _must_match(_at(policy.content, "spec.podSelector.matchLabels"), labels, str(policy))
    for monitor in deployment.objects("PodMonitor"):
        _must_match(_at(monitor.content, "spec.selector.matchLabels"), labels, str(monitor))
    for spread in pod(server).get("topologySpreadConstraints", []):
        _must_match(_at(spread, "labelSelector.matchLabels"), labels, f"The topology spread of {server}")
    return "every one finds the server"


def _must_match(selector: Any, labels: dict[str, str], who: str) -> None:
    if not selector or any(labels.get(key) != value for key, value in selector.items()):
        raise InputError(f"{who} selects {selector}, and the server's pods are {labels}.")


@check("Kubernetes server")
def server(deployment: Deployment) -> str:
    container, where = deployment.container, str(deployment.server)
    check_image(container.get("image", ""), where)
    given = options([*container.get("command", []), *container.get("args", [])], where)
    check_options(given, _mounted(deployment), deployment, where)
    limits = container.get("resources", {}).get("limits", {})
    if container["image"].endswith("-gpu") and str(limits.get("nvidia.com/gpu", "0")) == "0":
        raise InputError(f"{where}: the image is for a GPU, and resources.limits has no nvidia.com/gpu.")
    grace = pod(deployment.server).get("terminationGracePeriodSeconds", 30)
    sleep = _at(container, "lifecycle.preStop.exec.command") or []
    if len(sleep) != 2 or sleep[0] != "sleep" or int(sleep[1]) >= grace:
        raise InputError(
            f"{where}: preStop must sleep for less than terminationGracePeriodSeconds ({grace}): TensorFlow Serving "
            f"ignores SIGTERM, and answers its requests in that time."
        )
    return f"{container['image']}, {limits.get('nvidia.com/gpu', 0)} GPU each"


def _mounted(deployment: Deployment) -> dict[str, str]:
    """Path in the container -> the file or folder of the deployment (or the claim) that is mounted there."""
    made = {
        maker["name"]: maker.get("files", [])
        for manifest in deployment.objects("Kustomization")
        for maker in manifest.content.get("configMapGenerator", [])
    }
    maps = {each.name: list(each.content.get("data", {})) for each in deployment.objects("ConfigMap")} | made
    claims = {each.name for each in deployment.objects("PersistentVolumeClaim")}
    volumes = {volume["name"]: volume for volume in pod(deployment.server).get("volumes", [])}
    found: dict[str, str] = {}
    for mount in deployment.container.get("volumeMounts", []):
        volume, path = volumes.get(mount["name"]), mount["mountPath"]
        if volume is None:
            raise InputError(f"{deployment.server} mounts '{mount['name']}', which is not under its volumes.")
        if "configMap" in volume:
            name = volume["configMap"]["name"]
            if name not in maps:
                raise InputError(f"{deployment.server} uses the ConfigMap '{name}', which does not exist.")
            found |= {f"{path}/{PurePosixPath(file).name}": file for file in maps[name]}
        elif "persistentVolumeClaim" in volume:
            claim = volume["persistentVolumeClaim"]["claimName"]
            if claim not in claims:
                raise InputError(
                    f"{deployment.server} uses the PersistentVolumeClaim '{claim}', which does not exist."
                )
            found[path] = claim
    return found


@check("ports and probes")
def ports_and_probes(deployment: Deployment) -> str:
    container, where = deployment.container, str(deployment.server)
    given = options(container.get("command", []), where)
    ports = {port["name"]: port["containerPort"] for port in container.get("ports", []) if "name" in port}
    for option in ("port", "rest_api_port"):
        if int(given[option]) not in ports.values():
            raise InputError(f"{where}: the server listens on {given[option]}, and the container's ports are {ports}.")
    everyone = {
        port.get("name", port["containerPort"]): port["containerPort"]
        for each in pod(deployment.server)["containers"]
        for port in each.get("ports", [])
    }
    for service in deployment.objects("Service"):
        for port in service.content["spec"].get("ports", []):
            target = port.get("targetPort", port["port"])
            if target not in (*everyone, *everyone.values()):
                raise InputError(f"{service}: targetPort '{target}' is not among the containers' ports {everyone}.")
    rest = {name for name, number in ports.items() if number == int(given["rest_api_port"])} | {
        int(given["rest_api_port"])
    }
    request = container.get("startupProbe", {}).get("httpGet", {})
    # Stock TensorFlow Serving reports the model's state nowhere else.
    if request.get("path") != f"/v1/models/{deployment.name}" or request.get("port") not in rest:
        raise InputError(f"{where}: startupProbe must get /v1/models/{deployment.name} on the REST port.")
    asked = " ".join(map(str, _at(container, "readinessProbe.exec.command") or []))
    wanted = (f"/{given['rest_api_port']}", f"/v1/models/{deployment.name} ", '"AVAILABLE"')
    if not all(part in asked for part in wanted):
        # The status is answered with 200 without a model too.
        raise InputError(
            f'{where}: readinessProbe must look for "AVAILABLE" in /v1/models/{deployment.name} on the REST port.'
        )
    alive = container.get("livenessProbe", {}).get("tcpSocket", {}).get("port")
    if alive not in (*ports, *ports.values()):
        raise InputError(f"{where}: livenessProbe must open one of the container's ports {ports}.")
    return ", ".join(f"{name} {number}" for name, number in everyone.items())


@check("permitted clients")
def permitted_clients(deployment: Deployment) -> str:
    own = int(options(deployment.container.get("command", []), str(deployment.server))["port"])
    opened: set[int] = set()
    for policy in deployment.objects("NetworkPolicy"):
        for rule in policy.content["spec"].get("ingress") or []:
            opened |= {port.get("port") for port in rule.get("ports", [])}
            if not rule.get("from"):
                raise InputError(
                    f"{policy.file}: {policy} lets every pod in; name the permitted clients under `from`."
                )
            if not rule.get("ports"):
                raise InputError(f"{policy.file}: {policy} opens every port; name them under `ports`.")
    if not opened:
        raise InputError("There is no NetworkPolicy: every pod of the cluster reaches the server.")
    proxied = [each for each in pod(deployment.server)["containers"] if each["name"] == "proxy"]
    if not proxied:
        return "those in the network policy, for every call of the server"
    listens, asks, passed = proxy(deployment)
    if listens not in {port["containerPort"] for port in proxied[0].get("ports", [])}:
        raise InputError(
            f"{deployment.server}: envoy.yaml listens on {listens}, which is not a port of the container 'proxy'."
        )
    if asks != own:
        raise InputError(f"{deployment.server}: the server listens on {own}, and envoy.yaml asks {asks}.")
    if own in opened:
        raise InputError(f"The NetworkPolicy opens {own}, the server's own port, beside the proxy.")
    return f"{', '.join(passed)}, for those in the network policy"


@check("autoscaler and disruption budget")
def autoscaler(deployment: Deployment) -> str:
    if not deployment.objects("PodDisruptionBudget"):
        raise InputError("There is no PodDisruptionBudget: a drained node may take every server at once.")
    scalers = [*deployment.objects("ScaledObject"), *deployment.objects("HorizontalPodAutoscaler")]
    counts = [each for root in deployment.objects("Kustomization") for each in root.content.get("replicas", [])]
    if not scalers and not any(each.get("name") == deployment.server.name for each in counts):
        raise InputError("kustomization.yaml has neither an autoscaler nor the number of servers (`replicas`).")
    for scaler in scalers:
        target = scaler.content["spec"].get("scaleTargetRef", {})
        if (target.get("kind", "Deployment"), target.get("name")) != ("Deployment", deployment.server.name):
            raise InputError(f"{scaler} scales '{target.get('name')}'; the server is {deployment.server}.")
        least = scaler.content["spec"].get("minReplicaCount", scaler.content["spec"].get("minReplicas", 0))
        most = scaler.content["spec"].get("maxReplicaCount", scaler.content["spec"].get("maxReplicas", 100))
        if not 1 <= least <= most:
            raise InputError(f"{scaler}: from {least} to {most} servers is not a range; at least one must run.")
    return ", ".join(str(scaler) for scaler in scalers) or "the number of servers in kustomization.yaml"


def _at(content: Any, path: str) -> Any:
    """The value at a dotted path; None where there is none."""
    for key in path.split("."):
        content = content.get(key) if isinstance(content, dict) else None
    return content
