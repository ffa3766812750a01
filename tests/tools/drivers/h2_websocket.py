"""A websocket over HTTP/2 (RFC 8441) with the libraries h2 and wsproto: h2_websocket.py HOST PORT ROOT NAME.

The server behind says every frame back as it came.
"""
import socket
import ssl
import sys

import h2.config
import h2.connection
import h2.events
import h2.settings
from wsproto.frame_protocol import CloseReason, FrameProtocol, Opcode

host, port, root, name = sys.argv[1:5]
context = ssl.create_default_context(cafile=root)
context.set_alpn_protocols(["h2"])
raw = socket.create_connection((host, int(port)), timeout=20)
sock = context.wrap_socket(raw, server_hostname=name)
assert sock.selected_alpn_protocol() == "h2"
conn = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
conn.initiate_connection()
sock.sendall(conn.data_to_send())
inbox, status, ended = {}, {}, set()


def hear():
    data = sock.recv(65536)
    assert data, "the connection ended"
    for event in conn.receive_data(data):
        if isinstance(event, h2.events.ResponseReceived):
            status[event.stream_id] = dict(event.headers)[b":status"]
        elif isinstance(event, h2.events.DataReceived):
            inbox[event.stream_id] = inbox.get(event.stream_id, b"") + event.data
            conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            ended.add(event.stream_id)
        elif isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
            raise SystemExit(f"FAIL: {event}")
    sock.sendall(conn.data_to_send())


def say(stream, data, last=False):
    while data:
        room = min(conn.local_flow_control_window(stream), conn.max_outbound_frame_size)
        if room == 0:
            hear()
            continue
        conn.send_data(stream, data[:room])
        sock.sendall(conn.data_to_send())
        data = data[room:]
    if last:
        conn.end_stream(stream)
        sock.sendall(conn.data_to_send())


while conn.remote_settings.get(h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL) != 1:
    hear()

for stream in (1, 3):
    conn.send_headers(stream, [
        (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":path", "/ws"),
        (":authority", name), ("sec-websocket-version", "13"), ("origin", f"https://{name}"),
    ])
    sock.sendall(conn.data_to_send())
    while stream not in status:
        hear()
    assert status[stream] in (b"200", "200"), status

client = FrameProtocol(client=True, extensions=[])
server = FrameProtocol(client=True, extensions=[])
for stream in (1, 3):
    sent = [("text", "grüße"), ("binary", bytes(range(256)) * 4096), ("text", "")]
    for kind, payload in sent:
        say(stream, client.send_data(payload, fin=True))
    say(stream, client.ping(b"are you there"))
    say(stream, client.close(CloseReason.NORMAL_CLOSURE, "bye"), last=True)
    while stream not in ended:
        hear()
    reader = FrameProtocol(client=True, extensions=[])
    reader.receive_bytes(inbox[stream])
    frames, message = [], None
    for frame in reader.received_frames():
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONTINUATION):
            message = frame.payload if message is None else message + frame.payload
            if frame.message_finished:
                frames.append(message)
                message = None
        else:
            frames.append(frame.opcode)
    # The echo says a ping back as a ping.
    assert frames == [sent[0][1], sent[1][1], "", Opcode.PING, Opcode.CLOSE], [type(f) for f in frames]
print("works")
