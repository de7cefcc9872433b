/**
 * Bare uWebSockets.js: the least that delivers tokens, over SSE and over WebSocket, and what all others are compared with.
 *
 * Every token is one corked write, as its users do it. Nothing is kept: whoever loses the connection loses the answer.
 * A socket that is full ends the writing until uWebSockets.js says that it is writable.
 */
import uWS, { type HttpRequest, type HttpResponse, type WebSocket } from 'uWebSockets.js'
import { newTaskId } from '../../src/core/id.js'
import { completedEvent, SSE_RETRY, sseFrame, tokenEvent } from './event.js'
import { type Submit, sayReady, scriptOf } from './request.js'
import { type Stream, Ticker } from './ticker.js'

type Socket = { stream: Stream | null }

const ticker = new Ticker()

function submit(res: HttpResponse, req: HttpRequest): void {
  const follows = req.getHeader('accept') === 'text/event-stream'
  const chunks: Buffer[] = []
  let stream: Stream | undefined
  res.onAborted(() => stream?.stop())
  res.onData((chunk, isLast) => {
    // The memory of a chunk is gone when this returns.
    chunks.push(Buffer.from(Buffer.from(chunk)))
    if (!isLast) return
    const { prompt } = JSON.parse(Buffer.concat(chunks).toString()) as Submit
    if (follows) stream = answer(res, prompt)
    else accept(res)
  })
}

/** That is all: a task that nobody follows is of no use where nothing is kept. */
function accept(res: HttpResponse): void {
  res.cork(() => {
    res.writeStatus('202 Accepted').writeHeader('Content-Type', 'application/json')
    res.end(JSON.stringify({ id: newTaskId() }))
  })
}

function answer(res: HttpResponse, prompt: string): Stream {
  const task = newTaskId()
  let takesMore = true
  res.cork(() => {
    res.writeStatus('200 OK').writeHeader('Content-Type', 'text/event-stream').writeHeader('Cache-Control', 'no-store')
    // The headers go out with the first write.
    res.write(SSE_RETRY)
  })
  const stream = ticker.start(scriptOf(prompt), {
    token(seq, text) {
      const frame = sseFrame(tokenEvent(task, seq, text))
      res.cork(() => {
        takesMore = res.write(frame)
      })
      return takesMore
    },
    end(seq) {
      res.cork(() => res.end(sseFrame(completedEvent(task, seq))))
    },
  })
  res.onWritable(() => {
    stream.resume()
    return true
  })
  return stream
}

function answerSocket(ws: WebSocket<Socket>, prompt: string): Stream {
  const task = newTaskId()
  let sent = 1
  const send = (json: string): boolean => {
    ws.cork(() => {
      sent = ws.send(json)
    })
    return sent === 1
  }
  return ticker.start(scriptOf(prompt), {
    token: (seq, text) => send(JSON.stringify(tokenEvent(task, seq, text))),
    end: (seq) => send(JSON.stringify(completedEvent(task, seq))),
  })
}

uWS
  .App()
  .post('/v1/tasks', submit)
  .ws<Socket>('/v1/ws', {
    upgrade: (res, req, context) => {
      const [key, protocol, extensions] = ['key', 'protocol', 'extensions'].map((name) =>
        req.getHeader(`sec-websocket-${name}`),
      ) as [string, string, string]
      res.upgrade<Socket>({ stream: null }, key, protocol, extensions, context)
    },
    message: (ws, message) => {
      const { prompt } = JSON.parse(Buffer.from(message).toString()) as Submit
      ws.getUserData().stream = answerSocket(ws, prompt)
    },
    drain: (ws) => ws.getUserData().stream?.resume(),
    close: (ws) => ws.getUserData().stream?.stop(),
  })
  .listen('127.0.0.1', 0, (socket) => {
    if (socket === false) throw new Error('it cannot listen')
    sayReady(uWS.us_socket_local_port(socket))
  })
