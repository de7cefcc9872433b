/**
 * Bare uWebSockets.js that remembers: a task's frames in an array, for many subscribers and for those that come later.
 *
 * What a user of it would write to get at what the gateway does for one task: POST answers 202 with an id (or with the stream); a
 * stream begins with all frames that there are, in one write, and then has a corked write per frame. A subscriber whose
 * socket is full keeps its position, and gets the rest when the socket is writable. Tasks stay for ever, as their frames.
 */
import uWS, { type HttpRequest, type HttpResponse, type WebSocket } from 'uWebSockets.js'
import { newTaskId } from '../../src/core/id.js'
import { completedEvent, type Said, SSE_RETRY, sseFrame, tokenEvent } from './event.js'
import { type Submit, sayReady, scriptOf } from './request.js'
import { Ticker } from './ticker.js'

const MAX_BACKPRESSURE_BYTES = 16 * 1_048_576

interface Subscriber {
  position: number
  full: boolean
  /** @param ended there are no more @returns whether the socket takes more */
  write(frames: string[], ended: boolean): boolean
}

/** What a task has said, as frames of one transport, and who follows it there. */
class Feed {
  readonly #frames: string[] = []
  readonly #subscribers = new Set<Subscriber>()
  #ended = false

  say(frame: string, ended: boolean): void {
    this.#frames.push(frame)
    this.#ended = ended
    const one = [frame]
    for (const subscriber of this.#subscribers) {
      if (!subscriber.full) this.#write(subscriber, one)
    }
  }

  add(subscriber: Subscriber): void {
    this.#subscribers.add(subscriber)
    this.resume(subscriber)
  }

  resume(subscriber: Subscriber): void {
    subscriber.full = false
    const missed = this.#frames.slice(subscriber.position)
    if (missed.length > 0) this.#write(subscriber, missed)
  }

  delete(subscriber: Subscriber): void {
    this.#subscribers.delete(subscriber)
  }

  #write(subscriber: Subscriber, frames: string[]): void {
    subscriber.position += frames.length
    if (this.#ended) this.#subscribers.delete(subscriber)
    subscriber.full = !subscriber.write(frames, this.#ended)
  }
}

type Task = { id: string; sse: Feed; json: Feed }
type Socket = { feed: Feed | null; subscriber: Subscriber | null }

const ticker = new Ticker()
const tasks = new Map<string, Task>()

function run(prompt: string): Task {
  const id = newTaskId()
  const task: Task = { id, sse: new Feed(), json: new Feed() }
  tasks.set(id, task)
  const say = (event: Said, ended: boolean): void => {
    task.sse.say(sseFrame(event), ended)
    task.json.say(JSON.stringify(event), ended)
  }
  ticker.start(scriptOf(prompt), {
    token(seq, text) {
      say(tokenEvent(id, seq, text), false)
      return true
    },
    end: (seq) => say(completedEvent(id, seq), true),
  })
  return task
}

function submit(res: HttpResponse, req: HttpRequest): void {
  const follows = req.getHeader('accept') === 'text/event-stream'
  const chunks: Buffer[] = []
  let open = true
  res.onAborted(() => {
    open = false
  })
  res.onData((chunk, isLast) => {
    // The memory of a chunk is gone when this returns.
    chunks.push(Buffer.from(Buffer.from(chunk)))
    if (!isLast || !open) return
    const task = run((JSON.parse(Buffer.concat(chunks).toString()) as Submit).prompt)
    if (follows) stream(res, task.sse)
    else {
      res.cork(() => {
        res.writeStatus('202 Accepted').writeHeader('Content-Type', 'application/json')
        res.end(JSON.stringify({ id: task.id }))
      })
    }
  })
}

function stream(res: HttpResponse, feed: Feed): void {
  const subscriber: Subscriber = {
    position: 0,
    full: false,
    write(frames, ended) {
      const chunk = frames.length === 1 ? (frames[0] as string) : frames.join('')
      let takesMore = true
      res.cork(() => {
        if (ended) res.end(chunk)
        else takesMore = res.write(chunk)
      })
      return takesMore
    },
  }
  res.onAborted(() => feed.delete(subscriber))
  res.onWritable(() => {
    feed.resume(subscriber)
    return true
  })
  res.cork(() => {
    res.writeStatus('200 OK').writeHeader('Content-Type', 'text/event-stream').writeHeader('Cache-Control', 'no-store')
    // The headers go out with the first write.
    res.write(SSE_RETRY)
  })
  feed.add(subscriber)
}

function subscribe(ws: WebSocket<Socket>, feed: Feed): void {
  const subscriber: Subscriber = {
    position: 0,
    full: false,
    write(frames) {
      let sent = 1
      ws.cork(() => {
        for (const frame of frames) sent = ws.send(frame)
      })
      return sent === 1
    },
  }
  Object.assign(ws.getUserData(), { feed, subscriber })
  feed.add(subscriber)
}

uWS
  .App()
  .post('/v1/tasks', submit)
  .get('/v1/tasks/:id/events', (res, req) => {
    const task = tasks.get(req.getParameter(0) ?? '')
    if (task) stream(res, task.sse)
    else res.writeStatus('404 Not Found').end()
  })
  .ws<Socket>('/v1/ws', {
    maxBackpressure: MAX_BACKPRESSURE_BYTES,
    upgrade: (res, req, context) => {
      const [key, protocol, extensions] = ['key', 'protocol', 'extensions'].map((name) =>
        req.getHeader(`sec-websocket-${name}`),
      ) as [string, string, string]
      res.upgrade<Socket>({ feed: null, subscriber: null }, key, protocol, extensions, context)
    },
    message: (ws, message) => {
      const { task } = JSON.parse(Buffer.from(message).toString()) as { task: string }
      const feed = tasks.get(task)?.json
      if (feed) subscribe(ws, feed)
      else ws.send(JSON.stringify({ type: 'error', task }))
    },
    drain: (ws) => {
      const { feed, subscriber } = ws.getUserData()
      if (feed && subscriber) feed.resume(subscriber)
    },
    close: (ws) => {
      const { feed, subscriber } = ws.getUserData()
      if (feed && subscriber) feed.delete(subscriber)
    },
  })
  .listen('127.0.0.1', 0, (socket) => {
    if (socket === false) throw new Error('it cannot listen')
    sayReady(uWS.us_socket_local_port(socket))
  })
