#!/usr/bin/env python3
"""Connects again and again, each time with one request, and prints how many connections that were.

handshakes.py PORT plain|full|resumed SECONDS PROCESSES

`full` makes a complete TLS 1.3 handshake each time, `resumed` goes on from the session of the connection before; a
connection that did otherwise ends the run with exit code 1.
"""

import os
import socket
import ssl
import sys
import time

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def exchange(connection):
    connection.sendall(REQUEST)
    answer = b""
    while piece := connection.recv(4096):
        answer += piece
    if not answer.startswith(b"HTTP/1.1 200"):
        sys.exit(f"not an answer: {answer[:200]!r}")


def run(port, kind, until):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    session, count = None, 0
    while time.monotonic() < until:
        with socket.create_connection(("127.0.0.1", port)) as plain:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if kind == "plain":
                exchange(plain)
            else:
                with context.wrap_socket(plain, server_hostname="localhost", session=session) as tls:
                    exchange(tls)
                    if tls.session_reused != (session is not None):
                        sys.exit(f"asked for {kind} handshakes, got another")
                    if kind == "resumed":
                        # The ticket came with the answer; each is used once.
                        session = tls.session
        count += 1
    return count


def main():
    port, kind, seconds, processes = int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
    until = time.monotonic() + seconds
    pipes = []
    for _ in range(processes):
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.close(reader)
            os.write(writer, str(run(port, kind, until)).encode())
            sys.exit(0)
        os.close(writer)
        pipes.append(reader)
    total = 0
    for reader in pipes:
        said = os.read(reader, 64)
        if not said:
            sys.exit("a client failed")
        total += int(said)
    print(total)


main()
