# SPDX-License-Identifier: MIT
"""100-manage-channels: channels are added, changed and removed by REST; the configuration on the
disk is what was asked for or what it was, whoever is killed at whatever call; what is refused says
why, at which part, and changes nothing; two who change the same do not overwrite each other."""
import concurrent.futures
import fcntl
import json
import shutil
import socket
import subprocess
import threading
import time

import fastavro
import pytest
from harness import signals
from harness.fleet import (BUILD, FLOTILLA, LONG, Addresses, flotilla, new_folder, to_yaml,
                           wait_until)
from harness.gateway import GATEWAY, GatewayFleet, raw

pytestmark = pytest.mark.skipif(not GATEWAY.exists(), reason="built without libmicrohttpd")
TRACE = BUILD / "units/trace_fault"
INCLUDE = {"include": "channels.d/*.yaml"}
SCHEMA = json.dumps(signals.SCHEMA, indent=1)
KILLS = 400 if LONG else 40


def keys_for(fleet, **more):
    return {"listen": fleet.addresses.group(), "interface": "lo", "time": "time", **more}


def send(fleet, path, method, body=None, **headers):
    return fleet.ask("/api/v1/" + path, method, None if body is None else json.dumps(body),
                     **({"Content_Type": "application/json"} if body is not None else {}),
                     **headers)


def on_disk(folder):
    """All that is configured: every file's bytes by its name."""
    return {str(path.relative_to(folder)): path.read_bytes()
            for where in ("fleet.yaml", "channels.d", "schemas")
            for path in sorted([folder / where, *(folder / where).rglob("*")]) if path.is_file()}


@pytest.fixture(scope="module")
def fleet():
    with GatewayFleet({"engine": {"schema": signals.SCHEMA, "time": "time"}}, top=INCLUDE) as made:
        yield made


def record(fleet, name, address, count):
    fleet.channels[name] = {"listen": address, "interface": "lo"}
    fleet.source(name, signals.samples(count), rate=20_000).finish()
    fleet.settle({name: count})
    rows = []
    for path in fleet.files(name):
        with open(path, "rb") as file:
            rows += list(fastavro.reader(file))
    return [row["counter"] for row in rows]


def test_100_added_changed_removed(fleet):
    engine = fleet.channel("engine")["pid"]
    keys = keys_for(fleet)
    made = send(fleet, "channels", "POST", {"name": "gps", "configuration": keys,
                                            "schema": SCHEMA})
    assert made.status == 201, made.body
    assert made.headers["Location"] == "/api/v1/channels/gps"
    assert made.json["added"] == ["gps"] and made.json["failed"] == []
    told = fleet.ask("/api/v1/channels/gps/configuration")
    assert told.headers["ETag"] == made.headers["ETag"] == told.json["etag"]
    assert told.json["editable"] and told.json["file"].endswith("channels.d/gps.yaml")
    path = told.json["configuration"]["schema"]
    assert told.json["configuration"] == {**keys, "schema": path}
    assert (fleet.folder / path).read_text() == SCHEMA
    assert fleet.ask("/api/v1/channels/gps/schema").body.decode() == SCHEMA
    wait_until(lambda: fleet.channel("gps")["state"] in ("running", "silent"))
    assert record(fleet, "gps", keys["listen"], 500) == list(range(500))

    wider = {**keys, "schema": path, "sequence": "counter", "sources": ["127.0.0.1", "10.0.0.0/8"],
             "full": fleet.addresses.group(), "record": True, "ttl": 3,
             "decimated": {"to": fleet.addresses.group(), "factor": 10, "keep": ["counter"]}}
    changed = send(fleet, "channels/gps", "PUT", {"configuration": wider},
                   If_Match=told.json["etag"])
    assert changed.status == 200 and changed.json["changed"] == ["gps"], changed.body
    again = fleet.ask("/api/v1/channels/gps/configuration").json
    assert again["configuration"] == wider and again["etag"] != told.json["etag"]
    resolved = fleet.ask("/api/v1/channels/gps").json["configuration"]
    assert resolved["decimated"] == {**wider["decimated"], "algorithm": "downsample"}
    flotilla("check", "-c", fleet.file, check=0)
    assert record(fleet, "gps", keys["listen"], 1000)[:500] == list(range(500))

    # As it was looked at before: nobody overwrites what another has changed meanwhile.
    before = on_disk(fleet.folder)
    for method, body in (("PUT", {"configuration": keys}), ("DELETE", None)):
        for tag in (told.json["etag"], '"0"', "W/" + again["etag"], '"' + "a" * 400 + '"'):
            assert send(fleet, "channels/gps", method, body, If_Match=tag).status == 412, tag
    assert on_disk(fleet.folder) == before

    # Another schema takes the place of the first one, whose file goes.
    other = json.dumps({**signals.SCHEMA, "doc": "another"})
    done = send(fleet, "channels/gps", "PUT", {
        "configuration": {key: value for key, value in wider.items() if key != "schema"},
        "schema": other}, If_Match=again["etag"])
    assert done.status == 200, done.body
    kept = list((fleet.folder / "channels.d/schemas").iterdir())
    assert [path.read_text() for path in kept] == [other]

    recordings = fleet.files("gps", part=False)
    gone = send(fleet, "channels/gps", "DELETE", If_Match=done.json["etag"])
    assert gone.status == 200 and gone.json["removed"] == ["gps"]
    assert send(fleet, "channels/gps", "DELETE").status == 404
    assert fleet.ask("/api/v1/channels/gps/configuration").status == 404
    assert [one["name"] for one in fleet.status()["channels"]] == ["engine"]
    del fleet.channels["gps"]
    assert not [name for name in on_disk(fleet.folder) if "gps" in name]
    assert recordings and all(path.exists() for path in recordings)
    assert fleet.channel("engine")["pid"] == engine  # nobody else was touched


