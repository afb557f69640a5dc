"""Destinations with policies: a signed zone and BIND that validates it, an HTTPS server with MTA-STS policies, and MX
hosts whose certificates are right, for another name, or over. Everything on loopback, at the real ports."""
import http.server
import os
import re
import socketserver
import ssl
import subprocess
import threading

from destinations import PORT
from tools import answers, run, until

SIGNED, RESOLVER, SITE = "127.0.0.56", "127.0.0.54", "127.0.0.43"  # authoritative BIND, validating BIND, HTTPS server
VALID, MISMATCH, EXPIRED, PLAIN = "127.0.0.60", "127.0.0.61", "127.0.0.62", "127.0.0.63"  # MX hosts by what they show
# destinations of each kind, and the address of their one MX host
DANE = {"pass": VALID, "old": EXPIRED, "mismatch": MISMATCH, "expired": EXPIRED, "plain": PLAIN, "forged": VALID,
        "unusable": MISMATCH}
STS = {"pass": VALID, "mismatch": MISMATCH, "other": VALID, "expired": EXPIRED, "plain": PLAIN, "testing": MISMATCH,
       "gone": PLAIN}


class Policies:
    """All of it, and `hosts`: what each MX host has taken, and whether it was under TLS."""

    def __init__(self, world):
        self.world, self.folder = world, world.folder / "policies"
        self.folder.mkdir()
        self.folder.chmod(0o755)
        self.make_certificates()
        self.served = {f"mta-sts.{name}.sts.test": self.policy(name) for name in STS}
        self.start_dns()
        self.start_site()
        self.hosts = {address: MxHost(address, context) for address, context in self.contexts.items()}

    def make_certificates(self):
        self.authority = self.folder / "ca.pem"
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
            "-subj", "/CN=Test authority", "-keyout", self.folder / "ca.key", "-out", self.authority)
        os.environ["SSL_CERT_FILE"] = str(self.authority)  # for the nodes that are started from now on
        names = [f"mx.{name}.{zone}.test" for zone, kinds in (("dane", DANE), ("sts", STS)) for name in kinds]
        self.certificates = {VALID: self.issue("valid", names), MISMATCH: self.issue("mismatch", ["mx.elsewhere.test"]),
                             EXPIRED: self.issue("expired", names, until="20210101000000Z")}
        self.contexts = {address: self.context(name) for address, name in self.certificates.items()} | {PLAIN: None}
        self.issue("site", [f"mta-sts.{name}.sts.test" for name in STS])

    def issue(self, name, hosts, until="20991231235959Z"):
        """A certificate from the authority, good from 2020 on; its file has the authority's behind it."""
        key, request, leaf = (self.folder / f"{name}.{end}" for end in ("key", "csr", "leaf"))
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}",
            "-keyout", key, "-out", request)
        configuration = self.folder / f"{name}.conf"
        configuration.write_text(f"[ca]\ndefault_ca = it\n[it]\ndatabase = {self.folder}/{name}.index\nnew_certs_dir = {self.folder}\n"
                                 "rand_serial = yes\npolicy = names\ndefault_md = sha256\nx509_extensions = names_of\n[names]\ncommonName = supplied\n"
                                 "[names_of]\nsubjectAltName = " + ",".join(f"DNS:{host}" for host in hosts) + "\n")
        (self.folder / f"{name}.index").write_text("")
        run("openssl", "ca", "-batch", "-notext", "-config", configuration, "-cert", self.authority,
            "-keyfile", self.folder / "ca.key", "-startdate", "20200101000000Z", "-enddate", until, "-in", request, "-out", leaf)
        (self.folder / f"{name}.pem").write_text(leaf.read_text() + self.authority.read_text())
        return name

    def context(self, name):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        return context

    def association(self, name, selector):
        """The SHA-256 of a certificate (0) or of its key (1)."""
        file = self.authority if name == "authority" else self.folder / f"{name}.leaf"
        if selector == 0:
            octets = run("openssl", "x509", "-in", file, "-outform", "DER")
        else:
            octets = run("openssl", "pkey", "-pubin", "-outform", "DER", input=run("openssl", "x509", "-in", file, "-noout", "-pubkey"))
        return run("openssl", "dgst", "-sha256", "-r", input=octets).decode().split()[0]

    def policy(self, name):
        mode, host = ("testing" if name == "testing" else "enforce"), ("mx.else" if name == "other" else f"mx.{name}")
        return f"version: STSv1\r\nmode: {mode}\r\nmx: {host}.sts.test\r\nmax_age: 86400\r\n"

    def start_dns(self):
        """One BIND serves the zones, signed and not; another one, which has the signed zones' keys, validates them."""
        tlsa = {"pass": f"3 1 1 {self.association('valid', 1)}", "old": f"3 0 1 {self.association('expired', 0)}",
                "mismatch": f"2 0 1 {self.association('authority', 0)}", "expired": f"2 0 1 {self.association('authority', 0)}",
                "plain": f"3 1 1 {self.association('valid', 1)}", "forged": f"3 1 1 {'ab' * 32}",
                "unusable": f"1 1 1 {self.association('valid', 1)}"}
        dane = "".join(f"{name} MX 10 mx.{name}\nmx.{name} A {DANE[name]}\n_25._tcp.mx.{name} TLSA {data}\n"
                       for name, data in tlsa.items())
        sts = "".join(f'{name} MX 10 mx.{name}\nmx.{name} A {address}\nmta-sts.{name} A {SITE}\n'
                      f'_mta-sts.{name} TXT "v=STSv1; id=1;"\n' for name, address in STS.items())
        anchors = self.sign("dane.test", dane, "now+30d") + self.sign("stale.test", f"@ MX 10 mx\nmx A {VALID}\n", "now-1d")
        # who can change answers on the way: another certificate is named, and the signature is the old one
        zone = self.folder / "dane.test.zone"
        changed = re.sub("(?i)" + "ab" * 28, "cd" * 28, zone.read_text())
        assert changed != zone.read_text(), "nothing to forge in the signed zone"
        zone.write_text(changed)
        self.write_zone("sts.test", sts)
        options = 'listen-on-v6 { none; }; pid-file none; empty-zones-enable no; querylog no; '
        zones = "".join(f'zone "{z}" {{ type primary; file "{self.folder}/{z}.zone"; }};\n' for z in ("dane.test", "stale.test", "sts.test"))
        self.named("signed", f'options {{ directory "{self.folder}"; session-keyfile "{self.folder}/signed.key"; listen-on {{ {SIGNED}; }}; '
                   f'recursion no; {options} }};\ncontrols {{ }};\n{zones}', SIGNED)
        forwards = "".join(f'zone "{z}" {{ type forward; forward only; forwarders {{ {SIGNED}; }}; }};\n'
                           for z in ("dane.test", "stale.test", "sts.test"))
        from world import DNS, DNS_PORT
        self.named("resolver", f'options {{ directory "{self.folder}"; session-keyfile "{self.folder}/resolver.key"; listen-on {{ {RESOLVER}; }}; '
                   f'recursion yes; allow-recursion {{ any; }}; forward only; forwarders {{ {DNS} port {DNS_PORT}; }}; dnssec-validation yes; '
                   f'{options} }};\ncontrols {{ }};\ntrust-anchors {{ {anchors} }};\n{forwards}', RESOLVER)

    def write_zone(self, name, records):
        file = self.folder / f"{name}.zone"
        file.write_text(f"$ORIGIN {name}.\n$TTL 300\n@ SOA ns.{name}. host.{name}. 1 3600 600 86400 5\n@ NS ns.{name}.\n"
                        f"ns A {SIGNED}\n{records}")
        return file

    def sign(self, name, records, end):
        """Signs a zone in place; its trust anchor, for BIND."""
        file = self.write_zone(name, records)
        key = run("dnssec-keygen", "-q", "-K", self.folder, "-a", "ECDSAP256SHA256", "-f", "KSK", name).decode().strip()
        run("dnssec-signzone", "-q", "-P", "-S", "-z", "-O", "full", "-d", self.folder, "-K", self.folder, "-s", "now-7d", "-e", end, "-o", name, "-f", file, file)
        fields = (self.folder / f"{key}.key").read_text().split("DNSKEY")[-1].split()
        return f'{name}. static-key {fields[0]} {fields[1]} {fields[2]} "{"".join(fields[3:])}";\n'

    def named(self, name, configuration, address):
        file = self.folder / f"{name}.conf"
        file.write_text(configuration)
        run("ip", "addr", "add", f"{address}/8", "dev", "lo")  # BIND serves addresses of interfaces only
        self.world.start(f"named-{name}", "named", "-g", "-c", file)
        until(lambda: answers(address, 53), 20, f"BIND listens at {address}")

    def start_site(self):
        served = self.served

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                text = served.get(self.headers["Host"]) if self.path == "/.well-known/mta-sts.txt" else None
                octets = (text or "").encode()
                self.send_response(200 if text else 404)
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", str(len(octets)))
                self.end_headers()
                self.wfile.write(octets)

            def log_message(self, *_):
                """What is asked shows in what is delivered."""

        class Server(http.server.ThreadingHTTPServer):
            allow_reuse_address, daemon_threads = True, True

            def handle_error(self, *_):
                """A client that goes away is no error here."""

        server = Server((SITE, 443), Handler)
        server.socket = self.context("site").wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def dig(self, name, kind):
        """Status and flags of the validating resolver's answer."""
        output = subprocess.run(["dig", f"@{RESOLVER}", name, kind, "+adflag"], capture_output=True, timeout=30).stdout.decode()
        return re.search(r"status: (\w+)", output)[1], re.search(r"flags: ([a-z ]+);", output)[1].split()


