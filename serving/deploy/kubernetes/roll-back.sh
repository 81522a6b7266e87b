#!/usr/bin/env bash
# Goes back to a version that is on the volume, and stays there:  kubernetes/roll-back.sh VERSION
# `kubernetes/roll-back.sh latest` follows the newest versions again. models.config is changed and applied; the servers
# restart one after the other.
set -euo pipefail
cd "$(dirname "$0")/.."
space=${NAMESPACE:-morph}
[ $# -eq 1 ] || { echo "Give a version: kubernetes/roll-back.sh VERSION, or latest." >&2; exit 2; }
case $1 in
  latest) policy='latest { num_versions: 2 }' ;;
  *[!0-9]* | '') echo "'$1' is no version; give a number, or latest." >&2; exit 2 ;;
  *) policy="specific { versions: $1 }" ;;
esac

old='model_version_policy \{ *(latest \{[^}]*\}|specific \{[^}]*\}|all \{ *\}) *\}'
[ "$(grep -cE "$old" models.config)" = 1 ] || {
  echo "models.config must hold one model_version_policy in one line; change it by hand." >&2
  exit 2
}
if [ "$1" != latest ]; then
  kubectl --namespace "$space" exec deployment/{name} --container serving -- test -f "/models/{name}/$1/saved_model.pb" || {
    echo "Version $1 is not on the volume (or no server runs); kubernetes/fill-volume.sh $1 copies it." >&2
    exit 2
  }
fi
cp models.config models.config.before
sed -E "s/$old/model_version_policy { $policy }/" models.config.before > models.config
kubectl apply --kustomize .
kubectl --namespace "$space" rollout status deployment/{name} --timeout=600s
echo "The servers answer with $1; models.config.before is what was there."
