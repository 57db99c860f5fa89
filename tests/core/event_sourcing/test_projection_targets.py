"""The names of projections as names of tables."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from catga_core import ConfigurationError, Event, add_catga
from catga_core.event_sourcing.projections import Projection, add_projection, project
from catga_core.event_sourcing.projections.generations import Generation, identifier


class TargetEvent(Event):
    pass


def projection(name: str) -> type[Projection]:
    class Named(Projection, name=name):
        @project
        def on(self, event: TargetEvent) -> None: ...

    return Named


@pytest.mark.parametrize("name", ["plan-table", "plan.table", "1st", "order", "x-1.2", "-".join("abc"), "_"])
def test_target_is_an_identifier_of_sql_without_quotes(name: str) -> None:
    for generation in (Generation(1, 0), Generation(12, 3)):
        target = generation.target(name)
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.execute(f"CREATE TABLE {target} (n)")
            assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [(target,)]


def test_plain_name_begins_its_targets() -> None:
    assert Generation(1, 0).target("totals") == "totals_1"
    assert Generation(2, 3).target("totals") == "totals_2_3"


def test_no_two_names_become_one_identifier() -> None:
    names = ["plan-table", "plan_table", "plan.table", "1st", "_1st", "a-b", "a.b"]
    assert len({identifier(name) for name in names}) == len(names)


@pytest.mark.parametrize(
    ("one", "other"), [("totals", "totals_1"), ("totals_1_2", "totals"), ("sums", "Sums")]
)
def test_projections_whose_targets_could_meet_are_refused(one: str, other: str) -> None:
    catga = add_catga()
    add_projection(catga, projection(one))

    with pytest.raises(ConfigurationError, match="targets could have the same name"):
        add_projection(catga, projection(other))


def test_projections_with_a_common_beginning_are_accepted() -> None:
    catga = add_catga()
    for name in ("totals", "totals_daily", "totals1", "daily_totals"):
        add_projection(catga, projection(name))
