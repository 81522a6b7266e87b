#!/usr/bin/env bash
# Pins the images that are named by a tag alone to the present digest of the tag, which can be moved:
#   ./pin-images.sh
# It asks the registries, with crane or docker, and changes compose*.yaml and kubernetes/*.yaml; a second run leaves
# pinned images alone.
set -euo pipefail
cd "$(dirname "$0")"
shopt -s nullglob
files=(compose*.yaml kubernetes/*.yaml)
images=$(sed -nE 's/^ *image: *([^ @]+)$/\1/p' "${files[@]}" | sort -u)

for image in $images; do
  if command -v crane > /dev/null; then
    digest=$(crane digest "$image")
  else
    digest=$(docker buildx imagetools inspect "$image" --format '{{.Manifest.Digest}}')
  fi
  [[ $digest =~ ^sha256:[0-9a-f]{64}$ ]] || { echo "The registry gave no digest for $image but '$digest'." >&2; exit 1; }
  for file in "${files[@]}"; do
    sed -E "s|^( *image: *)${image//./\\.}\$|\1$image@$digest|" "$file" > "$file.pinned"
    mv "$file.pinned" "$file"
  done
  echo "$image@$digest"
done
