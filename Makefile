# osvlab: `make demo` shows what it does, `make test` checks that it does.
#
# Both set the machine up first (.ci/setup): Debian packages from binder/apt.txt, a .venv, the package itself. PYTHON=...
# chooses the interpreter for a new .venv; ARGS=... goes to pytest, to the benchmarks or to JupyterLab.

BIN := .venv/bin

.PHONY: help demo test soak lab bench kernel format clean
.DEFAULT_GOAL := help

help:
	@echo 'make demo     build an image, boot it, and check what it computed'
	@echo 'make test     all tests: unit, kernel, guests in QEMU, notebooks, linters, types'
	@echo 'make lab      open JupyterLab on notebooks/'
	@echo 'make bench    measure against the baselines; JSON and a table in benchmarks/results/'
	@echo 'make soak     the tests that run for minutes'
	@echo 'make kernel   compile the lab kernel'
	@echo 'make format   format Python and C, strip notebooks'
	@echo 'make clean    remove what was built here, but not .venv'

demo:
	@.ci/setup
	@$(BIN)/osvlab demo $(ARGS)

test: setup-dev kernel
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

soak: kernel
	@.ci/setup soak
	$(BIN)/python -m pytest -m soak $(ARGS)

lab: kernel
	@.ci/setup lab
	$(BIN)/jupyter lab --LabApp.news_url=None --notebook-dir=notebooks $(ARGS)

bench: setup-dev kernel
	$(BIN)/python -m benchmarks $(ARGS)

# The kernel's own Makefile looks at dates; Python is used there to generate tables. A Python that finds
# the kernel out of date compiles in the same folder, and holds the same lock (osvlab/kernel_build.py).
kernel:
	@.ci/setup
	@mkdir -p osvlab/kernel/build
	@flock osvlab/kernel/build/.lock $(MAKE) --no-print-directory -C osvlab/kernel PYTHON="$(CURDIR)/$(BIN)/python"

format: setup-dev
	$(BIN)/ruff check --fix --exit-zero --quiet .
	$(BIN)/ruff format .
	git ls-files -z '*.c' '*.h' | xargs -0r $(BIN)/clang-format -i
	$(BIN)/python notebooks/src/build.py

clean:
	$(MAKE) --no-print-directory -C osvlab/kernel clean
	rm -rf dist benchmarks/results .pytest_cache .mypy_cache .ruff_cache .hypothesis

.PHONY: setup-dev
setup-dev:
	@.ci/setup dev
