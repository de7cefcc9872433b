/**
 * What the load process is told to do, and what it says came of it.
 */
import type { Spread } from '../statistics.js'

/** How clients speak: `post` takes a 202 for an answer and reads no events. */
export type Protocol = 'sse' | 'ws' | 'ws-msgpack' | 'socketio' | 'post'

export type Script = { tokens: number; rate?: number; stamp?: boolean }

/**
 * Which seqs of a task are no tokens, beside the terminal event that is the last: so many before the first token, and so many
 * among the tokens, in equal distances and the last of them after the last token.
 */
export type Others = { before: number; among: number }

export type Job = {
  port: number
  /** Of the server, whose CPU is counted. */
  pid: number
  protocol: Protocol
  clients: number
  /** Each client has this done, again and again; one that follows never submits. */
  script: Script
  others: Others
  /** All follow this task instead, from its begin; `script` is what it says. */
  follow?: string
  /** What the tasks do when the clients leave. Default: end, so that they load nobody else's measurement. */
  onLeave?: 'end' | 'goOn'
  /** Over how long the first tasks are spread, so that streams with a rate are not all due at the same moment. Default 0. */
  spreadMs?: number
}

/** What came in the time that was asked for. */
export type Received = {
  ms: number
  /** Token events; a merged one is as many as it stands for. */
  events: number
  /** That ended. */
  tasks: number
  serverCpuS: number
  /** From the moment at which a token fell due to its bytes at the client, in ms, of every LOOKING-th client. */
  lateMs: Spread
  /** From the request to the first token, or to the end of a task without any, in ms, of the tasks of which it came. */
  firstMs: Spread
}

export type Order = { measureMs: number } | 'catchUp' | 'stop'
export type Report = { type: 'started' } | { type: 'received'; received: Received } | { type: 'caughtUp'; ms: number[] }

/** Every so many clients read the stamps of their tokens. */
export const LOOKING = 10
