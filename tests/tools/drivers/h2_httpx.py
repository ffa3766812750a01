"""httpx over HTTP/2: h2_httpx.py PLAIN SECURE ROOT. The server behind is the test's own (see interop.rs)."""
import asyncio
import ssl
import sys

import httpx

plain, secure, root = sys.argv[1:4]


def try_everything(client, base):
    answer = client.get(f"{base}/page")
    assert answer.http_version == "HTTP/2" and answer.status_code == 200 and answer.text == "page", answer
    assert client.head(f"{base}/page").headers["content-length"] == "4"
    assert client.get(f"{base}/missing").status_code == 404
    assert client.get(f"{base}/empty").status_code == 204

    body = bytes(range(256)) * 8192
    answer = client.post(f"{base}/echo", content=body)
    assert answer.content == body, "an upload with its length"
    pieces = [body[i:i + 10_000] for i in range(0, len(body), 10_000)]
    answer = client.post(f"{base}/echo", content=iter(pieces))
    assert answer.content == body, "an upload without its length"
    answer = client.post(f"{base}/echo", files={"file": ("name.txt", b"x" * 100_000)})
    assert answer.content.count(b"x") >= 100_000

    with client.stream("GET", f"{base}/large") as answer:
        assert sum(len(piece) for piece in answer.iter_bytes()) == 8 << 20
    # Leaving early ends the stream alone.
    with client.stream("GET", f"{base}/large") as answer:
        next(answer.iter_bytes())
    assert client.get(f"{base}/page").text == "page"

    client.cookies.set("a", "1")
    client.cookies.set("b", "2")
    assert client.get(f"{base}/cookies").text == "a=1; b=2"


async def many_at_once(base):
    """On one connection; httpx mixes up its streams' numbers when threads share a client."""
    async with httpx.AsyncClient(http1=False, http2=True, timeout=20) as client:
        answers = await asyncio.gather(*(client.get(f"{base}/page?{n}") for n in range(300)))
    assert [answer.text for answer in answers] == ["page"] * 300


with httpx.Client(http1=False, http2=True, timeout=20) as client:
    try_everything(client, f"http://{plain}")
asyncio.run(many_at_once(f"http://{plain}"))
with httpx.Client(http1=True, http2=True, timeout=20, verify=ssl.create_default_context(cafile=root)) as client:
    try_everything(client, f"https://{secure}")
with httpx.Client(http1=True, http2=False, timeout=20, verify=ssl.create_default_context(cafile=root)) as client:
    answer = client.get(f"https://{secure}/page")
    assert answer.http_version == "HTTP/1.1" and answer.text == "page"
print("works")