class MxHost:
    """An MX host that offers STARTTLS, if it has a certificate, and keeps what it takes: (octets, TLS version or None)."""

    def __init__(self, address, context):
        self.taken, self.sessions = [], 0
        owner = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                owner.sessions += 1
                owner.converse(self.request, context)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address, daemon_threads = True, True

            def handle_error(self, *_):
                """A peer that does not like what it sees is no error here."""

        threading.Thread(target=Server((address, PORT), Handler).serve_forever, daemon=True).start()

    def converse(self, connection, context):
        lines = connection.makefile("rb")

        def answer(text):
            connection.sendall(text.encode() + b"\r\n")

        answer("220 mx ESMTP")
        while line := lines.readline(4096):
            verb = line.split()[0].upper() if line.split() else b""
            if verb == b"EHLO":
                tls = context and not isinstance(connection, ssl.SSLSocket)
                answer("250-mx\r\n250-8BITMIME\r\n250-REQUIRETLS\r\n" + ("250-STARTTLS\r\n" if tls else "") + "250 SIZE 0")
            elif verb == b"STARTTLS" and context:
                answer("220 go on")
                connection = context.wrap_socket(connection, server_side=True)
                lines = connection.makefile("rb")
            elif verb == b"DATA":
                answer("354 go on")
                octets = bytearray()
                while (line := lines.readline()) not in (b".\r\n", b""):
                    octets += line
                self.taken.append((bytes(octets), connection.version() if isinstance(connection, ssl.SSLSocket) else None))
                answer("250 2.0.0 taken")
            elif verb == b"QUIT":
                answer("221 2.0.0 bye")
                return
            else:
                answer("250 2.0.0 ok")

    def version(self, identity):
        """How the one copy of a message came: a TLS version, or None for in the clear."""
        versions = [version for octets, version in self.taken if identity.encode() in octets]
        assert len(versions) == 1, f"{identity} arrived {len(versions)} times"
        return versions[0]
