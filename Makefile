# SPDX-License-Identifier: MIT
# A thin front for Meson: one word for each thing people do here. What is built from what is in
# meson.build; the programs end up in build/.
#
#   make                  build/flotilla, -relay, -keeper, -overview, -export and -gateway
#   make demo             a fleet on the loopback interface, live; DURATION=10 ends by itself
#   make quick            what tells most in less than a minute
#   make test             everything, in minutes; WORKERS=6 tests side by side
#   make test-long        the same for longer
#   make test-offload     the scenarios with offload off, and where each segmented send is refused
#   make soak             a world that changes at random, for SECONDS=3600; SEED=n repeats one
#   make fuzz             each fuzzer for FUZZ_SECONDS=60; what it finds is left in build/fuzz
#   make interop          recordings read by every Avro reader that could be had: the table
#   make bench            what the relay costs beside bare floors, in minutes; BENCH="cpu rate" for
#                         some groups, BENCH=full for all; build/bench.json,
#                         or build/bench-part.json where some groups were left out
#   make budget           the relay's instructions a datagram, where they go, and their budget;
#                         WHY='...' renews it
#   make install PREFIX=  default /usr/local; DESTDIR is honoured
#   make deb              a Debian package of it, in build/; ARCH=arm64|armhf|riscv64 for others
#   make dist             a release in build/: the sources and the built page, which needs no npm
#   make cross TARGET=    for another machine, in build/cross/TARGET, and as a tarball beside that:
#                         aarch64, armv7, armv6, riscv64
#   make clean

PREFIX ?= /usr/local
DURATION ?=
JOBS ?=
FUZZ_SECONDS ?= 60
BENCH ?=
WHY ?=
WORKERS ?= 6
SECONDS ?= 3600
SEED ?=
TARGET ?=
ARCH ?=
FROM ?= build
DEB_arm64 = aarch64
DEB_armhf = armv7
DEB_riscv64 = riscv64
PYTEST_FLAGS ?=
comma := ,
share = $(DESTDIR)$(PREFIX)/share
units = $(DESTDIR)$(PREFIX)/lib/systemd/system
PYTHON = $(firstword $(wildcard /usr/bin/python3) python3)

.PHONY: all demo quick test test-long test-offload soak unit-programs test-programs fuzz \
    machine-programs fuzz-programs bench bench-programs budget setup install install-files deb \
    dist cross clean

# Quiet while all goes well; a failure shows everything that was said.
configure = test -f $(1)/build.ninja || $(3) meson setup $(1) $(2) >build/log || \
    { cat build/log; exit 1; }
compile = ninja $(if $(JOBS),-j$(JOBS)) -C $(1) >build/log || { cat build/log; exit 1; }

all:
	@tests/setup build
	@mkdir -p build
	@web/build
	@$(call configure,build/relay,-Dpart=relay,CC=musl-gcc)
	@$(call configure,build/programs,-Dpart=programs)
	@$(call compile,build/relay)
	@$(call compile,build/programs)
	@install -C -m 755 build/relay/flotilla-relay build/relay/flotilla-keeper \
	    build/programs/flotilla build/programs/flotilla-overview \
	    build/programs/flotilla-export build/
	@[ ! -e build/programs/flotilla-gateway ] || \
	    install -C -m 755 build/programs/flotilla-gateway build/

demo:
	@tests/setup demo
	@$(MAKE) --no-print-directory all
	@$(PYTHON) examples/demo $(if $(DURATION),--duration $(DURATION))

# Most of what a scenario takes is waiting, so there are more of them at a time than processors.
pytest = build/venv/bin/python -m pytest -n $(WORKERS) --dist loadgroup $(PYTEST_FLAGS)

# A version to upgrade to: the same, but for what it makes of a channel's memory.
next = -Dc_args=-DSTAGING_VERSION=99u

# What the tests run beside the programs: the units and tools ...
unit-programs: all
	@$(call configure,build/units,-Dpart=units)
	@$(call compile,build/units)
	@[ ! -e build/programs/flotilla-gateway ] || \
	    { $(call compile,build/programs flotilla-gateway-echo); }

