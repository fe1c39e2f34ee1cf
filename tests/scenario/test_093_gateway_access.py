# SPDX-License-Identifier: MIT
"""093-gateway-access: every request is judged by its host, its page and its token; what could be
read in two ways is refused; nobody keeps a connection for nothing; what the process may open."""
import os
import shutil
import socket
import subprocess
import time

import pytest
from harness import signals
from harness.fleet import LONG, ROOT, flotilla, wait_until
from harness.gateway import GATEWAY, GatewayFleet, ask, free_port, raw
from harness.web_socket import echo_gateway

pytestmark = pytest.mark.skipif(not GATEWAY.exists(), reason="built without libmicrohttpd")
TOKEN = "correct-horse-battery-staple"


@pytest.fixture(scope="module")
def fleet():
    with GatewayFleet({"engine": {"schema": signals.SCHEMA}},
                      gateway={"allowed_hosts": ["fleet.example", "[fd00::7]"],
                               "origins": ["https://tools.example"]}) as made:
        yield made


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """One that asks for a token, by flags alone and without a manager."""
    folder = tmp_path_factory.mktemp("guarded")
    port = free_port()
    (folder / "token").write_text(TOKEN + "\n")
    with subprocess.Popen([str(GATEWAY), f"--fleet={folder}", f"--directory={folder}",
                           f"--listen=127.0.0.1:{port}", f"--token-file={folder}/token"],
                          stderr=subprocess.DEVNULL) as one:
        wait_until(lambda: answers(port))
        yield port, folder, one
        one.terminate()


def answers(port):
    try:
        return ask(port, "/").status
    except OSError:
        return None


HOSTS = [("127.0.0.1:PORT", 200), ("localhost:PORT", 200), ("LOCALHOST:PORT", 200),
         ("127.8.8.8:PORT", 200), ("[::1]:PORT", 200), ("fleet.example", 200),
         ("fleet.example:443", 200), ("FLEET.example:1", 200), ("[fd00::7]", 200),
         ("[fd00:0::7]:99", 200),
         ("localhost", 421), ("127.0.0.1", 421), ("localhost:1", 421), ("127.0.0.1:80", 421),
         ("evil.example:PORT", 421), ("evil.example", 421), ("localhost.evil.example:PORT", 421),
         ("fleet.example.evil.example", 421), ("xfleet.example", 421), ("10.0.0.1:PORT", 421),
         ("127.0.0.1.evil.example:PORT", 421), ("localhost:PORT:PORT", 421), ("", 421),
         ("localhost:0PORT0", 421), ("[::1", 421), ("::1:PORT", 421), ("localhost:PORT/", 421),
         ("user@localhost:PORT", 421), ("0x7f000001:PORT", 421), ("localhost.:PORT", 421)]


@pytest.mark.parametrize("path", ["/api/v1/health", "/metrics", "/nothing"])
def test_093_hosts(fleet, path):
    for host, wanted in HOSTS:
        host = host.replace("PORT", str(fleet.port))
        got = raw(fleet.port, f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
                  .encode())
        status = int(got.split()[1])
        assert status == (404 if wanted == 200 and path == "/nothing" else wanted), (host, got)


def test_093_origins(fleet):
    """Pages of others neither ask nor change; those of the list do both, and are told so."""
    own = f"http://localhost:{fleet.port}"
    for origin, good in ((own, True), ("https://tools.example", True),
                         ("https://fleet.example", True), ("http://tools.example", False),
                         ("https://tools.example.evil.example", False), ("null", False),
                         ("https://evil.example", False), ("http://localhost:1", False),
                         ("http://fleet.example:9999", False),
                         ("https://fleet.example:9999", False),
                         ("file://", False), ("", False)):
        for method, path in (("GET", "/api/v1/channels"),
                             ("POST", "/api/v1/channels/engine/restart")):
            got = ask(fleet.port, path, method, Origin=origin)
            assert got.status == (200 if good else 403), (origin, method)
            allowed = got.headers.get("Access-Control-Allow-Origin")
            assert allowed == (origin if origin == "https://tools.example" else None)
            assert got.headers["Vary"].startswith("Origin")
    for origin, status in (("https://fleet.example:8443", 200), ("https://fleet.example:9", 403)):
        assert ask(fleet.port, "/api/v1/health", Host="fleet.example:8443",
                   Origin=origin).status == status
    flight = ask(fleet.port, "/api/v1/channels/engine/restart", "OPTIONS",
                 Origin="https://tools.example")
    assert flight.status == 204
    assert flight.headers["Access-Control-Allow-Methods"] == "POST, OPTIONS"
    assert "Authorization" in flight.headers["Access-Control-Allow-Headers"]
    assert ask(fleet.port, "/", "OPTIONS", Origin="https://evil.example").status == 403


