# SPDX-License-Identifier: MIT
"""024-package: `make deb` makes a package that installs into a root with nothing but what it
depends on, and a fleet runs there. The root is made of the installed dependencies' own files, in a
namespace of its own; and, where a mirror answers, of its packages, by mmdebstrap."""
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from harness import container
from harness.builds import make
from harness.fleet import ROOT, new_folder

FLEET = """\
runtime: run
storage: {directory: recordings, sync: 100ms}
channels:
  engine:
    listen: 239.192.9.1:26002
    interface: lo
    schema: schemas/engine.avsc
    time: time
    sequence: counter
    full: 239.192.9.2:26003
"""

# What is done in the root, in a network, a process table and mounts of its own: all of it ends with
# the shell. $1 is the root.
INSIDE = """
set -eu
root=$1
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
ip link set lo up
in_root() { PATH=/usr/sbin:/usr/bin chroot "$root" "$@"; }
in_root /usr/bin/flotilla --version
in_root /usr/bin/flotilla check -c /srv/fleet.yaml
in_root /usr/bin/flotilla doctor -c /srv/fleet.yaml
in_root /usr/bin/flotilla run -c /srv/fleet.yaml 2>"$root/srv/log" &
tries=0
until in_root /usr/bin/flotilla status --json -c /srv/fleet.yaml 2>/dev/null |
    grep -qE '"state": "(running|silent)"'; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || { cat "$root/srv/log"; exit 1; }
    sleep 0.1
done
in_root /usr/bin/flotilla send engine --rate 100 --count 200 -c /srv/fleet.yaml
in_root /usr/bin/flotilla stop -c /srv/fleet.yaml
wait
for file in "$root"/srv/recordings/engine/*.avro; do
    in_root /usr/bin/flotilla verify "${file#"$root"}"
done
"""


pytestmark = pytest.mark.xdist_group("package")  # build/deb is one folder


DEPENDS = ["libbz2-1.0", "libc6", "libjansson4", "liblzma5", "libsnappy1v5", "libyaml-0-2",
           "libzstd1", "zlib1g"]


def say(*words, check=True, **kw):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, **kw)
    assert not check or done.returncode == 0, (words, done.stdout[-3000:], done.stderr[-3000:])
    return done


@pytest.fixture(scope="module")
def package():
    if not shutil.which("dpkg-shlibdeps"):
        pytest.skip("needs dpkg-dev")
    path = ROOT / make("deb").splitlines()[-1]
    assert path.suffix == ".deb"
    return path


@pytest.fixture
def bare(needs_root):
    folder = new_folder("flotilla-root-")
    yield folder
    assert not [line for line in Path("/proc/mounts").read_text().splitlines()
                if str(folder) in line], "something is still mounted there"
    shutil.rmtree(folder)


def test_024_what_is_in_it(package):
    fields = dict(line.split(": ", 1) for line in
                  say("dpkg-deb", "-f", package).stdout.splitlines() if re.match(r"\w.*: ", line))
    version = re.search(r"version: '([\d.]+)'", (ROOT / "meson.build").read_text()).group(1)
    assert fields["Package"] == "flotilla" and fields["Version"].startswith(f"{version}-")
    depends = sorted(word.split()[0] for word in fields["Depends"].split(", "))
    assert depends == DEPENDS
    listed = {}
    for line in say("dpkg-deb", "-c", package).stdout.splitlines():
        mode, owner, _, _, _, name = line.split(None, 5)
        assert owner == "root/root" and (mode[0] == "l" or mode[8] != "w"), line
        listed[name.split(" -> ")[0].removeprefix(".")] = mode
    share = "/usr/share/"
    wanted = ["/usr/bin/flotilla", "/usr/bin/flotilla-relay", "/usr/bin/flotilla-keeper",
              "/usr/bin/flotilla-overview", share + "man/man1/flotilla.1.gz",
              share + "man/man1/flotilla-relay.1.gz", share + "man/man1/flotilla-keeper.1.gz",
              share + "man/man1/flotilla-overview.1.gz", share + "man/man5/fleet.yaml.5.gz",
              share + "bash-completion/completions/flotilla",
              share + "zsh/vendor-completions/_flotilla", share + "flotilla/fleet.schema.json",
              share + "doc/flotilla/copyright", share + "doc/flotilla/changelog.gz",
              share + "doc/flotilla/examples/fleet.yaml",
              "/usr/lib/systemd/system/flotilla.service",
              "/usr/lib/systemd/system/flotilla-relay@.service",
              "/usr/lib/systemd/system/flotilla-relay@.socket",
              "/usr/lib/sysusers.d/flotilla.conf", "/usr/lib/tmpfiles.d/flotilla.conf"]
    wanted += [share + f"doc/flotilla/examples/schemas/{path.name}"
               for path in (ROOT / "examples/schemas").glob("*.avsc")]
    assert set(wanted) <= set(listed)
    assert all(listed[program][3] == "x" for program in wanted[:4])


def test_024_export_is_a_package_of_its_own(package, tmp_path):
    """The core needs no libhdf5, and says what is missing."""
    path = package.with_name(package.name.replace("_", "-export_", 1))
    fields = say("dpkg-deb", "-f", path).stdout
    assert "Depends: flotilla (= " in fields and "libdeflate0" in fields and "libhdf5" in fields
    say("dpkg-deb", "-x", package, tmp_path / "core")
    flotilla = tmp_path / "core/usr/bin/flotilla"
    assert not (flotilla.parent / "flotilla-export").exists()
    missing = say(flotilla, "export", "--help", check=False, env={"PATH": "/nowhere"})
    assert missing.returncode == 1 and "there is no program flotilla-export" in missing.stderr
    say("dpkg-deb", "-x", path, tmp_path / "core")
    assert "hdf5" in say(flotilla, "export", "--help", env={"PATH": "/nowhere"}).stdout


