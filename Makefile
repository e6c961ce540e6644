# `make demo` and `make test` are all that a new machine needs; CONTRIBUTING.md explains the rest.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# The system's Python where there is one: the tests also run as an ordinary user, who may not execute an
# interpreter below somebody's home directory.
PYTHON ?= $(or $(wildcard /usr/bin/python3),python3)
VENV ?= .venv
BIN := $(VENV)/bin
# Every wait has a bound. --foreground, so that Ctrl-C reaches what runs.
BOUND := timeout --foreground -k 30

export CC
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore

C_FILES = $(sort $(shell find jailkit benchmarks tests -name '*.[ch]' -not -name '_ext.c'))
NATIVE = $(sort $(shell find jailkit/_native -name '*.[ch]' -not -name '_ext.c') jailkit/_native/_build.py)
PY_DIRS = setup.py pytest_jailkit.py $(wildcard jailkit tests examples benchmarks docs)

.PHONY: help demo test test-escape test-vm test-vm-core lint bench bench-vm docs format test-asan fuzz fuzz-corpus suites clean
.PHONY: apt apt-test apt-lint apt-bench apt-fuzz apt-net apt-vm need need-test need-net need-lint need-bench need-fuzz need-vm

help:
	@cat <<-'END'
	make demo       set up .venv, build, and run the main job on examples/submissions/
	make test       build the wheel, install it in a fresh venv, run the tests there
	make lint       formatters, linters, types, C with -Werror, changelog, docs with their examples
	make suites     run the tests of other projects in jails: SUITES='attrs pluggy click jinja2 itsdangerous'
	make bench      measure against the C floor and against bwrap and crun
	make docs       build the documentation and run its examples
	make format     let ruff and clang-format rewrite the sources
	make test-escape  the attack suite, with a line for each attack
	make test-asan  the native tests under AddressSanitizer and UBSan
	make fuzz       libFuzzer on what reads plans, requests and reports, FUZZ_SECONDS (60) each
	make test-vm    the kernel tests in virtual machines with cgroup v2, as root and as a user with a delegated group;
	                what has passed is not run again, so it can be interrupted
	make test-vm-core  the part of that which .ci/run has time for
	make bench-vm   what limits cost, and how true the accounts are, on cgroup v2, in a virtual machine
	make apt        install what a machine needs (Debian; also apt-test, -lint, -bench, -fuzz, -net, -vm)
	make clean      remove what the targets above made
	END

# --- what a machine needs ---------------------------------------------------------------------------------------

APT := gcc libc6-dev python3-dev python3-venv uidmap libseccomp2
APT_TEST := libpython3-testsuite
APT_LINT := clang-format
APT_BENCH := bubblewrap crun
APT_FUZZ := clang llvm libclang-rt-dev
# qemu-system-common, which comes with QEMU, has Debian 12's virtiofsd. systemd and dbus are for the guests only:
# nothing starts them here, where neither is PID 1 of a container.
# What the tests of the network need beside the kernel: pasta, and ip(8) and curl to build and to try a world of namespaces.
APT_NET := passt iproute2 curl
APT_VM := qemu-system-x86 busybox-static e2fsprogs systemd dbus uidmap

# $(call apt-install,packages): as root install, as anybody else say what root has to do, and stop.
define apt-install
	if [ "$$(id -u)" != 0 ]; then
	    printf 'This machine lacks something. As root:\n\n    apt-get update && apt-get install -y --no-install-recommends %s\n\n' '$(1)' >&2
	    exit 1
	fi
	export DEBIAN_FRONTEND=noninteractive
	$(BOUND) 300 apt-get update
	$(BOUND) 900 apt-get install -y --no-install-recommends $(1)
endef

apt:
	@$(call apt-install,$(APT))
apt-test:
	@$(call apt-install,$(APT_TEST))
apt-lint:
	@$(call apt-install,$(APT_LINT))