# ... and the units under sanitizers, relays that go wrong, one to profile, and a version to upgrade
# to. Tests that run side by side build nothing themselves.
test-programs: unit-programs
	@$(call configure,build/sanitized,-Dpart=units -Db_sanitize=address$(comma)undefined)
	@$(call compile,build/sanitized)
	@$(call configure,build/next/relay,-Dpart=relay $(next),CC=musl-gcc)
	@$(call configure,build/next/programs,-Dpart=programs -Doptimization=0 $(next))
	@$(call compile,build/next/relay)
	@$(call compile,build/next/programs flotilla)
	@$(call compile,build/relay flotilla-relay-refused flotilla-relay-stepped \
	    flotilla-relay-trap flotilla-relay-symbols)
	@$(call compile,build/programs flotilla-stepped)
	@mkdir -p build/refused build/stepped build/trap
	@install -C -m 755 build/flotilla build/flotilla-keeper build/refused/
	@install -C -m 755 build/relay/flotilla-relay-refused build/refused/flotilla-relay
	@install -C -m 755 build/relay/flotilla-relay-trap build/trap/flotilla-relay
	@install -C -m 755 build/flotilla-keeper build/stepped/
	@install -C -m 755 build/programs/flotilla-stepped build/stepped/flotilla
	@install -C -m 755 build/relay/flotilla-relay-stepped build/stepped/flotilla-relay

# What the tests emulate of other machines; where a source of it cannot be had, they are skipped.
machine-programs: all
	@[ -e build/cross/zig/.installed ] || exit 0; \
	    machine() { packaging/cross/build "$$@" || [ $$? = 77 ]; }; set -e; \
	    machine aarch64 relay; machine armv7 relay; \
	    [ -z "$(LONG)" ] || for one in armv7 aarch64 armv6 riscv64; do \
	        machine $$one relay units; done

# The rules of the house, the units, a little of the simulation, the first dozen scenarios.
quick: setup
	@$(MAKE) --no-print-directory unit-programs
	@$(pytest) -k "not sanitized" tests/tidy tests/test_units.py \
	    tests/test_simulation.py::test_twenty_million_steps \
	    tests/scenario/test_00*.py tests/scenario/test_01[0-2]*.py

# What comes from elsewhere comes while the programs are built.
test test-long:
	@tests/setup test packages
	@$(MAKE) --no-print-directory -j2 setup test-programs
	@$(MAKE) --no-print-directory machine-programs $(if $(filter test-long,$@),LONG=1)
	@$(if $(filter test-long,$@),FLOTILLA_TEST_LONG=1) $(pytest) tests

test-offload: setup
	@$(MAKE) --no-print-directory test-programs
	@set -e; for offload in off refused; do echo "offload: $$offload"; \
	    FLOTILLA_TEST_OFFLOAD=$$offload $(pytest) tests/scenario; done

soak: setup
	@$(MAKE) --no-print-directory test-programs
	@build/venv/bin/python tests/world/run.py --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

# The fuzzers, and files that the units make for them to begin with.
fuzz-programs:
	@tests/setup fuzz
	@$(MAKE) --no-print-directory test-programs
	@$(call configure,build/fuzz,-Dpart=fuzz,CC=clang)
	@$(call compile,build/fuzz)
	@mkdir -p build/fuzz/seeds
	@FLOTILLA_SEEDS=build/fuzz/seeds build/units/test_scan >build/log 2>&1 || \
	    { cat build/log; exit 1; }

# A finding ends it, its input is left in the folder.
fuzz: fuzz-programs
	@set -e; for fuzzer in $(basename $(notdir $(wildcard tests/fuzz/fuzz_*.c))); do \
	    tests/fuzz/run $$fuzzer $(FUZZ_SECONDS); done

