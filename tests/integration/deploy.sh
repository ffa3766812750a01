#!/bin/sh
# A rolling deploy, as people write it: one server at a time, over the admin socket.
#
#   deploy.sh drain|maint SERVER...
#
# LOCKGATE is the binary, SOCKET its admin socket, APPS a folder with one nginx folder per server (nginx.conf, pid,
# address, access.log).
set -eu
mode=$1
shift

ctl() { "$LOCKGATE" ctl --socket "$SOCKET" "$1"; }

# column SERVER NUMBER: a field of the server's row in `show stat`.
column() { ctl "show stat" | awk -F, -v server="$1" -v number="$2" '$1 == "web" && $2 == server { print $number }'; }

# await WHAT COMMAND...: until the command succeeds, for at most 30 s.
await() {
    what=$1
    shift
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ "$tries" -lt 600 ] || { echo "gave up waiting for $what" >&2; exit 1; }
        sleep 0.05
    done
}

is() { [ "$(column "$1" "$2")" = "$3" ]; }
gone() { [ ! -e "$1" ]; }
answers() { curl -fs -o /dev/null -A deploy "http://$1/health"; }

for server in "$@"; do
    app=$APPS/$server
    ctl "set server web/$server state $mode" > /dev/null
    await "$server to have no current sessions" is "$server" 5 0

    kill "$(cat "$app/pid")"
    await "$server to stop" gone "$app/pid"
    if [ "$mode" = drain ]; then
        ctl "set server web/$server health down" > /dev/null
    fi

    echo "STARTED" >> "$app/access.log"
    nginx -p "$app" -c "$app/nginx.conf" > /dev/null 2>&1 &
    await "$server to start" answers "$(cat "$app/address")"

    ctl "set server web/$server state ready" > /dev/null
    if [ "$mode" = drain ]; then
        await "$server to be up" is "$server" 18 UP
    fi
    echo "$server deployed"
done
