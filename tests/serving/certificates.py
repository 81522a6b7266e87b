"""Certificates for tests of TLS: an authority of their own, and what it signs."""

import datetime
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Signed:
    """PEM files of a certificate and its key."""

    certificate: Path
    key: Path

    @property
    def texts(self) -> tuple[str, str]:
        """What is in the files: the key, and the certificate."""
        return self.key.read_text(), self.certificate.read_text()


class Authority:
    """Signs certificates for localhost, and writes them to a folder; `root` is the file of its own."""

    def __init__(self, folder: Path, name: str = "authority"):
        self._folder, self._name = folder, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.root = self._write(self._certificate(self._name, self._key), self._key, name).certificate

    def sign(self, name: str, days: int = 1, passphrase: bytes | None = None) -> Signed:
        """A certificate that is valid until so many days from now, and its key, which may need a passphrase."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return self._write(self._certificate(subject, key, days), key, name, passphrase)

    def _certificate(self, subject: x509.Name, key, days: int = 1) -> x509.Certificate:
        now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 10 * day)
            .not_valid_after(now + days * day)
            .add_extension(x509.BasicConstraints(ca=subject == self._name, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def _write(self, certificate: x509.Certificate, key, name: str, passphrase: bytes | None = None) -> Signed:
        kept = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
        signed = Signed(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        signed.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        signed.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, kept))
        return signed
