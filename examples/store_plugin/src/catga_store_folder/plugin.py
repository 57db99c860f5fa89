"""How the stores get into a container."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from catga_core import CatgaContainer, Clock, ConfigurationError, plugin
from catga_core.container import add_stores
from catga_core.interfaces import CheckpointStore, DeadLetterStore, InboxStore, SnapshotStore, Stores

from .checkpoints import FolderCheckpointStore
from .dead_letters import FolderDeadLetterStore
from .inbox import FolderInboxStore
from .snapshots import FolderSnapshotStore
from .storage import FolderStorage


def folder_stores(path: Path, clock: Clock) -> Stores:
    """Return the stores of one folder, not yet started; what a folder is no good for is `None`.

    Args:
        path: The folder; it is made where there is none.
        clock: Tells when something was noted.
    """
    storage = FolderStorage(path)
    return Stores(
        storage,
        {
            SnapshotStore: FolderSnapshotStore(storage),
            CheckpointStore: FolderCheckpointStore(storage, clock),
            InboxStore: FolderInboxStore(storage, clock),
            DeadLetterStore: FolderDeadLetterStore(storage),
        },
    )


@plugin(api=1)
def add_folder_stores(container: CatgaContainer, url: str) -> None:
    """Keep snapshots, checkpoints, inbox and dead letters in a folder.

    Args:
        container: The application's container; for each port the last call wins.
        url: `folder:///an/absolute/path`.

    Raises:
        ConfigurationError: For a URL that names no folder; for a folder that cannot be used, when the container starts.
    """
    parts = urlsplit(url)
    path = Path(unquote(parts.path))
    if parts.scheme != "folder" or parts.netloc or not path.is_absolute() or path == Path("/"):
        msg = f"{url!r} names no folder: write folder:///an/absolute/path, with three slashes"
        raise ConfigurationError(msg)
    # The container gives its own clock, which a test may replace.
    add_stores(
        container,
        lambda clock: folder_stores(path, clock),
        [SnapshotStore, CheckpointStore, InboxStore, DeadLetterStore],
        name="folder",
    )
