"""Servers that begin TLS in the middle of SMTP or IMAP, on loopback, with a certificate of the test's own.

    with StartTls("smtp", certificate, key) as server:
        server.address, server.said (each line that came in clear)
    StartTls("smtp", certificate, key, offers=False): it speaks the protocol, and no TLS
"""
import socket
import ssl
import threading

GREETING = {"smtp": b"220 mail.example ESMTP\r\n", "imap": b"* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n"}


class StartTls:
    def __init__(self, protocol, certificate, key, offers=True):
        self.protocol, self.offers, self.said = protocol, offers, []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self.serve, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(10)
                try:
                    self.talk(connection)
                except (OSError, ssl.SSLError):
                    pass

    def reply(self, line):
        """The answer to a line, and whether TLS begins behind it."""
        if self.protocol == "smtp":
            word = line.split()[0].upper()
            if word == b"EHLO":
                return (b"250-mail.example\r\n250-STARTTLS\r\n250 8BITMIME\r\n" if self.offers else b"250-mail.example\r\n250 8BITMIME\r\n"), False
            return (b"220 go ahead\r\n", True) if word == b"STARTTLS" and self.offers else (b"502 no\r\n", False)
        tag, word = line.split()[:2]
        if word.upper() == b"CAPABILITY":
            return b"* CAPABILITY IMAP4rev1" + (b" STARTTLS" if self.offers else b"") + b"\r\n" + tag + b" OK done\r\n", False
        return (tag + b" OK go ahead\r\n", True) if word.upper() == b"STARTTLS" and self.offers else (tag + b" BAD no\r\n", False)

    def talk(self, connection):
        connection.sendall(GREETING[self.protocol])
        with connection.makefile("rb") as lines:
            for line in lines:
                self.said.append(line.decode("latin-1").strip())
                answer, begins = self.reply(line)
                connection.sendall(answer)
                if begins:
                    break
            else:
                return
        with self.context.wrap_socket(connection, server_side=True) as secure:
            with secure.makefile("rb") as lines:
                for line in lines:
                    secure.sendall(self.reply(line)[0])
