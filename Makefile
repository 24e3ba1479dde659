# Every target sets itself up from a bare checkout: a virtual environment in .venv, torch, the
# package in place, the compiled part. Repeated, it does only what changed.
#
#   make demo    train on synthetic rooms, score, dump labels, write a page
#   make compare train MinkUNet and CodedVTR with three seeds each, write docs/results.md
#   make test    all tests
#   make build   both compiled libraries (the CUDA one where nvcc is found)
#   make lint    ruff, mypy, clang-format
#   make mutation  plant errors in the CUDA kernels: each must fail a test
#   make bench   SUITE=ops by default; codebook, gpu, data, model
#   make gpu-check  all that needs a GPU, on a machine that has one; sets nothing up: see docs/gpu.md
#   make clean   remove what was built

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH := torch==2.13.0
SUITE ?= ops
# Modules are compiled when they are first imported: few of those installed ever are.
export PIP_NO_COMPILE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

PROJECT := setup.py pyproject.toml
CPU_SOURCES := $(shell find csrc -type f -not -path '*/cuda/*')
CXX_FILES := $(shell find csrc tests -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh')
# A library that somebody deleted is built again, whatever the stamps say.
MISSING := $(if $(wildcard pointseg/_C.so),,force)

.DELETE_ON_ERROR:
.PHONY: build demo compare test lint mutation bench gpu-check clean check-system native force

demo: START := $(shell date +%s)
demo: build/.native-cpu
	@echo "set-up took $$(( $$(date +%s) - $(START) )) s"
	$(BIN)/pointseg demo $(DEMO_ARGS)

compare: build/.native-cpu
	$(BIN)/pointseg compare $(COMPARE_ARGS)

build: native

test: $(VENV)/.installed-all native
	$(BIN)/python csrc/native_build.py
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/.installed-all
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run -Werror $(CXX_FILES)

mutation: $(VENV)/.installed-all native
	$(BIN)/python -m tests.mutation

bench: native
	$(BIN)/python tools/benchmark.py $(SUITE) --json build/bench-$(SUITE).json

gpu-check:
	$(PYTHON) tools/gpu_check.py $(GPU_CHECK_ARGS)

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -f pointseg/*.so
	rm -f $(VENV)/.installed $(VENV)/.installed-all

# --- set-up -------------------------------------------------------------------------------------

# library:Debian package, for what open3d's wheel links and does not bring along (ldd of its
# pybind module); then the tools that build the compiled part.
SYSTEM_LIBRARIES := libGL.so.1:libgl1 libEGL.so.1:libegl1 libX11.so.6:libx11-6 \
    libusb-1.0.so.0:libusb-1.0-0 libudev.so.1:libudev1 libidn2.so.0:libidn2-0 libgomp.so.1:libgomp1

check-system:
	@missing=""; known=$$(ldconfig -p 2>/dev/null || /sbin/ldconfig -p); \
	for pair in $(SYSTEM_LIBRARIES); do \
	    case "$$known" in *"$${pair%%:*}"*) ;; *) missing="$$missing $${pair#*:}" ;; esac; \
	done; \
	command -v $(PYTHON) >/dev/null || missing="$$missing python3"; \
	command -v g++ >/dev/null || command -v "$$CXX" >/dev/null || missing="$$missing g++"; \
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || missing="$$missing python3-venv"; \
	if [ -n "$$missing" ]; then \
	    echo "Some system packages are missing. Install them, then run make again:" >&2; \
	    echo "    apt-get update && apt-get install -y --no-install-recommends$$missing" >&2; \
	    exit 1; \
	fi
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	    { echo "pointseg needs Python >= 3.10: make PYTHON=python3.11 ..." >&2; exit 1; }

# torch goes in first and alone: the package is then built against it without build isolation.
$(VENV)/.torch: | check-system
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "setuptools>=77" wheel
	$(BIN)/python -c 'import torch; v = torch.__version__.split("."); \
	    raise SystemExit((int(v[0]), int(v[1])) < (2, 10))' 2>/dev/null || \
	    $(BIN)/python -m pip install --quiet $(TORCH)
	@touch $@

CUDA_OF_TORCH = $$($(BIN)/python -c 'import torch; print("auto" if torch.version.cuda else 0)')

$(VENV)/.installed: $(VENV)/.torch $(PROJECT)
	POINTSEG_CUDA=$${POINTSEG_CUDA:-$(CUDA_OF_TORCH)} \
	    $(BIN)/python -m pip install --quiet --no-build-isolation -e ".[open3d]"
	@touch $@

$(VENV)/.installed-all: $(VENV)/.installed $(PROJECT)
	POINTSEG_CUDA=0 $(BIN)/python -m pip install --quiet --no-build-isolation -e ".[all]"
	@touch $@

# The CPU library alone where torch has no CUDA, so that the demo starts at once.
build/.native-cpu: $(VENV)/.installed $(CPU_SOURCES) $(MISSING)
	POINTSEG_CUDA=$${POINTSEG_CUDA:-$(CUDA_OF_TORCH)} $(BIN)/python setup.py -q build_ext --inplace
	@mkdir -p build && touch $@

# Asked every time: it compiles what changed, and sees POINTSEG_CUDA or an nvcc that has come since.
native: $(VENV)/.installed
	$(BIN)/python setup.py -q build_ext --inplace
	@mkdir -p build && touch build/.native-cpu
