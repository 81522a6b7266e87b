#!/usr/bin/env bash
# Pins the images that are named by a tag alone to the present digest of the tag, which can be moved:
#   ./pin-images.sh
# It asks the registries, with crane or docker, and changes compose*.yaml and kubernetes/*.yaml; a second run leaves
# pinned images alone.
#   ./pin-images.sh --check
# compares the digests of pinned images with those of their tags, and changes nothing.
set -euo pipefail
cd "$(dirname "$0")"
shopt -s nullglob
files=(compose*.yaml kubernetes/*.yaml)

digest_of() {
  local digest
  if command -v crane > /dev/null; then
    digest=$(crane digest "$1")
  else
    digest=$(docker buildx imagetools inspect "$1" --format '{{.Manifest.Digest}}')
  fi
  [[ $digest =~ ^sha256:[0-9a-f]{64}$ ]] || { echo "The registry gave no digest for $1 but '$digest'." >&2; exit 1; }
  echo "$digest"
}

images() {
  sed -nE "s/^ *image: *($1)\$/\1/p" "${files[@]}" | sort -u
}

if [ "${1:-}" = --check ]; then
  status=0
  for image in $(images '[^ @]+@[^ ]+'); do
    digest=$(digest_of "${image%@*}")
    if [ "${image#*@}" = "$digest" ]; then
      echo "$image"
    else
      echo "$image is pinned, and its tag is $digest in the registry." >&2
      status=1
    fi
  done
  exit "$status"
fi

for image in $(images '[^ @]+'); do
  digest=$(digest_of "$image")
  for file in "${files[@]}"; do
    sed -E "s|^( *image: *)${image//./\\.}\$|\1$image@$digest|" "$file" > "$file.pinned"
    mv "$file.pinned" "$file"
  done
  echo "$image@$digest"
done
