# SPDX-License-Identifier: MIT
# A thin front for Meson: one word for each thing people do here. What is built from what is in
# meson.build; the programs end up in build/.
#
#   make                  build/flotilla and build/flotilla-relay
#   make demo             a fleet on the loopback interface, live; DURATION=10 ends by itself
#   make test             everything, in minutes; make test-long: the same for longer
#   make bench            sizes and memory, with a description of the machine
#   make install PREFIX=  default /usr/local; DESTDIR is honoured
#   make clean

PREFIX ?= /usr/local
DURATION ?=
JOBS ?=
PYTEST_FLAGS ?=
comma := ,
PYTHON = $(firstword $(wildcard /usr/bin/python3) python3)

.PHONY: all demo test test-long test-programs bench setup install clean

# Quiet while all goes well; a failure shows everything that was said.
configure = test -f $(1)/build.ninja || $(3) meson setup $(1) $(2) >build/log || \
    { cat build/log; exit 1; }
compile = ninja $(if $(JOBS),-j$(JOBS)) -C $(1) >build/log || { cat build/log; exit 1; }

all:
	@tests/setup build
	@mkdir -p build
	@$(call configure,build/relay,-Dpart=relay,CC=musl-gcc)
	@$(call configure,build/programs,-Dpart=programs)
	@$(call compile,build/relay)
	@$(call compile,build/programs)
	@install -C -m 755 build/relay/flotilla-relay build/programs/flotilla build/

demo:
	@tests/setup demo
	@$(MAKE) --no-print-directory all
	@$(PYTHON) examples/demo $(if $(DURATION),--duration $(DURATION))

# What the tests run beside the programs: the units, plain and under sanitizers, and their tools.
test-programs: all
	@$(call configure,build/units,-Dpart=units)
	@$(call configure,build/sanitized,-Dpart=units -Db_sanitize=address$(comma)undefined)
	@$(call compile,build/units)
	@$(call compile,build/sanitized)

test test-long: setup
	@$(MAKE) --no-print-directory test-programs
	@$(if $(filter test-long,$@),FLOTILLA_TEST_LONG=1) build/venv/bin/python -m pytest tests \
	    $(PYTEST_FLAGS)

bench: setup
	@$(MAKE) --no-print-directory all
	@build/venv/bin/python bench/sizes

setup:
	@tests/setup test

install: all
	install -D -m 755 build/flotilla $(DESTDIR)$(PREFIX)/bin/flotilla
	install -D -m 755 build/flotilla-relay $(DESTDIR)$(PREFIX)/bin/flotilla-relay

clean:
	rm -rf build
