"""FastAPI with a queue per client: a task in the background makes the answer, an asyncio.Queue carries it to the stream.

The design that many inference servers begin with. As with the other peers there is one loop for the tokens of all streams,
which is cheaper than a sleep for each; a queue that is full holds its stream back. uvicorn takes uvloop and httptools
where they are installed. What it says and when: see event.ts and ticker.ts beside this file.
"""

import asyncio
import heapq
import json
import secrets
import socket
import time

import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

QUEUE_EVENTS = 64
TOKENS_PER_TURN = 256

app = FastAPI()


class Submit(BaseModel):
    prompt: str


class Stream:
    """One answer on its way: what is said next, and the queue of the client that follows it."""

    def __init__(self, script):
        self.task = "task_" + secrets.token_urlsafe(16)[:21]
        self.tokens = script.get("tokens", 200)
        self.rate = script.get("rate", 0)
        self.stamp = script.get("stamp", False)
        self.queue = asyncio.Queue(QUEUE_EVENTS)
        self.start = time.monotonic()
        self.next = 0
        self.held = False
        self.gone = False
        self.ended = asyncio.Event()

    def due(self):
        return self.start + self.next / self.rate

    def say(self, at):
        """The next token, or the end; at most once a call."""
        if self.next < self.tokens and not self.queue.full():
            text = f"i={self.next},t={int(at * 1e6)};" if self.stamp else f"w{self.next} "
            self.next += 1
            self.put("token", {"text": text, "tokens": 1})
        if self.next == self.tokens and not self.queue.full():
            self.next += 1
            self.put("completed", {"finish_reason": "stop"})
            self.ended.set()

    def put(self, kind, more):
        # The terminal event follows the last token.
        event = {"task": self.task, "seq": self.next, "at": int(time.time() * 1000), "type": kind, **more}
        data = json.dumps(event, separators=(",", ":"))
        self.queue.put_nowait(f"id: {self.next}\nevent: {kind}\ndata: {data}\n\n")


class Ticker:
    """All streams that say something; one task of the event loop."""

    def __init__(self):
        self.eager = set()
        self.heap = []
        self.wake = asyncio.Event()

    def add(self, stream):
        if stream.rate > 0:
            # The id decides between equal times: streams have no order.
            heapq.heappush(self.heap, (stream.due(), id(stream), stream))
        else:
            self.eager.add(stream)
        self.wake.set()

    async def run(self):
        while True:
            self.turn(time.monotonic())
            if self.eager or (self.heap and self.heap[0][0] <= time.monotonic()):
                await asyncio.sleep(0)
                continue
            self.wake.clear()
            wait = self.heap[0][0] - time.monotonic() if self.heap else None
            try:
                await asyncio.wait_for(self.wake.wait(), wait)
            except asyncio.TimeoutError:
                pass

    def turn(self, now):
        for _ in range(TOKENS_PER_TURN):
            if not self.heap or self.heap[0][0] > now:
                break
            due, _, stream = heapq.heappop(self.heap)
            if self.goes_on(stream, due):
                heapq.heappush(self.heap, (stream.due(), id(stream), stream))
        for stream in list(self.eager):
            if not self.goes_on(stream, time.monotonic()):
                self.eager.discard(stream)

    def goes_on(self, stream, at):
        """Says a token of the stream, and whether it has more to say for now."""
        if not stream.gone:
            stream.say(at)
            stream.held = not stream.ended.is_set() and stream.queue.full()
        return not (stream.gone or stream.held or stream.ended.is_set())


ticker = None


async def generate(stream):
    """The background task: it lasts as long as the answer."""
    ticker.add(stream)
    await stream.ended.wait()


async def events(stream):
    try:
        yield "retry: 1000\n\n"
        while True:
            frame = await stream.queue.get()
            yield frame
            if stream.held and stream.queue.empty():
                stream.held = False
                ticker.add(stream)
            if stream.ended.is_set() and stream.queue.empty():
                return
    finally:
        stream.gone = True
        stream.ended.set()


@app.post("/v1/tasks")
async def submit(body: Submit):
    stream = Stream(json.loads(body.prompt))
    asyncio.create_task(generate(stream))
    return StreamingResponse(events(stream), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


@app.on_event("startup")
async def start():
    global ticker
    ticker = Ticker()
    asyncio.create_task(ticker.run())


if __name__ == "__main__":
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(2048)
    print(f"It listens on http://127.0.0.1:{listening.getsockname()[1]}\nReady.", flush=True)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, timeout_keep_alive=60))
    server.run(sockets=[listening])
