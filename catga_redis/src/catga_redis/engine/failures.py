"""The errors a caller can get from the stores; `details["outcome"]` tells programs whether something may have been written.

`not_written`: it was not. `unknown`: it may have been.
"""

from __future__ import annotations

from catga_core.errors import CatgaError, Outcome, PersistenceError


class NotSentError(Exception):
    """No connection could be made, so nothing was sent."""


class LostError(Exception):
    """It was sent, and no answer came."""


class UnconfirmedError(Exception):
    """It was done, and fewer replicas or disks than asked for have told that they have it."""


class RefusedError(Exception):
    """The server answered that it does not do it now, and has done nothing; asking again later may help."""


def failed(text: str, *, unknown: bool = False, retryable: bool | None = None) -> CatgaError:
    """Return a `PERSISTENCE_FAILED`.

    Parameters:
        text: what failed, why, and the mend.
        unknown: whether it may have been written all the same.
        retryable: whether trying again may help; `None` for yes.
    """
    outcome = Outcome.UNKNOWN if unknown else Outcome.NOT_WRITTEN
    return PersistenceError(text, retryable=retryable, outcome=outcome)


def unanswered(server: str, error: Exception, *, unknown: bool) -> CatgaError:
    """Return the error for a server that has not answered in time."""
    if unknown:
        return failed(
            f"no answer from Redis at {server} ({describe(error)}), and no telling whether it was written: "
            "look before you try again",
            unknown=True,
        )
    return failed(f"Redis at {server} is not there ({describe(error)}), nothing was written: try again later")


def unconfirmed(error: UnconfirmedError) -> CatgaError:
    """Return the error for a write that too few have confirmed."""
    return failed(
        f"it was written, and {error}: it is lost if the server is lost now; check replicas, disk and wait_timeout_seconds",
        unknown=True,
    )


# The words that begin an error are Redis's own codes.
_MENDS = {
    "OOM": "the server's memory is full (maxmemory), nothing was written: give it more, or remove data",
    "READONLY": "the server is a replica, nothing was written: check the URL, or wait for the failover to end",
    "LOADING": "the server is loading its data, nothing was written: try again later",
    "BUSY": "a script runs for too long on the server, nothing was written: try again later",
    "MASTERDOWN": "the server has lost its primary, nothing was written: try again later",
    "CLUSTERDOWN": "the cluster has no node for these keys, nothing was written: bring it back",
    "MOVED": "the cluster moves these keys, nothing was written: try again later",
    "TRYAGAIN": "the cluster moves these keys, nothing was written: try again later",
    "MISCONF": "the server cannot write to its disk, nothing was written: make room there",
    "NOREPLICAS": "too few replicas are there for min-replicas-to-write, nothing was written: bring them back",
    "NOPERM": "the user may not do this: allow it all commands on keys and channels that begin with the prefix",
    "NOAUTH": "the server wants a password: set it in the URL, or as password=",
    "WRONGPASS": "the server refused the credentials: check username and password",
    "WRONGTYPE": "another program uses keys of this prefix, nothing was written: choose another prefix",
}
_WILL_PASS = frozenset(
    {"LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "MOVED", "TRYAGAIN", "READONLY", "NOREPLICAS"}
)
_FOR_GOOD = frozenset({"NOPERM", "NOAUTH", "WRONGPASS", "WRONGTYPE"})


def code_of(error: Exception) -> str:
    """Return the code that an answer of the server begins with."""
    code = getattr(error, "status_code", None)
    if isinstance(code, str):
        return code
    # redis-py takes the code off some errors and makes a class of it.
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
    """Tell whether the server has refused for a while only, having done nothing."""
    return code_of(error) in _WILL_PASS


def answered(server: str, error: Exception) -> CatgaError:
    """Return the error for an answer of the server that is one."""
    code = code_of(error)
    mend = _MENDS.get(code)
    if mend is None:
        return failed(f"Redis at {server} refused: {describe(error)}", retryable=False)
    return failed(f"Redis at {server} refused: {mend}", retryable=False if code in _FOR_GOOD else None)


def describe(error: Exception) -> str:
    """Return an error of the client in words."""
    return str(error) or type(error).__name__
