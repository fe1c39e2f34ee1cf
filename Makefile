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
NINJA = ninja $(if $(JOBS),-j$(JOBS)) --quiet
PYTHON = $(firstword $(wildcard /usr/bin/python3) python3)

.PHONY: all demo test test-long test-programs bench setup install clean

all:
	@tests/setup build
	@test -f build/relay/build.ninja || CC=musl-gcc meson setup build/relay -Dpart=relay >/dev/null
	@test -f build/programs/build.ninja || meson setup build/programs -Dpart=programs >/dev/null
	@$(NINJA) -C build/relay
	@$(NINJA) -C build/programs
	@install -C -m 755 build/relay/flotilla-relay build/programs/flotilla build/

demo:
	@tests/setup demo
	@$(MAKE) --no-print-directory all
	@$(PYTHON) examples/demo $(if $(DURATION),--duration $(DURATION))

# What the tests run beside the programs: the units, plain and under sanitizers, and their tools.
test-programs: all
	@test -f build/units/build.ninja || meson setup build/units -Dpart=units >/dev/null
	@test -f build/sanitized/build.ninja || meson setup build/sanitized -Dpart=units \
	    -Db_sanitize=address,undefined -Db_lundef=false >/dev/null
	@$(NINJA) -C build/units
	@$(NINJA) -C build/sanitized

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
