# Makefile - what a person types. The work is done by setup.py and scripts/.
SHELL := /bin/sh
.DELETE_ON_ERROR:
.PHONY: help all demo test test-matrix test-cpython test-free-threaded sanitize fuzz bench \
	docs lint format install clean
.DEFAULT_GOAL := all

# The interpreter: PYTHON=... on the command line, else the first that will do.
export PYTHON

ifeq ($(V),1)
export V
else
Q := @
endif

all: ## build for one CPython and link ./libpyusdt.so to the library
	$(Q)python=$$(scripts/find-python.sh) && scripts/build.sh "$$python" && scripts/link.sh "$$python"

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-19s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## trace sleep.py for a few seconds, on a machine with nothing installed (root)
	$(Q)scripts/demo.sh

test: ## set up and run the tests on every CPython found (root for the tracer tests)
	$(Q)scripts/test.sh $(ARGS)

test-matrix: ## the same in Debian trixie and sid: bpftrace 0.23, 0.27; Python 3.13 to 3.15 (root)
	$(Q)tests/matrix.sh $(SUITES)

sanitize: ## the tests under sanitizers and valgrind (root for the tracer tests)
	$(Q)scripts/sanitize.sh $(ARGS)

fuzz: ## look for bugs in the text of values and in the filters for ARGS seconds (60)
	$(Q)scripts/fuzz.sh $(ARGS)

test-cpython: ## CPython's own test suite, plain and traced, compared (root; hours; ARGS=--subset: minutes)
	$(Q)tests/cpython-suite.sh $(ARGS)

test-free-threaded: ## make test on a free-threaded CPython, which it builds (root)
	$(Q)tests/free-threaded.sh $(ARGS)

bench: ## measure what tracing costs, ten minutes, into bench/RESULTS.md; ARGS=--quick: one (root)
	$(Q)scripts/bench.sh $(ARGS)

docs: ## write docs/probes.md from src/probes.h and docs/man from pyusdt/cli
	$(Q)"$$(scripts/find-python.sh)" scripts/probes-doc.py
	$(Q)"$$(scripts/find-python.sh)" scripts/man-pages.py

lint: ## check the style of C, Python and shell
	$(Q)scripts/lint.sh check

format: ## format C and Python
	$(Q)scripts/lint.sh format

install: ## pip install . into the environment of PYTHON
	$(Q)"$$(scripts/find-python.sh)" -m pip install .

clean: ## remove what was built
	rm -rf build dist *.egg-info libpyusdt.so pyusdt/*.so