# Needs a JDK, Maven, cargo and go beside what the tests need.
interop: setup
	@$(MAKE) --no-print-directory all
	@$(call configure,build/units,-Dpart=units)
	@$(call compile,build/units udp_source udp_sink read_libavro)
	@tests/interop/setup
	@build/venv/bin/python tests/interop/interop.py
	@$(MAKE) --no-print-directory test-programs
	@$(pytest) tests/scenario/test_091_manual.py

bench: bench-programs
	@$(PYTHON) bench/bench $(BENCH)

budget: bench-programs
	@$(call compile,build/relay flotilla-relay-symbols)
	@$(PYTHON) bench/budget.py $(if $(WHY),--renew '$(WHY)')

bench-programs:
	@tests/setup bench
	@$(MAKE) --no-print-directory unit-programs

setup:
	@tests/setup test

install: all
	@$(MAKE) --no-print-directory install-files

# What is built below FROM, and what is the same for every machine.
install-files:
	install -D -m 755 $(FROM)/flotilla $(DESTDIR)$(PREFIX)/bin/flotilla
	install -D -m 755 $(FROM)/flotilla-relay $(DESTDIR)$(PREFIX)/bin/flotilla-relay
	install -D -m 755 $(FROM)/flotilla-keeper $(DESTDIR)$(PREFIX)/bin/flotilla-keeper
	install -D -m 755 $(FROM)/flotilla-export $(DESTDIR)$(PREFIX)/bin/flotilla-export
	install -D -m 755 $(FROM)/flotilla-overview $(DESTDIR)$(PREFIX)/bin/flotilla-overview
	[ ! -e $(FROM)/flotilla-gateway ] || \
	    install -D -m 755 $(FROM)/flotilla-gateway $(DESTDIR)$(PREFIX)/bin/flotilla-gateway
	install -D -m 644 -t $(share)/man/man1 man/*.1
	install -D -m 644 -t $(share)/man/man5 man/*.5
	install -D -m 644 etc/completion/flotilla.bash $(share)/bash-completion/completions/flotilla
	ln -sf flotilla $(share)/bash-completion/completions/flotilla-relay
	install -D -m 644 -t $(share)/zsh/site-functions etc/completion/_flotilla
	install -D -m 644 -t $(share)/flotilla etc/fleet.schema.json
	install -D -m 644 -t $(share)/doc/flotilla README.md CHANGELOG.md LICENSE
	install -D -m 644 -t $(share)/doc/flotilla/examples examples/fleet.yaml
	install -D -m 644 -t $(share)/doc/flotilla/examples/prometheus examples/prometheus/alerts.yaml
	install -D -m 644 -t $(share)/doc/flotilla/examples/grafana examples/grafana/flotilla.json
	install -D -m 644 -t $(units) etc/systemd/*.service etc/systemd/*.socket
	sed -i 's|=/usr/bin/|=$(PREFIX)/bin/|' $(units)/flotilla.service \
	    $(units)/flotilla-relay@.service $(units)/flotilla-overview@.service
	install -D -m 644 etc/systemd/sysusers.conf $(DESTDIR)$(PREFIX)/lib/sysusers.d/flotilla.conf
	install -D -m 644 etc/systemd/tmpfiles.conf $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/flotilla.conf
	install -D -m 644 -t $(share)/doc/flotilla/examples/schemas examples/schemas/*.avsc

deb:
	@tests/setup deb
	@$(if $(ARCH),$(MAKE) --no-print-directory cross TARGET=$(or $(DEB_$(ARCH)),$(ARCH)),\
	    $(MAKE) --no-print-directory all)
	@MAKE=$(MAKE) packaging/deb $(ARCH) $(DEB_$(ARCH))

dist:
	@tests/setup build
	@web/build
	@packaging/dist

# Static, with all that they link from its sources; see packaging/cross/build.
cross:
	@packaging/cross/build --known $(TARGET)
	@tests/setup cross
	@packaging/cross/build $(TARGET)
	@MAKE=$(MAKE) packaging/cross/tarball $(TARGET)

clean:
	rm -rf build
