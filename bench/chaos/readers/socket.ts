/**
 * WebSocket readers: a few lines, each one socket after another, with many tasks on it.
 *
 * When a socket is lost, or cut by its plan, all of its readers come back on the next one, each with its own position.
 * A submit over a line counts as accepted only when `accepted` was received: a socket that was lost before leaves it
 * open whether there is a task.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { pack, unpack } from 'msgpackr'
import WebSocket from 'ws'
import type { TaskEvent } from '../../../src/core/event.js'
import { type ConnectionPlan, planConnection } from '../accidents.js'
import type { Floor, TaskObject } from '../ledger.js'
import type { ReaderLedger } from '../reader-ledger.js'
import { judge, type Setting } from '../setting.js'

type Format = {
  protocol: string
  binary: boolean
  encode: (value: unknown) => string | Uint8Array
  decode: (data: Buffer) => unknown
}

export const FORMATS = {
  json: {
    protocol: 'rejoin.v1.json',
    binary: false,
    encode: (value) => JSON.stringify(value),
    decode: (data) => JSON.parse(data.toString()) as unknown,
  },
  msgpack: { protocol: 'rejoin.v1.msgpack', binary: true, encode: pack, decode: (data) => unpack(data) as unknown },
} satisfies Record<string, Format>

/** A reader on a line. */
type Seat = {
  reader: ReaderLedger
  /** On this socket. */
  subscribed: boolean
  floor: Floor
  /** It was followed on an earlier socket. */
  back: boolean
  leave: () => void
}

export type SubmitOutcome =
  | { type: 'accepted'; seat: Promise<void> }
  | { type: 'unanswered' }
  | { type: 'refused'; code: string }

type Submit = {
  request: Record<string, unknown>
  sent: boolean
  /** Makes the reader of the task, which has its first event next. */
  accept: (task: TaskObject) => ReaderLedger
  resolve: (outcome: SubmitOutcome) => void
}

type Frame =
  | TaskEvent
  | { type: 'subscribed'; task: string; last_seq: number }
  | { type: 'accepted'; ref: number; task: TaskObject }
  | { type: 'error'; ref?: number | string; task?: string; error: { code: string; message: string } }

export class SocketLine {
  readonly name: string
  readonly #setting: Setting
  readonly #format: Format
  readonly #protocol: keyof typeof FORMATS
  readonly #seats = new Map<string, Seat>()
  readonly #submits = new Map<number, Submit>()
  #ws: WebSocket | null = null
  #refs = 0
  #closed = false

  constructor(setting: Setting, protocol: keyof typeof FORMATS, name: string) {
    this.name = name
    this.#setting = setting
    this.#protocol = protocol
    this.#format = FORMATS[protocol]
  }

