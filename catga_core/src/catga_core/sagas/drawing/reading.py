"""The outline of a saga that is a class, read from the source of its `execute`; for drawings only."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, TypeAlias

from catga_core.errors import ConfigurationError
from catga_core.sagas.drawing.outline import Attempt, Choice, End, Flow, Loop, Node, Parallel, Task
from catga_core.sagas.saga import Saga

_Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
_DEEPEST: Final = 8
"""How many functions within functions are followed."""


@lru_cache(maxsize=256)
def outline_of_class(cls: type[Saga[Any, Any]]) -> Flow:
    """Return the outline of a class of sagas.

    Raises:
        ConfigurationError: Its source cannot be read.
    """
    function = _source_of(cls, "execute")
    if function is None:
        msg = f"The source of {cls.__name__}.execute cannot be read, so it cannot be drawn. Draw it in an environment with the source file."
        raise ConfigurationError(msg)
    names = [each.arg for each in (*function.args.posonlyargs, *function.args.args)]
    return _Reader(cls, names[2] if len(names) > 2 else "saga", {}, {}, 0).flow(function.body)


def _source_of(cls: type[Any], name: str) -> _Function | None:
    try:
        method = inspect.unwrap(getattr(cls, name))
        tree = ast.parse(textwrap.dedent(inspect.getsource(method)))
    except (AttributeError, OSError, TypeError, SyntaxError):
        return None
    found = tree.body[0]
    return found if isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef) else None


class _Reader:
    """Reads one function.

    Args:
        cls: The class.
        context: The name of its `SagaContext`.
        functions: The functions in scope.
        values: The texts that parameters are known to have.
        depth: How many functions it is in.
    """

    def __init__(
        self,
        cls: type[Any],
        context: str,
        functions: Mapping[str, _Function],
        values: Mapping[str, str],
        depth: int,
    ) -> None:
        self._cls = cls
        self._context = context
        self._functions = dict(functions)
        self._values = values
        self._depth = depth

    def flow(self, body: Iterable[ast.stmt]) -> list[Node]:
        found: list[Node] = []
        for statement in body:
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
                self._functions[statement.name] = statement
            else:
                found += self._statement(statement)
            if found and isinstance(found[-1], End):
                break
        return found

    # --- statements ---

    def _statement(self, statement: ast.stmt) -> list[Node]:
        found: list[Node]
        match statement:
            case ast.If():
                found = [*self._calls(statement.test), *self._choice(statement)]
            case ast.Match():
                found = [*self._calls(statement.subject), *self._cases(statement.subject, statement.cases)]
            case ast.For() | ast.AsyncFor() | ast.While():
                found = self._loop(statement)
            case ast.Try():
                found = self._attempt(statement)
            case ast.With() | ast.AsyncWith():
                found = [*self._all_calls(statement.items), *self.flow(statement.body)]
            case ast.Return():
                # The end of a function that is followed is not that of the saga.
                found = [*self._calls(statement.value), *([] if self._depth else [End(fails=False)])]
            case ast.Raise():
                found = [*self._calls(statement.exc), End(fails=True)]
            case _:
                found = self._calls(statement)
        return found

    def _choice(self, statement: ast.If) -> list[Node]:
        then, otherwise = self.flow(statement.body), self.flow(statement.orelse)
        return [Choice(self._text(statement.test), then, otherwise)] if then or otherwise else []

    def _cases(self, subject: ast.expr, cases: Sequence[ast.match_case]) -> list[Node]:
        if not cases:
            return []
        first, *others = cases
        then, otherwise = self.flow(first.body), self._cases(subject, others)
        if not (then or otherwise):
            return []
        return [Choice(f"{self._text(subject)} is {ast.unparse(first.pattern)}", then, otherwise)]

    def _loop(self, statement: ast.For | ast.AsyncFor | ast.While) -> list[Node]:
        if isinstance(statement, ast.While):
            head, text = statement.test, f"while {self._text(statement.test)}"
        else:
            head, text = statement.iter, f"for {self._text(statement.target)} in {self._text(statement.iter)}"
        body = self.flow(statement.body)
        loop: list[Node] = [Loop(text, body)] if body else []
        return [*self._calls(head), *loop, *self.flow(statement.orelse)]

    def _attempt(self, statement: ast.Try) -> list[Node]:
        body = [*self.flow(statement.body), *self.flow(statement.orelse)]
        handlers = [
            ("any error" if each.type is None else self._text(each.type), self.flow(each.body))
            for each in statement.handlers
        ]
        attempt: list[Node] = [Attempt(body, handlers)] if body and handlers else list(body)
        return [*attempt, *self.flow(statement.finalbody)]

    # --- expressions ---

    def _all_calls(self, nodes: Iterable[ast.AST]) -> list[Node]:
        return [found for node in nodes for found in self._calls(node)]

    def _calls(self, node: ast.AST | None) -> list[Node]:
        """Return what an expression does, in the order in which it is evaluated."""
        match node:
            case None | ast.Lambda() | ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                # Functions that are made here are run elsewhere.
                return []
            case ast.IfExp():
                then, otherwise = self._calls(node.body), self._calls(node.orelse)
                choice: list[Node] = [Choice(self._text(node.test), then, otherwise)]
                return [*self._calls(node.test), *(choice if then or otherwise else [])]
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                return self._comprehension(node)
            case ast.Call():
                return self._call(node)
            case _:
                return self._all_calls(ast.iter_child_nodes(node))

    def _comprehension(
        self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp
    ) -> list[Node]:
        made = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        body = self._all_calls(made)
        first = node.generators[0]
        text = f"for {self._text(first.target)} in {self._text(first.iter)}"
        loop: list[Node] = [Loop(text, body)] if body else []
        return [*self._calls(first.iter), *loop]

    def _call(self, node: ast.Call) -> list[Node]:
        function = node.func
        if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
            owner, name = function.value.id, function.attr
            if owner == self._context:
                return self._operation(name, node)
            if owner == "self" and (method := self._method(name, node)) is not None:
                return self._within(method, node, skip=1)
        elif isinstance(function, ast.Name) and function.id in self._functions:
            return self._within(self._functions[function.id], node, skip=0)
        return self._all_calls(ast.iter_child_nodes(node))

    def _method(self, name: str, node: ast.Call) -> _Function | None:
        """Return a method of the saga that is given its context, `None` for another one."""
        given = [*node.args, *(each.value for each in node.keywords)]
        has_context = any(isinstance(each, ast.Name) and each.id == self._context for each in given)
        return _source_of(self._cls, name) if has_context else None

    def _within(self, function: _Function, node: ast.Call, *, skip: int) -> list[Node]:
        before = self._all_calls([*node.args, *node.keywords])
        if self._depth >= _DEEPEST:
            return before
        names = [each.arg for each in (*function.args.posonlyargs, *function.args.args)][skip:]
        given: dict[str, ast.expr] = dict(zip(names, node.args, strict=False))
        given.update((each.arg, each.value) for each in node.keywords if each.arg is not None)
        context = self._context
        values = {name: value for name, value in self._values.items() if not skip}
        for name, value in given.items():
            if isinstance(value, ast.Name) and value.id == self._context:
                context = name
            text = self._constant(value)
            values.pop(name, None)
            if text is not None:
                values[name] = text
        functions: Mapping[str, _Function] = {} if skip else self._functions
        reader = _Reader(self._cls, context, functions, values, self._depth + 1)
        return [*before, *reader.flow(function.body)]

    # --- operations ---

    def _operation(self, name: str, node: ast.Call) -> list[Node]:
        if name == "gather":
            branches = [self._branch(each) for each in node.args]
            return [Parallel([each for each in branches if each])]
        named = {each.arg: each.value for each in node.keywords if each.arg is not None}
        first, second = (node.args[index] if len(node.args) > index else None for index in (0, 1))
        made: Node | None = self._named(name, named, named.get("name", first), second)
        if made is None:
            made = self._unnamed(name, named, first)
        return [*self._all_calls([*node.args, *named.values()]), *([] if made is None else [made])]

    def _named(
        self, name: str, named: Mapping[str, ast.expr], given: ast.expr | None, second: ast.expr | None
    ) -> Task | None:
        if name not in {"step", "send", "saga", "on_compensate"}:
            return None
        label, pattern = self._name(given)
        if name == "saga":
            other = self._text(named.get("saga", second))
            compensate = named.get("compensate")
            never = isinstance(compensate, ast.Constant) and compensate.value is False
            return Task("child", f"{label}: {other}", pattern, None if never else f"undo {label}")
        if name == "on_compensate":
            return Task("compensation", label, pattern, label)
        undo = _undo(label, named.get("compensate"))
        sent = _called(": ", named.get("command", second)) if name == "send" else ""
        return Task("step", label + sent, pattern, undo)

    def _unnamed(self, name: str, named: Mapping[str, ast.expr], first: ast.expr | None) -> Node | None:
        match name:
            case "publish":
                return self._publish(named.get("event", first), named.get("name"))
            case "sleep":
                until = named.get("until")
                return Task("sleep", self._text(first) if until is None else f"until {self._text(until)}")
            case "wait_for":
                event = self._text(named.get("event", first))
                return Task("wait", event, rf"event:{re.escape(event)}:.*")
            case "commit_point":
                return Task("commit point", "commit point")
            case "continue_as_new":
                return End(fails=False)
            case _:
                return None

    def _publish(self, event: ast.expr | None, name: ast.expr | None) -> Task:
        if name is not None:
            label, pattern = self._name(name)
            return Task("step", label, pattern)
        cls = _called("", event)
        return Task("step", f"publish {cls or self._text(event)}", rf"publish {cls or '.*'}")

    def _branch(self, node: ast.expr) -> Flow:
        return self._calls(node.value if isinstance(node, ast.Starred) else node)

    def _name(self, node: ast.expr | None) -> tuple[str, str]:
        """Return the name of an operation as the drawing shows it, and the pattern of its recorded names."""
        if node is None:
            return "?", ".*"
        text = self._constant(node)
        if text is not None:
            return text, re.escape(text)
        if isinstance(node, ast.JoinedStr):
            shown, pattern = "", ""
            for part in node.values:
                known = self._constant(part)
                shown += self._text(part) if known is None else known
                pattern += ".*" if known is None else re.escape(known)
            return shown, pattern
        return f"{{{self._text(node)}}}", ".*"

    def _constant(self, node: ast.expr) -> str | None:
        """Return the text that an expression is known to have."""
        match node:
            case ast.Constant(value=str(text)):
                return text
            case ast.Name(id=name):
                return self._values.get(name)
            case ast.FormattedValue(value=value, conversion=-1, format_spec=None):
                return self._constant(value)
            case ast.JoinedStr(values=parts):
                known = [self._constant(each) for each in parts]
                return None if None in known else "".join(each for each in known if each is not None)
            case _:
                return None

    def _text(self, node: ast.expr | None) -> str:
        match node:
            case None:
                return ""
            case ast.FormattedValue(value=value):
                return f"{{{ast.unparse(value)}}}"
            case ast.Constant(value=str(text)):
                return text
            case _:
                return ast.unparse(node)


def _called(prefix: str, node: ast.expr | None) -> str:
    """Return the name of what an expression calls, after a prefix; empty where it calls nothing."""
    if isinstance(node, ast.Call):
        return prefix + ast.unparse(node.func).rpartition(".")[2]
    return ""


def _undo(label: str, node: ast.expr | None) -> str | None:
    match node:
        case None | ast.Constant(value=None):
            return None
        case ast.Lambda(body=body):
            return _called("", body) or f"undo {label}"
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
        case _:
            return f"undo {label}"