def test_100_as_a_person_would_have_written_it(fleet):
    """Words that YAML would take for something else come back as they were sent; comments at the
    top of a file stay; null is not said."""
    path = fleet.folder / "channels.d/odd.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text("# The odd one.\n\n# Ask Ann.\nchannels:\n  odd:\n"
                    f"    listen: {fleet.addresses.group()}\n    interface: lo\n"
                    "    schema: ../schemas/engine.avsc  # of the engine\n")
    path.chmod(0o604)
    fleet.reload()
    told = fleet.ask("/api/v1/channels/odd/configuration").json
    assert told["configuration"]["schema"] == "schemas/engine.avsc" and told["line"] == 5
    keys = {**told["configuration"], "ttl": 2, "buffer": "16MiB", "full": None,
            "limits": {"cpu": "50%"}, "sources": ["10.0.0.0/8", "127.0.0.1"]}
    done = send(fleet, "channels/odd", "PUT", {"name": "odd", "configuration": keys})
    assert done.status == 200, done.body
    del keys["full"]
    assert fleet.ask("/api/v1/channels/odd/configuration").json["configuration"] == keys
    text = path.read_text()
    assert text.startswith("# The odd one.\n\n# Ask Ann.\nchannels:\n")
    assert "schema: ../schemas/engine.avsc\n" in text
    assert path.stat().st_mode & 0o777 == 0o604
    for word in ("yes: no", "# none", "- a", "a\nb", "\u0085", "\u2028x", 'qu"ote\\', "", "~", "{}",
                 "\x7f", "&a", "*a", "!t", "%x", "@", "`", "\u00e4\U0001f600"):
        wrong = send(fleet, "channels/odd", "PUT", {"configuration": {**keys, "time": word}})
        assert wrong.status == 400, (word, wrong.body)
        assert wrong.json["errors"][0]["pointer"] == "/configuration/time", (word, wrong.body)
        assert path.read_text() == text
    assert send(fleet, "channels/odd", "DELETE").status == 200


