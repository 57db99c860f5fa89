"""The demo in one process, run as a person runs it."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.examples import oracle
from tests.examples.runner import DATA, ROOT, Run

Demo = Callable[..., Run]


def test_one_process_comes_to_what_a_plain_loop_comes_to(demo: Demo) -> None:
    run = demo("--json", "--quiet")
    assert run.code == 0, run.err
    expected = oracle.totals(DATA / "orders.jsonl", DATA / "catalog.json")
    bad_lines = expected.pop("bad_lines")
    (report,) = run.summary["runs"]
    assert report["totals"] == expected
    assert sorted(line["number"] for line in report["bad_lines"]) == bad_lines
    assert report["mismatches"] == []
    assert run.summary["balanced"] is True
    assert run.err == ""


def test_the_shipped_file_has_everything_in_it() -> None:
    totals = oracle.totals(DATA / "orders.jsonl", DATA / "catalog.json")
    assert totals["accepted"] >= 900
    assert totals["read"] >= 1200
    assert set(totals["refused"]) == {
        "CARD_DECLINED", "DUPLICATE_ORDER", "NOT_AN_ORDER", "OUT_OF_STOCK", "PRICE_CHANGED",
        "UNKNOWN_PRODUCT", "VALIDATION_FAILED",
    }  # fmt: skip
    assert min(totals["refused"].values()) >= 5


@pytest.mark.parametrize("concurrency", ["1", "500"])
def test_the_totals_do_not_depend_on_how_many_orders_are_under_way(
    demo: Demo, shipped: list[str], tmp_path: Path, concurrency: str
) -> None:
    file = tmp_path / "orders.jsonl"
    file.write_text("\n".join(shipped[:300]), encoding="utf-8")
    run = demo(str(file), "--json", "--quiet", "--concurrency", concurrency)
    assert run.code == 0, run.out
    expected = oracle.totals(file, DATA / "catalog.json")
    expected.pop("bad_lines")
    assert run.summary["runs"][0]["totals"] == expected


def test_a_person_reads_the_totals(demo: Demo, shipped: list[str], tmp_path: Path) -> None:
    file = tmp_path / "orders.jsonl"
    file.write_text("\n".join(shipped[:300]), encoding="utf-8")
    run = demo(str(file))
    assert run.code == 0
    expected = oracle.totals(file, DATA / "catalog.json")
    assert re.search(rf"lines read +{expected['read']:,}\n", run.out)
    assert re.search(rf"accepted +{expected['accepted']:,}\n", run.out)
    assert f"{float(expected['revenue']):,.2f}" in run.out
    assert "everything balances" in run.out
    assert "one process" in run.err
    for reason in expected["refused"]:
        assert reason in run.out
    for product, left in expected["stock_left"].items():
        assert re.search(rf"{product} +{left}\b", run.out)
    assert re.search(r"orders/s, p50 [\d.]+ ms, p99 [\d.]+ ms", run.out)


def test_the_readme_shows_these_totals() -> None:
    readme = (DATA.parent / "README.md").read_text(encoding="utf-8")
    expected = oracle.totals(DATA / "orders.jsonl", DATA / "catalog.json")
    for figure in (expected["read"], expected["accepted"], sum(expected["refused"].values())):
        assert readme.count(f" {figure:,}\n") >= 3  # whole, continued after a kill, and as services
    assert readme.count(f"{float(expected['revenue']):,.2f}") == 3
    for product, left in expected["stock_left"].items():
        assert re.search(rf"{product} +{left}\b", readme)


def test_orders_come_from_standard_input(demo: Demo, shipped: list[str]) -> None:
    run = demo("-", "--json", "--quiet", stdin="\n".join(shipped[:20]))
    assert run.code == 0, run.err
    assert run.summary["runs"][0]["totals"]["read"] == 20


def test_no_orders_at_all_balance(demo: Demo) -> None:
    run = demo("-", "--json", stdin="")
    assert run.code == 0, run.err
    assert run.summary["runs"][0]["totals"]["revenue"] == "0"


def test_a_file_without_an_accepted_order_gets_a_remark(demo: Demo, tmp_path: Path) -> None:
    file = tmp_path / "orders.jsonl"
    file.write_text('{"name": "of another program"}\n', encoding="utf-8")
    run = demo(str(file), "--quiet")
    assert run.code == 0
    assert run.out.rstrip().endswith("no order was accepted: is this the right file?")
    assert "there were no orders in the source" in demo("-", "--quiet", stdin="").out


def test_orders_are_taken_as_they_come(shipped: list[str]) -> None:
    command = [sys.executable, "-u", "-m", "examples.order_system", "-"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stderr
        process.stdin.write(f"{shipped[0]}\n")
        process.stdin.flush()
        # Not closed yet, but the first order is decided: nothing waits for the end of the input.
        for progress in process.stderr:
            if progress.startswith("1 of 1 read: 1 accepted"):
                break
        out, _ = process.communicate(f"{shipped[1]}\n", timeout=30)
    assert process.returncode == 0
    assert re.search(r"lines read +2\n", out)


def test_each_bad_line_is_refused_with_its_number_and_reason(demo: Demo, shipped: list[str]) -> None:
    good = json.loads(shipped[0])
    item = good["items"][0]
    lines: list[tuple[Any, str | None]] = [
        (good, None),
        ('{"order_id": "A-1",', "truncated"),
        ("not json", "malformed"),
        ("", "skip"),
        ([1, 2], "Expected `object`, got `array`"),
        ({**good, "order_id": 5}, "Expected `str`, got `int` - at `$.order_id`"),
        ({key: good[key] for key in good if key != "card"}, "missing required field `card`"),
        ({**good, "items": [{**item, "quantity": -1}]}, "Expected `int` >= 1 - at `$.items[0].quantity`"),
        ({**good, "items": [{**item, "price": "much"}]}, "Invalid decimal string - at `$.items[0].price`"),
        ({**good, "items": []}, "length >= 1 - at `$.items`"),
        ({**good, "customer": {"name": "x", "email": "x"}}, "at `$.customer.email`"),
    ]
    text = "\r\n".join(line if isinstance(line, str) else json.dumps(line) for line, _ in lines)
    run = demo("-", "--json", "--quiet", stdin="\ufeff" + text)
    assert run.code == 0, run.err
    (report,) = run.summary["runs"]
    reasons = {line["number"]: line["reason"] for line in report["bad_lines"]}
    expected = {number: reason for number, (_, reason) in enumerate(lines, 1) if reason not in {None, "skip"}}
    assert reasons.keys() == expected.keys()
    for number, reason in expected.items():
        assert str(reason) in reasons[number]
    assert report["totals"]["read"] == 10
    assert report["totals"]["refused"] == {"NOT_AN_ORDER": 9}


def test_no_number_is_odd_enough_to_break_the_sums(demo: Demo, shipped: list[str]) -> None:
    odd_orders = [{"discount_percent": percent} for percent in ("NaN", "100.5")]
    odd_items = [{"price": price} for price in ("NaN", "Infinity", "1e999999", "-0.01", "0", "1.005")]
    order = json.loads(shipped[0])
    item = order["items"][0]
    changed: list[dict[str, Any]] = [
        *odd_orders,
        *({"items": [{**item, **changes}]} for changes in odd_items),
    ]
    lines = [
        json.dumps({**order, "order_id": f"O-{number}", **changes}) for number, changes in enumerate(changed)
    ]
    run = demo("-", "--json", "--quiet", stdin="\n".join(lines))
    assert run.code == 0, run.out + run.err
    assert run.summary["runs"][0]["totals"]["refused"] == {"VALIDATION_FAILED": len(lines)}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere.jsonl"], "cannot read nowhere.jsonl: No such file or directory"),
        (["tests"], "cannot read tests: Is a directory"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
        (["--concurrency", "0"], "'0' cannot be used: give a whole number, 1 or more"),
        (["--concurrency", "many"], "'many' cannot be used: give a whole number, 1 or more"),
        (["--kill-replica"], "--kill-replica needs --services"),
        (["--restart-nats", "--no-kill-replica"], "--restart-nats needs --services"),
        (["--kill-orders"], "--kill-orders needs --services"),
        (["--kill-notifications"], "--kill-notifications needs --services"),
        (
            ["--services", "--kill-notifications", "--store", "memory"],
            "--kill-notifications cannot be used with --store memory",
        ),
        (
            ["--services", "--kill-orders", "--store", "memory"],
            "--kill-orders cannot be used with --store memory",
        ),
    ],
)
def test_a_wrong_call_is_told_in_one_line(call: Demo, arguments: list[str], told: str) -> None:
    run = call(*arguments)
    assert run.code == 2
    assert told in run.err.splitlines()[-1]
    assert "Traceback" not in run.err
    assert run.out == ""


def test_the_data_is_made_the_same_every_time(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("make_data", DATA / "make_data.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.make(tmp_path)
    for name in ("orders.jsonl", "catalog.json"):
        assert (tmp_path / name).read_bytes() == (DATA / name).read_bytes()


def test_a_wrong_call_ends_the_process_with_2(demo: Demo) -> None:
    run = demo("--concurrency", "0")
    assert run.code == 2
    assert "Traceback" not in run.err


def test_it_runs_as_a_package_of_its_own(tmp_path: Path, shipped: list[str]) -> None:
    shutil.copytree(
        ROOT / "examples/order_system",
        tmp_path / "order_system",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    done = subprocess.run(
        [sys.executable, "-m", "order_system", "-", "--json", "--quiet"],
        cwd=tmp_path, input="\n".join(shipped[:20]), capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["balanced"], summary["runs"][0]["totals"]["read"]) == (True, 20)
