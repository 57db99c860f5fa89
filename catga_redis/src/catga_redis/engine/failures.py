"""The errors that callers of the stores get, and those that the engine uses inside.

`outcome` of a `PersistenceError` is `NOT_WRITTEN` where nothing was written, and `UNKNOWN` where the write may have been applied.
"""

from __future__ import annotations

from catga_core.errors import CatgaError, Outcome, PersistenceError


class NotSentError(Exception):
    """No connection could be made; nothing was sent."""


class LostError(Exception):
    """A command was sent and not answered."""


class UnconfirmedError(Exception):
    """A write was applied, and fewer replicas or disks than required have confirmed it."""


def failed(text: str, *, unknown: bool = False, retryable: bool | None = None) -> CatgaError:
    """Return a `PersistenceError`.

    Args:
        text: What failed, why, and how to fix it.
        unknown: Whether the write may have been applied.
        retryable: Whether a retry may succeed; `None` for yes.

    Returns:
        The error, with its outcome.
    """
    outcome = Outcome.UNKNOWN if unknown else Outcome.NOT_WRITTEN
    return PersistenceError(text, retryable=retryable, outcome=outcome)


def unanswered(server: str, error: Exception, *, unknown: bool) -> CatgaError:
    """Return the error for a server that did not answer in time."""
    if unknown:
        return failed(
            f"Redis at {server} did not answer ({describe(error)}). The write may have been applied; read before you retry.",
            unknown=True,
        )
    return failed(f"Redis at {server} is unreachable ({describe(error)}); nothing was written. Retry later.")


def other_loop(server: str) -> CatgaError:
    """Return the error for a storage that is used outside of the event loop in which it was started."""
    return failed(
        f"The Redis storage at {server} was opened in another event loop. Give each event loop its own storage.",
        retryable=False,
    )


def not_started(server: str, *, unknown: bool = False) -> CatgaError:
    """Return the error for a storage that is used before its start or after its stop."""
    text = f"The Redis storage at {server} is not started, or stopped."
    if unknown:
        return failed(f"{text} The write may have been applied; read before you retry.", unknown=True)
    return failed(f"{text} Use its stores between start and stop.", retryable=False)


def unconfirmed(error: UnconfirmedError) -> CatgaError:
    """Return the error for a write with too few confirmations."""
    return failed(
        f"The write was applied, and {error}: it is lost if the server is lost now. Check the replicas, the disk and "
        "wait_timeout_seconds.",
        unknown=True,
    )


# Keyed by the first word of an error, which is Redis's own code.
_CAUSES = {
    "OOM": ("the server's memory is full (maxmemory)", "Give it more memory, or remove data."),
    "READONLY": ("the server is a replica", "Check the URL, or wait for the failover to end."),
    "LOADING": ("the server is loading its data", "Retry later."),
    "BUSY": ("a script has been running on the server for too long", "Retry later."),
    "MASTERDOWN": ("the server has lost its primary", "Retry later."),
    "CLUSTERDOWN": ("the cluster has no node for these keys", "Restore the node."),
    "MOVED": ("the cluster is moving these keys", "Retry later."),
    "ASK": ("the cluster is moving these keys", "Retry later."),
    "TRYAGAIN": ("the cluster is moving these keys", "Retry later."),
    "MISCONF": ("the server cannot write to its disk", "Free some space there."),
    "NOREPLICAS": ("fewer replicas than min-replicas-to-write are connected", "Restore them."),
    "NOPERM": (
        "the user lacks permissions",
        "Allow it all commands on keys and channels that begin with the prefix.",
    ),
    "NOAUTH": ("the server requires a password", "Set it in the URL, or as password=."),
    "WRONGPASS": ("the server refused the credentials", "Check username and password."),
    "DAMAGED": (
        "another program has changed or removed keys of this prefix",
        "Restore them, or choose another prefix.",
    ),
    "WRONGTYPE": ("another program uses keys of this prefix", "Choose another prefix."),
}
# The server did nothing, and the cause ends without a change of the configuration.
_WILL_PASS = frozenset(
    {"LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "MOVED", "ASK", "TRYAGAIN", "READONLY", "NOREPLICAS"}
)
# The same, but waiting for it is worth while only for a caller whose first answer was lost.
_MAY_PASS = frozenset({"OOM", "MISCONF"})
_FOR_GOOD = frozenset({"NOPERM", "NOAUTH", "WRONGPASS", "WRONGTYPE", "DAMAGED"})
# How an error ends that a script met, which may have written something before.
_IN_SCRIPT = "on @user_script"


def code_of(error: Exception) -> str:
    """Return the code at the start of an error of the server."""
    text = str(error)
    code = getattr(error, "status_code", None)
    if not isinstance(code, str):
        # redis-py turns some codes into classes.
        code = _CLASSES.get(type(error).__name__) or text.partition(" ")[0].lstrip("-")
    if code == "WRONGPASS" and text.startswith("NOAUTH"):
        return "NOAUTH"
    return "NOPERM" if text.startswith("ACL failure") else code


_CLASSES = {
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
    "BusyLoadingError": "LOADING",
    "MasterDownError": "MASTERDOWN",
    "ClusterDownError": "CLUSTERDOWN",
    "MovedError": "MOVED",
    "AskError": "ASK",
    "TryAgainError": "TRYAGAIN",
    "NoPermissionError": "NOPERM",
    "AuthorizationError": "NOPERM",
    "AuthenticationError": "WRONGPASS",
    "AuthenticationWrongNumberOfArgsError": "WRONGPASS",
}


def will_pass(error: Exception, *, lost: bool = False) -> bool:
    """Return whether the server refused only for now and did nothing.

    Args:
        error: What it answered.
        lost: Whether an earlier answer was lost, so that a longer wait is worth while.
    """
    code = code_of(error)
    return code in _WILL_PASS or (lost and code in _MAY_PASS)


def answered(server: str, error: Exception, *, unknown: bool = False, wrote: bool = False) -> CatgaError:
    """Return the error for an error of the server.

    Args:
        server: The server, without credentials.
        error: What it answered.
        unknown: Whether an earlier answer was lost, so that this one tells nothing about the write.
        wrote: Whether a script that writes was run.
    """
    code = code_of(error)
    cause, fix = _CAUSES.get(code, (describe(error), ""))
    retryable = False if code in _FOR_GOOD or not fix else None
    # A server checks memory, disk and replicas before the first write of a script, and the rest in the midst of it.
    half = (
        wrote and _IN_SCRIPT in str(error) and code not in _WILL_PASS | _MAY_PASS | {"WRONGTYPE", "DAMAGED"}
    )
    if unknown or half:
        why = "An earlier answer was lost, so the" if unknown else "The script ended in its midst, so the"
        text = f"Redis at {server} refused: {cause}. {why} write may have been applied; read before you retry. {fix}"
        return failed(text.rstrip(), unknown=True, retryable=retryable)
    if not fix:
        return failed(f"Redis at {server} refused: {cause}", retryable=False)
    nothing = "" if code in {"NOPERM", "NOAUTH", "WRONGPASS"} else "; nothing was written"
    return failed(f"Redis at {server} refused: {cause}{nothing}. {fix}", retryable=retryable)


def cause_of(error: Exception) -> str | None:
    """Return why the server refuses everything of its kind, `None` where only one call is refused.

    Args:
        error: What it answered.
    """
    code = code_of(error)
    return None if code in {"WRONGTYPE", "DAMAGED"} else _CAUSES.get(code, (None,))[0]


def describe(error: Exception) -> str:
    """Return the text of a client error."""
    return str(error) or type(error).__name__
