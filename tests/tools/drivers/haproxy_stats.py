"""haproxy-stats HOST:PORT BACKEND SERVERS…: what the library makes of the page."""
import sys

from haproxystats import HAProxyServer

page = HAProxyServer(sys.argv[1])
assert not page.failed, "the page was not understood"
backend = next(b for b in page.backends if b.name == sys.argv[2])
names = sorted(server.name for server in backend.listeners)
assert names == sorted(sys.argv[3:]), names
for row in page.backends + page.frontends:
    assert isinstance(row.bin, int) and isinstance(row.bout, int) and row.status, vars(row)
print("works")
