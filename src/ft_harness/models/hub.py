"""The files of a hub model in the hub's cache, to be looked at before they are loaded; and how long
a hub that doesn't answer is waited for."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from huggingface_hub import (
    constants,
    get_session,
    hf_hub_download,
    is_offline_mode,
    set_client_factory,
    snapshot_download,
    try_to_load_from_cache,
)
from huggingface_hub.errors import EntryNotFoundError, HFValidationError, OfflineModeIsEnabled

from ft_harness.models.folder import INDEX, shard_names
from ft_harness.recipe import ModelSection

_SINGLE = "model.safetensors"
_MOST_UNANSWERED = 3  # requests in a row; each is waited for as long as HF_HUB_ETAG_TIMEOUT says


class _Patience:
    """What is sent to the hub, until nothing is answered any more.

    Libraries ask for one file after the other, some without a limit of time, and each five times
    with longer and longer pauses. A hub that has left a few requests in a row without an answer is
    taken for one that can't be reached, as with HF_HUB_OFFLINE=1: what the cache holds is used.
    """

    def __init__(self, send: Callable[..., Any]) -> None:
        self._send = send
        self._unanswered = 0

    def __call__(self, request: Any, **options: Any) -> Any:
        # an upload may take the hub longer
        if request.method not in ("GET", "HEAD") or is_offline_mode():
            return self._send(request, **options)
        if self._unanswered >= _MOST_UNANSWERED:
            raise OfflineModeIsEnabled(
                f"{request.url.host} has not answered {_MOST_UNANSWERED} requests in a row"
            )
        limit = max(constants.HF_HUB_ETAG_TIMEOUT, constants.HF_HUB_DOWNLOAD_TIMEOUT)
        given = request.extensions.get("timeout", {})
        request.extensions["timeout"] = {
            name: min(given.get(name) or limit, limit)
            for name in ("connect", "read", "write", "pool")
        }
        try:
            answer = self._send(request, **options)
        except Exception:
            self._unanswered += 1  # afterwards: several threads ask at once
            raise
        self._unanswered = 0
        return answer


def _bound_waiting() -> None:
    """Make all that asks the hub in this process wait for a bounded time."""
    usual = get_session()
    kind, hooks = type(usual), usual.event_hooks

    def make_client() -> Any:
        client: Any = kind(event_hooks=hooks, follow_redirects=True, timeout=None)
        client.send = _Patience(client.send)
        return client

    set_client_factory(make_client)


_bound_waiting()


def _address(section: ModelSection) -> dict[str, Any]:
    return {"repo_id": section.pretrained, "revision": section.revision or "main"}


def cached_folder(section: ModelSection) -> Path | None:
    """The cached folder that holds a hub model's configuration; None: it is not in the cache."""
    try:
        config = try_to_load_from_cache(filename="config.json", **_address(section))
    except HFValidationError:
        return None
    return Path(config).parent if isinstance(config, str) else None


def cached_commit(section: ModelSection) -> str | None:
    """The commit of a hub model that was loaded: the name of its folder in the cache; None: it is
    none of the hub's."""
    folder = cached_folder(section)
    return folder.name if folder else None


def held(section: ModelSection) -> Path | None:
    """The cached folder of a hub model; None: its weights, or some of them, are still to be
    fetched."""
    folder = cached_folder(section)
    if folder is None:
        return None
    names = [_SINGLE] if (folder / _SINGLE).exists() else shard_names(folder)
    return folder if names and all((folder / name).exists() for name in names) else None


def fetch(section: ModelSection) -> Path | None:
    """Fetch a hub model's safetensors into the cache: their folder; None where it has none.

    Files that the index names outside of the folder are not fetched.
    """
    folder: Path | None = None
    for name in (_SINGLE, INDEX):
        try:
            folder = Path(hf_hub_download(filename=name, **_address(section))).parent
        except EntryNotFoundError:
            continue
        break
    for name in shard_names(folder) if folder and not (folder / _SINGLE).exists() else ():
        if Path(name).name == name:
            hf_hub_download(filename=name, **_address(section))
    return folder


def fetch_files(pretrained: str, commit: str, patterns: Collection[str]) -> Path:
    """The cached folder of a hub model at this commit, with those files of its top folder that the
    patterns name; what is not in the cache yet is fetched."""
    folder = snapshot_download(
        pretrained, revision=commit, allow_patterns=list(patterns), ignore_patterns="*/*",
        local_files_only=is_offline_mode(),  # said, as not every release sees to it
    )  # fmt: skip
    return Path(folder)