REFUSED = [  # what is sent, its status, the part that is wrong, words in the detail
    ("[]", 400, "", "no JSON object"),
    ("{", 400, "", "no JSON object"),
    ('{"name": "a", "name": "b", "configuration": {}}', 400, "", "no JSON object"),
    ({}, 400, "/configuration", "missing"),
    ({"configuration": {}}, 400, "/name", "missing"),
    ({"name": 5, "configuration": {}}, 400, "/name", "text"),
    ({"name": "new", "configuration": []}, 400, "/configuration", "object"),
    ({"name": "new", "configuration": {}, "scheme": "x"}, 400, "/scheme", "no such member"),
    ({"name": "../x", "configuration": {}}, 400, "/name", "a-z"),
    ({"name": "New", "configuration": {}}, 400, "/name", "a-z"),
    ({"name": "a" * 65, "configuration": {}}, 400, "/name", "a-z"),
    ({"name": "new", "configuration": {}}, 400, "/configuration", "listen is missing"),
    ({"name": "new", "configuration": {"listen": "!", "schema": "schemas/engine.avsc"}}, 400,
     "/configuration/listen", "ADDRESS:PORT"),
    ({"name": "new", "configuration": {"lisen": "OK", "schema": "schemas/engine.avsc"}}, 400,
     "/configuration/lisen", 'did you mean "listen"'),
    ({"name": "new", "configuration": {"listen": "OK", "interface": "nosuch0",
                                       "schema": "schemas/engine.avsc"}}, 400,
     "/configuration/interface", "no interface"),
    ({"name": "new", "configuration": {"listen": "OK", "schema": "schemas/none.avsc"}}, 400,
     "/configuration/schema", "No such file"),
    ({"name": "new", "configuration": {"listen": "OK", "schema": "/etc/passwd"}}, 400,
     "/configuration/schema", "below it"),
    ({"name": "new", "configuration": {"listen": "OK", "schema": "../../etc/passwd"}}, 400,
     "/configuration/schema", "below it"),
    ({"name": "new", "configuration": {"listen": "OK", "schema": 5}}, 400,
     "/configuration/schema", "path"),
    ({"name": "new", "configuration": {"listen": "OK", "schema": "x"}, "schema": "\"int\""}, 400,
     "/schema", "either"),
    ({"name": "new", "configuration": {"listen": "OK"}, "schema": "{\"type\": \"recrd\"}"}, 400,
     "/schema", "recrd"),
    ({"name": "new", "configuration": {"listen": "OK"}, "schema": 5}, 400, "/schema", "text"),
    ({"name": "new", "configuration": {"listen": "OK", "time": "tim"}, "schema": SCHEMA}, 400,
     "/configuration/time", "tim"),
    ({"name": "new", "configuration": {"listen": "OK", "decimated": {"to": "OK2", "factr": 3}},
      "schema": SCHEMA}, 400, "/configuration/decimated/factr", "factor"),
    ({"name": "new", "configuration": {"listen": "OK", "sources": [["a"]]}, "schema": SCHEMA}, 400,
     "/configuration/sources", "not valid"),
    ({"name": "new", "configuration": {"listen": "OK", "a/b~c": 1}, "schema": SCHEMA}, 400,
     "/configuration/a~1b~0c", "unknown key"),
    ({"name": "new", "configuration": {"listen": "ENGINE", "interface": "lo"}, "schema": SCHEMA},
     400, "/configuration/listen", "engine"),
    ({"name": "engine", "configuration": {"listen": "OK"}, "schema": SCHEMA}, 409, None,
     "fleet.yaml:"),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_100_refused(fleet, number):
    body, status, pointer, words = REFUSED[number]
    if not isinstance(body, str):
        body = json.dumps(body)
        for word, address in (("OK2", fleet.addresses.group()), ("OK", fleet.addresses.group()),
                              ("ENGINE", fleet.address("engine"))):
            body = body.replace(f'"{word}"', f'"{address}"')
    before, log = on_disk(fleet.folder), fleet.log()
    answer = fleet.ask("/api/v1/channels", "POST", body, Content_Type="application/json")
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert words in answer.json["detail"], answer.json
    pointers = [one["pointer"] for one in answer.json.get("errors", [])]
    assert pointers[:1] == ([] if pointer is None else [pointer]) or \
        (pointer == "" and not pointers), answer.json
    assert on_disk(fleet.folder) == before
    assert fleet.log() == log  # the manager was not even asked
    assert not list(fleet.folder.rglob("*unfinished*"))


def test_100_where_it_stands(fleet, tmp_path):
    """A channel of the main file, or of a file with others, is left to whoever wrote that."""
    told = fleet.ask("/api/v1/channels/engine/configuration").json
    assert not told["editable"] and f"{fleet.file}:{told['line']}" in told["reason"]
    body = {"configuration": told["configuration"]}
    for method, sent in (("PUT", body), ("DELETE", None)):
        refused = send(fleet, "channels/engine", method, sent)
        assert refused.status == 409 and refused.json["detail"] == told["reason"]
    assert send(fleet, "channels/nobody", "PUT", body).status == 404
    both = fleet.folder / "channels.d/both.yaml"
    both.parent.mkdir(exist_ok=True)
    both.write_text(to_yaml({"channels": {
        name: {**keys_for(fleet), "schema": "../schemas/engine.avsc"} for name in ("a", "b")}}))
    fleet.reload()
    refused = send(fleet, "channels/b", "DELETE")
    assert refused.status == 409 and "both.yaml:" in refused.json["detail"]
    # The name of a file that is somebody's is not taken.
    (fleet.folder / "channels.d/c.yaml").write_text("channels: {}\n")
    taken = send(fleet, "channels", "POST", {"name": "c", "schema": SCHEMA,
                                             "configuration": keys_for(fleet)})
    assert taken.status == 409 and "c.yaml" in taken.json["detail"]
    for name in ("both", "c"):
        (fleet.folder / f"channels.d/{name}.yaml").unlink()
    fleet.reload()


@pytest.mark.parametrize("include", [None, "one.yaml", "*/channels.yaml"])
def test_100_nowhere_to_write(include):
    (folder := new_folder()).joinpath("one.yaml").write_text("channels: {}\n")
    try:
        with GatewayFleet({"engine": {"schema": signals.SCHEMA}}, folder=folder,
                          top={"include": include} if include else {}) as fleet:
            told = fleet.ask("/api/v1/configuration").json
            assert not told["writable"] and "include: channels.d/*.yaml" in told["reason"]
            keys = {one["key"]: one for one in told["keys"]}
            assert keys["listen"]["required"] and keys["decimated.factor"]["default"] == "1"
            refused = send(fleet, "channels", "POST", {"name": "new", "schema": SCHEMA,
                                                       "configuration": keys_for(fleet)})
            assert refused.status == 409
            assert refused.json["detail"].replace('"new', '"name').replace(
                "new.yaml", "name.yaml") == told["reason"]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_100_a_pattern_for_everything():
    """Neither the schemas nor what is being written is taken for an included file."""
    with GatewayFleet({}, top={"include": "./channels.d/*"}) as fleet:
        for name in ("a", "b"):
            done = send(fleet, "channels", "POST", {"name": name, "schema": SCHEMA,
                                                    "configuration": keys_for(fleet)})
            assert done.status == 201, done.body
        flotilla("check", "-c", fleet.file, check=0)
        path = fleet.ask("/api/v1/channels/b/configuration").json["configuration"]["schema"]
        assert path.startswith("channels.d/.schemas/b-")


def test_100_all_at_once(fleet):
    """Many who add, change and remove at the same time: all of it holds, or who came too late is
    told; the configuration is whole at every look."""
    names = [f"many{number}" for number in range(4)]
    bodies = {name: {"name": name, "configuration": keys_for(fleet), "schema": SCHEMA}
              for name in names}
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda name: send(fleet, "channels", "POST", bodies[name]), names))
        assert [one.status for one in done] == [201] * 4, [one.body for one in done]
        flotilla("check", "-c", fleet.file, check=0)
        tag = done[0].headers["ETag"]
        changes = list(pool.map(lambda ttl: send(
            fleet, "channels/many0", "PUT", If_Match=tag, body={"schema": SCHEMA, "configuration": {
                **bodies["many0"]["configuration"], "ttl": ttl}}), range(2, 6)))
        assert sorted(one.status for one in changes) == [200, 412, 412, 412]
        winner = 2 + [one.status for one in changes].index(200)
        assert fleet.ask("/api/v1/channels/many0").json["configuration"]["ttl"] == winner
        gone = list(pool.map(lambda name: send(fleet, f"channels/{name}", "DELETE"), names))
        assert [one.status for one in gone] == [200] * 4, [one.body for one in gone]
    assert [one["name"] for one in fleet.status()["channels"]] == ["engine"]