apt-bench:
	@$(call apt-install,$(APT_BENCH))
apt-fuzz:
	@$(call apt-install,$(APT_FUZZ))
apt-net:
	@$(call apt-install,$(APT_NET))
apt-vm:
	@$(call apt-install,$(APT_VM))

# The need-* targets look, and call apt only when something is missing. What they look for is the thing itself, not
# a package: a compiler or a Python from elsewhere is as good.
need:
	@have() {
	    command -v newuidmap >/dev/null &&
	    printf '#include <stdio.h>\n' | $(CC) -E - >/dev/null 2>&1 &&
	    $(PYTHON) - <<'END'
	import ctypes, ensurepip, pathlib, sys, sysconfig, venv
	ctypes.CDLL("libseccomp.so.2")
	sys.exit(not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists())
	END
	}
	have 2>/dev/null || $(MAKE) --no-print-directory apt
# Skips without JAILKIT_MUST_WORK=1, so nobody needs root for these two.
need-test: need
	@$(PYTHON) -c 'import test.test_grammar' 2>/dev/null || [ "$$(id -u)" != 0 ] || $(MAKE) --no-print-directory apt-test
need-net: need
	@for name in pasta ip curl; do
	    command -v $$name >/dev/null || { [ "$$(id -u)" != 0 ] || $(MAKE) --no-print-directory apt-net; break; }
	done
need-lint: need
	@command -v clang-format >/dev/null || $(MAKE) --no-print-directory apt-lint
need-vm: need
	@for name in qemu-system-x86_64 busybox mke2fs dbus-daemon systemd-run; do
	    command -v $$name >/dev/null || { $(MAKE) --no-print-directory apt-vm; break; }
	done
need-bench: need
	@command -v bwrap >/dev/null && command -v crun >/dev/null || $(MAKE) --no-print-directory apt-bench
need-fuzz: need
	@work=$$(mktemp -d)
	trap 'rm -rf "$$work"' EXIT
	printf 'int LLVMFuzzerTestOneInput(void) { return 0; }' >"$$work/try.c"
	clang -fsanitize=fuzzer,address "$$work/try.c" -o "$$work/try" 2>/dev/null || $(MAKE) --no-print-directory apt-fuzz

# --- the development environment -----------------------------------------------------------------------------------