def test_093_pages_of_others_without_an_origin(fleet):
    """A picture, a link, a fetch without CORS name no origin; the browser says whose they are."""
    for site, good in (("cross-site", False), ("same-site", False), ("same-origin", True),
                       ("none", True)):
        for mode in ("no-cors", "navigate"):
            for path in ("/api/v1/channels", "/api/v1/doctor", "/metrics",
                         "/api/v1/export?channels=engine&format=h5"):
                if good and path != "/api/v1/channels":
                    continue  # what they answer is tried elsewhere
                got = ask(fleet.port, path, Sec_Fetch_Site=site, Sec_Fetch_Mode=mode)
                assert got.status == (200 if good else 403), (site, mode, path)
    listed = ask(fleet.port, "/api/v1/channels", Origin="https://tools.example",
                 Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="cors")
    assert listed.status == 200
    html = {"Accept": "text/html", "Sec_Fetch_Site": "cross-site"}
    page = ask(fleet.port, "/", Accept="text/html").headers["Content-Type"].startswith("text/html")
    assert ask(fleet.port, "/", **html, Sec_Fetch_Mode="navigate").status == (200 if page else 403)
    assert ask(fleet.port, "/", **html, Sec_Fetch_Mode="no-cors").status == 403


def test_093_header_of_every_answer(fleet):
    for path in ("/", "/metrics", "/api/v1/health", "/nothing", "/api/v1/channels?x=1"):
        got = ask(fleet.port, path).headers
        assert got["Content-Security-Policy"].startswith("default-src 'none'; frame-ancestors")
        assert (got["X-Content-Type-Options"], got["X-Frame-Options"]) == ("nosniff", "DENY")
        assert got["Cross-Origin-Resource-Policy"] == "same-origin"
        assert got["Referrer-Policy"] == "no-referrer" and got["Cache-Control"] == "no-store"


def test_093_token(guarded):
    port, folder, one = guarded
    assert ask(port, "/", Authorization=f"Bearer {TOKEN}").status == 200
    assert ask(port, "/", Authorization=f"bearer  {TOKEN}").status == 200
    for wrong in (None, "", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x",
                  "Bearer ", "Bearer", f"Bearer {TOKEN.upper()}", "Bearer " + "x" * 2000):
        for path in ("/", "/metrics", "/nothing", "/api/v1/openapi.json"):
            got = ask(port, path, **({} if wrong is None else {"Authorization": wrong}))
            assert got.status == 401, (wrong, path)
            assert got.headers["WWW-Authenticate"].startswith("Bearer")
            assert TOKEN.encode() not in got.body
    assert ask(port, "/?token=" + TOKEN).status == 401  # never in the address
    time.sleep(0.01)
    (folder / "token").write_text("another-token-that-is-long\n")
    assert one.wait(60) == 79  # to be started again, with the new one