def test_100_large(fleet):
    """A schema of a megabyte is taken; what is larger than anything is refused; the manager's
    memory is as it was."""
    schema = {**signals.SCHEMA, "doc": "x" * (1 << 20)}
    body = {"name": "large", "configuration": keys_for(fleet), "schema": json.dumps(schema)}
    assert send(fleet, "channels", "POST", body).status == 201
    assert len(fleet.ask("/api/v1/channels/large/schema").body) > 1 << 20
    assert send(fleet, "channels/large", "DELETE").status == 200
    said = raw(fleet.port, (f"POST /api/v1/channels HTTP/1.1\r\nHost: 127.0.0.1:{fleet.port}\r\n"
                            f"Content-Type: application/json\r\nContent-Length: {3 << 20}\r\n\r\n"
                            ).encode())
    assert said.startswith(b"HTTP/1.1 413 ")
    assert fleet.channel("engine")["state"] in ("running", "silent")


def test_100_no_change_by_asking(fleet):
    before, status = on_disk(fleet.folder), [one["pid"] for one in fleet.status()["channels"]]
    for path in ("channels", "channels/engine", "pins", "pins/p"):
        for method in ("GET", "HEAD", "OPTIONS"):
            fleet.ask("/api/v1/" + path, method)
    body = json.dumps({"name": "new", "schema": SCHEMA, "configuration": keys_for(fleet)})
    kind = {"Content_Type": "application/json"}
    for path, method in (("channels", "POST"), ("channels/engine", "PUT"), ("pins", "POST")):
        path = "/api/v1/" + path
        assert fleet.ask(path, method, body, Origin="http://evil.example", **kind).status == 403
        assert fleet.ask(path, method, body, host="evil.example", **kind).status == 421
        assert fleet.ask(path, method, body, Content_Type="text/plain").status == 415
        assert fleet.ask(path, method, body).status == 415
    assert fleet.ask("/api/v1/channels/engine", "DELETE", Origin="null").status == 403
    assert on_disk(fleet.folder) == before
    assert [one["pid"] for one in fleet.status()["channels"]] == status


