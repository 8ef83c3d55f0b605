"""Makes redis-py's connections from a parsed URL, and checks their files before the first one."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection
from redis.credentials import CredentialProvider
from redis.retry import Retry

from pushsvc.addresses.redis_address import RedisUrl
from pushsvc.errors import ConfigError
from pushsvc.storage.redis.topology import password_file

LAST_WORDS_SECONDS: Final = 0.2
ANSWER_SECONDS: Final = 2.0  # a Redis that does not answer for longer counts as unreachable
_TLS: Final = (
    "ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname", "ssl_ciphers",
)  # fmt: skip
# Errors by which Redis and redis-py refuse an account.
_OWN_WORDS: Final = ("invalid username-password pair", "Authentication required", "AUTH <password> called without")


class NoPassword(redis.ConnectionError):
    """The file with the password cannot be read just now."""


class Account(CredentialProvider):
    """The user and the password of a connection. The password is read for each connection from its file, if there is
    one."""

    def __init__(self, user: str, password: str, file: Path | None = None) -> None:
        self._user = user
        self._password = password.encode()
        self._file = file

    def get_credentials(self) -> tuple[Any, ...]:  # redis-py sends bytes as they are
        """The arguments of AUTH; redis-py calls this."""
        if self._file is not None:
            try:
                self._password = password_file.read(self._file)
            except ValueError as error:
                raise NoPassword(str(error)) from None
        if not self._user:
            return (self._password,) if self._password else ()
        return self._user, self._password

    def discreet(self, text: str) -> str:
        """Remove the password from an error that repeats a command's arguments. Redis's own errors do not, though
        a password such as "pass" may occur in them."""
        if text.startswith(_OWN_WORDS):
            return text
        text = re.sub(r",? with args beginning with.*", "", text, flags=re.DOTALL)
        password = self._password.decode(errors="replace")
        return "it refuses the account, in words that hold the password" if password and password in text else text


class _Discreet(AbstractConnection):
    """Connections whose errors do not repeat the password."""

    credential_provider: Account | None

    def connect_check_health(self, *args: Any, **options: Any) -> None:
        """Connect. If the server hangs up, connect once more to read why: a server at its limit of connections sends
        the error at once, and a client that has already written may not be able to read it."""
        try:
            super().connect_check_health(*args, **options)
        except redis.ConnectionError as error:
            if isinstance(error.__context__, (BrokenPipeError, ConnectionResetError)) and (words := self._last_words()):
                raise redis.ConnectionError(words) from error
            raise

    def _last_words(self) -> str:
        """Read the error of a server that hangs up at once."""
        try:
            with closing(self._connect()) as sock:  # type: ignore[no-untyped-call]
                sock.settimeout(LAST_WORDS_SECONDS)
                said = sock.recv(200).decode(errors="replace")
        except (redis.RedisError, OSError):
            return ""
        return said.partition("\r\n")[0].removeprefix("-ERR ") if said.startswith("-ERR ") else ""

    def on_connect_check_health(self, check_health: bool = True) -> None:
        try:
            super().on_connect_check_health(check_health)
            return
        except redis.RedisError as error:
            if self.credential_provider is None or isinstance(error, NoPassword):
                raise
            text = self.credential_provider.discreet(str(error))
            if text == str(error):
                raise
            refused = type(error)(text)
        raise refused


class PlainConnection(_Discreet, Connection):
    """A connection by TCP."""


class TlsConnection(_Discreet, SSLConnection):
    """A connection by TLS."""

    def can_read(self, timeout: float = 0) -> bool:
        """Whether part of an answer has arrived. TLS may send records of its own after the handshake; redis-py would
        take them for an unrequested answer, and the connection for broken."""
        if not super().can_read(timeout):
            return False
        try:
            self._parser.read_from_socket(timeout=0, raise_on_timeout=False)
        except OSError as error:
            raise redis.ConnectionError(f"Error while reading from {self.host}:{self.port}: {error.args}") from error
        return bool(self._parser._reader.has_data())  # noqa: SLF001  # parsed, but not read yet


class SocketConnection(_Discreet, UnixDomainSocketConnection):
    """A connection by a unix socket."""


def common(url: RedisUrl, file: Path | None = None) -> dict[str, Any]:
    """The keywords of each connection to the data. `file`: holds the password, which overrides the URL's."""
    given = url.options
    options: dict[str, Any] = {
        "credential_provider": Account(url.user, url.password, file),
        "db": given.get("db", 0),
        "client_name": given.get("client_name"),
        # Less would cut a subscription, on which a message comes only twice a second.
        "socket_timeout": max(ANSWER_SECONDS, given.get("socket_timeout", 0)),
        "socket_connect_timeout": max(ANSWER_SECONDS, given.get("socket_connect_timeout", 0)),
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }
    return options | network(url)


