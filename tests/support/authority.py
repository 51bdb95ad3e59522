"""A certificate authority of the test's own, in memory; its certificates are good for a day."""

import datetime
import ipaddress
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from engine.transport.tls import KeyPair

Key = ec.EllipticCurvePrivateKey


def _key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _alternative(name: str) -> x509.GeneralName:
    if name.startswith("sip:"):
        return x509.UniformResourceIdentifier(name)
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@dataclass(slots=True)
class Authority:
    """folder: where it puts its own certificate (ca.pem), and what it issues."""

    folder: Path
    name: str = "Test Authority"
    _own: Key = field(default_factory=_key)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        basic = x509.BasicConstraints(ca=True, path_length=0)
        certificate = self._builder(self._own, _name(self.name)).add_extension(basic, critical=True)
        self._write(self.certificate, certificate)

    @property
    def certificate(self) -> Path:
        return self.folder / "ca.pem"

    def issue(self, file: str, *names: str, expired: bool = False) -> KeyPair:
        """FILE.pem and FILE.key for these names: DNS names, addresses, `sip:` URIs. expired: a minute ago."""
        key = _key()
        alternatives = x509.SubjectAlternativeName([_alternative(name) for name in names])
        builder = self._builder(key, _name(names[0]), expired=expired).add_extension(alternatives, critical=False)
        pair = KeyPair(self.folder / f"{file}.pem", self.folder / f"{file}.key")
        self._write(pair.certificate, builder)
        form = serialization.PrivateFormat.PKCS8
        pair.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
        return pair

    def client(self, own: KeyPair | None = None) -> ssl.SSLContext:
        """A context that trusts this authority alone."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        if own is not None:
            context.load_cert_chain(*own)
        return context

    def _builder(self, key: Key, subject: x509.Name, *, expired: bool = False) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        ends = now - datetime.timedelta(minutes=1) if expired else now + datetime.timedelta(days=1)
        own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._own.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(_name(self.name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(ends)
            .add_extension(own, critical=False)
            .add_extension(issuer, critical=False)
        )

    def _write(self, path: Path, builder: x509.CertificateBuilder) -> None:
        signed = builder.sign(self._own, hashes.SHA256())
        path.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