def test_100_read_only():
    with GatewayFleet({"engine": {"schema": signals.SCHEMA}}, gateway={"read_only": True},
                      top=INCLUDE) as fleet:
        assert fleet.ask("/api/v1/health").json["read_only"] is True
        before = on_disk(fleet.folder)
        body = {"name": "new", "schema": SCHEMA, "configuration": keys_for(fleet)}
        for path, method, sent in (("channels", "POST", body), ("channels/engine", "PUT", body),
                                   ("channels/engine", "DELETE", None), ("pins/p", "DELETE", None),
                                   ("channels/engine/restart", "POST", None),
                                   ("pins", "POST", {"name": "p", "from": "-1h"})):
            refused = send(fleet, path, method, sent)
            assert refused.status == 403 and "read-only" in refused.json["detail"], path
        assert on_disk(fleet.folder) == before
        assert fleet.ask("/api/v1/channels/engine/configuration").status == 200
        assert send(fleet, "channels/engine/validate-schema", "POST", {}).status == 200


@pytest.mark.parametrize("reply", ['{"error": "not today", "exit": 78}\n', "nonsense", ""])
def test_100_a_manager_that_refuses(tmp_path, reply):
    """What it does not take, or does not answer, is put back, and the schema that came is gone."""
    (tmp_path / "run").mkdir()
    (tmp_path / "fleet.yaml").write_text("runtime: run\ninclude: channels.d/*.yaml\n")
    group, body = Addresses().group(), tmp_path / "body.json"
    path = tmp_path / "channels.d/gps.yaml"

    def channel(*words, check):
        return json.loads(flotilla("channel", *words, "-c", tmp_path / "fleet.yaml",
                                   check=check).stdout)
    body.write_text(json.dumps({"configuration": {"listen": group}, "schema": SCHEMA}))
    (tmp_path / "run/manager.lock").touch()
    channel("gps", "--add", body, check=0)
    body.write_text(json.dumps({"configuration": {"listen": Addresses().group()},
                                "schema": '"long"'}))
    before = on_disk(tmp_path)
    looks = []

    def answer(listener):
        while True:
            try:
                client = listener.accept()[0]
            except OSError:
                return
            with client:
                looks.append((json.loads(client.makefile().readline()), on_disk(tmp_path)))
                client.sendall(reply.encode())
    with open(tmp_path / "run/manager.lock", "ab") as lock, \
            socket.socket(socket.AF_UNIX) as listener:
        fcntl.flock(lock, fcntl.LOCK_EX)
        listener.bind(str(tmp_path / "run/control.sock"))
        listener.listen()
        served = threading.Thread(target=answer, args=(listener,))
        served.start()
        try:
            for words in (("new", "--add", body), ("gps", "--change", body), ("gps", "--remove")):
                done = channel(*words, check=78 if "error" in reply else 1)
                assert done["refused"] == ("invalid" if "error" in reply else "failed")
                assert "not today" in done["text"] or "error" not in reply
                assert on_disk(tmp_path) == before
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            served.join()
    # It was asked when the new one was in place.
    assert [look[0] for look in looks] == [{"verb": "reload"}] * 3
    assert all(look[1] != before for look in looks)
    assert path.exists()


# ---- kills ----

