"""hatop SOCKET BACKEND SERVER: its five views, then a server disabled and enabled by its command line and by its keys."""
import sys

import admin
from screen import Screen

path, backend, server = sys.argv[1:4]
hatop = Screen(sys.argv[4], ["-s", path, "-i", "1"])
hatop.until("the status view", lambda text: backend in text and server in text and "HAProxy" in text)
views = {"1": ("SCUR", "STATUS"), "2": ("BIN", "BOUT"), "3": ("QTOT", "EREQ", "ECONN", "DENY"), "4": ("CHK", "STATUS")}
shown = {}
for key in "2341":
    before = hatop.text()
    hatop.press(f"\x1b{key}")
    # The first lines hold the clock: only the table's head tells one view from another.
    head = lambda text: next((line for line in text.splitlines() if line.strip().startswith("NAME")), "")
    hatop.until(f"view {key}", lambda text: head(text) and head(text) != head(before) and backend in text)
    shown[key] = head(hatop.text())
if len(set(shown.values())) != 4:
    hatop.fail(f"four different tables expected: {shown}")

hatop.press("\x1b5")
hatop.until("the command line", lambda text: "NAME" not in text.split("\n", 8)[-1] or ">" in text)
for command, word in ((f"disable server {backend}/{server}", "MAINT"), (f"enable server {backend}/{server}", "UP")):
    hatop.press(command + "\r")
    hatop.until(f"{command} on the screen", lambda text: command in text)
    admin.wait_status(path, backend, server, word)
hatop.press("show info\r")
hatop.until("the reply to show info", lambda text: "Uptime_sec" in text or "Tainted" in text or "Maxconn" in text)

hatop.press("\x1b1")
hatop.until("the status view again", lambda text: server in text and "NAME" in text)
for _ in range(60):
    if hatop.line_with(server, reverse=True) is not None:
        break
    before = hatop.text()
    hatop.press("\x1bOB")
    for _ in range(4):
        hatop.read()
else:
    hatop.fail("the cursor never reached the server's line")
hatop.press("\x1b[21~")
admin.wait_status(path, backend, server, "MAINT")
hatop.until("MAINT on the screen", lambda text: any(server in l and "MAINT" in l for l in text.splitlines()))
hatop.press("\x1b[20~")
admin.wait_status(path, backend, server, "UP")
hatop.until("UP on the screen", lambda text: any(server in l and "UP" in l for l in text.splitlines()))
hatop.press("q")
hatop.close()
print("works")