# Debian 12's pip does not know dependency groups (PEP 735), hence the upgrade.
$(VENV)/.stamp-pip: | need
	$(PYTHON) -m venv $(VENV)
	$(BOUND) 300 $(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	touch $@

# Editable: a change in Python needs no new build, a change in C does.
$(VENV)/.stamp-install: $(VENV)/.stamp-pip pyproject.toml setup.py $(NATIVE)
	$(BOUND) 600 $(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.stamp-build $(VENV)/.stamp-test $(VENV)/.stamp-lint $(VENV)/.stamp-docs: $(VENV)/.stamp-%: $(VENV)/.stamp-pip pyproject.toml
	$(BOUND) 600 $(BIN)/python -m pip install --quiet --group $*
	touch $@

# --- the two commands of the README ----------------------------------------------------------------------------------

demo: $(VENV)/.stamp-install
	@$(BOUND) 600 $(BIN)/python examples/demo.py

# The wheel is built from the sdist and tested, by the tests that the sdist carries, in a directory from which the
# checkout cannot be imported. It lies below /var/tmp and is readable by all, because the kernel tests run
# themselves a second time as an ordinary user. --one-file-system: should a failed test leave a mount behind,
# removing the directory must not reach through it.
PYTEST_ARGS ?=
define installed-suite
	umask 022
	work=$$(mktemp -d /var/tmp/jailkit-test.XXXXXX)
	trap 'rm -rf --one-file-system "$$work"' EXIT
	chmod a+rx "$$work"
	mkdir "$$work/suite" "$$work/source"
	$(BOUND) 600 $(BIN)/python -m build --outdir "$$work/dist" . >"$$work/build.log" 2>&1 || { cat "$$work/build.log"; exit 1; }
	tar -xf "$$work"/dist/*.tar.gz -C "$$work/suite" --strip-components=1 --no-same-owner
	mv "$$work/suite/jailkit" "$$work/source/jailkit"
	$(PYTHON) -m venv "$$work/venv"
	$(BOUND) 300 "$$work/venv/bin/python" -m pip install --quiet --upgrade 'pip>=25.1'
	cd "$$work/suite"
	$(BOUND) 600 "$$work/venv/bin/python" -m pip install --quiet --group test "$$work"/dist/*.whl
	chmod -R a+rX "$$work"
	export JAILKIT_SOURCE="$$work/source"
endef

test: $(VENV)/.stamp-build | need-test need-net
	@$(installed-suite)
	export HYPOTHESIS_STORAGE_DIRECTORY="$$work/hypothesis" PYTHONDONTWRITEBYTECODE=1
	$(BOUND) 3300 "$$work/venv/bin/pytest" -p no:cacheprovider --doctest-glob=README.md tests README.md $(PYTEST_ARGS)

# The same, in guests: of each kernel of VM_KERNELS and for each caller of VM_WHO (python -m tests.vm --help). Left out are
# what runs the suite once more as a user without a delegated group, the longest, which emulation makes an hour of, and
# the demo and the grader, whose verdicts come from limits of a second or two that are right for the machines of readers.
# What is nearest to control groups comes first. What has passed is remembered in VM_MEMORY, for as long as it stays as it is.
VM_KERNELS ?= release newest
VM_WHO ?= root user
VM_FIRST = $(wildcard tests/kernel/test_cgroup*.py) $(addprefix tests/kernel/,test_io_limits.py test_limits.py test_scope.py)
VM_OTHERS = $(filter-out $(VM_FIRST) tests/kernel/test_as_user.py tests/kernel/test_demo.py tests/kernel/test_grading%, \
    $(sort $(wildcard tests/kernel/test_*.py)))
VM_TESTS ?= $(VM_FIRST) $(VM_OTHERS)
VM_OPTIONS = -p no:cacheprovider -o faulthandler_timeout=1000 \
    --deselect=tests/kernel/test_concurrency.py::test_1600_launches_from_8_threads
VM_MEMORY ?= $(CURDIR)/build/test-vm.json
VM_FILES ?= 6
VM_GUESTS ?= $(shell nproc)
VM_SECONDS ?= 50000
test-vm: $(VENV)/.stamp-build | need-vm
	@$(installed-suite)
	# Compiled here, where that is quick; the guests see it.
	"$$work/venv/bin/pytest" -q --collect-only $(VM_OPTIONS) $(VM_TESTS) >"$$work/collect.log" || { cat "$$work/collect.log"; exit 1; }
	$(BOUND) $(VM_SECONDS) "$$work/venv/bin/python" -m tests.vm suite --kernels '$(VM_KERNELS)' --who '$(VM_WHO)' --show "$$work" \
	    --files $(VM_FILES) --guests $(VM_GUESTS) $(if $(VM_MEMORY),--memory '$(VM_MEMORY)') --source "$$JAILKIT_SOURCE" --source tests --source setup.py --source pyproject.toml \
	    --tests '$(VM_TESTS)' -- $(VM_OPTIONS) $(PYTEST_ARGS)

# What differs between hosts most, on one kernel, both ways, in one guest each: it ends in ten minutes under emulation.
test-vm-core: VM_TESTS = $(VM_FIRST)
test-vm-core: VM_OPTIONS += -m 'not many'
test-vm-core: VM_KERNELS = release
test-vm-core: VM_MEMORY =
test-vm-core: VM_FILES = 100
test-vm-core: VM_SECONDS = 1100
test-vm-core: test-vm

# Ratios, which emulation does not change much. Several minutes; BENCH_ROUNDS samples of each launch.
BENCH_ROUNDS ?= 60
bench-vm: $(VENV)/.stamp-install | need-vm
	@for who in '' -u; do
	    $(BOUND) 1900 $(BIN)/python -m tests.vm run $$who -k $(firstword $(VM_KERNELS)) -t 1800 --show '$(CURDIR)' -- \
	        $(abspath $(BIN))/python benchmarks/limits.py --rounds $(BENCH_ROUNDS)
	done

# --- quality -----------------------------------------------------------------------------------------------------------

lint: need-lint $(VENV)/.stamp-lint $(VENV)/.stamp-build $(VENV)/.stamp-install
	@step() { printf '== %s\n' "$$*"; $(BOUND) 600 "$$@"; }
	step $(BIN)/ruff check $(PY_DIRS)
	step $(BIN)/ruff format --check $(PY_DIRS)
	step $(BIN)/mypy
	for scripts in examples benchmarks; do ( cd $$scripts && MYPYPATH=.. step $(abspath $(BIN))/mypy --strict *.py ); done
	step clang-format --dry-run -Werror $(C_FILES)
	step $(BIN)/codespell
	step $(BIN)/towncrier build --draft --version next
	work=$$(mktemp -d)
	trap 'rm -rf "$$work"' EXIT
	printf '== build with JAILKIT_WERROR=1\n'
	JAILKIT_WERROR=1 step $(BIN)/python -m build --outdir "$$work" . >"$$work/log" 2>&1 || { cat "$$work/log"; exit 1; }
	$(MAKE) --no-print-directory docs

docs: $(VENV)/.stamp-docs $(VENV)/.stamp-install
	@for builder in html doctest; do
	    $(BOUND) 600 $(BIN)/sphinx-build -q -E -n -T -W --keep-going -b $$builder docs docs/_build/$$builder
	done

format: need-lint $(VENV)/.stamp-lint
	@$(BIN)/ruff format $(PY_DIRS)
	$(BIN)/ruff check --fix $(PY_DIRS) || true
	clang-format -i $(C_FILES)

# ESCAPE_JSON=file writes the same table as JSON.
test-escape: $(VENV)/.stamp-install $(VENV)/.stamp-test
	@$(BOUND) 900 $(BIN)/python -m pytest -q -p no:cacheprovider tests/escape --escape-table \
	    $(if $(ESCAPE_JSON),--escape-json '$(ESCAPE_JSON)') $(PYTEST_ARGS)

test-asan: $(VENV)/.stamp-install $(VENV)/.stamp-test
	@PYTHON=$(abspath $(BIN))/python $(BOUND) 1800 bash tests/native/asan.sh

FUZZ_SECONDS ?= 60
fuzz: need-fuzz
	@FUZZ_SECONDS=$(FUZZ_SECONDS) $(BOUND) $$((3 * ($(FUZZ_SECONDS) + 60) + 300)) bash tests/fuzz/run.sh
# After a change of abi.h or of the plans.
fuzz-corpus: $(VENV)/.stamp-install $(VENV)/.stamp-test
	@$(BOUND) 60 $(BIN)/python tests/fuzz/corpus.py

bench: need-bench $(VENV)/.stamp-install $(VENV)/.stamp-test
	@$(BOUND) 3000 $(BIN)/python benchmarks

# Needs the package index: suites of other projects, with and without jails.
suites: $(VENV)/.stamp-install $(VENV)/.stamp-test
	@$(BOUND) 3000 $(BIN)/python benchmarks/suites.py $(SUITES)

clean:
	rm -rf $(VENV) build dist docs/_build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -f jailkit/_native/jailkit-init jailkit/_native/_ext*.so jailkit/_native/_ext.c
	find $(wildcard jailkit tests examples benchmarks docs) -name __pycache__ -prune -exec rm -rf {} +
