#!/usr/bin/env bash
# python_grammar.sh DIR : the tree-sitter library and its Python grammar as C sources, from their Python source packages, whole or
# not at all. Layout: DIR/lib (the library), DIR/parser.c and DIR/scanner.c (the grammar), DIR/tree_sitter (headers of both).
set -euo pipefail
dir=$1
work=$(mktemp -d "${TMPDIR:-/tmp}/assay-grammar.XXXXXX")
trap 'rm -rf "$work"' EXIT
python3 -m pip download --quiet --disable-pip-version-check --no-deps --no-binary tree-sitter,tree-sitter-python -d "$work" \
  tree-sitter==0.24.0 tree-sitter-python==0.23.6 \
  || { echo "python_grammar: cannot download tree-sitter and tree-sitter-python: is there a network, and pip?" >&2; exit 1; }
for archive in "$work"/*.tar.gz; do tar -xzf "$archive" -C "$work"; done
library=$work/tree-sitter-0.24.0/tree_sitter/core/lib grammar=$work/tree_sitter_python-0.23.6/src
mkdir -p "$work/out/tree_sitter" "$(dirname "$dir")"
cp -r "$library" "$work/out/lib"
cp "$grammar/parser.c" "$grammar/scanner.c" "$work/out"
cp "$library"/src/{parser,array,alloc,ts_assert}.h "$work/out/tree_sitter"
rm -rf "$dir"
mv "$work/out" "$dir"
