"""gRPC with grpcio, all four kinds of calls, without generated code: messages are plain bytes.

grpc_calls.py serve ADDRESS             a server; says `ready` and runs until its standard input ends
grpc_calls.py call ADDRESS [ROOT NAME]  a client; over TLS when a root certificate and a name are given
grpc_calls.py once ADDRESS CODE         one unary call, which must end with that code
"""
import concurrent.futures
import sys
import threading
import time

import grpc

SERVICE = "test.Echo"
CANCELLED = threading.Event()


def reply(request, context):
    """Unary: the message backwards. Some messages ask for something else."""
    context.send_initial_metadata((("x-initial", "one"), ("x-initial-bin", bytes(range(8)))))
    context.set_trailing_metadata((("x-trailing", "two"),))
    if request == b"fail":
        context.abort(grpc.StatusCode.NOT_FOUND, "nothing of that name: 100 % sure")
    if request == b"metadata":
        return repr(sorted((k, v) for k, v in context.invocation_metadata() if k.startswith("x-"))).encode()
    if request == b"slow":
        time.sleep(20)
    if request == b"was anything cancelled?":
        return b"yes" if CANCELLED.wait(10) else b"no"
    return request[::-1]


def count(request, context):
    """Server streaming: numbers up to the one asked for; `for ever` goes on until the client leaves."""
    if request == b"for ever":
        context.add_callback(CANCELLED.set)
        while context.is_active():
            yield b"."
            time.sleep(0.02)
        return
    for n in range(int(request)):
        yield str(n).encode()
    if int(request) == 13:
        context.abort(grpc.StatusCode.DATA_LOSS, "thirteen")


def total(requests, context):
    """Client streaming: the number of bytes of everything."""
    return str(sum(len(request) for request in requests)).encode()


def chat(requests, context):
    """Both streaming: each message is answered before the next is read."""
    for request in requests:
        yield request.upper()


def serve(address):
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(16),
                         options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)])
    handlers = {
        "Reply": grpc.unary_unary_rpc_method_handler(reply),
        "Count": grpc.unary_stream_rpc_method_handler(count),
        "Total": grpc.stream_unary_rpc_method_handler(total),
        "Chat": grpc.stream_stream_rpc_method_handler(chat),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    server.add_insecure_port(address)
    server.start()
    print("ready", flush=True)
    sys.stdin.read()
    server.stop(0).wait()


def failure(work):
    try:
        result = work()
    except grpc.RpcError as error:
        return error
    raise AssertionError(f"no failure but {result!r}")


def call(address, root=None, name=None):
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    if root:
        credentials = grpc.ssl_channel_credentials(open(root, "rb").read())
        channel = grpc.secure_channel(address, credentials, options + [("grpc.ssl_target_name_override", name)])
    else:
        channel = grpc.insecure_channel(address, options)
    unary = channel.unary_unary(f"/{SERVICE}/Reply")
    counting = channel.unary_stream(f"/{SERVICE}/Count")
    totals = channel.stream_unary(f"/{SERVICE}/Total")
    chatting = channel.stream_stream(f"/{SERVICE}/Chat")
    patience = {"timeout": 15}

    # Unary, with what travels in heads and trailers.
    answer, seen = unary.with_call(b"abc", metadata=(("x-word", "w"), ("x-bytes-bin", b"\x00\xff")), **patience)
    assert answer == b"cba", answer
    assert ("x-initial", "one") in seen.initial_metadata() and ("x-initial-bin", bytes(range(8))) in seen.initial_metadata()
    assert ("x-trailing", "two") in seen.trailing_metadata(), seen.trailing_metadata()
    metadata = unary(b"metadata", metadata=(("x-word", "w"), ("x-bytes-bin", b"\x00\xff")), **patience)
    assert b"('x-bytes-bin', b'\\x00\\xff')" in metadata and b"('x-word', 'w')" in metadata, metadata
    assert unary(b"", **patience) == b""
    large = bytes(range(256)) * 16 * 1024
    assert unary(large, **patience) == large[::-1]
    assert unary(b"x" * 100_000, compression=grpc.Compression.Gzip, **patience) == b"x" * 100_000

    # Failures are statuses in the trailers.
    error = failure(lambda: unary(b"fail", **patience))
    assert error.code() == grpc.StatusCode.NOT_FOUND and error.details() == "nothing of that name: 100 % sure", error
    assert ("x-trailing", "two") in error.trailing_metadata(), error.trailing_metadata()
    error = failure(lambda: channel.unary_unary(f"/{SERVICE}/Nothing")(b"", **patience))
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED, error
    error = failure(lambda: unary(b"slow", timeout=0.5))
    assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error

    # Server streaming.
    assert list(counting(b"1000", **patience)) == [str(n).encode() for n in range(1000)]
    assert list(counting(b"0", **patience)) == []
    got = []

    def thirteen():
        for number in counting(b"13", **patience):
            got.append(number)

    error = failure(thirteen)
    assert len(got) == 13, got
    assert error.code() == grpc.StatusCode.DATA_LOSS and error.details() == "thirteen", error

    # Client streaming.
    assert totals(iter([b"x" * 1000] * 500), **patience) == b"500000"
    assert totals(iter([]), **patience) == b"0"

    # Both, in lock step: no message waits for the next one.
    turn = threading.Semaphore(1)

    def questions():
        for n in range(100):
            turn.acquire()
            yield f"message {n}".encode()

    for n, answer in enumerate(chatting(questions(), **patience)):
        assert answer == f"MESSAGE {n}".encode(), answer
        turn.release()
    assert n == 99

    # A client that leaves is noticed by the server.
    endless = counting(b"for ever")
    assert next(endless) == b"."
    endless.cancel()
    assert unary(b"was anything cancelled?", **patience) == b"yes"

    # Many at once on one connection.
    futures = [unary.future(str(n).encode() * 50, **patience) for n in range(300)]
    for n, future in enumerate(futures):
        assert future.result() == (str(n).encode() * 50)[::-1]
    channel.close()
    print("works")


def once(address, code):
    with grpc.insecure_channel(address) as channel:
        try:
            channel.unary_unary(f"/{SERVICE}/Reply")(b"abc", timeout=15)
            found = "OK"
        except grpc.RpcError as error:
            found = error.code().name
    assert found == code, f"{found}, not {code}"
    print("works")


if sys.argv[1] == "serve":
    serve(sys.argv[2])
elif sys.argv[1] == "once":
    once(*sys.argv[2:])
else:
    call(*sys.argv[2:])
