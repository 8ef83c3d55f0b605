"""Settings: environment variables with the prefix PUSHSVC_, checked once, frozen after."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from pushsvc.addresses import embedded, origins, redis_address
from pushsvc.concurrency.cores import usable_cores
from pushsvc.errors import ConfigError
from pushsvc.settings.rate import Rate
from pushsvc.settings.types import (
    Address,
    ApiKey,
    BaseUrl,
    BudgetWords,
    Count,
    FilePath,
    HookUrl,
    HostPort,
    Line,
    MemorySize,
    Name,
    Networks,
    PassedPaths,
    RateWords,
    RequestHeaders,
    Seconds,
    Tls,
    default_memory,
    has_epoll,
    listed,
    one_line_only,
)  # fmt: skip
from pushsvc.settings.wording import one_line

PREFIX: Final = "PUSHSVC_"
DEFAULT_PREFIX: Final = "pushsvc"  # of all names in Redis
MOST_WORKERS: Final = 256
_PUBLIC_URL: Final = re.compile(r"(https?://[^/?#]+)((?:/[A-Za-z0-9._~\-]+)*)/?", re.IGNORECASE)
_AMBIGUOUS_PATHS: Final = re.compile("/v1(/.*)?|/demo")  # the service has paths below these itself


class Settings(BaseModel):
    """The settings. Durations are in seconds, sizes in bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    redis_url: Line = Field("", repr=False)  # may hold a password
    redis_password_file: FilePath | None = None
    redis_prefix: Name = DEFAULT_PREFIX
    partitions: Annotated[int, Field(ge=1, le=256)] = 8  # of a cluster's data; cannot be changed once there is data
    data_dir: FilePath = Path(".pushsvc")
    secret: tuple[str, ...] = Field((), repr=False)  # the first signs, all verify
    jwks: Line = ""  # a file or a URL
    issuer: Line = ""
    audience: Line = ""
    http: HostPort = "127.0.0.1:8080"
    app: Address = "127.0.0.1:8000"
    tls: Tls = ""  # of `http`
    workers: Annotated[int, Field(ge=1, le=MOST_WORKERS)] = Field(
        default_factory=lambda: min(usable_cores(), MOST_WORKERS)
    )
    keep_events: Annotated[int, Field(ge=1, le=10**6)] = 1000
    keep_seconds: Annotated[int, Field(ge=1, le=10 * 365 * 86400)] = 604800
    dedupe_seconds: Annotated[int, Field(ge=1, le=10 * 365 * 86400)] = 86400
    heartbeat_seconds: Seconds = 15.0
    retry_seconds: Seconds = 2.0
    drain_seconds: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)] = 20.0
    max_event_bytes: Annotated[int, Field(ge=1, le=16 * 2**20)] = 65536
    max_batch: Annotated[int, Field(ge=1, le=100_000)] = 1000
    max_connections: Count = 20000
    max_connections_per_user: Count = 20
    max_tickets_per_user: Count = 1000  # unspent ones
    compress_streams: bool = False
    send_buffer_bytes: Count = 262144
    rate_publish: RateWords = ()  # events, by token
    rate_topics: RateWords = (Rate(10_000, 3600, "10000 per hour"),)  # new topics, by user
    rate_connect: RateWords = (Rate(120, 60, "120 per minute"),)  # streams of GET /events, by user
    rate_ask: RateWords = (Rate(60, 60, "60 per minute"),)  # questions, by user
    durability: Literal["everysec", "always"] = "everysec"
    max_memory: MemorySize = Field(default_factory=default_memory)  # of the embedded server
    wait_replicas: Annotated[int, Field(ge=0, le=100)] = 0
    leeway_seconds: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)] = 30.0
    poller: Literal["epoll", "gevent"] = Field(default_factory=lambda: "epoll" if has_epoll() else "gevent")
    allowed_origins: tuple[str, ...] = ()
    public_url: str = ""  # without a slash at its end
    trusted_proxies: Networks = ()
    proxy_protocol: bool = False  # whether `http` speaks the PROXY protocol, and only that
    hook_url: HookUrl = Field("", repr=False)  # its path or query may hold a key
    hook_secret: Annotated[str, Field(validate_default=True, repr=False)] = ""  # signs hooks
    hook_private: bool = False  # whether the name in hook_url may lead to a private address
    llm_base_url: BaseUrl = Field("", repr=False)  # its query may hold a key
    llm_api_key: ApiKey = Field("", repr=False)
    llm_api_key_file: FilePath | None = None  # stands over llm_api_key
    llm_headers: RequestHeaders = Field((), repr=False)  # sent with each question; may hold keys
    llm_upstreams: FilePath | None = None  # a file; see settings/upstreams.py
    llm_budget: BudgetWords = ()  # of tokens and answers, by user, token and model
    llm_responses: Literal["translate", "passthrough"] = "translate"  # whether the model's server speaks that API
    llm_ask_streamed: bool = True  # whether the model is asked for a stream where the client wants one piece
    llm_continue: bool = False  # whether another worker goes on with an answer whose worker died
    llm_pass: PassedPaths = ("embeddings", "completions")  # paths under /v1 that go through to the model's server
    llm_model: Line = ""  # the model for questions that name none
    llm_connect_seconds: Seconds = 5.0
    llm_first_token_seconds: Seconds = 60.0
    llm_between_tokens_seconds: Seconds = 30.0
    llm_total_seconds: Seconds = 600.0
    llm_max_generations: Count = 1000
    llm_max_generations_per_user: Count = 1000
    llm_max_bytes_per_user: Count = 64 * 2**20  # of kept questions
    log_format: Literal["human", "json"] = "human"
    log_requests: bool = False  # a line for each request, stream and answer
    log_events: bool = False  # a line for each event that is published, and for each delivery
    demo: bool = True
    demo_key: str = Field("", repr=False)  # set by the supervisor alone: the secret word in the address it prints

    @field_validator("redis_url")
    @classmethod
    def _readable_url(cls, value: str) -> str:
        if value:
            redis_address.parse(value)
        return value

    @field_validator("redis_password_file")
    @classmethod
    def _of_a_given_server(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value and info.data.get("redis_url") == "":
            raise ValueError("should be empty with the embedded server, which has no password")
        return value

    @field_validator("secret", mode="before")
    @classmethod
    def _long_enough(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        one_line_only(value)
        found = tuple(each.strip() for each in value.split(",")) if value else ()
        if any(len(os.fsencode(each)) < 32 for each in found):
            which = "each of them " if len(found) > 1 else ""
            raise ValueError(f"should be {which}at least 32 bytes long (RFC 7518 section 3.2)")
        return found

    @field_validator("jwks")
    @classmethod
    def _key_set(cls, value: str) -> str:
        if re.match(r"[A-Za-z][A-Za-z0-9+.\-]*://", value):
            parts = urlsplit(value)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
                raise ValueError("should be a file, or a URL such as https://id.example.com/.well-known/jwks.json")
        return value

    @field_validator("hook_secret")
    @classmethod
    def _of_hooks(cls, value: str, info: ValidationInfo) -> str:
        one_line_only(value)
        if bool(value) != bool(info.data.get("hook_url", value)):
            raise ValueError("should be set together with PUSHSVC_HOOK_URL: it signs what is sent there")
        return value

    @field_validator("allowed_origins", mode="before")
    @classmethod
    def _origins(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        # A slash at the end is allowed, because addresses copied from the address bar have one. A '*' is refused:
        # together with credentials it would let any site read what the user may read.
        found = [origins.parse(each.removesuffix("/")) for each in listed(value)]
        if None in found:
            raise ValueError(
                "should be origins such as https://app.example.com, as browsers send them, with commas between"
            )
        return tuple(dict.fromkeys(found))

    @field_validator("public_url")
    @classmethod
    def _public(cls, value: str) -> str:
        match = _PUBLIC_URL.fullmatch(value)
        if not value:
            return value
        origin = origins.parse(match[1]) if match else None
        path = match[2] if match else ""
        if origin is None or {".", ".."} & set(path.split("/")):
            raise ValueError("should be such as https://example.com/push, its path of letters, digits and . _ ~ -")
        if _AMBIGUOUS_PATHS.fullmatch(path):
            raise ValueError(f"should have another path: {path}/ is where the service has paths of its own")
        return origin + path

    @field_validator("proxy_protocol")
    @classmethod
    def _of_somebody(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("trusted_proxies") == ():
            raise ValueError(f"should be off, or {PREFIX}TRUSTED_PROXIES should name whose PROXY protocol is believed")
        return value

    @field_validator("poller")
    @classmethod
    def _there(cls, value: str) -> str:
        if value == "epoll" and not has_epoll():
            raise ValueError("should be gevent: this system has no epoll")
        return value

    @field_validator("wait_replicas")
    @classmethod
    def _replicated(cls, value: int, info: ValidationInfo) -> int:
        if value and not info.data.get("redis_url"):
            raise ValueError("should be 0 with the embedded server, which has no replicas")
        return value

    @property
    def public_path(self) -> str:
        """The path under which browsers find the service, such as `/push`; empty: at the root."""
        return urlsplit(self.public_url).path

    @property
    def public_origin(self) -> str | None:
        """The scheme and host under which browsers find the service. None: PUBLIC_URL is not set."""
        return self.public_url.removesuffix(self.public_path) or None

    @property
    def http_url(self) -> str:
        """The URL at which nginx listens."""
        return f"{'https' if self.tls else 'http'}://{self.http}"

    @property
    def asks_a_server(self) -> bool:
        """Whether a model's server is asked, and not the built-in model."""
        return bool(self.llm_base_url) or self.llm_upstreams is not None

    @property
    def own_claims(self) -> dict[str, str]:
        """The claims by which our own tokens say who made them, and for whom."""
        return {name: value for name, value in (("iss", self.issuer), ("aud", self.audience)) if value}

    def from_anywhere(self) -> Settings:
        """The same settings with absolute paths, for processes that run in another folder. Symbolic links in the path
        of the password file are kept: where secrets are mounted, the links change when a secret does."""
        file = self.redis_password_file
        url = redis_address.from_anywhere(self.redis_url)
        held = {"data_dir": self.data_dir.resolve(), "redis_url": url, "redis_password_file": file and file.absolute()}
        held["llm_api_key_file"] = self.llm_api_key_file and self.llm_api_key_file.absolute()
        held["llm_upstreams"] = self.llm_upstreams and self.llm_upstreams.absolute()
        if self.jwks and "://" not in self.jwks:
            held["jwks"] = str(Path(self.jwks).absolute())
        if "," in self.tls:
            held["tls"] = ",".join(str(Path(each).absolute()) for each in self.tls.split(","))
        return self.model_copy(update=held)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read PUSHSVC_* from `environ`; an empty value means the default. Raises ConfigError with one line."""
        given = {
            field: environ[PREFIX + field.upper()] for field in cls.model_fields if environ.get(PREFIX + field.upper())
        }
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise ConfigError(one_line(error, PREFIX)) from None


def redis_url(settings: Settings) -> str:
    """The URL of Redis: as given, else the embedded server. Raises ConfigError if that does not run."""
    if settings.redis_url:
        return settings.redis_url
    path = embedded.socket_path(settings.data_dir)
    if not path.is_socket():
        raise ConfigError(
            "PUSHSVC_REDIS_URL is empty, and no embedded server runs for PUSHSVC_DATA_DIR "
            f"({settings.data_dir}); set the URL, or start everything with `python -m pushsvc up`"
        )
    return redis_address.at_socket(path)