def test_024_gateway_beside_it(package, tmp_path):
    """As export, a package of its own with what it links."""
    found = list(package.parent.glob(package.name.replace("_", "-gateway_", 1)))
    if not found:
        pytest.skip("built without libmicrohttpd and wslay")
    fields = say("dpkg-deb", "-f", found[0]).stdout
    assert "Depends: flotilla (= " in fields and "libmicrohttpd" in fields
    assert "libwslay" in fields
    say("dpkg-deb", "-x", found[0], tmp_path / "own")
    assert "by HTTP" in say(tmp_path / "own/usr/bin/flotilla-gateway", "--help").stdout


def test_024_the_same_twice(package):
    first = package.read_bytes()
    make("deb")
    assert package.read_bytes() == first


def test_024_lintian(package):
    if not shutil.which("lintian"):
        pytest.skip("needs lintian")
    said = say("lintian", *(["--allow-root"] if os.geteuid() == 0 else []), "--fail-on",
               "error,warning", package, check=False, timeout=120)
    assert said.returncode == 0 and not said.stdout.strip(), said.stdout + said.stderr


def installed_closure(names):
    """The packages and what they depend on, of those that are installed here."""
    found, wanted = {}, list(names)
    while wanted:
        name = wanted.pop()
        if name in found:
            continue
        said = say("dpkg-query", "-W", "-f", "${binary:Package}\t${Pre-Depends}, ${Depends}\n",
                   name, check=False)
        if said.returncode:  # a virtual package or an alternative that is not there
            continue
        full, _, depends = said.stdout.splitlines()[0].partition("\t")
        found[name] = full
        wanted += [re.split(r"[ :(]", one.strip())[0]
                   for group in depends.split(",") for one in group.split("|") if one.strip()]
    return sorted(set(found.values()))


def make_root(folder, packages):
    """A root with the files of these installed packages, and dpkg's word that they are there."""
    for name in ("proc", "dev", "srv", "tmp", "var/lib/dpkg/info", "var/lib/dpkg/updates"):
        (folder / name).mkdir(parents=True)
    usr_merged = Path("/lib").is_symlink()
    for name in ("bin", "lib", "lib64", "sbin"):
        (folder / "usr" / name).mkdir(parents=True)
        if usr_merged:
            (folder / name).symlink_to(f"usr/{name}")
    for name in packages:
        for line in say("dpkg-query", "-L", name).stdout.splitlines():
            source = Path(line)
            if not line.startswith(("/lib", "/usr/lib")) or source.is_dir():
                continue
            if source.is_symlink() or source.is_file():
                target = folder / str(source).lstrip("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                if not target.is_symlink() and not target.exists():
                    shutil.copy2(source, target, follow_symlinks=False)
    # Essential, so that no package need depend on it: what runs the package's own scripts.
    shutil.copy2(Path("/bin/sh").resolve(), folder / "bin/sh")
    status = "\n".join(say("dpkg-query", "-s", name).stdout for name in packages)
    (folder / "var/lib/dpkg/status").write_text(status)


def run_inside(folder):
    """A fleet of two seconds in the root; the recording is read from outside."""
    srv = folder / "srv"
    (srv / "fleet.yaml").write_text(FLEET)
    shutil.copytree(folder / "usr/share/doc/flotilla/examples/schemas", srv / "schemas")
    done = say("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--propagation",
               "private", "sh", "-c", INSIDE, "sh", folder, check=False, timeout=60)
    assert done.returncode == 0, (done.stdout, done.stderr)
    (recording,) = (srv / "recordings/engine").glob("*.avro")
    assert container.count(recording) == 200


def can_unshare():
    done = say("unshare", "--mount", "--net", "--pid", "--fork", "true", check=False)
    if done.returncode:
        pytest.skip(f"needs namespaces: {done.stderr.strip()}")


def test_024_a_root_with_nothing_else(package, bare):
    can_unshare()
    closure = installed_closure(DEPENDS)
    assert len(closure) < 18, closure
    make_root(bare, [name for name in closure if not name.startswith("libyaml")])
    refused = say("dpkg", f"--root={bare}", "--install", package, check=False)
    assert refused.returncode != 0 and "libyaml-0-2" in refused.stderr, "the dependency is real"
    shutil.rmtree(bare)
    bare.mkdir()
    make_root(bare, closure)
    say("dpkg", f"--root={bare}", "--install", package)
    assert "install ok installed" in (bare / "var/lib/dpkg/status").read_text()
    run_inside(bare)
    say("dpkg", f"--root={bare}", "--purge", "flotilla")
    assert not list((bare / "usr").rglob("*flotilla*"))


def test_024_a_clean_root_of_a_mirror(package, bare):
    if not shutil.which("mmdebstrap"):
        pytest.skip("needs mmdebstrap")
    can_unshare()
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines()
                   if "=" in line)["VERSION_CODENAME"].strip('"')
    made = say("mmdebstrap", "--mode=root", "--variant=apt", "--skip=check/empty", release, bare,
               check=False, timeout=300)
    if made.returncode:
        pytest.skip(f"needs a package mirror: {made.stderr.strip().splitlines()[-1]}")
    shutil.copy(package, bare / "tmp/flotilla.deb")
    shutil.copy("/etc/resolv.conf", bare / "etc/resolv.conf")
    update = say("chroot", bare, "apt-get", "update", "-qq", "--error-on=any", check=False,
                 timeout=300)
    if update.returncode:
        pytest.skip(f"needs a package mirror: {update.stderr.strip().splitlines()[-1]}")
    say("chroot", bare, "apt-get", "install", "-y", "-qq", "/tmp/flotilla.deb", timeout=300,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
    run_inside(bare)
