# SPDX-License-Identifier: MIT
"""A disk as slow as is wanted: an ext4 on a loop device over the one file of a file system (FUSE,
without a library) whose server answers one request after the other, each as late as a disk of so
many bytes a second would. What is done past the page cache comes to it at once and in its order.

with slow_disk(200e6, sync_s=0.05) as folder: ... needs root, loop devices and /dev/fuse; else
Unavailable says what is missing. `python slow_disk.py FOLDER BYTES RATE SYNC_S` is the server.
Source: linux/fuse.h, protocol 7.31."""
import contextlib
import ctypes
import errno
import mmap
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WRITE_BYTES_MAX = 1 << 20
SLACK_S = 0.001  # what a queue in front of a real disk hides of the way there
ROOT_NODE, DISK_NODE = 1, 2
LOOKUP, FORGET, GETATTR, SETATTR, OPEN, READ, WRITE, STATFS = 1, 2, 3, 4, 14, 15, 16, 17
RELEASE, FSYNC, FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR = 18, 20, 25, 26, 27, 28, 29
INTERRUPT, DESTROY, BATCH_FORGET = 36, 38, 42
UNANSWERED = (FORGET, BATCH_FORGET, INTERRUPT)
ASYNC_READ, BIG_WRITES, PARALLEL, MAX_PAGES = 1 << 0, 1 << 5, 1 << 18, 1 << 22


class Unavailable(Exception):
    """This machine lacks something for it."""


class Server:
    def __init__(self, folder, size, rate, sync_s):
        self.folder, self.size, self.rate, self.sync_s = folder, size, rate, sync_s
        self.bytes = mmap.mmap(-1, size)
        self.asked_at = self.free_at = 0.0
        self.device = os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={self.device},rootmode=40000,user_id=0,group_id=0,allow_other"
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"slow-disk", os.fsencode(folder), b"fuse.slow-disk", 0,
                      options.encode()) != 0:
            raise OSError(ctypes.get_errno(), "mount")

    def take(self, seconds):
        """Waits until the disk has been busy with this for so long, since it was asked."""
        self.free_at = max(self.asked_at, self.free_at) + seconds
        time.sleep(max(0.0, self.free_at - time.monotonic()))

    def attributes(self, node):
        mode = 0o40755 if node == ROOT_NODE else 0o100600
        size = 0 if node == ROOT_NODE else self.size
        return struct.pack("<QQQQQQIIIIIIIIII", node, size, size // 512, 0, 0, 0, 0, 0, 0, mode, 1,
                           0, 0, 0, 4096, 0)

    def answer(self, operation, node, body):
        """The bytes of the answer; raises OSError for an error."""
        if operation == INIT:
            return struct.pack("<IIIIHHIIHHIIIIIIII", 7, 31, 1 << 20,
                               ASYNC_READ | BIG_WRITES | PARALLEL | MAX_PAGES, 64, 48,
                               WRITE_BYTES_MAX, 1, WRITE_BYTES_MAX // 4096, 0, *[0] * 8)
        if operation == LOOKUP:
            if body.rstrip(b"\0") != b"disk":
                raise OSError(errno.ENOENT, "lookup")
            return struct.pack("<QQQQII", DISK_NODE, 0, 3600, 3600, 0, 0) + self.attributes(
                DISK_NODE)
        if operation in (GETATTR, SETATTR):
            return struct.pack("<QII", 3600, 0, 0) + self.attributes(node)
        if operation in (OPEN, OPENDIR):
            return struct.pack("<QII", 0, 0, 0)
        if operation == READ:
            _, offset, size = struct.unpack_from("<QQI", body)
            self.take(size / self.rate)
            return self.bytes[offset:min(offset + size, self.size)]
        if operation == WRITE:
            _, offset, size = struct.unpack_from("<QQI", body)
            self.bytes[offset:offset + size] = body[40:40 + size]
            self.take(size / self.rate)
            return struct.pack("<II", size, 0)
        if operation == FSYNC:
            self.take(self.sync_s)
            return b""
        if operation == STATFS:
            return struct.pack("<QQQQQIIII24x", self.size // 4096, 0, 0, 2, 0, 4096, 255, 4096, 0)
        if operation in (RELEASE, FLUSH, READDIR, RELEASEDIR, DESTROY):
            return b""
        raise OSError(errno.ENOSYS, "operation")

    def serve(self):
        while True:
            try:
                request = os.read(self.device, WRITE_BYTES_MAX + 4096)
            except OSError as error:
                if error.errno == errno.ENODEV:  # unmounted
                    return
                if error.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                    continue
                raise
            self.asked_at = time.monotonic() - SLACK_S
            _, operation, unique, node = struct.unpack_from("<IIQQ", request)
            if operation in UNANSWERED:
                continue
            try:
                status, body = 0, self.answer(operation, node, memoryview(request)[40:].tobytes()
                                              if operation == LOOKUP else
                                              memoryview(request)[40:])
            except OSError as error:
                status, body = -error.errno, b""
            with contextlib.suppress(FileNotFoundError):  # its asker was killed
                os.writev(self.device, [struct.pack("<IiQ", 16 + len(body), status, unique), body])


def _run(*words):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if done.returncode:
        raise Unavailable(f"needs `{words[0]}`: {done.stderr.strip()}")
    return done.stdout.strip()


@contextlib.contextmanager
def slow_disk(rate, sync_s, size=3 << 30):
    """A folder on an ext4 of a disk that takes and gives `rate` bytes a second and for each flush
    of its cache `sync_s`. Made at full speed; slow from when it is handed out."""
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        raise Unavailable("needs root and /dev/fuse")
    folder = Path(tempfile.mkdtemp(prefix="flotilla-disk-", dir="/var/tmp"))
    fuse, disk = folder / "fuse", folder / "disk"
    fuse.mkdir()
    disk.mkdir()
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        server = subprocess.Popen([sys.executable, __file__, fuse, str(size), str(rate),
                                   str(sync_s)])
        stack.callback(server.wait)
        stack.callback(server.kill)
        stack.callback(subprocess.run, ["umount", "-l", fuse], capture_output=True)
        image = fuse / "disk"
        end = time.monotonic() + 20
        while not image.exists():
            if server.poll() is not None or time.monotonic() > end:
                raise Unavailable("needs to mount a file system of its own")
            time.sleep(0.02)
        loop = _run("losetup", "--find", "--show", "--direct-io=on", image)
        stack.callback(subprocess.run, ["losetup", "-d", loop], capture_output=True)
        # Few tables, and none written behind one's back.
        _run("mkfs.ext4", "-q", "-O", "^has_journal", "-E", "lazy_itable_init=0,nodiscard", "-N",
             "256", loop)
        _run("mount", loop, disk)
        stack.callback(subprocess.run, ["umount", "-l", disk], capture_output=True)
        yield disk


if __name__ == "__main__":
    Server(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])).serve()
