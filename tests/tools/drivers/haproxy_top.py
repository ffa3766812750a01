"""haproxy-top HOST:PORT BACKEND: draws its table with a row for the backend."""
import sys

from screen import Screen

top = Screen(sys.argv[3], [sys.argv[1]])
top.until("the head of the table", lambda text: "haproxytop -" in text and "SESSIONS" in text)
top.until("the backend's row", lambda text: any(sys.argv[2] in line and "UP" in line for line in text.splitlines()))
top.close()
print("works")
