# make run    install what is needed into .venv and serve the page
# make test   the whole gate: style, types, import contracts, tests
# make bench  every benchmark, each as a ratio against a plain-library baseline
# make clean  remove .venv and caches
#
# Works with the make that macOS ships (3.81). Windows: README has the two plain command lines.

# The first Python that is known to work; else python3, whose version is then checked below.
PYTHON ?= $(firstword $(shell for python in python3 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
	&& echo "$$python"; done) python3)
BIN = .venv/bin

.PHONY: run test bench clean

run: .venv/run.stamp
	$(BIN)/python app.py

test: .venv/test.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n 2 --dist loadfile -m "not browser"
	$(BIN)/pytest -n 2 --dist loadfile -m browser

bench: .venv/run.stamp
	$(BIN)/python -m bench

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/run.stamp: requirements.txt | .venv/bin/python
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.txt
	@touch $@

.venv/test.stamp: requirements.txt requirements-dev.txt | .venv/bin/python
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements-dev.txt
	@touch $@ .venv/run.stamp

.venv/bin/python:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	echo "Benchtop needs Python 3.11 or newer, and $(PYTHON) is not. Name one: make $(MAKECMDGOALS) PYTHON=python3.12"; \
	exit 1; }
	@"$(PYTHON)" -m venv .venv || { rm -rf .venv; \
	echo "Python could not make .venv. On Debian and Ubuntu install the package python3-venv, then try again."; \
	exit 1; }
