/**
 * Socket.IO over WebSocket, with its connection state recovery: of the peers it alone can resume, for a while and in memory.
 *
 * An event per token. engine.io says `drain` when what was buffered is out; until then nothing more is said to a socket that
 * has much.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Server } from 'socket.io'
import { newTaskId } from '../../src/core/id.js'
import { completedEvent, tokenEvent } from './event.js'
import { type Submit, sayReady, scriptOf } from './request.js'
import { type Stream, Ticker } from './ticker.js'

/** Since the transport took what there was. */
const MAX_BUFFERED_PACKETS = 256

const ticker = new Ticker()
const http = createServer()
const io = new Server(http, {
  transports: ['websocket'],
  connectionStateRecovery: { maxDisconnectionDuration: 120_000 },
})

io.on('connection', (socket) => {
  let stream: Stream | undefined
  let buffered = 0
  socket.on('submit', ({ prompt }: Submit) => {
    const task = newTaskId()
    stream = ticker.start(scriptOf(prompt), {
      token(seq, text) {
        buffered++
        socket.emit('token', tokenEvent(task, seq, text))
        return buffered < MAX_BUFFERED_PACKETS
      },
      end: (seq) => socket.emit('completed', completedEvent(task, seq)),
    })
  })
  socket.conn.on('drain', () => {
    const wasFull = buffered >= MAX_BUFFERED_PACKETS
    buffered = 0
    if (wasFull) stream?.resume()
  })
  socket.on('disconnect', () => stream?.stop())
})
http.listen(0, '127.0.0.1', () => sayReady((http.address() as AddressInfo).port))
