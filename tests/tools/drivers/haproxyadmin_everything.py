"""haproxyadmin: SOCKET BACKEND SERVER FRONTEND [MAP]. Reads every metric, then each write and its opposite.

Each line of output is one thing that does not work: NAME<tab>what happened.
"""
import sys

from haproxyadmin import (BACKEND_METRICS, FRONTEND_METRICS, HAPROXY_METRICS, SERVER_METRICS, STATE_DISABLE,
                          STATE_DRAIN, STATE_ENABLE, STATE_MAINT, STATE_READY, haproxy)
from haproxyadmin.exceptions import CommandFailed

import admin

path, be, srv, fe = sys.argv[1:5]
map_file = sys.argv[5] if len(sys.argv) > 5 else None
broken = []


def attempt(name, work, good=lambda value: True):
    try:
        value = work()
    except Exception as error:  # every failure of the library counts
        broken.append(f"{name}\t{type(error).__name__}: {error}")
        return None
    if not good(value):
        broken.append(f"{name}\t{value!r}")
    return value


hap = haproxy.HAProxy(socket_file=path)
# The library cannot add Uptime_sec up itself.
for metric in HAPROXY_METRICS:
    if metric != "Uptime_sec":
        attempt(f"metric {metric}", lambda: hap.metric(metric))
for name in ("uptime", "uptimesec", "description", "nodename", "releasedate", "version", "processids", "totalrequests",
             "maxconn", "ratelimitconn", "ratelimitsess", "ratelimitsslsess", "requests"):
    if hasattr(type(hap), name):
        attempt(f"haproxy.{name}", lambda: getattr(hap, name))
frontend, backend, server = hap.frontend(fe), hap.backend(be), hap.server(srv, backend=be)[0]
for thing, metrics in ((frontend, FRONTEND_METRICS), (backend, BACKEND_METRICS), (server, SERVER_METRICS)):
    for metric in metrics:
        attempt(f"{type(thing).__name__} metric {metric}", lambda: thing.metric(metric))
for thing, names in ((frontend, "name iid maxconn status requests process_nb"),
                     (backend, "name iid status requests process_nb"),
                     (server, "name sid status weight address port check_status check_code last_status requests")):
    for name in names.split():
        if hasattr(type(thing), name):
            attempt(f"{type(thing).__name__}.{name}", lambda: getattr(thing, name))


def weight(value):
    server.setweight(value)
    return int(server.weight)


attempt("server weight 3", lambda: weight(3), lambda now: now == 3)
attempt("server weight 100%", lambda: weight("100%"), lambda now: now == 10)
for state, word in ((STATE_DRAIN, "DRAIN"), (STATE_MAINT, "MAINT"), (STATE_READY, "UP"), (STATE_DISABLE, "MAINT"),
                    (STATE_ENABLE, "UP")):
    attempt(f"server state {state}", lambda: (server.setstate(state), server.status)[1], lambda now: now.startswith(word))
admin.wait_status(path, be, srv, "UP")


def assign(thing, name):
    setattr(thing, name, getattr(thing, name))


attempt("server port", lambda: assign(server, "port"))
attempt("server address", lambda: assign(server, "address"))
limit = attempt("frontend maxconn", lambda: frontend.maxconn)
attempt("frontend set maxconn", lambda: (frontend.setmaxconn(limit - 1), frontend.maxconn)[1], lambda n: n == limit - 1)
attempt("frontend set maxconn back", lambda: frontend.setmaxconn(limit))
attempt("frontend disable", lambda: (frontend.disable(), frontend.status)[1], lambda now: now in ("STOP", "PAUSED"))
attempt("frontend enable", lambda: (frontend.enable(), frontend.status)[1], lambda now: now == "OPEN")
attempt("set maxconn", lambda: hap.setmaxconn(hap.maxconn))
attempt("set rate limits", lambda: (hap.setratelimitconn(0), hap.setratelimitsess(0), hap.setratelimitsslsess(0)))
attempt("clear counters", lambda: hap.clearcounters())
attempt("errors", lambda: hap.errors())
attempt("show acl", lambda: hap.show_acl())
attempt("show map", lambda: hap.show_map())
attempt("command", lambda: hap.command("show info"))
attempt("servers", lambda: [(s.name, s.backendname) for s in hap.servers()], len)
attempt("backends", lambda: sorted(b.name for b in hap.backends()), lambda names: be in names)
attempt("frontends", lambda: sorted(f.name for f in hap.frontends()), lambda names: fe in names)
if map_file:
    key = "k.example.test"
    attempt("map add", lambda: hap.add_map(map_file, key, "v"))
    attempt("map get", lambda: hap.get_map(map_file, key))
    attempt("map set", lambda: hap.set_map(map_file, key, "w"))
    attempt("map show", lambda: hap.show_map(map_file), lambda lines: any(f"{key} w" in line for line in lines))
    attempt("map del", lambda: hap.del_map(map_file, key))
try:
    hap.frontend("nope")
    broken.append("an unknown frontend\tis taken for one")
except ValueError:
    pass
try:
    hap.setmaxconn(10**9)
    broken.append("set maxconn over the limit\tis accepted")
except (CommandFailed, ValueError):
    pass
print("\n".join(broken))
