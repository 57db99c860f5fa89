"""Draws the outline of a saga as a Mermaid flowchart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

from catga_core.sagas.drawing.outline import Attempt, Choice, End, Flow, Loop, Node, Parallel, Task

_Exits: TypeAlias = Sequence[tuple[str, str]]
"""The sources of edges, each with a label."""

_SHAPES: Final[Mapping[str, tuple[str, str]]] = {
    "step": ("[", "]"),
    "child": ("[[", "]]"),
    "sleep": ("{{", "}}"),
    "wait": ("[/", "/]"),
    "commit point": ("((", "))"),
    "compensation": (">", "]"),
}
_COLOURS: Final[Mapping[str, str]] = {
    "done": "fill:#c8e6c9,stroke:#2e7d32",
    "current": "fill:#fff59d,stroke:#f9a825,stroke-width:3px",
    "remaining": "fill:#ffffff,stroke:#9e9e9e,stroke-dasharray:4",
    "failed": "fill:#ffcdd2,stroke:#c62828",
    "compensated": "fill:#bbdefb,stroke:#1565c0",
}
_LONGEST: Final = 60


def mermaid(name: str, flow: Flow, classes: Mapping[Task, str]) -> str:
    """Return a flowchart.

    Args:
        name: The saga's name.
        flow: Its outline.
        classes: The class of each task; tasks that are missing have no class.
    """
    drawing = _Drawing()
    drawing.node("begin", name, ("([", "])"))
    exits = drawing.flow(flow, [("begin", "")])
    if exits:
        drawing.end("end_", "end", exits)
    return drawing.text(classes)


class _Drawing:
    def __init__(self) -> None:
        self._lines: list[str] = ["flowchart TD"]
        self._ids: dict[Task, str] = {}
        self._ends: set[str] = set()
        self._count = 0

    def text(self, classes: Mapping[Task, str]) -> str:
        """Return the whole drawing."""
        lines = list(self._lines)
        for name, colour in _COLOURS.items():
            ids = [self._ids[task] for task, given in classes.items() if given == name]
            if ids:
                lines += [f"    classDef {name} {colour}", f"    class {','.join(ids)} {name}"]
        return "\n".join(lines)

    def node(self, id_: str, label: str, shape: tuple[str, str]) -> None:
        """Add a node."""
        begin, end = shape
        self._lines.append(f'    {id_}{begin}"{_escaped(label)}"{end}')

    def end(self, id_: str, label: str, exits: _Exits) -> None:
        """Add edges to an end of the saga."""
        if id_ not in self._ends:
            self._ends.add(id_)
            self.node(id_, label, ("([", "])"))
        self._edges(exits, id_)

    def flow(self, flow: Flow, exits: _Exits) -> _Exits:
        """Draw a flow; return its exits."""
        for node in flow:
            exits = self._draw(node, exits)
        return exits

    def _draw(self, node: Node, exits: _Exits) -> _Exits:
        match node:
            case Task():
                return self._task(node, exits)
            case Parallel():
                fork, join = self._shape("all of", ("([", "])"), exits), self._id()
                ends = [each for branch in node.branches for each in self.flow(branch, [(fork, "")])]
                self.node(join, "then", ("([", "])"))
                self._edges(ends, join)
                return [(join, "")]
            case Choice():
                at = self._shape(node.condition, ("{", "}"), exits)
                return [*self.flow(node.then, [(at, "yes")]), *self.flow(node.otherwise, [(at, "no")])]
            case Loop():
                at = self._shape(node.text, ("{", "}"), exits)
                self._edges(self.flow(node.body, [(at, "next")]), at)
                return [(at, "done")]
            case Attempt():
                at = self._shape("try", ("([", "])"), exits)
                ends = [*self.flow(node.body, [(at, "")])]
                for caught, handler in node.handlers:
                    ends += self.flow(handler, [(at, f"on {caught}")])
                return ends
            case End():
                self.end("fail" if node.fails else "end_", "fail" if node.fails else "end", exits)
                return []

    def _task(self, task: Task, exits: _Exits) -> _Exits:
        texts = {"sleep": f"sleep {task.label}", "wait": f"wait for {task.label}"}
        id_ = self._shape(texts.get(task.kind, task.label), _SHAPES[task.kind], exits)
        self._ids[task] = id_
        if task.undo is not None:
            self.node(f"{id_}u", task.undo, ("([", "])"))
            self._lines.append(f"    {id_} -. undo .-> {id_}u")
        return [(id_, "")]

    def _shape(self, label: str, shape: tuple[str, str], exits: _Exits) -> str:
        id_ = self._id()
        self.node(id_, label, shape)
        self._edges(exits, id_)
        return id_

    def _id(self) -> str:
        self._count += 1
        return f"n{self._count}"

    def _edges(self, exits: Iterable[tuple[str, str]], to: str) -> None:
        for begin, label in exits:
            arrow = f'-- "{_escaped(label)}" -->' if label else "-->"
            self._lines.append(f"    {begin} {arrow} {to}")


def _escaped(label: str) -> str:
    short = " ".join(label.split())
    if len(short) > _LONGEST:
        short = f"{short[: _LONGEST - 1]}…"
    return short.replace("&", "#amp;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")