def place(url: RedisUrl) -> dict[str, Any]:
    """The keywords of connections to a single server."""
    if not url.servers:
        return {"connection_class": SocketConnection, "path": url.path}
    host, port = url.servers[0]
    return {"connection_class": TlsConnection if url.tls else PlainConnection, "host": host, "port": port}


def network(url: RedisUrl) -> dict[str, Any]:
    """The keywords that connections to the data's servers, a cluster's nodes and the sentinels have in common."""
    given = url.options
    options: dict[str, Any] = {name: given[name] for name in ("socket_keepalive", *_TLS) if name in given}
    options["driver_info"] = None  # no CLIENT SETINFO: two round trips, which few accounts are allowed
    if "ssl_certfile" in given:  # otherwise OpenSSL asks on the terminal for the password of an encrypted key
        options["ssl_password"] = given.get("ssl_password", "")
    if "ssl_min_version" in given:
        options["ssl_min_version"] = ssl.TLSVersion[given["ssl_min_version"]]
    for name in ("ssl_include_verify_flags", "ssl_exclude_verify_flags"):
        if name in given:
            options[name] = [ssl.VerifyFlags[flag] for flag in given[name]]
    return options


def check_files(url: RedisUrl, file: Path | None = None) -> None:
    """Check that the files that connections need are readable and valid. Raises ConfigError."""
    try:
        if file is not None:
            password_file.read(file)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    given = url.options
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if "ssl_ca_certs" in given:
        with _readable("ssl_ca_certs", given, "has no certificate in PEM"):
            context.load_verify_locations(given["ssl_ca_certs"])
    if "ssl_ca_path" in given:
        with _readable("ssl_ca_path", given, "is no folder of certificates"):
            os.listdir(given["ssl_ca_path"])
    if "ssl_keyfile" in given:
        with _readable("ssl_keyfile", given, ""):
            pass
    if "ssl_certfile" in given:
        with _readable("ssl_certfile", given, "has no certificate in PEM with its key, or ssl_password is another's"):
            context.load_cert_chain(given["ssl_certfile"], given.get("ssl_keyfile"), given.get("ssl_password", ""))
    if "ssl_ciphers" in given:
        try:
            context.set_ciphers(given["ssl_ciphers"])
        except ssl.SSLError:
            raise ConfigError("PUSHSVC_REDIS_URL: ssl_ciphers: OpenSSL knows none of them") from None


@contextmanager
def _readable(name: str, given: Mapping[str, Any], otherwise: str) -> Iterator[None]:
    """Guard the reading of a file. `otherwise`: the error for a readable but invalid file."""
    path = given[name]
    try:
        if not os.path.isdir(path) and not os.path.isfile(path):  # a pipe would wait for its writer
            os.stat(path)
            raise ConfigError(f"PUSHSVC_REDIS_URL: {name}: {path} is neither a file nor a folder")
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        yield
    except ssl.SSLError:
        raise ConfigError(f"PUSHSVC_REDIS_URL: {name}: {path} {otherwise}") from None
    except OSError as error:
        raise ConfigError(f"PUSHSVC_REDIS_URL: {name}: cannot read {path}: {error.strerror}") from None
