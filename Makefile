# Two commands do all the set-up: `make demo` runs the main job, `make test` passes the tests.
.PHONY: help setup build program dev test demo bench bench-peers cuda golden code-golden parity bench-code invariance kill-battery fuzz format tidy clean

BUILD := build/release
SHELL := /bin/bash

help:
	@echo "make demo           what 4-bit weights cost a real model on real questions (MODEL=coder: a stronger one)"
	@echo "make test           build and run every test"
	@echo "make build          the program at $(BUILD)/assay"
	@echo "make bench          CPU kernel and engine benchmarks, Google Benchmark JSON under build/bench"
	@echo "make bench-peers    the same beside llama.cpp, Transformers and lm-eval, in one run"
	@echo "make bench-code     assay grade beside evalplus.evaluate on the same 820 programs (needs ../shared)"
	@echo "make cuda           the same with the CUDA backend in build/cuda, and the bundle that is carried to a GPU machine"
	@echo "make golden         compare with recorded answers of lm-eval (needs ../shared)"
	@echo "make code-golden    programs: verdicts, sanitizer, prompts, pass@k as evalplus recorded them (needs ../shared)"
	@echo "make parity         every task beside lm-eval itself, document by document (needs ../shared)"
	@echo "make invariance     equal bytes under other orders, budgets and without the prefix tree"
	@echo "make kill-battery   200 kills -9, each resumed: the report must not change"
	@echo "make fuzz           five minutes of mutated bytes for every parser"
	@echo "make dev            build with AddressSanitizer and UBSan and run the tests"
	@echo "make format, tidy   clang-format, clang-tidy"

setup:
	@scripts/setup.sh

build: setup
	@cmake --preset release >/dev/null && cmake --build --preset release -- -k 0

# The program alone: what the main job needs.
program: setup
	@cmake --preset release >/dev/null && cmake --build --preset release --target assay

test: build
	@ctest --preset release -LE slow

dev: setup
	@cmake --preset dev >/dev/null && cmake --build --preset dev && ctest --preset dev -LE slow

demo: program
	@MODEL=$(MODEL) scripts/demo.sh

bench: build
	@scripts/bench.sh

bench-peers: build
	@scripts/bench_peers.sh

# The library's header alone is needed to build, and comes in a large package.
cuda: setup
	@[ -f /usr/local/cuda/include/cublasLt.h ] || [ -d .assay/packages/cublas/nvidia ] || \
	  scripts/package.sh nvidia-cublas 13.1.1.3 .assay/packages/cublas 'nvidia/cu13/include/*' || \
	  echo "cuda: no cublasLt.h: building with own products only" >&2
	@cmake --preset cuda >/dev/null && cmake --build --preset cuda && ctest --preset cuda -L 'unit|cuda' && scripts/cuda_bundle.sh

golden: build
	@scripts/golden.sh

code-golden: build
	@scripts/code_golden.sh

parity: build
	@tests/parity/run.sh

bench-code: build
	@scripts/bench_code.sh

invariance: build
	@scripts/invariance.sh

kill-battery: build
	@scripts/kill_battery.sh 200

fuzz: setup
	@scripts/fuzz.sh 300

format:
	@git ls-files '*.cpp' '*.h' '*.cu' '*.cuh' | xargs clang-format -i

tidy: build
	@git ls-files 'engine/*.cpp' 'evals/*.cpp' 'tasks/*.cpp' 'reports/*.cpp' | xargs clang-tidy -p $(BUILD) --quiet

clean:
	@rm -rf build
