# SPDX-License-Identifier: MIT
"""097-prometheus: the distribution's Prometheus scrapes a gateway, takes the alert rules of the
examples and fires the one that a loss is for; it answers what the dashboard of the examples asks,
and that is a dashboard as Grafana's own models have it."""
import json
import os
import re
import signal
import subprocess
import urllib.parse
import urllib.request

import pytest
from harness import signals
from harness.fleet import ROOT, wait_until
from harness.gateway import GATEWAY, GatewayFleet, free_port

PROGRAMS = ROOT / "build/prometheus/usr/bin"
RULES = ROOT / "examples/prometheus/alerts.yaml"
DASHBOARD = ROOT / "examples/grafana/flotilla.json"
pytestmark = pytest.mark.skipif(not GATEWAY.exists(), reason="built without libmicrohttpd")
CHANNELS = {"engine": {"schema": signals.SCHEMA, "time": "time", "sequence": "counter"}}

CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ["{rules}"]
scrape_configs:
  - job_name: flotilla
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


class Prometheus:
    def __init__(self, folder, gateway_port):
        self.port = free_port()
        config = folder / "prometheus.yml"
        config.write_text(CONFIG.format(rules=RULES, port=gateway_port))
        checked = subprocess.run([PROGRAMS / "promtool", "check", "config", config],
                                 capture_output=True, text=True)
        assert checked.returncode == 0, checked.stdout + checked.stderr
        self.log = open(folder / "prometheus.log", "w")
        self.process = subprocess.Popen(
            [PROGRAMS / "prometheus", f"--config.file={config}",
             f"--storage.tsdb.path={folder / 'data'}",
             f"--web.listen-address=127.0.0.1:{self.port}"],
            stdout=self.log, stderr=subprocess.STDOUT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)
        self.log.close()

    def ask(self, path, **query):
        """None while it does not answer yet."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=20) as reply:
                return json.load(reply)["data"]
        except urllib.error.HTTPError as error:
            if error.code == 503:  # it is starting
                return None
            raise AssertionError((path, query, error.read().decode())) from error
        except OSError:
            return None

    def value(self, expression):
        found = (self.ask("query", query=expression) or {}).get("result", [])
        return float(found[0]["value"][1]) if found else None

    def firing(self):
        return {alert["labels"]["alertname"] for alert in (self.ask("alerts") or {}).get(
            "alerts", []) if alert["state"] == "firing"}


@pytest.fixture
def needs_prometheus():
    if not (PROGRAMS / "prometheus").exists():
        pytest.skip("needs the distribution's Prometheus: make setup")


def asked_by_the_dashboard():
    dashboard = json.loads(DASHBOARD.read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    for name, value in (("$channel", ".*"), ("$__rate_interval", "10s"), ("$__range", "5m")):
        asked = [expression.replace(name, value) for expression in asked]
    assert len(asked) > 15 and not any("$" in expression for expression in asked)
    return asked


def test_097_prometheus_fires(needs_prometheus, tmp_path):
    checked = subprocess.run([PROGRAMS / "promtool", "check", "rules", RULES], capture_output=True,
                             text=True)
    assert checked.returncode == 0 and "10 rules found" in checked.stdout, checked.stdout
    with GatewayFleet(CHANNELS) as fleet, Prometheus(tmp_path, fleet.port) as prometheus:
        pool = signals.samples(4000)
        fleet.source("engine", pool[:2000]).finish()
        fleet.settle({"engine": 2000})
        gaps = 'flotilla_sequence_gaps_total{channel="engine"}'
        wait_until(lambda: prometheus.value(gaps) == 0, what="a scrape")
        target = prometheus.ask("targets")["activeTargets"][0]
        assert (target["health"], target["lastError"]) == ("up", "")
        assert prometheus.value("flotilla_up") == 1
        assert prometheus.firing() == set()
        fleet.source("engine", pool[2010:] + [b"\x80" * 30]).finish()
        wanted = {"FlotillaSequenceGaps", "FlotillaDatagramsRejected"}
        wait_until(lambda: wanted <= prometheus.firing(), what="the alerts of the losses")
        assert prometheus.firing() == wanted
        assert prometheus.value(gaps) == 10
        assert prometheus.value('sum by (reason) (flotilla_datums_rejected_total)') == 1
        channel = fleet.channel("engine")
        for metric, least in (("write_seconds", 2), ("sync_seconds", 1)):
            counted = prometheus.value(f"flotilla_{metric}_count")
            assert counted >= least
            assert counted <= prometheus.value(f'flotilla_{metric}_bucket{{le="+Inf"}}') <= \
                channel[metric]["count"] + 5
        # Each is a question that it understands, and each but those of losses has an answer.
        silent = [expression for expression in asked_by_the_dashboard()
                  if not prometheus.ask("query", query=expression)["result"]]
        assert all(re.search("> 0$", expression) for expression in silent), silent


def test_097_metrics_are_as_prometheus_wants_them(needs_prometheus):
    """promtool's rules for names, types and help."""
    with GatewayFleet(CHANNELS) as fleet:
        page = fleet.ask("/metrics").body
        checked = subprocess.run([PROGRAMS / "promtool", "check", "metrics"], input=page,
                                 capture_output=True)
        assert checked.returncode == 0, checked.stdout.decode() + checked.stderr.decode()