  /** Opens one socket after another until `close`. */
  async run(): Promise<void> {
    for (let n = 0; !this.#closed; n++) {
      await this.#setting.up()
      if (this.#closed) return
      const plan = planConnection(this.#setting.setup, this.name, n)
      await this.#connect(plan)
      await sleep(plan.awayMs)
    }
  }

  /** Resolves when the reader has seen the end, or cannot go on. A line has one reader per task. */
  follow(reader: ReaderLedger): Promise<void> {
    return new Promise((resolve) => {
      const seat = this.#seat(reader, false, resolve)
      if (this.#ws?.readyState === WebSocket.OPEN) this.#subscribe(seat)
    })
  }

  submit(request: Record<string, unknown>, accept: (task: TaskObject) => ReaderLedger): Promise<SubmitOutcome> {
    return new Promise((resolve) => {
      const ref = ++this.#refs
      this.#submits.set(ref, { request, sent: false, accept, resolve })
      if (this.#ws?.readyState === WebSocket.OPEN) this.#sendSubmit(ref)
    })
  }

  /** Ends the socket; readers and submits that are left are let go. */
  close(): void {
    this.#closed = true
    this.#ws?.terminate()
    for (const { leave } of this.#seats.values()) leave()
    for (const { resolve } of this.#submits.values()) resolve({ type: 'unanswered' })
  }

  async #connect(plan: ConnectionPlan): Promise<void> {
    const { counts, port } = this.#setting
    const url = `ws://127.0.0.1:${port}/v1/ws`
    const ws = new WebSocket(url, this.#format.protocol, { perMessageDeflate: false, handshakeTimeout: 10_000 })
    this.#ws = ws
    const timers: NodeJS.Timeout[] = []
    let cut = false
    ws.on('open', () => {
      const later = (ms: number, act: () => void): number => timers.push(setTimeout(act, ms))
      later(plan.cutAfterMs, () => {
        cut = true
        if (plan.cut === 'close') ws.close(1000)
        else ws.terminate()
      })
      for (const { afterMs, ms } of plan.stalls) later(afterMs, () => stall(ws, ms))
      for (const seat of this.#seats.values()) this.#subscribe(seat)
      for (const [ref, { sent }] of this.#submits) if (!sent) this.#sendSubmit(ref)
    })
    ws.on('message', (data: Buffer, binary) => this.#receive(data, binary))
    // Also a handshake that was refused while the gateway drains; `close` follows.
    ws.on('error', () => {})
    await new Promise((resolve) => ws.on('close', resolve))
    for (const timer of timers) clearTimeout(timer)
    if (cut) counts.cuts++
    else if (!this.#closed) counts.losses++
    this.#lost()
  }

  /** The socket is gone: what it had said counts, what it had not been answered is open. */
  #lost(): void {
    this.#ws = null
    for (const [task, seat] of this.#seats) {
      if (seat.reader.ended) this.#seats.delete(task)
      seat.subscribed = false
      seat.back = true
    }
    for (const [ref, { sent, resolve }] of this.#submits) {
      if (!sent) continue
      this.#submits.delete(ref)
      resolve({ type: 'unanswered' })
    }
  }

  #seat(reader: ReaderLedger, subscribed: boolean, leave: () => void): Seat {
    const seat = { reader, subscribed, floor: reader.task.floor, back: false, leave }
    this.#seats.set(reader.task.task, seat)
    return seat
  }

  #subscribe(seat: Seat): void {
    const { reader } = seat
    seat.floor = reader.task.floor
    if (seat.back) this.#setting.counts.resumes[this.#protocol]++
    this.#send({ type: 'subscribe', task: reader.task.task, after: reader.position })
  }

  #sendSubmit(ref: number): void {
    const submit = this.#submits.get(ref)
    if (!submit) return
    submit.sent = true
    this.#send({ type: 'submit', ref, ...submit.request })
  }

  #send(value: unknown): void {
    this.#ws?.send(this.#format.encode(value))
  }

  #receive(data: Buffer, binary: boolean): void {
    try {
      if (binary !== this.#format.binary) throw new Error(`it is ${binary ? 'binary' : 'text'}`)
      this.#obey(this.#format.decode(data) as Frame)
    } catch (error) {
      const what = `no frame of ${this.#format.protocol}: ${(error as Error).message}`
      this.#setting.report({ kind: 'form', what, reader: this.name })
    }
  }

  #obey(frame: Frame): void {
    switch (frame.type) {
      case 'subscribed':
        this.#subscribed(frame.task, frame.last_seq)
        return
      case 'accepted':
        this.#accepted(frame.ref, frame.task)
        return
      case 'error':
        this.#refused(frame)
        return
      default:
        this.#event(frame)
    }
  }

  #subscribed(task: string, lastSeq: number): void {
    const seat = this.#seats.get(task)
    if (!seat || seat.subscribed) {
      this.#foreign(`subscribed to ${task}`)
      return
    }
    seat.subscribed = true
    if (lastSeq >= seat.floor.seq) return
    seat.reader.violation('backwards', `subscribed at last_seq ${lastSeq}, ${seat.floor.seq} was shown before`)
  }

  #accepted(ref: number, task: TaskObject): void {
    const submit = this.#submits.get(ref)
    if (!submit) {
      this.#foreign(`accepted, ref ${ref}`)
      return
    }
    this.#submits.delete(ref)
    const reader = submit.accept(task)
    const seat = new Promise<void>((leave) => this.#seat(reader, true, leave))
    submit.resolve({ type: 'accepted', seat })
  }

  #refused({ ref, task = '', error: { code, message } }: Extract<Frame, { type: 'error' }>): void {
    const submit = this.#submits.get(Number(ref))
    const seat = this.#seats.get(task)
    if (submit) {
      this.#submits.delete(Number(ref))
      submit.resolve({ type: 'refused', code })
      return
    }
    if (!seat) {
      this.#foreign(`error ${code}: ${message}`)
      return
    }
    const kind = judge(code)
    // It comes again on the next socket.
    if (kind === null) return
    this.#seats.delete(task)
    seat.reader.refused(kind, `position ${seat.reader.position}: ${code}`)
    seat.leave()
  }

  #event(event: TaskEvent): void {
    const seat = this.#seats.get(event.task)
    if (!seat) {
      this.#foreign(`event ${event.seq} of ${event.task}`)
      return
    }
    this.#setting.counts.events++
    if (!seat.subscribed) seat.reader.violation('form', `event ${event.seq} before \`subscribed\``)
    // The seat stays until the socket is gone: nothing may come after the end.
    seat.reader.take(event)
    if (seat.reader.ended) seat.leave()
  }

  #foreign(what: string): void {
    this.#setting.report({ kind: 'form', what: `a frame that nobody asked for: ${what}`, reader: this.name })
  }
}

function stall(ws: WebSocket, ms: number): void {
  if (ws.readyState !== WebSocket.OPEN) return
  ws.pause()
  setTimeout(() => ws.resume(), ms)
}
