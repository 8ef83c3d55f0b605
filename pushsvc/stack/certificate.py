"""The certificate with which nginx serves HTTPS: the operator's, or one that is made and signed here."""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

from pushsvc.config import PREFIX, Settings
from pushsvc.errors import ConfigError
from pushsvc.program.terminal import say
from pushsvc.settings.types import SELF_SIGNED

LOOK_SECONDS: Final = 10.0
DAYS: Final = 397  # of a certificate made here; browsers take none that is longer valid
RENEW: Final = timedelta(days=30)  # before its end


class Certificate(NamedTuple):
    """Two files in PEM: the certificate, with what leads to its root, and the key. `own`: it was made here. `stapled`:
    its issuer says over OCSP whether it was withdrawn."""

    file: Path
    key: Path
    own: bool = False
    stapled: bool = False

    def trust(self) -> ssl.SSLContext:
        """The TLS context of a client on this machine: it trusts this certificate alone, whatever name it is reached
        by."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(self.file)
        return context


class CertificateWatch:
    """Finds the certificate, and notices when it has changed: somebody renews it, or it is our own and ends soon."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.found: Certificate | None = None  # None: nginx serves plain HTTP
        self._content: tuple[bytes, ...] = ()
        self._due = 0.0  # monotonic time of the next look

    def find(self) -> None:
        """Find the certificate. Raises ConfigError."""
        self.found = find_certificate(self._settings)
        self._content = self._read()
        self._due = time.monotonic() + LOOK_SECONDS

    def has_changed(self) -> bool:
        """Whether the files are others than before, and good. Looks once in LOOK_SECONDS."""
        if self.found is None or time.monotonic() < self._due:
            return False
        before = self._content
        try:
            self.find()
        except ConfigError as error:  # half written, or ended: nginx goes on with what it has
            self._due = time.monotonic() + LOOK_SECONDS
            say(error.detail)
            return False
        return self._content != before

    def _read(self) -> tuple[bytes, ...]:
        return () if self.found is None else (self.found.file.read_bytes(), self.found.key.read_bytes())


def find_certificate(settings: Settings) -> Certificate | None:
    """The certificate that TLS names, made anew if it is our own and ends soon. None: nginx serves plain HTTP. Raises
    ConfigError."""
    if not settings.tls:
        return None
    if settings.tls == SELF_SIGNED:
        return _self_signed(settings)
    file, key = (Path(each) for each in settings.tls.split(","))
    for path in (file, key):
        try:
            path.read_bytes()
        except OSError as error:
            raise ConfigError(f"{PREFIX}TLS: cannot read {path}: {error.strerror}") from error
    found = _read(file)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(file, key, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(f"{PREFIX}TLS: {key} is not the key of {file}, or has a password") from error
    if found.not_valid_after_utc <= datetime.now(UTC):
        raise ConfigError(f"{PREFIX}TLS: {file} ended on {found.not_valid_after_utc:%Y-%m-%d}; it should be renewed")
    return Certificate(file, key, stapled=_has_ocsp(found))


def _no_password() -> bytes:
    """The callback that OpenSSL asks for a key's password; without this it would ask on the terminal."""
    raise ValueError("the key has a password")


def _read(file: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(file.read_bytes())[0]
    except (ValueError, OSError) as error:
        raise ConfigError(f"{PREFIX}TLS: {file} is no certificate in PEM") from error


def _has_ocsp(certificate: x509.Certificate) -> bool:
    try:
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except x509.ExtensionNotFound:
        return False
    return any(each.access_method == AuthorityInformationAccessOID.OCSP for each in access)


def _self_signed(settings: Settings) -> Certificate:
    folder = settings.data_dir.resolve() / "tls"
    made = Certificate(folder / "certificate.pem", folder / "key.pem", own=True)
    names = _names(settings)
    try:
        if not _good(made, names):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _make(made, names)
    except OSError as error:
        raise ConfigError(f"{PREFIX}DATA_DIR: cannot write to {folder}: {error.strerror}") from error
    return made


def _names(settings: Settings) -> list[str]:
    """The names and addresses by which browsers may reach this machine."""
    given = [urlsplit(settings.public_url).hostname, settings.http.rpartition(":")[0].strip("[]"), socket.gethostname()]
    names = ["localhost", "127.0.0.1", "::1", *filter(None, given)]
    return sorted({name for name in names if name.isascii() and len(name) <= 63})


def _good(made: Certificate, names: list[str]) -> bool:
    """Whether the files can be used for a while, for these names."""
    try:
        found = x509.load_pem_x509_certificate(made.file.read_bytes())
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(made.file, made.key)
        alternative = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (FileNotFoundError, ValueError, ssl.SSLError, x509.ExtensionNotFound):
        return False
    return list(alternative) == _alternative(names) and found.not_valid_after_utc - datetime.now(UTC) > RENEW


def _make(made: Certificate, names: list[str]) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pushsvc")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # clocks differ
        .not_valid_after(now + timedelta(days=DAYS - 1))
        .add_extension(x509.SubjectAlternativeName(_alternative(names)), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(made.key, secret)
    _write(made.file, certificate.public_bytes(serialization.Encoding.PEM))


def _alternative(names: list[str]) -> list[x509.GeneralName]:
    return [_general(name) for name in names]


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write(path: Path, content: bytes) -> None:
    """Write a file that nobody else may read, whole or not at all."""
    new = path.with_suffix(".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    new.replace(path)
