"""The text of metrics, as parsers of others read it; the dashboard, and the table of names."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from database import Database

# Without types of its own, and not for every Python: mypy need not find it.
openmetrics: Any = importlib.import_module("prometheus_client.openmetrics.parser")
prometheus: Any = importlib.import_module("prometheus_client.parser")

ACCEPT = "application/openmetrics-text; version=1.0.0,text/plain;version=0.0.4;q=0.5"
SUFFIXES = {
    "counter": ("_total",),
    "gauge": ("",),
    "summary": ("_sum", "_count"),
    "histogram": ("_bucket", "_sum", "_count"),
}


@dataclass(frozen=True)
class Described:
    """A name that metrics_driver tells of."""

    name: str
    type: str
    unit: str
    otel: str

    def samples(self) -> set[str]:
        return {self.name + suffix for suffix in SUFFIXES[self.type]}


def driver(build: Path) -> Path:
    return build / "tests/db/metrics/metrics_driver"


@pytest.fixture(scope="module")
def described(build: Path) -> list[Described]:
    done = subprocess.run([driver(build), "describe"], capture_output=True, text=True, check=True)
    return [Described(*line.split()) for line in done.stdout.splitlines()]


def text_of(build: Path, database: Database, form: str, names: str) -> str:
    done = subprocess.run(
        [driver(build), "text", form, names],
        env={**os.environ, "STELE_DSN": database.url},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def parsed(text: str, form: str) -> list[Any]:
    if form == "openmetrics":
        return list(openmetrics.text_string_to_metric_families(text))  # strict
    return list(prometheus.text_string_to_metric_families(text))


def series(found: list[Any]) -> Iterator[tuple[str, tuple[tuple[str, str], ...]]]:
    for metric in found:
        for sample in metric.samples:
            yield sample.name, tuple(sorted(sample.labels.items()))


@pytest.mark.parametrize("form", ["openmetrics", "prometheus"])
@pytest.mark.parametrize("names", ["own", "otel"])
def test_parsers_of_others_read_it(
    build: Path, database: Database, described: list[Described], form: str, names: str
) -> None:
    found = parsed(text_of(build, database, form, names), form)
    all_series = list(series(found))
    assert len(all_series) == len(set(all_series)), "a series is there twice"
    heads = [metric.name for metric in found]
    assert len(heads) == len(set(heads)), "samples of one name are not together"
    by_name = {metric.name: metric for metric in found}
    for one in described:
        name = one.name
        if names == "otel" and one.otel != "-":
            name = one.otel.replace(".", "_") + ("_seconds" if one.unit == "seconds" else "")
            assert one.name not in by_name
        assert by_name[name].type == one.type
        assert by_name[name].documentation
        if form == "openmetrics":
            assert by_name[name].unit == ("" if one.unit == "-" else one.unit)
    for metric in found:
        assert metric.name.startswith(("stele_", "db_client_"))
        assert all(sample.labels["service"] == "tests" for sample in metric.samples)


def test_the_numbers_are_those_of_the_work(build: Path, database: Database) -> None:
    found = parsed(text_of(build, database, "openmetrics", "own"), "openmetrics")
    values: dict[str, float] = {}
    for metric in found:
        for sample in metric.samples:
            values[sample.name] = values.get(sample.name, 0) + sample.value
    assert values["stele_pipeline_batches_total"] == 2  # the driver's, and one of persist
    assert values["stele_pipeline_statement_duration_seconds_count"] == 4
    assert values["stele_statement_errors_total"] == 1
    assert values["stele_persist_ended_total"] == 1
    assert values["stele_lanes_done_total"] == 1
    assert values["stele_jobs_put_total"] == 1
    assert values["stele_sweeper_runs_total"] == 1
    assert values["stele_listener_connected"] == 1
    assert values["stele_doorbell_rings_total"] == 1
    assert values["stele_lanes_wait_seconds_count"] == 1
    assert values["stele_persist_ack_seconds_count"] == 1
    assert values["stele_listener_probe_seconds_count"] >= 1
    assert values["stele_listener_outage_seconds_count"] == 0
    # Some wait for a connection to be made; who does not is there as well.
    assert values["stele_pool_wait_seconds_count"] == values["stele_pool_acquired_total"]
    assert values["stele_pool_create_seconds_count"] == values["stele_pool_connects_total"]
    assert values["stele_pool_create_seconds_sum"] > 0
    pool = next(m for m in found if m.name == "stele_pool_max_connections").samples[0]
    assert pool.labels["db_client_connection_pool_name"] == 'main "one"'


def test_the_endpoint_speaks_to_prometheus(build: Path, database: Database) -> None:
    with subprocess.Popen(
        [driver(build), "serve"],
        env={**os.environ, "STELE_DSN": database.url},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        assert line.isdigit() or "libmicrohttpd" in line, line
        if line.isdigit():
            request = urllib.request.Request(
                f"http://127.0.0.1:{line}/metrics", headers={"Accept": ACCEPT}
            )
            for _ in range(3):
                with urllib.request.urlopen(request, timeout=60) as answer:
                    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
                    assert parsed(answer.read().decode(), "openmetrics")
        process.communicate("")
        assert process.returncode == 0


def test_the_dashboard_uses_names_there_are(top: Path, described: list[Described]) -> None:
    dashboard = json.loads((top / "docs/grafana.json").read_text())
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    exported = {sample for one in described for sample in one.samples()}
    used = set()
    for panel in panels:
        assert panel["targets"] and panel["description"]
        for target in panel["targets"]:
            used |= set(re.findall(r"\bstele_\w+", target["expr"]))
    assert not used - exported
    # It shows every part.
    assert {name.split("_")[1] for name in used} >= {one.name.split("_")[1] for one in described}
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(numbers) == len(set(numbers))


def test_the_page_lists_all_names(top: Path, described: list[Described]) -> None:
    page = (top / "docs/reference/metrics.md").read_text()
    rows = re.findall(r"^\| `(stele_\w+)` \| (\w+) \| [^|]+ \|(?: `([\w.]+)`)? \|$", page, re.M)
    listed = [(name, kind, otel or "-") for name, kind, otel in rows]
    assert listed == [(one.name, one.type, one.otel) for one in described]
