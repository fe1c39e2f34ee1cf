# SPDX-License-Identifier: MIT
"""A disk of a test's own: an image file behind a loop device, with a file system that can be
unmounted and mounted again, throttled, and frozen while processes work on it.

Throttling is the block layer's own (the blkio controller, version 1), set for this device in the
group that this process, and what it starts, is in: what a relay writes past the page cache waits
there as on a slow disk, syncs included. The page cache's own writing is counted to the root group;
where that is the same, it waits as well. Relies on root, loop devices, util-linux and the mkfs of
the kind."""
import os
import shutil
import subprocess
import time
from pathlib import Path

UNMOUNT_S = 30


def _run(*words):
    subprocess.run([str(word) for word in words], check=True, capture_output=True)


def throttle_group():
    """The folder of the blkio group that this process is in; None where there is no such."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    root = next((Path(where) for _, where, kind, options, *_ in mounts
                 if kind == "cgroup" and "blkio" in options.split(",")), None)
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, group = line.split(":", 2)
        if root is not None and "blkio" in controllers.split(","):
            folder = root / group.lstrip("/")
            if os.access(folder / "blkio.throttle.write_bps_device", os.W_OK):
                return folder
    return None


def why_not(kind="ext4", throttled=True):
    """Why there can be no such disk here; None if there can."""
    if os.geteuid() != 0:
        return "needs root"
    for program in (f"mkfs.{kind}", "losetup", "mount", "fsfreeze"):
        if not shutil.which(program):
            return f"needs {program}"
    if not os.path.exists("/dev/loop-control"):
        return "needs loop devices"
    if throttled and throttle_group() is None:
        return "needs the blkio controller of version 1"
    return None


class Disk:
    """with Disk(folder, mebibytes=64, kind="xfs") as disk: disk.at is the mount point, folder/disk.
    Made on a file `folder`/disk.img that must not be there yet; all is taken away at the end.
    `label` is another word than "disk", for several in a folder. xfs needs 300 MiB."""

    def __init__(self, folder, mebibytes=64, kind="ext4", label="disk"):
        self.image, self.at = Path(folder) / f"{label}.img", Path(folder) / label
        self._mebibytes, self._kind = mebibytes, kind
        self.device = None
        self._frozen = False

    def __enter__(self):
        try:
            self.at.mkdir(exist_ok=True)
            with open(self.image, "xb") as file:
                file.truncate(self._mebibytes << 20)
            quick = ["-E", "lazy_itable_init=0"] if self._kind == "ext4" else []
            _run(f"mkfs.{self._kind}", "-q", *quick, self.image)
            self.device = self._attach()
            self.mount()
        except BaseException:
            self._end()
            raise
        return self

    def _attach(self):
        """Another process may take the free device that was found: then the next one is tried."""
        for _ in range(20):
            done = subprocess.run(["losetup", "--find", "--show", str(self.image)],
                                  capture_output=True, text=True)
            if done.returncode == 0:
                return Path(done.stdout.strip())
            time.sleep(0.1)
        raise RuntimeError(f"no loop device: {done.stderr.strip()}")

    def _is_mounted(self):
        return any(line.split()[1] == str(self.at)
                   for line in Path("/proc/self/mounts").read_text().splitlines())

    def mount(self):
        _run("mount", self.device, self.at)

    def unmount(self, lazily=True):
        """Takes the file system away from its place; whoever holds files on it keeps them."""
        _run("umount", *(["--lazy"] if lazily else []), self.at)

    def throttle(self, bytes_per_s=0, writes_per_s=0):
        """How much, and how many requests (writes and flushes), the device takes a second from now
        on; 0: no limit."""
        number = Path("/sys/class/block", self.device.name, "dev").read_text().strip()
        for name, value in ("bps", bytes_per_s), ("iops", writes_per_s):
            path = throttle_group() / f"blkio.throttle.write_{name}_device"
            path.write_text(f"{number} {int(value)}")

    def freeze(self):
        """From now on nothing is written: who tries waits until thaw()."""
        _run("fsfreeze", "--freeze", self.at)
        self._frozen = True

    def thaw(self):
        self._frozen = False
        _run("fsfreeze", "--unfreeze", self.at)

    def _end(self):
        if self._frozen:
            self.thaw()
        if self.device is not None:
            if throttle_group() is not None:
                self.throttle()
            while self._is_mounted():
                self.unmount()
            # What waited in the throttle, and processes that are ending, hold it for a moment.
            end = time.monotonic() + UNMOUNT_S
            while (subprocess.run(["losetup", "--detach", str(self.device)], capture_output=True)
                   .returncode and time.monotonic() < end):
                time.sleep(0.1)
        self.image.unlink(missing_ok=True)

    def __exit__(self, kind, error, trace):
        self._end()
