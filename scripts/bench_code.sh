#!/usr/bin/env bash
# Times `assay grade` beside evalplus.evaluate on the same 164 x 5 HumanEval+ programs, one after the other on the same cores, and compares the
# verdicts. evalplus is installed by name into $ASSAY_HOME/peers-code, or ASSAY_EVALPLUS_PYTHON names a Python that has it. Prints one JSON
# object and leaves it in build/bench/code.json.
set -euo pipefail
cd "$(dirname "$0")/.."
home=${ASSAY_HOME:-$PWD/.assay}
shared=${ASSAY_SHARED:-../shared}
python=${ASSAY_EVALPLUS_PYTHON:-$home/peers-code/bin/python}
[ -d "$shared/data/humanevalplus" ] || { echo "bench-code: skipped, no $shared/data/humanevalplus"; exit 0; }
if [ ! -x "$python" ]; then
  python3 -m venv "$home/peers-code"
  "$python" -m pip install --quiet evalplus==0.3.1
fi
mkdir -p build/bench
python3 scripts/peers/code_rates.py --assay build/release/assay --evalplus-python "$python" --data "$shared/data" \
  --recorded "$shared/oracle/code/verdicts_humaneval.jsonl.gz" | tee build/bench/code.json
