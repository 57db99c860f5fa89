"""The outline of a saga, from which it is drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

import msgspec

Kind: TypeAlias = Literal["step", "child", "sleep", "wait", "commit point", "compensation"]


class Task(msgspec.Struct, frozen=True, eq=False):
    """An operation that a journal records.

    Args:
        kind: What it is; a command and an event that are sent are steps.
        label: The label in the drawing.
        pattern: A regular expression for its recorded name; `None` for operations without one.
        undo: The name of its compensation, `None` without one.
    """

    kind: Kind
    label: str
    pattern: str | None = None
    undo: str | None = None


class Parallel(msgspec.Struct, frozen=True, eq=False):
    """Branches that run concurrently.

    Args:
        branches: The branches.
    """

    branches: Sequence[Flow]


class Choice(msgspec.Struct, frozen=True, eq=False):
    """One of two flows.

    Args:
        condition: The source text of the condition.
        then: The flow that runs if it holds.
        otherwise: The flow that runs otherwise.
    """

    condition: str
    then: Flow
    otherwise: Flow


class Loop(msgspec.Struct, frozen=True, eq=False):
    """A flow that runs any number of times.

    Args:
        text: The source text of the loop's head.
        body: The flow.
    """

    text: str
    body: Flow


class Attempt(msgspec.Struct, frozen=True, eq=False):
    """A flow whose errors are caught.

    Args:
        body: The flow.
        handlers: The caught errors, and the flow that handles each.
    """

    body: Flow
    handlers: Sequence[tuple[str, Flow]]


class End(msgspec.Struct, frozen=True, eq=False):
    """The end of the saga.

    Args:
        fails: Whether it fails.
    """

    fails: bool


Node: TypeAlias = "Task | Parallel | Choice | Loop | Attempt | End"
Flow: TypeAlias = "Sequence[Node]"


def parts_of(node: Node) -> Sequence[Flow]:
    """Return the flows within a node."""
    match node:
        case Parallel():
            return node.branches
        case Choice():
            return [node.then, node.otherwise]
        case Loop():
            return [node.body]
        case Attempt():
            return [node.body, *(flow for _, flow in node.handlers)]
        case _:
            return []


def tasks_of(flow: Flow) -> Iterator[Task]:
    """Yield the tasks of a flow, in the order in which they are written."""
    for node in flow:
        if isinstance(node, Task):
            yield node
        for part in parts_of(node):
            yield from tasks_of(part)


def lines_of(flow: Flow, indent: str = "") -> Iterator[str]:
    """Yield a flow as indented text."""
    for node in flow:
        for head, part in _heads_of(node):
            yield f"{indent}{head}"
            yield from lines_of(part, f"{indent}  ")


def _heads_of(node: Node) -> Sequence[tuple[str, Flow]]:
    match node:
        case Task():
            undo = f", undone by {node.undo}" if node.undo is not None else ""
            return [(f"{node.kind} {node.label}{undo}" if node.label != node.kind else node.kind, ())]
        case Parallel():
            return [("at the same time", each) for each in node.branches]
        case Choice():
            heads = [(f"if {node.condition}", node.then), ("else", node.otherwise)]
            return heads if node.otherwise else heads[:1]
        case Loop():
            return [(node.text, node.body)]
        case Attempt():
            return [("try", node.body), *((f"except {caught}", flow) for caught, flow in node.handlers)]
        case End():
            return [("fail" if node.fails else "return", ())]
