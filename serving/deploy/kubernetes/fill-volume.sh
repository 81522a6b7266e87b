#!/usr/bin/env bash
# Copies exported versions onto the volume that the servers read:  kubernetes/fill-volume.sh [VERSION ...]
# Without a version, every one in {name}/. A version that is there already is left alone; a new one appears at once, complete.
set -euo pipefail
cd "$(dirname "$0")/.."
space=${NAMESPACE:-morph}
pod={name}-fill

kubectl --namespace "$space" get persistentvolumeclaim {name}-models >/dev/null
kubectl --namespace "$space" delete pod "$pod" --ignore-not-found --wait >/dev/null
trap 'kubectl --namespace "$space" delete pod "$pod" --ignore-not-found --wait=false >/dev/null' EXIT
kubectl --namespace "$space" apply --filename kubernetes/volume-pod.yaml
kubectl --namespace "$space" wait --for=condition=Ready "pod/$pod" --timeout=300s

if [ $# -eq 0 ]; then
  set -- $(cd {name} && ls -d [0-9]* | sort -n)
fi
for version in "$@"; do
  [ -f "{name}/$version/saved_model.pb" ] || { echo "There is no version {name}/$version." >&2; exit 2; }
  if kubectl --namespace "$space" exec "$pod" -- test -e "/models/{name}/$version"; then
    echo "Version $version is there already."
    continue
  fi
  # Under a name that is not a version until it is complete: a server loads every version that it finds.
  tar --create --file - --directory "{name}/$version" . | kubectl --namespace "$space" exec --stdin "$pod" -- bash -c '
    set -e
    cd /models; mkdir -p {name}; building={name}/.$1.building
    rm -rf "$building"; mkdir "$building"; tar --extract --no-same-owner --file - --directory "$building"
    test -f "$building/saved_model.pb"; mv --no-target-directory "$building" "{name}/$1"' fill "$version"
  echo "Version $version is on the volume."
done
