"""The admin socket, for drivers that look at the result of what a tool did."""
import socket
import time


def ask(path, line):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(path)
        s.sendall(line.encode() + b"\n")
        reply = b""
        while chunk := s.recv(65536):
            reply += chunk
    return reply.decode()


def status(path, backend, server):
    for row in ask(path, "show stat").splitlines():
        fields = row.split(",")
        if fields[:2] == [backend, server]:
            return fields[17]
    raise LookupError(f"{backend}/{server}")


def wait_status(path, backend, server, word, patience=15):
    end = time.monotonic() + patience
    while (found := status(path, backend, server)) != word:
        if time.monotonic() > end:
            raise SystemExit(f"FAIL: {backend}/{server} is {found}, not {word}")
        time.sleep(0.05)
