"""Finds transports, stores, features, behaviors and serializers of other distributions, by entry points."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, TypeVar

from catga_core.errors import ConfigurationError
from catga_core.log import PLUGINS_LOADED, logger
from catga_core.plugin_names import not_a_url, not_installed

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from catga_core.container.app.options import CatgaOptions

PLUGIN_API = 1
"""The version of the contract between Catga and its plugins."""

TRANSPORTS = "catga.transports"
STORES = "catga.stores"
FEATURES = "catga.features"
BEHAVIORS = "catga.behaviors"
SERIALIZERS = "catga.serializers"

_WRITTEN = {
    TRANSPORTS: "transport='{}://...'",
    STORES: "store='{}://...'",
    FEATURES: "plugins=['{}']",
    BEHAVIORS: "plugins=['{}']",
    SERIALIZERS: "serializer='{}'",
}
_API = "__catga_plugin_api__"

F = TypeVar("F", bound=Callable[..., Any])


def plugin(*, api: int) -> Callable[[F], F]:
    """Mark an `add_*` function as a plugin made for a version of the plugin contract.

    Args:
        api: `PLUGIN_API` as it was when the plugin was written, as a number.
    """

    def mark(function: F) -> F:
        setattr(function, _API, api)
        return function

    return mark


class PluginLoader:
    """Loads plugins by name and remembers what it loaded, for one log line.

    Args:
        disabled: Names that are never loaded.
    """

    def __init__(self, disabled: Collection[str]) -> None:
        self._disabled = frozenset(disabled)
        self._loaded: list[str] = []

    def load(self, group: str, name: str) -> Callable[..., Any]:
        """Return the `add_*` function of a plugin.

        Args:
            group: One of the entry-point groups.
            name: The plugin's name; for transports and stores the URL's scheme.

        Raises:
            ConfigurationError: When it is not installed, disabled, there twice, broken, or of another contract.
        """
        if name in self._disabled:
            msg = (
                f"The plugin {name!r} of {group} is requested and disabled. Remove it from disabled_plugins."
            )
            raise ConfigurationError(msg)
        entry = _only(group, name)
        function = _imported(group, entry)
        _check_api(group, entry, function)
        made_by = entry.dist
        self._loaded.append(f"{group}:{name}" + (f" ({made_by.name} {made_by.version})" if made_by else ""))
        return function

    def report(self) -> None:
        """Write one line that says what was loaded; none where nothing was."""
        if self._loaded:
            logger().info(PLUGINS_LOADED, plugins=list(self._loaded))


def apply_plugins(container: Any, options: CatgaOptions) -> None:
    """Load every plugin the options name and let it fill the container.

    Args:
        container: The container.
        options: Name the transport, the store, the serializer and further plugins.

    Raises:
        ConfigurationError: For the first that cannot be loaded.
    """
    loader = PluginLoader(options.disabled_plugins)
    if options.serializer != "msgpack":
        # The default is there already, without a look at every installed distribution.
        loader.load(SERIALIZERS, options.serializer)(container, options.serializer)
    for group, url, option in (
        (TRANSPORTS, options.transport, "transport"),
        (STORES, options.store, "store"),
    ):
        if url is not None:
            loader.load(group, scheme_of(url, option))(container, url)
    for name in options.plugins:
        loader.load(_group_of(name), name)(container, name)
    loader.report()


def scheme_of(url: str, option: str) -> str:
    """Return a URL's scheme.

    Raises:
        ConfigurationError: When it has none.
    """
    scheme, found, _ = url.partition("://")
    if not found or not scheme:
        raise ConfigurationError(not_a_url(url, option))
    return scheme


def _entries(group: str) -> list[EntryPoint]:
    # Imported here: reading the metadata of every installed distribution is not needed to import Catga.
    from importlib.metadata import entry_points

    return list(entry_points(group=group))


def _group_of(name: str) -> str:
    """Return the group of a plugin that `CatgaOptions(plugins=[...])` names.

    Raises:
        ConfigurationError: When it is neither a feature nor a behavior.
    """
    installed = {group: {entry.name for entry in _entries(group)} for group in (FEATURES, BEHAVIORS)}
    found = next((group for group, names in installed.items() if name in names), None)
    if found is not None:
        return found
    known = {each for names in installed.values() for each in names}
    elsewhere = _elsewhere(FEATURES, BEHAVIORS)
    raise ConfigurationError(
        not_installed(f"{FEATURES} or {BEHAVIORS}", name, known, _WRITTEN[FEATURES], elsewhere)
    )


def _elsewhere(*groups: str) -> dict[str, str]:
    """Return how the plugins of all other groups are named in `CatgaOptions`."""
    return {
        entry.name: written.format(entry.name)
        for group, written in _WRITTEN.items()
        if group not in groups
        for entry in _entries(group)
    }


def _only(group: str, name: str) -> EntryPoint:
    installed = _entries(group)
    found = [entry for entry in installed if entry.name == name]
    # The same distribution may be on the path twice (an editable install beside a wheel); that is not a duplicate.
    values = {entry.value for entry in found}
    if not found:
        names = {entry.name for entry in installed}
        raise ConfigurationError(not_installed(group, name, names, _WRITTEN[group], _elsewhere(group)))
    if len(values) > 1:
        brought = " and ".join(sorted(entry.dist.name if entry.dist else entry.value for entry in found))
        msg = f"The plugin {name!r} of {group} is installed twice, from {brought}. Uninstall one of them."
        raise ConfigurationError(msg)
    return found[0]


def _imported(group: str, entry: EntryPoint) -> Callable[..., Any]:
    try:
        function = entry.load()
    except Exception as cause:
        brought = entry.dist.name if entry.dist else entry.value
        msg = f"The plugin {entry.name!r} of {group} ({brought}) cannot be imported: {cause}. Reinstall it."
        raise ConfigurationError(msg) from cause
    if not callable(function):
        msg = f"The plugin {entry.name!r} of {group} is not callable. Name an add_* function in its entry point."
        raise ConfigurationError(msg)
    return function  # type: ignore[no-any-return]


def _check_api(group: str, entry: EntryPoint, function: Callable[..., Any]) -> None:
    api = getattr(function, _API, None)
    if api == PLUGIN_API:
        return
    brought = f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value
    said = "declares no plugin contract" if api is None else f"is written for plugin contract {api}"
    fix = (
        f"Decorate its function with @plugin(api={PLUGIN_API})."
        if api is None
        else "Install a matching version."
    )
    msg = f"The plugin {entry.name!r} of {group} ({brought}) {said}; this Catga has contract {PLUGIN_API}. {fix}"
    raise ConfigurationError(msg)
