#!/usr/bin/env bash
# fuzz.sh SECONDS : builds the fuzz targets with ASan and UBSan and feeds each mutated bytes of its corpus for SECONDS.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-300}
cmake --preset dev >/dev/null
cmake --build --preset dev --target fuzz_targets
for target in build/dev/tests/fuzz/*_fuzz; do
  name=$(basename "$target")
  echo "$name: $seconds s"
  "$target" --seconds "$seconds" tests/fuzz/corpus/"${name%_fuzz}"
done
