# SPDX-License-Identifier: MIT
"""A systemd of a test's own: booted in namespaces, over this machine's /usr and a root of its own,
with a network that has nothing but a loopback interface. It ends with its process.

Relies on root, a cgroup2 hierarchy (the unified part of a mixed one will do: no controllers are
needed), and systemd as the distribution installs it. What it could change of this machine is
read-only (/usr, /sys, /proc/sys) or not in its power (modules, clock)."""
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from .builds import make
from .fleet import wait_until

# What has no business here, or would touch the real machine.
MASKED = """systemd-sysctl systemd-modules-load systemd-udevd systemd-udev-trigger
    systemd-remount-fs systemd-random-seed systemd-hwdb-update systemd-journal-catalog-update
    systemd-update-done systemd-update-utmp systemd-boot-system-token kmod-static-nodes
    systemd-binfmt systemd-pstore ldconfig systemd-firstboot systemd-machine-id-commit
    systemd-networkd systemd-timesyncd systemd-network-generator systemd-journal-flush""".split()
# Sockets, of which one listens to what the kernel tells of the whole machine.
MASKED_SOCKETS = ["systemd-journald-audit"]

INSIDE = r"""
set -eu
root=$1
shift
mount --bind "$root" "$root"
mount --rbind /usr "$root/usr"
mount -o remount,bind,ro "$root/usr"
mount --bind "$root/local" "$root/usr/local"
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for name in null zero full random urandom tty; do
    touch "$root/dev/$name"
    mount --bind "/dev/$name" "$root/dev/$name"
done
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ip link set lo up
cd "$root"
pivot_root . old
umount -l /old
exec env -i container=flotilla-test PATH=/usr/sbin:/usr/bin setpriv \
    --bounding-set=-sys_module,-sys_time,-syslog \
    /lib/systemd/systemd --log-target=journal --show-status=no --unit=basic.target "$@"
"""


def why_not():
    """Why no machine can be booted here; None if one can."""
    if os.geteuid() != 0:
        return "needs root"
    for program in ("unshare", "nsenter", "setpriv", "ip", "systemctl"):
        if not shutil.which(program):
            return f"needs {program}"
    if not Path("/lib/systemd/systemd").exists():
        return "needs systemd's own program"
    if control_groups() is None:
        return "needs a cgroup2 hierarchy"
    return None


def control_groups():
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, kind, options = line.split()[:4]
        if kind == "cgroup2" and "rw" in options.split(","):
            return Path(where)
    return None


