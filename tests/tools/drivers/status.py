"""`lockgate status` on terminals: PROGRAM SOCKET."""
import os
import sys

import pexpect

program, path = sys.argv[1:3]


def shown(columns, **environment):
    child = pexpect.spawn(program, ["status", "--socket", path], dimensions=(40, columns), encoding="utf-8",
                          env={"PATH": os.environ["PATH"], "TERM": "xterm", **environment})
    child.expect(pexpect.EOF)
    return child.before


colored, plain, narrow = shown(140), shown(140, NO_COLOR="1"), shown(50, NO_COLOR="1")
assert "\x1b[32mUP\x1b[0m" in colored and "\x1b[36mMAINT\x1b[0m" in colored, colored
assert "\x1b" not in plain and "REQUESTS" in plain and "CHECK" in plain, plain
assert max(len(line) for line in narrow.splitlines()) <= 50 and "STATE" in narrow and "REQUESTS" not in narrow, narrow

watching = pexpect.spawn(program, ["status", "--socket", path, "--watch=100ms"], dimensions=(12, 80), encoding="utf-8",
                         env={"PATH": os.environ["PATH"], "TERM": "xterm"})
watching.expect_exact("\x1b[2J")
for _ in range(3):
    watching.expect_exact("\x1b[H")
    watching.expect_exact("more lines")
    watching.expect_exact("\x1b[J")
watching.close(True)
print("works")
