/**
 * One client: a raw socket that submits a task, counts its events until it ends, and submits the next.
 *
 * It must cost less than the server that it loads. So all sockets of the process are read into one buffer, by a callback
 * that runs before the next read; of a read, only the head of the last event is looked at, and the end of it is kept for the
 * next. Whether nothing was lost or counted twice is known at the end of each task, by the seq of its last event: a
 * wrong number ends the benchmark.
 */

import { connect, type Socket } from 'node:net'
import { monotonicUs } from '../../src/core/clock.js'
import { maskedFrame, OPCODE, textFrame } from '../../src/load/frames.js'
import type { Job } from './job.js'
import { readStamps } from './stamps.js'
import { TAIL_BYTES, Tail } from './tail.js'
import { TaskCount } from './task-count.js'
import { FrameWalk } from './websocket-frames.js'
import { upgradeRequest } from './wire.js'

const READ_BYTES = 262_144
/** Of all connections: a tail, and then what is read. */
const SPACE = Buffer.alloc(TAIL_BYTES + READ_BYTES)
const READ = SPACE.subarray(TAIL_BYTES)
const HEADERS_END = Buffer.from('\r\n\r\n')
const BODY_END = Buffer.from('0\r\n\r\n')
const OK = Buffer.from('HTTP/1.1 2')
const ACCEPTED = Buffer.from('HTTP/1.1 202')
const REFUSAL = Buffer.from('"type":"error"')
const PACKED_REFUSAL = Buffer.from('type\xa5error', 'latin1')
const [ENGINE_OPEN, ENGINE_PING, ENGINE_MESSAGE] = [...Buffer.from('024')] as [number, number, number]

/** What the connections of a process have had since it was last looked at. */
export type Tally = { events: number; tasks: number; lateMs: number[]; firstMs: number[] }

/** `greeted` comes once, with its first token; `ended` with the end of every task. */
export type OnTask = (what: 'greeted' | 'ended', connection: Connection) => void

type Phase = 'upgrading' | 'greeting' | 'ready' | 'answering'

export class Connection {
  readonly #job: Job
  readonly #tally: Tally
  readonly #looks: boolean
  readonly #onTask: OnTask
  readonly #count: TaskCount
  readonly #refusal: Buffer
  readonly #walk: FrameWalk | null
  readonly #tail = new Tail()
  #socket: Socket | undefined
  #phase: Phase = 'ready'
  #onReady: () => void = () => {}
  #tokens = 0
  #greeted = false
  #sentAt = 0

