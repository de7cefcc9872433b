/**
 * SSE clients in a process of their own, as cheap as can be: raw sockets, and no event is parsed that is not asked for.
 *
 * Forked with a port, how many at a time, and a scripted prompt; each client posts a task, reads its stream to the end and
 * posts the next. Says `started` when each has had a first byte; told `measure` with milliseconds, it says after that time
 * what came meanwhile; told `stop`, it exits.
 */
import { connect, type Socket } from 'node:net'
import { LOOKING } from './looking.js'

/** What came in the time that was asked for. `latenessMs` is of stamped tokens, of a part of the clients. */
export type Received = { tasks: number; bytes: number; latenessMs: number[] }

const [port = '', count = '1', prompt = '{}'] = process.argv.slice(2)
const END = '0\r\n\r\n'
const STAMP = /t=(\d+);/g

const body = JSON.stringify({ prompt })
const REQUEST = `POST /v1/tasks HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nContent-Length: ${body.length}\r\n\r\n${body}`

let received: Received = { tasks: 0, bytes: 0, latenessMs: [] }
let waiting = Number(count)

function client(looks: boolean): void {
  const socket: Socket = connect(Number(port), '127.0.0.1')
  let silent = true
  socket.setNoDelay(true)
  socket.write(REQUEST)
  socket.on('data', (chunk: Buffer) => {
    if (silent && --waiting === 0) process.send?.('started')
    silent = false
    received.bytes += chunk.length
    if (looks) look(chunk.toString('latin1'))
    if (!chunk.subarray(-END.length).equals(Buffer.from(END))) return
    received.tasks++
    socket.write(REQUEST)
  })
  socket.on('error', (error) => {
    process.stderr.write(`a client lost its connection: ${error.message}\n`)
    process.exit(1)
  })
}

function look(text: string): void {
  const [seconds, nanoseconds] = process.hrtime()
  const nowUs = seconds * 1e6 + nanoseconds / 1e3
  for (const [, us] of text.matchAll(STAMP)) received.latenessMs.push((nowUs - Number(us)) / 1000)
}

for (let index = 0; index < Number(count); index++) client(index % LOOKING === 0)

process.on('message', (message: { measureMs: number } | 'stop') => {
  if (message === 'stop') process.exit(0)
  received = { tasks: 0, bytes: 0, latenessMs: [] }
  setTimeout(() => process.send?.(received), message.measureMs)
})
process.on('disconnect', () => process.exit(0))
