"""The recipe's eval.server section: servers that compute in place of this machine."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from ft_harness.recipe.section import Section


class ServerSection(Section):
    """The recipe's eval.server section: servers with an OpenAI-style completions API, all with the
    same base model."""

    url: str | Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        description="http://HOST:PORT of the server; a list: several that share the items"
    )
    model: str | None = Field(
        default=None,
        min_length=1,
        description="the base's name there; null: the one base that the server has",
    )
    adapters: dict[str, str] = Field(
        default_factory=dict,
        description="folder's name -> the adapter's name there; one that is not listed has the "
        "same name, and is loaded if the server lacks it",
    )
    concurrency: int = Field(
        default=8, ge=1, le=1024, description="at most this many requests in flight to each server"
    )
    timeout: float = Field(
        default=300,
        gt=0,
        description="seconds that a server may take to answer, or to recover from failing",
    )
    api_key_env: str | None = Field(
        default=None,
        pattern=r"^\w+$",
        description="environment variable that holds the key; null: none is sent",
    )

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        """Bare addresses: a key has a variable of its own, a path would be another API."""
        for url in (value,) if isinstance(value, str) else value:
            parts = urlsplit(url)
            bare = parts.path in ("", "/", "/v1", "/v1/") and not (parts.query or parts.fragment)
            if parts.scheme not in ("http", "https") or not parts.hostname or not bare:
                raise ValueError("an address like http://127.0.0.1:8000")
            if parts.username or parts.password:
                raise ValueError("an address without a user part; api_key_env names a key")
        if not isinstance(value, str) and len(set(value)) < len(value):
            raise ValueError("each server once")
        return value

    @property
    def addresses(self) -> tuple[str, ...]:
        """The servers, without the API's path."""
        urls = (self.url,) if isinstance(self.url, str) else self.url
        return tuple(url.rstrip("/").removesuffix("/v1") for url in urls)
