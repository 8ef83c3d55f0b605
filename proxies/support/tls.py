"""The proxies that end TLS: what their configuration has in place of the lines for plain HTTP."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from proxies.support.kinds import CONFIGURATIONS, KINDS, Kind
from tests.support.certificates import make_certificate

FILE, KEY, BOTH = "/etc/ssl/push.pem", "/etc/ssl/push.key", "/etc/ssl/push.both.pem"  # both: one after the other

# By proxy: what stands in its recommended lines, and what stands there over TLS.
LINES: Final[dict[str, tuple[str, str]]] = {
    "HAProxy": ("bind 127.0.0.1:8080", f"bind 127.0.0.1:8080 ssl crt {BOTH} alpn h2,http/1.1"),
    "nginx": (
        "    listen 127.0.0.1:8080;\n",
        f"    listen 127.0.0.1:8080 ssl;\n    http2 on;\n    ssl_certificate {FILE};\n    ssl_certificate_key {KEY};\n",
    ),
    "Apache": (
        "ProxyPreserveHost On\n",
        f"Protocols http/1.1\nSSLEngine on\nSSLCertificateFile {FILE}\nSSLCertificateKeyFile {KEY}\n"
        "ProxyPreserveHost On\n",
    ),
    "Caddy": ("http://127.0.0.1:8080 {\n", f"https://localhost:8080 {{\n\ttls {FILE} {KEY}\n"),
    "Traefik": (
        "http:\n  routers:\n    push:\n",
        f"tls:\n  certificates:\n    - certFile: {FILE}\n      keyFile: {KEY}\n"
        "http:\n  routers:\n    push:\n      tls: {}\n",
    ),
    "Envoy": (
        "        - filters:\n",
        f"""\
        - transport_socket:
            name: envoy.transport_sockets.tls
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
              common_tls_context:
                alpn_protocols: [h2, http/1.1]
                tls_certificates: [{{certificate_chain: {{filename: {FILE}}}, private_key: {{filename: {KEY}}}}}]
          filters:
""",
    ),
}


def over_tls(kind: Kind, folder: Path) -> Kind:
    """The same proxy over TLS, with a certificate of `localhost` that is made in the folder."""
    file, key = make_certificate(folder, "push")
    both = folder / "both.pem"
    both.write_bytes(file.read_bytes() + key.read_bytes())
    for each in (file, key, both):
        each.chmod(0o644)  # some drop their rights first
    text = (CONFIGURATIONS / kind.file).read_text()
    plain, secure = LINES[kind.name]
    assert plain in text
    lines = text.replace(plain, secure)
    if kind.name == "Caddy":
        lines = lines.replace("{\n", "{\n\tauto_https off\n", 1)  # else it listens at port 80 too
    for place, path in ((BOTH, both), (FILE, file), (KEY, key)):
        lines = lines.replace(place, str(path))
    written = folder / Path(kind.file).name
    written.write_text(lines)
    return replace(kind, file=str(written))


TLS_KINDS: Final = [kind for kind in KINDS if kind.name in LINES]
