"""An issuer of certificates that says over OCSP that they are good."""

from __future__ import annotations

import base64
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

DAY = timedelta(days=1)


class Issuer:
    """Issues certificates of `localhost`, and answers whoever asks for their state. `asked`: how often."""

    def __init__(self) -> None:
        self.asked = 0
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an issuer")])
        self._own = self._made(self._name, self._key.public_key(), x509.BasicConstraints(ca=True, path_length=None))
        self._issued: dict[int, x509.Certificate] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def issue(self, folder: Path) -> tuple[Path, Path]:
        """A certificate, followed by the issuer's own, and its key: files in the folder."""
        key = ec.generate_private_key(ec.SECP256R1())
        url = x509.UniformResourceIdentifier(f"http://127.0.0.1:{self._server.server_port}/")
        access = x509.AuthorityInformationAccess([x509.AccessDescription(AuthorityInformationAccessOID.OCSP, url)])
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        made = self._made(name, key.public_key(), access, x509.SubjectAlternativeName([x509.DNSName("localhost")]))
        self._issued[made.serial_number] = made
        files = folder / "issued.pem", folder / "issued.key"
        pem = serialization.Encoding.PEM
        files[0].write_bytes(made.public_bytes(pem) + self._own.public_bytes(pem))
        bare = serialization.NoEncryption()
        files[1].write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, bare))
        return files

    def _made(self, name: x509.Name, key: ec.EllipticCurvePublicKey, *more: x509.ExtensionType) -> x509.Certificate:
        now = datetime.now(UTC)
        made = x509.CertificateBuilder(self._name, name, key, x509.random_serial_number(), now - DAY, now + 30 * DAY)
        for extension in more:
            made = made.add_extension(extension, critical=False)
        return made.sign(self._key, hashes.SHA256())

    def answer(self, asked: bytes) -> bytes:
        """The answer to a request of OCSP, in DER."""
        self.asked += 1
        certificate = self._issued[ocsp.load_der_ocsp_request(asked).serial_number]
        now = datetime.now(UTC)
        good = ocsp.OCSPResponseBuilder().add_response(
            certificate, self._own, hashes.SHA1(), ocsp.OCSPCertStatus.GOOD, now, now + DAY, None, None
        )
        said = good.responder_id(ocsp.OCSPResponderEncoding.HASH, self._own).sign(self._key, hashes.SHA256())
        return said.public_bytes(serialization.Encoding.DER)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                said = issuer.answer(base64.b64decode(unquote(self.path[1:])))
                self.send_response(200)
                self.send_header("Content-Type", "application/ocsp-response")
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_: object) -> None:
                pass

        return Handler
