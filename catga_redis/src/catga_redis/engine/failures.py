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


def unconfirmed(error: UnconfirmedError) -> CatgaError:
    """Return the error for a write with too few confirmations."""
    return failed(
        f"The write was applied, and {error}: it is lost if the server is lost now. Check the replicas, the disk and "
        "wait_timeout_seconds.",
        unknown=True,
    )


# Keyed by the first word of an error, which is Redis's own code.
_FIXES = {
    "OOM": "the server's memory is full (maxmemory); nothing was written. Give it more memory, or remove data.",
    "READONLY": "the server is a replica; nothing was written. Check the URL, or wait for the failover to end.",
    "LOADING": "the server is loading its data; nothing was written. Retry later.",
    "BUSY": "a script has been running on the server for too long; nothing was written. Retry later.",
    "MASTERDOWN": "the server has lost its primary; nothing was written. Retry later.",
    "CLUSTERDOWN": "the cluster has no node for these keys; nothing was written. Restore the node.",
    "MOVED": "the cluster is moving these keys; nothing was written. Retry later.",
    "TRYAGAIN": "the cluster is moving these keys; nothing was written. Retry later.",
    "MISCONF": "the server cannot write to its disk; nothing was written. Free some space there.",
    "NOREPLICAS": "fewer replicas than min-replicas-to-write are connected; nothing was written. Restore them.",
    "NOPERM": "the user lacks permissions. Allow it all commands on keys and channels that begin with the prefix.",
    "NOAUTH": "the server requires a password. Set it in the URL, or as password=.",
    "WRONGPASS": "the server refused the credentials. Check username and password.",
    "WRONGTYPE": "another program uses keys of this prefix; nothing was written. Choose another prefix.",
}
_WILL_PASS = frozenset(
    {"LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "MOVED", "TRYAGAIN", "READONLY", "NOREPLICAS"}
)
_FOR_GOOD = frozenset({"NOPERM", "NOAUTH", "WRONGPASS", "WRONGTYPE"})


def code_of(error: Exception) -> str:
    """Return the code at the start of an error of the server."""
    code = getattr(error, "status_code", None)
    if isinstance(code, str):
        return code
    # redis-py turns some codes into classes.
    return _CLASSES.get(type(error).__name__) or str(error).partition(" ")[0].lstrip("-")


_CLASSES = {
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
    "BusyLoadingError": "LOADING",
    "MasterDownError": "MASTERDOWN",
    "ClusterDownError": "CLUSTERDOWN",
    "MovedError": "MOVED",
    "TryAgainError": "TRYAGAIN",
    "NoPermissionError": "NOPERM",
    "AuthenticationError": "WRONGPASS",
    "AuthenticationWrongNumberOfArgsError": "WRONGPASS",
}


def will_pass(error: Exception) -> bool:
    """Return whether the server refused only for now and did nothing."""
    return code_of(error) in _WILL_PASS


def answered(server: str, error: Exception) -> CatgaError:
    """Return the error for an error of the server."""
    code = code_of(error)
    fix = _FIXES.get(code)
    if fix is None:
        return failed(f"Redis at {server} refused: {describe(error)}", retryable=False)
    return failed(f"Redis at {server} refused: {fix}", retryable=False if code in _FOR_GOOD else None)


def describe(error: Exception) -> str:
    """Return the text of a client error."""
    return str(error) or type(error).__name__
