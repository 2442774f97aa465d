#!/usr/bin/env bash
# Compares with what evalplus 0.3.1 and lm-eval 0.4.13 recorded about programs: verdicts, reference solutions, sanitizer outputs, prompts, pass@k.
# Prints every count and every difference with its reason; fails where a difference has none. Needs ../shared.
set -euo pipefail
cd "$(dirname "$0")/.."
shared=${ASSAY_SHARED:-../shared}
[ -d "$shared/oracle/code" ] || { echo "code-golden: skipped, no $shared/oracle/code"; exit 0; }
status=0
for test in code_verdicts_test code_oracle_test evals_scoring_test tasks_test tasks_golden_test; do
  begin=$(date +%s)
  text=$("build/release/tests/$test" 2>&1) || status=1
  echo "== $test ($(($(date +%s) - begin)) s)"
  grep -E 'MESSAGE:|ERROR:|test cases:|assertions:' <<<"$text" | sed -E 's/^[^ ]*: (MESSAGE|ERROR): */  /; s/^\[doctest\] */  /' || true
done
echo "== greedy completions of Qwen2.5-Coder"
scripts/code_greedy.sh | sed 's/^/  /' || status=1
exit $status
