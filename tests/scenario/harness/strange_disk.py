# SPDX-License-Identifier: MIT
"""A file system by FUSE that lacks what is asked of it to lack, over a plain folder: as drivers of
exFAT, FAT, NTFS and of remote disks do. A program of its own, ended by unmounting:

    strange_disk.py MOUNT FOLDER [--links] [--file-max BYTES] [--room BYTES] [--no-folder-sync]
                    [--held]

Without hard links and without the flags of a rename, unless `--links`; a file ends at `--file-max`
(EFBIG), all files together at `--room` (EDQUOT, as a quota says it). `FOLDER.fault`, beside the
folder, holds the name of an errno that every call fails with while it is there. With `--held`,
writes and syncs wait for as long as there is a `FOLDER.held`.
Relies on fusepy (ctypes over libfuse 2), /dev/fuse and the right to mount."""
import argparse
import contextlib
import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest


@contextlib.contextmanager
def mounted(mount, folder, *flags):
    """The file system in `mount`, over `folder`; both are made. Skips where there is no FUSE."""
    pytest.importorskip("fusepy", reason="needs fusepy")
    if not os.access("/dev/fuse", os.W_OK):
        pytest.skip("needs /dev/fuse")
    mount.mkdir(exist_ok=True)
    folder.mkdir(exist_ok=True)
    child = subprocess.Popen([sys.executable, __file__, str(mount), str(folder), *map(str, flags)],
                             stderr=subprocess.PIPE, text=True)
    try:
        end = time.monotonic() + 60
        while not os.path.ismount(mount):
            if child.poll() is not None or time.monotonic() > end:
                pytest.skip(f"needs mounts by FUSE: {child.communicate()[1].strip()}")
            time.sleep(0.02)
        yield child
    finally:
        subprocess.run(["umount", "-l", str(mount)], capture_output=True)
        child.kill()
        child.communicate()


def serve():
    import fusepy

    ask = argparse.ArgumentParser()
    ask.add_argument("mount")
    ask.add_argument("folder")
    ask.add_argument("--links", action="store_true")
    ask.add_argument("--file-max", type=int)
    ask.add_argument("--room", type=int)
    ask.add_argument("--no-folder-sync", action="store_true")
    ask.add_argument("--held", action="store_true")
    told = ask.parse_args()
    fault, held = Path(told.folder + ".fault"), Path(told.folder + ".held")

    class Disk(fusepy.Operations):
        use_ns = True

        def __call__(self, call, path, *rest):
            if call not in ("init", "destroy") and fault.exists():
                raise fusepy.FuseOSError(getattr(errno, fault.read_text().strip()))
            while call in ("write", "fsync", "fsyncdir") and held.exists():
                time.sleep(0.02)
            try:
                return getattr(self, call)(told.folder + path, *rest)
            except OSError as error:
                raise fusepy.FuseOSError(error.errno) from None

        def init(self, path):
            pass

        def getattr(self, path, handle=None):
            about = os.lstat(path)
            return {key: getattr(about, key) for key in
                    ("st_mode", "st_nlink", "st_uid", "st_gid", "st_size", "st_blocks")} | {
                        key: getattr(about, key + "_ns")
                        for key in ("st_atime", "st_mtime", "st_ctime")}

        def readdir(self, path, handle):
            return [".", "..", *os.listdir(path)]

        def mkdir(self, path, mode):
            os.mkdir(path, mode)

        def rmdir(self, path):
            os.rmdir(path)

        def unlink(self, path):
            os.unlink(path)

        def rename(self, path, to):
            os.rename(path, told.folder + to)

        def link(self, path, other):
            if not told.links:
                raise fusepy.FuseOSError(errno.EPERM)
            os.link(told.folder + other, path)

        def create(self, path, mode, info=None):
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)

        def open(self, path, flags):
            return os.open(path, os.O_RDWR)

        def read(self, path, count, offset, handle):
            return os.pread(handle, count, offset)

        def write(self, path, data, offset, handle):
            if told.file_max is not None:
                if offset >= told.file_max:
                    raise fusepy.FuseOSError(errno.EFBIG)
                data = data[:told.file_max - offset]
            if told.room is not None:
                used = sum(file.stat().st_size for file in Path(told.folder).rglob("*")
                           if file.is_file())
                if used + len(data) > told.room:
                    raise fusepy.FuseOSError(errno.EDQUOT)
            return os.pwrite(handle, data, offset)

        def truncate(self, path, length, handle=None):
            os.truncate(path, length)

        def fsync(self, path, data_only, handle):
            os.fdatasync(handle)

        def fsyncdir(self, path, data_only, handle):
            if told.no_folder_sync:
                raise fusepy.FuseOSError(errno.EINVAL)

        def release(self, path, handle):
            os.close(handle)

        def chmod(self, path, mode):
            os.chmod(path, mode)

        def utimens(self, path, times=None):
            os.utime(path, ns=times)

        def statfs(self, path):
            about = os.statvfs(path)
            return {key: getattr(about, key) for key in
                    ("f_bsize", "f_frsize", "f_blocks", "f_bfree", "f_bavail", "f_namemax")}

    fusepy.FUSE(Disk(), told.mount, foreground=True, nothreads=not told.held,
                fsname="strange", big_writes=True)


if __name__ == "__main__":
    serve()
