"""A program in a pseudo terminal, and what its user sees."""
import os
import sys
import time

import pexpect
import pyte


class Screen:
    def __init__(self, program, arguments, rows=50, columns=160):
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        environment = {"TERM": "xterm", "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": os.environ.get("HOME", "/")}
        self.child = pexpect.spawn(program, arguments, dimensions=(rows, columns), env=environment)

    def text(self):
        return "\n".join(self.screen.display)

    def read(self):
        try:
            self.stream.feed(self.child.read_nonblocking(65536, 0.05))
        except pexpect.TIMEOUT:
            pass
        except pexpect.EOF:
            return False
        return True

    def press(self, keys):
        self.child.send(keys)

    def until(self, what, condition, patience=15):
        """Reads until the condition holds; fails with the screen otherwise."""
        end = time.monotonic() + patience
        while True:
            alive = self.read()
            found = condition(self.text())
            if found:
                return found
            if not alive or time.monotonic() > end:
                self.fail(("ended before " if not alive else "waited in vain for ") + what)

    def line_with(self, text, reverse=False):
        """The number of a line that holds this text (and is highlighted), or None."""
        for number, line in enumerate(self.screen.display):
            at = line.find(text)
            if at >= 0 and (not reverse or self.screen.buffer[number][at].reverse):
                return number
        return None

    def fail(self, why):
        print("FAIL:", why)
        print(self.text())
        self.child.close(True)
        sys.exit(1)

    def close(self):
        self.child.close(True)
