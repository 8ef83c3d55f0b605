"""The certificate, and the version of HTTP that browsers will speak."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from pushsvc.doctor.findings import Finding, Wrong
from pushsvc.doctor.site import PATIENCE_SECONDS, Site

_DAYS: Final = 14  # before its end, by which a certificate should have been renewed
_ENDED, _TO_COME = 10, 9  # X509_V_ERR_…, of OpenSSL's x509_vfy.h
_OTHER_NAME: Final = (62, 64)
_UNKNOWN: Final = (18, 19, 20, 21)


def certificate(site: Site) -> Iterator[Finding]:
    """Check that browsers take the certificate, and for how long. Raises Wrong where it would not be safe to go on."""
    host = urlsplit(site.url).hostname or ""
    if not site.is_https:
        if not _is_here(host):
            raise Wrong("tokens and events travel in plain text", "PUSHSVC_TLS, or HTTPS in the proxy, and its URL")
        yield Finding("certificate", "none: plain HTTP, on this machine")
        return
    with _connected(site) as connection:
        found = connection.getpeercert() or {}
    days = (ssl.cert_time_to_seconds(str(found["notAfter"])) - time.time()) / 86400
    if days < _DAYS:
        yield Finding(
            "certificate", f"it ends in {days:.1f} days", "renew it now, and see why nothing did (certbot renew)"
        )
    else:
        whose = (
            f"it is good for {host}"
            if site.trust.check_hostname
            else "it is that of PUSHSVC_TLS, its name not looked at"
        )
        yield Finding("certificate", f"{whose}, for {days:.0f} days")


def http_version(site: Site) -> Iterator[Finding]:
    """Check that browsers get HTTP/2."""
    if not site.is_https:
        yield Finding("HTTP", "HTTP/1.1, as browsers speak HTTP/2 over TLS alone: they open six streams at most")
        return
    with _connected(site) as connection:
        version = connection.selected_alpn_protocol()
    if version != "h2":
        raise Wrong(
            "no HTTP/2: a browser opens six connections to a host, so the seventh tab with a stream waits for ever",
            "http2 on; in nginx (before 1.25.1: listen 443 ssl http2;)",
        )
    yield Finding("HTTP", "HTTP/2: a browser may open many streams")


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _connected(site: Site) -> ssl.SSLSocket:
    """Connect, and check the certificate. Raises Wrong."""
    parts = urlsplit(site.url)
    host = parts.hostname or ""
    site.trust.set_alpn_protocols(["h2", "http/1.1"])
    try:
        plain = socket.create_connection((host, parts.port or 443), PATIENCE_SECONDS)
        with plain:  # wrapping takes it over; else it is closed
            return site.trust.wrap_socket(plain, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        raise Wrong(f"browsers refuse it: {error.verify_message}", _mend(error.verify_code, host)) from error
    except OSError as error:
        raise Wrong(f"no TLS with {host}: {error.strerror or error}", "start it, or give its URL") from error


def _mend(code: int, host: str) -> str:
    if code == _ENDED:
        return "renew it (certbot renew), and reload the proxy"
    if code == _TO_COME:
        return "timedatectl set-ntp true, as a clock is wrong; or wait"
    if code in _OTHER_NAME:
        return f"a certificate with the name {host} (certbot certonly -d {host})"
    if code in _UNKNOWN:
        return (
            "the whole chain in the file (fullchain.pem, not cert.pem); for a CA of your own SSL_CERT_FILE=ca.pem here"
        )
    return "a certificate that browsers take"
