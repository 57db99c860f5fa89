"""The same orders through services of their own, with things broken on the way."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from catga_testing.waiting import eventually
from tests.examples import oracle
from tests.examples.runner import DATA, ROOT, Run

pytestmark = [pytest.mark.nats, pytest.mark.timeout(120)]

Demo = Callable[..., Run]
T = TypeVar("T")


@pytest.fixture
def source(tmp_path: Path, shipped: list[str]) -> Path:
    """A quarter of the shipped orders: enough for whatever is broken on the way."""
    file = tmp_path / "orders.jsonl"
    file.write_text("\n".join(shipped[:300]), encoding="utf-8")
    return file


def check_agreement(run: Run, source: Path = DATA / "orders.jsonl") -> None:
    assert run.code == 0, run.out + run.err
    assert run.summary["balanced"] is True
    assert run.summary["differences"] == []
    one_process, services = run.summary["runs"]
    expected = oracle.totals(source, DATA / "catalog.json")
    expected.pop("bad_lines")
    assert one_process["totals"] == services["totals"] == expected
    assert services["undecided"] == []
    assert services["notified"] == services["totals"]["notifications"]


def test_services_agree_to_the_cent_while_a_replica_is_killed(demo: Demo) -> None:
    run = demo("--services", "--json", timeout=100)
    check_agreement(run)
    (broken,) = run.summary["runs"][1]["broken"]
    assert "payments-2 killed (SIGKILL)" in broken
    assert broken in run.err
    assert run.summary["runs"][1]["sent_again"] > 0  # what the dead replica held
    assert run.summary["runs"][0]["sent_again"] == 0


def test_services_agree_while_the_one_that_decides_is_killed_and_comes_back(demo: Demo, source: Path) -> None:
    run = demo(str(source), "--services", "--no-kill-replica", "--kill-orders", "--json", timeout=100)
    check_agreement(run, source)
    assert "orders killed (SIGKILL)" in run.err
    assert "orders started again, after a request had found nobody there" in run.err
    assert run.summary["runs"][1]["sent_again"] >= 32  # each that was under way
    assert run.summary["runs"][1]["resumed"] >= 1
    assert run.summary["runs"][0]["resumed"] == 0


def test_a_person_reads_what_the_killed_replica_cost(demo: Demo, source: Path) -> None:
    run = demo(str(source), "--services", "--quiet", timeout=100)
    assert run.code == 0, run.out + run.err
    one_process, services = run.out.split("== Services over NATS")
    assert "the requests that a killed process held" in services
    assert "sent again and p99" not in one_process


def test_no_notification_is_lost_or_sent_twice_when_the_server_is_killed(demo: Demo, source: Path) -> None:
    # Notifications is down meanwhile, so that the server has the only copy of what it has to be told.
    options = ("--no-kill-replica", "--kill-notifications", "--restart-nats")
    run = demo(str(source), "--services", *options, "--json", timeout=100)
    check_agreement(run, source)
    _, killed, started, _ = run.summary["runs"][1]["broken"]
    assert killed.endswith("nats-server killed (SIGKILL)")
    assert started == "nats-server started again, with the events that it had kept"
    assert run.summary["runs"][1]["sent_again"] > 0


def test_a_killed_service_gets_the_events_that_it_missed(demo: Demo, source: Path) -> None:
    run = demo(str(source), "--services", "--no-kill-replica", "--kill-notifications", "--json", timeout=100)
    check_agreement(run, source)
    killed, started = run.summary["runs"][1]["broken"]
    assert killed.endswith("notifications killed (SIGKILL)")
    assert started == "notifications started again, after all orders were decided"


@pytest.mark.slow
def test_services_agree_while_services_and_the_server_are_killed(demo: Demo, source: Path) -> None:
    options = ("--kill-orders", "--restart-nats")
    run = demo(str(source), "--services", *options, "--json", timeout=100)
    check_agreement(run, source)
    assert len(run.summary["runs"][1]["broken"]) == 5


def test_one_at_a_time_even_the_last_one_in_stock_goes_to_the_same_order(
    demo: Demo, shipped: list[str]
) -> None:
    catalog = json.loads((DATA / "catalog.json").read_text())["products"]
    kettle = next(product for product in catalog if product["code"] == "KETTLE")
    order = json.loads(shipped[0])
    item = {"product": "KETTLE", "price": kettle["price"], "quantity": kettle["stock"] // 10}
    # From standard input, which can be read only once, though there are two runs.
    lines = [json.dumps({**order, "order_id": f"B-{number}", "items": [item]}) for number in range(30)]
    run = demo("-", "--services", "--json", "--concurrency", "1", stdin="\n".join(lines), timeout=100)
    assert run.code == 0, run.out + run.err
    one_process, services = (report["totals"] for report in run.summary["runs"])
    assert one_process == services
    assert (services["accepted"], services["refused"]) == (10, {"OUT_OF_STOCK": 20})


def test_each_service_goes_on_from_a_store_of_its_own(demo: Demo, tmp_path: Path, source: Path) -> None:
    store = f"sqlite:///{tmp_path / 'shop.db'}"
    for again in (False, True):
        run = demo(str(source), "--services", "--no-kill-replica", "--store", store, "--json", timeout=100)
        check_agreement(run, source)
        assert "killed" not in run.err
        for report in run.summary["runs"]:
            assert report["decided_before"] == (report["totals"]["notifications"] if again else 0)
    kept = {each.name for each in tmp_path.glob("*.db")}
    assert kept == {"shop.db", "shop-orders.db", "shop-notifications.db", "shop-inventory.db"}


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_the_next_run_gets_the_events_that_a_killed_run_left_on_the_server(
    demo: Demo, tmp_path: Path, source: Path
) -> None:
    options = [str(source), "--services", "--store", f"sqlite:///{tmp_path / 'shop.db'}"]
    command = [sys.executable, "-m", "examples.order_system", *options, "--kill-notifications"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as driver:
        assert driver.stderr
        # Notifications is down since a fifth of the orders, and payments-2 is killed after two.
        assert any("payments-2 killed" in line for line in driver.stderr)
        started = services_of(driver.pid)
        driver.send_signal(signal.SIGKILL)
    until(lambda: not any(map(alive, started)), within=20)
    run = demo(*options, "--no-kill-replica", "--json", timeout=100)
    check_agreement(run, source)
    assert run.summary["runs"][1]["decided_before"] > 0


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_a_service_that_dies_by_itself_ends_the_run_and_shows_its_log(source: Path) -> None:
    command = [sys.executable, "-m", "examples.order_system", str(source), "--services", "--quiet"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as driver:
        victim = until(lambda: services_of(driver.pid), within=40)[0]
        os.kill(victim, signal.SIGKILL)
        out, err = driver.communicate(timeout=60)
    assert driver.returncode == 1
    assert "orders ended with exit code -9" in err
    assert "the end of orders's log" in err
    assert out == ""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_nothing_is_left_behind_when_the_driver_is_killed(source: Path) -> None:
    options = ["--services", "--no-kill-replica"]
    command = [sys.executable, "-m", "examples.order_system", str(source), *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as driver:
        started = until(lambda: found if len(found := services_of(driver.pid)) == 5 else [], within=40)
        driver.send_signal(signal.SIGKILL)
    until(lambda: not any(map(alive, started)), within=20)


def services_of(parent: int) -> list[int]:
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        try:
            ours = entry.name.isdigit() and f"\nPPid:\t{parent}\n" in (entry / "status").read_text()
            if ours and b"order_system.service" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def alive(pid: int) -> bool:
    try:
        return b"order_system.service" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def until(check: Callable[[], T], *, within: float) -> T:
    return asyncio.run(eventually(check, within=within, every=0.05))