class Machine:
    """with Machine() as machine: machine.run("systemctl", "start", "..."). The project is installed
    in /usr/local there; `root` is its root as seen from here; clear() is for another test."""

    def __init__(self):
        self.root = Path(tempfile.mkdtemp(prefix="flotilla-machine-", dir="/var/tmp"))
        self.group = control_groups() / f"flotilla-test-{os.getpid()}-{self.root.name[-8:]}"
        self._child = None
        self._cursor = None  # what is behind it in the journal is of the test that runs

    def _make_root(self):
        make("install", "PREFIX=/usr/local", f"DESTDIR={self.root}/staged")
        (self.root / "staged/usr/local").rename(self.root / "local")
        for name in ("usr", "proc", "sys", "run", "tmp", "dev", "old", "var/lib", "var/tmp",
                     "etc/systemd/system", "root"):
            (self.root / name).mkdir(parents=True)
        self.root.chmod(0o755)
        for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
            if Path("/" + name).is_symlink():
                (self.root / name).symlink_to(f"usr/{name}")
        etc = self.root / "etc"
        etc.joinpath("passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        etc.joinpath("group").write_text("root:x:0:\n")
        etc.joinpath("nsswitch.conf").write_text("passwd: files\ngroup: files\n")
        etc.joinpath("machine-id").write_text("0123456789abcdef0123456789abcdef\n")
        etc.joinpath("hostname").write_text("flotilla-test\n")
        for name in ("ld.so.cache", "ld.so.conf"):
            if Path("/etc", name).exists():
                shutil.copy(Path("/etc", name), etc / name)
        for name in MASKED:
            (etc / f"systemd/system/{name}.service").symlink_to("/dev/null")
        for name in MASKED_SOCKETS:
            (etc / f"systemd/system/{name}.socket").symlink_to("/dev/null")

    def __enter__(self):
        try:
            self._make_root()
            self.group.mkdir()
            self._child = subprocess.Popen(
                ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--cgroup", "--net",
                 "--uts", "--ipc", "--propagation", "private", "sh", "-c", INSIDE, "sh",
                 str(self.root)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                preexec_fn=lambda: (self.group / "cgroup.procs").write_text(str(os.getpid())))
            wait_until(self._up, seconds=60, pause=0.1, what="the machine to boot")
        except BaseException:
            self._end()
            raise
        return self

    def _up(self):
        assert self._child.poll() is None, self._child.stderr.read().decode()
        return self.init and self.run("systemctl", "is-active", "basic.target",
                                      check=False).stdout.strip() == "active"

    @property
    def init(self):
        """The number of its first process, as seen from here; None while there is none."""
        path = Path(f"/proc/{self._child.pid}/task/{self._child.pid}/children")
        found = path.read_text().split()
        if not found or Path(f"/proc/{found[0]}/comm").read_text().strip() != "systemd":
            return None
        return int(found[0])

    def words(self, *words, only_network=False):
        """What runs `words` in there."""
        spaces = ["--net"] if only_network else ["--mount", "--pid", "--net", "--uts", "--ipc",
                                                 "--cgroup", "--wd=/"]
        return ["nsenter", f"--target={self.init}", *spaces, *[str(word) for word in words]]

    def run(self, *words, check=True, timeout=60, **kw):
        done = subprocess.run(self.words("env", "-i", "PATH=/usr/local/bin:/usr/sbin:/usr/bin",
                                         "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0", *words),
                              capture_output=True, text=True, timeout=timeout,
                              stdin=subprocess.DEVNULL, **kw)
        assert not check or done.returncode == 0, (words, done.stdout, done.stderr, self.journal())
        return done

    def show(self, unit, *names):
        """Properties of a unit, in the order asked for."""
        said = self.run("systemctl", "show", unit, "--property=" + ",".join(names)).stdout
        found = dict(line.split("=", 1) for line in said.splitlines())
        return [found[name] for name in names]

    def process(self, pid):
        """Where a process in there is described."""
        return Path(f"/proc/{self.init}/root", "proc", str(pid))

    def main_pid(self, unit):
        """The main process's number in there; 0 if there is none."""
        return int(self.show(unit, "MainPID")[0])

    def kill(self, number, pid):
        self.run("kill", f"-{number}", str(pid), check=False)

    def journal(self, unit=None, lines=60):
        if self.init is None:
            return ""
        words = self.words("journalctl", "--no-pager", "-o", "short-monotonic", "-n", lines,
                           *([f"--after-cursor={self._cursor}"] if self._cursor else []),
                           *(["-u", unit] if unit else []))
        return subprocess.run(words, capture_output=True, text=True, timeout=30).stdout

    def clear(self):
        """As it was when it had booted, for the next test: no fleet, no units, no journal."""
        self.run("systemctl", "stop", "flotilla*", check=False)
        self.run("systemctl", "clean", "--what=all", "flotilla.service", check=False)
        units = self.root / "etc/systemd/system"
        for path in [*units.glob("flotilla*"), *units.glob("*.wants/flotilla*"),
                     self.root / "etc/flotilla", self.root / "var/lib/flotilla",
                     self.root / "var/lib/private/flotilla", *self.root.glob("load*")]:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        self.run("systemctl", "daemon-reload")
        self.run("systemctl", "reset-failed", check=False)
        said = self.run("journalctl", "--no-pager", "-n", "0", "--show-cursor").stdout
        self._cursor = said.rpartition("-- cursor: ")[2].strip()

    def _end(self):
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child.stderr.close()
        deadline = time.monotonic() + 20
        while self.group.exists():
            try:
                for folder, _, _ in os.walk(self.group, topdown=False):
                    os.rmdir(folder)
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)  # its processes are still ending
        assert str(self.root) not in Path("/proc/mounts").read_text()
        if not os.environ.get("FLOTILLA_TEST_KEEP"):
            shutil.rmtree(self.root)

    def __exit__(self, kind, error, trace):
        if kind is not None:
            print(f"--- journal\n{self.journal(lines=200)}")
        self._end()
