"""The hub, through huggingface_hub: what a repository is before an upload, and one commit that
holds all of it or nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from huggingface_hub import CommitOperationAdd, HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled, RepositoryNotFoundError

from ft_harness.errors import ConfigError, FtHarnessError, PolicyError, ResourceError, first_line
from ft_harness.publish.package import Package
from ft_harness.storage import redact

_REPO = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_REFUSED = (401, 403)
_LATER = (408, 429)  # refused for now: too slow, too many requests


@dataclass(frozen=True)
class RemoteRepo:
    """A repository of the hub: `is_private` is None where there is none yet."""

    name: str
    is_private: bool | None

    def visibility(self, *, public: bool) -> str:
        """Who will see it, in words.

        Raises:
            PolicyError: it is public, and that was not asked for.
            ConfigError: it is private, and public was asked for.
        """
        if self.is_private is None:
            return f"a new repository, {'public' if public else 'private'}"
        if not self.is_private and not public:
            raise PolicyError(
                f"{self.name} exists and is public: everybody would see the upload",
                "a private repository, or --public",
                "give --public, another name, or make it private in its settings",
            )
        if self.is_private and public:
            raise ConfigError(
                f"{self.name} exists and is private; an upload doesn't make it public",
                "a public repository, or none of that name",
                "leave out --public, or make it public in its settings",
            )
        return f"exists, {'private' if self.is_private else 'public'}"


def find_repo(name: str) -> RemoteRepo:
    """The repository as the hub knows it; one that the token may not see looks as if it did not
    exist.

    Raises:
        ConfigError: the name is no OWNER/NAME, there is no token, or the hub is switched off.
        ResourceError: the hub can't be reached.
    """
    if not _REPO.fullmatch(name):
        raise ConfigError(f"{name!r} is no repository of the hub", "OWNER/NAME", "correct REPO")
    if get_token() is None:
        raise ConfigError(
            "no hub token was found",
            "a token that may write",
            "run: hf auth login (or set HF_TOKEN)",
        )
    with _told(name):
        try:
            return RemoteRepo(name, bool(HfApi().repo_info(name).private))
        except RepositoryNotFoundError as error:
            # With a token that it refuses, the hub finds no repository of any name.
            if error.response.status_code in _REFUSED:
                raise
            return RemoteRepo(name, None)


def upload(package: Package, repo: RemoteRepo, *, public: bool, message: str) -> str:
    """Send a package to the hub as one commit; its address. A file that is there already is not
    sent again.

    Raises:
        ConfigError: the hub refuses it.
        ResourceError: the connection broke; there is no commit, and what has arrived is kept.
    """
    operations = [
        CommitOperationAdd(
            each.name, each.content if isinstance(each.content, bytes) else str(each.content)
        )
        for each in package.files
    ]
    with _told(repo.name):
        if repo.is_private is None:
            # An upload that broke off may have made it since it was looked for.
            HfApi().create_repo(repo.name, private=not public, exist_ok=True)
        commit = HfApi().create_commit(repo.name, operations, commit_message=message)
    return str(commit.commit_url)


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Context that turns the client's errors into ones that a user can act on."""
    try:
        yield
    except FtHarnessError:
        raise
    except OfflineModeIsEnabled as error:
        raise ConfigError(
            "HF_HUB_OFFLINE is set: nothing can be uploaded", "a connection to the hub", "unset it"
        ) from error
    except Exception as error:  # the transport below the client has errors of its own
        status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
        reason = redact(first_line(error))
        if status in _REFUSED:
            raise ConfigError(
                f"{name}: the hub refuses this token ({reason})",
                "a token that may write there",
                "run: hf auth login; or give a repository of yours",
            ) from error
        for_good = status is not None and status < 500 and status not in _LATER
        if isinstance(error, ValueError) or for_good:
            raise ConfigError(
                f"{name}: the hub refuses the upload ({reason})",
                "an upload that the hub accepts",
                "see its answer; nothing was changed there",
            ) from error
        raise ResourceError(
            f"{name}: the upload broke off ({reason}); no commit was made",
            "a connection to the hub",
            "run the same command again: what has arrived is not sent again",
        ) from error
