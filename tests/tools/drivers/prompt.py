"""`lockgate ctl` at a terminal: PROGRAM SOCKET BACKEND SERVER HOME."""
import os
import pathlib
import sys

program, path, backend, server, home = sys.argv[1:6]
os.environ["HOME"] = home
import admin
from screen import Screen


def start():
    ctl = Screen(program, ["ctl", "--socket", path], rows=40, columns=120)
    ctl.until("the prompt", lambda text: "lockgate>" in text and "Tab completes" in text)
    return ctl


ctl = start()
ctl.press("show version\r")
ctl.until("the version", lambda text: "lockgate-" in text)
# One server begins like this, so Tab finishes the word; the second finds the only verb.
ctl.press(f"set server {backend}/{server[:-1]}\t\t")
ctl.until("the servers proposed", lambda text: f"{backend}/{server}" in text)
ctl.press(f"{server[-1]} sta\t")
ctl.until("a completed word", lambda text: f"set server {backend}/{server} state" in text)
ctl.press("\x03")
ctl.press(f"set server {backend}/{server} state drain\r")
admin.wait_status(path, backend, server, "DRAIN")
ctl.press("user\r")
ctl.press(f"set server {backend}/{server} state ready\r")
ctl.until("the level to last", lambda text: "Permission denied" in text)
ctl.press("operator\r")
ctl.press("set ssl cert /x.pem <<\r")
ctl.until("the payload to be asked for", lambda text: "payload>" in text)
# As a terminal pastes: several lines at once, an empty one among them.
ctl.press("\x1b[200~very secret line\n\nanother\x1b[201~")
ctl.until("the pasted lines", lambda text: "another" in text)
ctl.press("\r")
ctl.until("more of the payload to be asked for", lambda text: text.rstrip().endswith("payload>"))
ctl.press("\r")
ctl.until("a prompt after the payload", lambda text: text.rstrip().endswith("lockgate>"))
ctl.press("\x04")
ctl.until("the end", lambda text: not ctl.child.isalive() or not ctl.read())
ctl.close()

history = pathlib.Path(home, ".local/state/lockgate/history")
kept = history.read_text()
assert f"set server {backend}/{server} state drain" in kept and "secret" not in kept, kept
assert history.stat().st_mode & 0o077 == 0, oct(history.stat().st_mode)

ctl = start()
ctl.press("\x1b[A")
ctl.until("the last command back", lambda text: "lockgate> set ssl cert /x.pem <<" in text)
ctl.press("\x03\x04")
ctl.close()
print("works")