def test_097_histograms_count_what_the_disk_did():
    """As many as there are, whatever the relay's fate: a killed one takes none with it."""
    with GatewayFleet(CHANNELS) as fleet:
        fleet.source("engine", signals.samples(3000)).finish()
        fleet.settle({"engine": 3000})
        before = fleet.channel("engine")
        assert before["write_seconds"]["count"] >= 1 and before["sync_seconds"]["count"] >= 1
        for metric in ("write_seconds", "sync_seconds"):
            one = before[metric]
            assert sum(one["buckets"].values()) == one["count"]
            assert 0 < one["sum"] < 60
            # Between the least and the most that its buckets allow.
            bounds = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                      0.5, 1, 2.5, 5, 10]
            below = dict(zip(bounds[1:], bounds))
            most = sum(float(bound) * count for bound, count in one["buckets"].items())
            least = sum(below.get(float(bound), 0) * count
                        for bound, count in one["buckets"].items())
            assert least <= one["sum"] <= most
        os.kill(before["pid"], signal.SIGKILL)
        wait_until(lambda: fleet.channel("engine")["restarts"] == 1)
        after = fleet.channel("engine")
        for metric in ("write_seconds", "sync_seconds"):
            assert after[metric]["count"] >= before[metric]["count"]
            assert after[metric]["sum"] >= before[metric]["sum"]


def test_097_the_dashboard():
    """Grafana's own models of a dashboard (its foundation SDK) take it, and leave nothing out."""
    models = pytest.importorskip("grafana_foundation_sdk.models.dashboard")
    encoder = pytest.importorskip("grafana_foundation_sdk.cog.encoder")
    text = json.loads(DASHBOARD.read_text())
    taken = json.loads(encoder.JSONEncoder().encode(models.Dashboard.from_json(text)))

    def missing(one, other, where=""):
        if isinstance(one, dict):
            for key, value in one.items():
                assert key in other, f"{where}.{key}"
                missing(value, other[key], f"{where}.{key}")
        elif isinstance(one, list):
            assert len(one) == len(other), where
            for index, (value, found) in enumerate(zip(one, other)):
                missing(value, found, f"{where}[{index}]")
        else:
            assert one == other, where
    missing(text, taken)
    numbers = [panel["id"] for panel in text["panels"]]
    assert len(set(numbers)) == len(numbers)
    taken_room = set()
    for panel in text["panels"]:
        place = panel["gridPos"]
        room = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])}
        assert not room & taken_room and place["x"] + place["w"] <= 24, panel["title"]
        taken_room |= room
