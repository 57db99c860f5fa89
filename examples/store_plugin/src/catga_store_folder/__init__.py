"""Plain files in a folder: an example of stores for Catga."""

from .plugin import add_folder_stores, folder_stores
from .storage import FolderStorage

__all__ = ["FolderStorage", "add_folder_stores", "folder_stores"]