  /** @param looks whether it reads the stamps of its tokens */
  constructor(job: Job, tally: Tally, looks: boolean, onTask: OnTask) {
    this.#job = job
    this.#tally = tally
    this.#looks = looks
    this.#onTask = onTask
    const packed = job.protocol === 'ws-msgpack'
    this.#count = new TaskCount(packed ? 'msgpack' : 'json', job.others)
    this.#refusal = packed ? PACKED_REFUSAL : REFUSAL
    this.#walk =
      job.protocol === 'sse' || job.protocol === 'post' ? null : new FrameWalk((...frame) => this.#onFrame(...frame))
  }

  /** Returns when it may submit. */
  async open(): Promise<void> {
    const { port, protocol } = this.#job
    const upgrade = upgradeRequest(protocol)
    await new Promise<void>((resolve) => {
      this.#onReady = resolve
      const onread = { buffer: READ, callback: (bytes: number) => this.#onRead(bytes) }
      const socket = connect({ port, host: '127.0.0.1', noDelay: true, onread }, () => {
        if (upgrade === null) resolve()
        else {
          this.#phase = 'upgrading'
          socket.write(upgrade)
        }
      })
      socket.on('error', (error) => fail(`a client lost its connection: ${error.message}`))
      socket.on('end', () => fail('the server closed a connection'))
      this.#socket = socket
    })
  }

  /** @param tokens what the script of its task says */
  submit(request: Buffer, tokens: number): void {
    this.#phase = 'answering'
    this.#tokens = tokens
    this.#count.begin(tokens)
    this.#tail.forget()
    this.#sentAt = performance.now()
    this.#socket?.write(request)
  }

  /** How long its task has taken until now, in ms. */
  get tookMs(): number {
    return performance.now() - this.#sentAt
  }

  #onRead(bytes: number): boolean {
    const to = TAIL_BYTES + bytes
    const begins = this.#tail.empty
    const from = this.#tail.join(SPACE, to)
    if (this.#walk === null) this.#onHttp(begins, from, to)
    else this.#onSocket(this.#walk, from, to)
    return true
  }

  #onHttp(begins: boolean, from: number, to: number): void {
    if (this.#job.protocol === 'post') {
      // Such an answer is small, one write and one read; what is not is told.
      if (!startsWith(ACCEPTED, from, to)) fail(`no 202: ${SPACE.toString('latin1', from, to)}`)
      this.#end()
      return
    }
    if (begins && !startsWith(OK, from, to)) fail(`no stream: ${SPACE.toString('latin1', from, to)}`)
    this.#look(from, to)
    if (this.#count.ended && startsWith(BODY_END, to - BODY_END.length, to)) this.#end()
  }

  #onSocket(walk: FrameWalk, from: number, to: number): void {
    let fresh = TAIL_BYTES
    if (this.#phase === 'upgrading') {
      const head = SPACE.indexOf(HEADERS_END, from)
      if (head < 0 || head >= to) return
      if (!startsWith(Buffer.from('HTTP/1.1 101'), TAIL_BYTES, to)) {
        fail(`no WebSocket: ${SPACE.toString('latin1', TAIL_BYTES, to)}`)
      }
      fresh = head + HEADERS_END.length
      this.#phase = 'greeting'
      if (this.#job.protocol !== 'socketio') this.#ready()
    }
    walk.walk(SPACE, fresh, to)
    if (this.#phase !== 'answering') return
    this.#look(from, to)
    if (this.#count.ended) this.#end()
  }

  #onFrame(opcode: number, length: number, first: number): void {
    if (opcode === OPCODE.ping) this.#socket?.write(maskedFrame(OPCODE.pong, Buffer.alloc(0)))
    if (opcode === OPCODE.close) fail('the server closed a WebSocket')
    if (this.#job.protocol !== 'socketio') return
    // engine.io, version 4: 0 opens, 2 is a ping, 4 a message; socket.io answers its own connect (40) with another.
    if (first === ENGINE_OPEN) this.#socket?.write(textFrame('40'))
    else if (first === ENGINE_PING && length === 1) this.#socket?.write(textFrame('3'))
    else if (first === ENGINE_MESSAGE && this.#phase === 'greeting') this.#ready()
  }

  #ready(): void {
    this.#phase = 'ready'
    this.#onReady()
  }

  #look(from: number, to: number): void {
    const { lateMs } = this.#tally
    if (this.#looks) readStamps(SPACE, from, TAIL_BYTES, to, monotonicUs(), lateMs)
    const silent = this.#count.got === 0
    const tokens = this.#count.look(SPACE, from, to)
    this.#tally.events += tokens
    if (!silent) return
    if (tokens > 0) this.#first()
    else if (SPACE.subarray(from, to).includes(this.#refusal)) fail(SPACE.toString('latin1', from, to))
  }

  #first(): void {
    this.#tally.firstMs.push(this.tookMs)
    if (!this.#greeted) this.#onTask('greeted', this)
    this.#greeted = true
  }

  #end(): void {
    const { got } = this.#count
    if (this.#job.protocol !== 'post' && got !== this.#tokens) fail(`a task of ${this.#tokens} tokens came with ${got}`)
    if (got === 0) this.#first()
    this.#tally.tasks++
    this.#tail.forget()
    this.#phase = 'ready'
    this.#onTask('ended', this)
  }
}

/** A benchmark that miscounts, or whose server refuses, has no numbers. */
function fail(why: string): never {
  process.stderr.write(`${why}\n`)
  process.exit(1)
}

function startsWith(what: Buffer, from: number, to: number): boolean {
  return to - from >= what.length && SPACE.compare(what, 0, what.length, from, from + what.length) === 0
}