def whole(folder, old, new):
    """Whether the channel's file is the one or the other, and everything as it is to be."""
    path = folder / "channels.d/gps.yaml"
    text = path.read_text() if path.exists() else None
    assert text in (old, new), text
    flotilla("check", "-c", folder / "fleet.yaml", check=0)
    return text == new


@pytest.mark.parametrize("action", ["add", "change", "remove"])
def test_100_killed_at_every_call(rng, action):
    """The process that writes, at the entry and the exit of its system calls, drawn by the seed."""
    folder = new_folder()
    try:
        group = Addresses().group()
        (folder / "channels.d").mkdir()
        (folder / "run").mkdir()
        (folder / "run/manager.lock").touch()  # nobody holds it: no fleet runs, without a search
        (folder / "fleet.yaml").write_text("runtime: run\ninclude: channels.d/*.yaml\n")
        path = folder / "channels.d/gps.yaml"
        old = None if action == "add" else \
            f"# old\nchannels:\n  gps: {{listen: '{group}', interface: lo, encoding: opaque}}\n"
        body = folder / "body.json"
        body.write_text(json.dumps({"configuration": {"listen": group, "interface": "lo"},
                                    "schema": SCHEMA}))
        words = ["--remove"] if action == "remove" else [f"--{action}", body]
        command = [FLOTILLA, "channel", "gps", *words, "-c", folder / "fleet.yaml"]

        def reset():
            shutil.rmtree(folder / "channels.d/schemas", ignore_errors=True)
            path.unlink(missing_ok=True)
            if old is not None:
                path.write_text(old)

        def run(*plan):
            reset()
            report = folder / "report"
            subprocess.run([TRACE, *map(str, plan), "--report", report, *map(str, command)],
                           capture_output=True, timeout=60)
            return json.loads(report.read_text())
        first = run()
        assert first["code"] == 0, first
        assert first["calls"]["fsync"] >= (1 if action == "remove" else 4)
        new = path.read_text() if path.exists() else None
        assert new != old
        calls = sum(first["calls"].values())
        outcomes = set()
        # Most of what it does first is to read; what it writes is at its end.
        points = sorted(rng.sample(range(1, calls + 1), min(KILLS // 2, calls)))
        points += range(max(1, calls - KILLS), calls + 1)
        for number, point in enumerate(points):
            life = run(f"--kill-{'entry' if number % 2 else 'exit'}", point)
            assert life.get("signal") == 9 or life.get("code") == 0, life
            outcomes.add(whole(folder, old, new))
        assert outcomes == {False, True}
        # What a kill has left is gone with the next change.
        reset()
        flotilla("channel", "gps", *words, "-c", folder / "fleet.yaml", check=0)
        left = {entry.name for entry in (folder / "channels.d").rglob("*") if entry.is_file()}
        assert not [name for name in left if "unfinished" in name] or action == "remove", left
    finally:
        shutil.rmtree(folder)


def test_100_manager_killed(rng):
    """The manager, at moments while it has a channel changed: the next one runs what is there, and
    nothing that was sent is lost."""
    with GatewayFleet({"engine": {"schema": signals.SCHEMA, "sequence": "counter"}},
                      top=INCLUDE) as fleet:
        keys = keys_for(fleet)
        body = {"name": "gps", "configuration": keys, "schema": SCHEMA}
        source = fleet.source("engine", signals.samples(4000), rate=1000)
        for number in range(20 if LONG else 4):
            there = (fleet.folder / "channels.d/gps.yaml").exists()
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                def ask():
                    try:
                        return send(fleet, "channels/gps" if there else "channels",
                                    "DELETE" if there else "POST", None if there else body).status
                    except OSError:
                        return None
                asked = pool.submit(ask)
                time.sleep(rng.uniform(0, 0.06))
                fleet.kill_manager()
                asked.result()
            wait_until(lambda: not fleet.processes("flotilla"), what="whoever writes to end")
            path = fleet.folder / "channels.d/gps.yaml"
            assert not path.exists() or "listen: " + keys["listen"] in path.read_text()
            flotilla("check", "-c", fleet.file, check=0)
            fleet.start()
            wait_until(fleet.serves)
            names = {one["name"] for one in fleet.status()["channels"]}
            assert names == ({"engine", "gps"} if path.exists() else {"engine"})
        source.finish()
        fleet.settle({"engine": 4000})
        assert fleet.channel("engine")["datums_recorded"] == 4000
        assert fleet.channel("engine")["sequence_gaps"] == 0
