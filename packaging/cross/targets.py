# SPDX-License-Identifier: MIT
"""The machines that Flotilla is built for from another one, and how Meson is told of them."""
import shlex
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CROSS = ROOT / "build/cross"

# What zig calls the machine and its processor; Meson's words; Debian's; who emulates it here.
# armv7 is what Debian's armhf asks of a processor (Pi 2 and later, BeagleBone); armv6 is the Pi 1
# and Zero.
TARGETS = {
    "aarch64": dict(triple="aarch64-linux-musl", cpu="generic", family="aarch64", deb="arm64",
                    emulator="qemu-aarch64"),
    "armv7": dict(triple="arm-linux-musleabihf", cpu="cortex_a8-neon", family="arm",
                  deb="armhf", emulator="qemu-arm"),
    "armv6": dict(triple="arm-linux-musleabihf", cpu="arm1176jzf_s", family="arm", deb=None,
                  emulator="qemu-arm"),
    "riscv64": dict(triple="riscv64-linux-musl", cpu="baseline_rv64", family="riscv64",
                    deb="riscv64", emulator="qemu-riscv64"),
}
NOT_YET = {"x86_64-macos": "macOS", "aarch64-macos": "macOS", "x86_64-windows": "Windows"}


def target_of(name):
    """Its table; ends the program, in words, where there is none."""
    if name in TARGETS:
        return TARGETS[name]
    known = ", ".join(TARGETS)
    if name in NOT_YET:
        sys.exit(f"TARGET={name}: Flotilla does not run on {NOT_YET[name]} yet; there are {known}")
    sys.exit(f"TARGET={name or ''}: no such machine; there are {known}")


def zig():
    """The compiler, where tests/setup cross has put it."""
    found = list((CROSS / "zig").glob("lib/python3*/site-packages/ziglang/zig"))
    if not found:
        sys.exit("packaging/cross: zig is missing: run `tests/setup cross`")
    return found[0]


def words_of(target, language="cc"):
    """The words of the compiler. Also where it links: its C library is built for each way to
    optimise, when it is first needed, and kept where zig keeps what it has made (~/.cache/zig)."""
    return [str(zig()), language, "-target", target["triple"], f"-mcpu={target['cpu']}", "-O2"]


def become(path, text):
    """Writes it where it is not that already: what is built goes by its age."""
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def write_cross_file(name, home):
    """What Meson reads of a target, cross.ini, and its compiler. Meson before 1.5 does not know
    zig's linker by its name, which is LLD; and what it asks of the preprocessor zig hands on to
    clang with the name of the processor as it is, which has another there."""
    target = TARGETS[name]
    compiler = home / "cc"
    become(compiler, f"""\
#!/bin/sh
case " $* " in
*" -Wl,--version "*) exec echo "LLD (compatible with GNU linkers)" ;;
*" -dM "*) exec {zig()} cc -target {target['triple']} "$@" ;;
esac
exec {shlex.join(words_of(target))} "$@"
""")
    compiler.chmod(0o755)
    become(home / "cross.ini", f"""\
[binaries]
c = '{compiler}'
ar = ['{zig()}', 'ar']
strip = ['{zig()}', 'objcopy', '--strip-all']
pkgconfig = 'pkg-config'
[properties]
pkg_config_libdir = '{home / 'prefix/lib/pkgconfig'}'
needs_exe_wrapper = true
[built-in options]
c_args = ['-isystem', '{home / 'prefix/include'}', '-ffunction-sections', '-fdata-sections']
c_link_args = ['-L{home / 'prefix/lib'}', '-static', '-s', '-Wl,--gc-sections']
[host_machine]
system = 'linux'
cpu_family = '{target['family']}'
cpu = '{target['family']}'
endian = 'little'
""")

