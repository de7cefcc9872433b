/**
 * `ws`, the WebSocket server that most programs for Node use: a frame per token.
 *
 * It has no event for a socket that is writable again. So a frame that is sent while much is buffered has a callback, which comes
 * when it is out, and nothing is said before.
 */
import type { AddressInfo } from 'node:net'
import { WebSocketServer } from 'ws'
import { newTaskId } from '../../src/core/id.js'
import { completedEvent, tokenEvent } from './event.js'
import { type Submit, sayReady, scriptOf } from './request.js'
import { type Stream, Ticker } from './ticker.js'

const MAX_BUFFERED_BYTES = 65_536

const ticker = new Ticker()
const server = new WebSocketServer({ port: 0, host: '127.0.0.1', path: '/v1/ws', perMessageDeflate: false })

server.on('connection', (socket) => {
  let stream: Stream | undefined
  socket.on('message', (message) => {
    const { prompt } = JSON.parse(message.toString()) as Submit
    const task = newTaskId()
    stream = ticker.start(scriptOf(prompt), {
      token(seq, text) {
        const frame = JSON.stringify(tokenEvent(task, seq, text))
        if (socket.bufferedAmount < MAX_BUFFERED_BYTES) {
          socket.send(frame)
          return true
        }
        socket.send(frame, () => stream?.resume())
        return false
      },
      end: (seq) => socket.send(JSON.stringify(completedEvent(task, seq))),
    })
  })
  socket.on('close', () => stream?.stop())
})
server.on('listening', () => sayReady((server.address() as AddressInfo).port))