def test_093_configuration(tmp_path):
    def check(gateway, code, said=""):
        file = tmp_path / "fleet.yaml"
        file.write_text(f"runtime: run\ngateway: {gateway}\nchannels: {{}}\n")
        done = flotilla("check", "-c", file)
        assert done.returncode == code and said in done.stderr, done.stderr
    check("{listen: 127.0.0.1:8080}", 0)
    check("{listen: 0.0.0.0:8080}", 78, "token_file is needed")
    check("{listen: 192.0.2.1:8080}", 78, "token_file is needed")
    check("{listen: 0.0.0.0:8080, token_file: token}", 0)
    check("{listen: 239.1.2.3:8080, token_file: token}", 78, "an address of this host")
    check("{listen: 127.0.0.1:8080, allowed_hosts: [a.example, b.example]}", 0)
    check("{listen: 127.0.0.1:8080, allowed_hosts: ['*.example']}", 78, "is not a host's name")
    check("{listen: 127.0.0.1:8080, allowed_hosts: ['a.example:80']}", 78, "is not a host's name")
    check("{listen: 127.0.0.1:8080, origins: [https://a.example:8443]}", 0)
    check("{listen: 127.0.0.1:8080, origins: [a.example]}", 78, "is not an origin")
    check("{listen: 127.0.0.1:8080, origins: [https://a.example/x]}", 78, "is not an origin")
    for words in (["--listen=127.0.0.1:1"], ["--nothing=1"], ["-c"],
                  [f"--fleet={tmp_path}", f"--directory={tmp_path}", "--listen=0.0.0.0:8080"]):
        done = subprocess.run([str(GATEWAY), *words], capture_output=True, text=True, timeout=60)
        assert done.returncode == 2 and done.stderr, words
    (tmp_path / "short").write_text("short")
    done = subprocess.run([str(GATEWAY), f"--fleet={tmp_path}", f"--directory={tmp_path}",
                           "--listen=127.0.0.1:1", f"--token-file={tmp_path}/short"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "a token is one line of 16 to 512" in done.stderr


# Each is refused, or the connection ended without an answer; never is it a good one.
GET = b"GET /api/v1/health HTTP/1.1\r\nHost: localhost:PORT\r\n"
POST = b"POST /api/v1/channels/engine/restart HTTP/1.1\r\nHost: localhost:PORT\r\n"
TORTURE = {
    "two_lengths": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
    "same_lengths": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "length_list": POST + b"Content-Length: 2, 2\r\n\r\n{}",
    "length_sign": POST + b"Content-Length: +2\r\n\r\n{}",
    "length_minus": POST + b"Content-Length: -1\r\n\r\n{}",
    "length_hex": POST + b"Content-Length: 0x2\r\n\r\n{}",
    "length_huge": POST + b"Content-Length: 99999999999999999999999\r\n\r\n{}",
    "length_beyond": POST + b"Content-Type: application/json\r\nContent-Length: 9999999\r\n\r\n{}",
    "chunked": POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both_again": POST + b"Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "chunked_odd": POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "fold": GET + b"X-Field: one\r\n two\r\n\r\n",
    "fold_host": b"GET /api/v1/health HTTP/1.1\r\nHost: local\r\n\thost:PORT\r\n\r\n",
    "fold_first": b"GET /api/v1/health HTTP/1.1\r\n Host: localhost:PORT\r\n\r\n",
    "no_host": b"GET /api/v1/health HTTP/1.1\r\n\r\n",
    "no_host_old": b"GET /api/v1/health HTTP/1.0\r\n\r\n",
    "two_hosts": GET + b"Host: localhost:PORT\r\n\r\n",
    "host_blank": b"GET /api/v1/health HTTP/1.1\r\nHost : localhost:PORT\r\n\r\n",
    "name_blank": GET + b"X Field: x\r\n\r\n",
    "name_only": GET + b"X-Field\r\n\r\n",
    "value_control": GET + b"X-Field: a\x01b\r\n\r\n",
    "get_body": GET + b"Content-Length: 2\r\n\r\n{}",
    "version": b"GET /api/v1/health HTTP/9.9\r\nHost: localhost:PORT\r\n\r\n",
    "version_old": b"GET /api/v1/health\r\n\r\n",
    "preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
    "whole_url": b"GET http://localhost:PORT/api/v1/health HTTP/1.1\r\n"
                 b"Host: localhost:PORT\r\n\r\n",
    "star": b"GET * HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n",
    "authority": b"CONNECT localhost:22 HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n",
    "form": POST + b"Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}",
    "form_none": POST + b"Content-Length: 2\r\n\r\n{}",
    "long_target": b"GET /" + b"a" * 3000 + b" HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n",
    "huge_target": b"GET /" + b"a" * 40000 + b" HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n",
    "huge_field": GET + b"X-Field: " + b"a" * 40000 + b"\r\n\r\n",
    "many_fields": GET + b"X: y\r\n" * 5000 + b"\r\n",
}
PATHS = ["/api/v1/../v1/health", "/api/v1/./health", "//api/v1/health", "/api//v1/health",
         "/api/v1/health/", "/api/v1/%2e%2e/v1/health", "/api/v1/health%00", "/api/v1/health%00.x",
         "/api/v1%2fhealth", "/api/v1/files/..%2f..%2fetc%2fpasswd", "/api/v1/files/%2e%2e",
         "/api/v1/files/../../../etc/passwd", "/api/v1/files/engine%5c..%5cx", "/api/v1/heal%th",
         "/api/v1/health%", "/api/v1/health%f", "/api/v1/health%zz", "/api/v1/health#x",
         "/api/v1/health?", "/api/v1/health?x", "/api/v1/health?x=%00", "/api/v1/health?=1",
         "/api/v1/channels?status=running&status=failed", "/api/v1/channels?status=running&",
         "/api/v1/channels/engine/samples?points=0", "/api/v1/channels/engine/samples?points=1e3",
         "/api/v1/channels/%c0%ae%c0%ae/files", "/api/v1/channels/..%c0%af/files",
         "/a/b/c/d/e/f/g/h/i/j/k"]


@pytest.mark.parametrize("name", TORTURE)
def test_093_torture(fleet, name):
    pid = fleet.channel("engine")["pid"]
    got = raw(fleet.port, TORTURE[name].replace(b"PORT", str(fleet.port).encode()))
    assert not got.startswith(b"HTTP/1.1 2") and not got.startswith(b"HTTP/1.0 2"), got[:300]
    assert got.count(b"HTTP/1.") <= 2  # a smuggled second request would be answered, too
    assert fleet.channel("engine")["pid"] == pid
    assert answers(fleet.port) == 200


def test_093_paths(fleet):
    for path in PATHS:
        got = raw(fleet.port, f"GET {path} HTTP/1.1\r\nHost: localhost:{fleet.port}\r\n"
                  "Connection: close\r\n\r\n".encode())
        if path == "/api/v1/health?":
            assert got.startswith(b"HTTP/1.1 200"), path  # an empty query is none
            continue
        assert got[9:12] in (b"400", b"404", b"414"), (path, got[:200])
        assert b"root:" not in got


def test_093_a_second_request_behind_a_body_is_one(fleet):
    """Pipelined requests are answered one by one, each by its own length."""
    host = f"Host: localhost:{fleet.port}\r\n"
    one = (f"POST /api/v1/channels/engine/validate-schema HTTP/1.1\r\n{host}"
           "Content-Type: application/json\r\nContent-Length: 8\r\n\r\n\"double\"")
    two = f"GET /api/v1/health HTTP/1.1\r\n{host}Connection: close\r\n\r\n"
    got = raw(fleet.port, (one + one + two).encode())
    assert got.count(b"HTTP/1.1 200 OK") == 3, got[:2000]


def test_093_slow_and_many(fleet):
    """A header that never ends, idle ones, more than there is room for: others are served."""
    slow = socket.create_connection(("127.0.0.1", fleet.port), timeout=60)
    idle = [socket.create_connection(("127.0.0.1", fleet.port), timeout=60) for _ in range(200)]
    slow.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
    assert answers(fleet.port) == 200
    slow.settimeout(0.5)
    ended = time.monotonic() + 60
    while time.monotonic() < ended:  # a letter now and then does not keep it
        try:
            slow.sendall(b"X")
            if slow.recv(1000) == b"":
                break
        except TimeoutError:
            continue
        except (ConnectionResetError, BrokenPipeError):
            break
    else:
        raise AssertionError("a header that never ends was waited for")
    for one in idle:
        try:
            assert one.recv(1000) == b""
        except ConnectionResetError:
            pass
        one.close()
    slow.close()
    more = []
    try:
        for _ in range(400):
            more.append(socket.create_connection(("127.0.0.1", fleet.port), timeout=5))
    except OSError:
        pass
    for one in more:
        one.close()
    wait_until(lambda: answers(fleet.port) == 200)
    assert fleet.service()["restarts"] == 0


def test_093_random_bytes(fleet, rng):
    """Requests with letters changed, left out and put in: an answer or none, never its end."""
    seeds = [GET + b"\r\n", POST + b"Content-Length: 2\r\nContent-Type: application/json\r\n\r\n{}",
             *TORTURE.values()]
    for _ in range(3000 if LONG else 60):
        data = bytearray(rng.choice(seeds)[:2000].replace(b"PORT", str(fleet.port).encode()))
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(len(data))
            data[at:at + rng.randint(0, 2)] = rng.randbytes(rng.randint(0, 2))
        try:
            raw(fleet.port, bytes(data), seconds=0.1)
        except TimeoutError:  # it waits for the rest
            pass
    assert answers(fleet.port) == 200 and fleet.service()["restarts"] == 0


def test_093_sandbox(fleet):
    """It has no capability it could change anything with, and Landlock holds it."""
    pid = fleet.service()["pid"]
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        about = dict(line.split(":", 1) for line in file.read().splitlines())
    assert about["NoNewPrivs"].strip() == "1"
    kept = int(about["CapEff"], 16)
    assert kept & ~(1 << 2) == 0
    if os.geteuid() == 0:
        assert int(about["CapBnd"], 16) == 0


PROBE = ROOT / "build/units/sandbox_probe"
# Of the attempts that the relay's sandbox is tried with (028): what must not work in the gateway's,
# and what it goes on with.
SHUT = ["read_passwd", "read_by_openat", "read_by_dots", "read_by_symlink", "read_own_executable",
        "read_parent", "create_in_other", "write_others", "remove_others", "move_to_other",
        "move_from_other", "link_others", "make_symlink", "make_folder", "make_fifo", "run_program",
        "run_own_file", "keep_write_own", "keep_create_own", "keep_remove_own", "mount_over",
        "change_root", "take_capabilities"]
OPEN = ["keep_listing", "keep_reading", "udp_socket", "join_group", "start_thread", "keep_memory",
        "unix_socket"]


def needs_landlock():
    if "no Landlock" in flotilla("doctor", "-c", ROOT / "examples/fleet.yaml").stdout:
        pytest.skip("needs Landlock")


def test_093_what_the_sandbox_lets_through(fleet, tmp_path):
    """Each attempt in a process of its own behind the same call as the gateway's, and without it,
    where it works, or the test would show nothing. The gateway itself cannot be had to try: it
    opens no path that a client names."""
    needs_landlock()
    got = {}
    for name in SHUT + OPEN:
        for how in ("open", "read"):
            own, other = tmp_path / f"{name}-{how}/own", tmp_path / f"{name}-{how}/other"
            for place in (own, other):
                place.mkdir(parents=True)
                (place / "file").write_text("held")
            (other / "victim").write_text("held")
            (own / "link").symlink_to("/etc/passwd")
            shutil.copy("/bin/true", own / "program")
            pid = os.getpid()
            done = subprocess.run([PROBE, how, name, own, other, str(pid), str(pid)], text=True,
                                  capture_output=True, timeout=60)
            assert done.returncode == 0, (name, how, done)
            got[name, how] = done.stdout.strip() or "reached"  # another program ran in its place
    for name in SHUT:
        assert got[name, "read"].startswith("refused"), (name, got[name, "read"])
    for name in OPEN:
        assert (got[name, "open"], got[name, "read"]) == ("reached", "reached"), name
    may_lack = {"mount_over"} | ({"change_root", "take_capabilities"} if os.geteuid() else set())
    unreal = [name for name in SHUT if got[name, "open"] != "reached" and name not in may_lack]
    assert not unreal, [(name, got[name, "open"]) for name in unreal]


def test_093_the_gateway_is_in_it(fleet, tmp_path):
    """All its threads, and by what it answers: a folder of recordings that leads to another within
    is read, one that leads elsewhere is not, though who runs it may."""
    needs_landlock()
    fleet.source("engine", signals.samples(20)).finish()
    fleet.settle({"engine": 20})
    (recording,) = fleet.files("engine")
    inside, outside = tmp_path / "recordings", tmp_path / "elsewhere"
    ids = {}
    for name, folder in (("inside", inside / "real"), ("outside", outside)):
        folder.mkdir(parents=True)
        ids[name] = "-".join([name, *recording.name.removesuffix(".part").split("-")[1:]])
        shutil.copy(recording, folder / ids[name])
        (inside / name).symlink_to(folder)
        assert flotilla("cat", inside / name, check=0).stdout.count("\n") == 20
    with echo_gateway(inside, program=GATEWAY) as (port, one):
        assert ask(port, "/api/v1/files/" + ids["inside"]).status == 200
        refused = ask(port, "/api/v1/files/" + ids["outside"])
        assert refused.status == 500 and "Permission denied" in refused.json["detail"]
        for task in os.listdir(f"/proc/{one.pid}/task"):
            with open(f"/proc/{one.pid}/task/{task}/status", encoding="utf-8") as file:
                about = dict(line.split(":", 1) for line in file.read().splitlines())
            assert about["NoNewPrivs"].strip() == "1" and int(about["CapEff"], 16) & ~(1 << 2) == 0
