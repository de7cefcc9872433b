/**
 * Prints an answer until it ends, or until it is left.
 *
 * Ctrl-C leaves the task, which goes on, and says how to come back; with `--cancel-on-exit` it ends the task and waits
 * for its last event. A second one ends this process at once.
 */
import { type ConnectionState, isTerminal, Rejoin, type Run, type TaskEvent } from '../client/index.js'

export type FollowOptions = { url: string; 'api-key': string; json: boolean; 'cancel-on-exit'?: boolean }

const EXIT = { failed: 1, interrupted: 130 } as const

/** Returns the exit code. @throws RejoinError when the gateway refuses for good */
export async function follow(
  options: FollowOptions,
  begin: (rejoin: Rejoin, signal: AbortSignal) => Run,
): Promise<number> {
  const { url, json } = options
  const narrator = new Narrator(process.stderr)
  const leaving = new AbortController()
  const rejoin = new Rejoin({ url, apiKey: options['api-key'], onState: (state) => narrator.state(state) })
  const run = begin(rejoin, leaving.signal)
  let interrupted = false
  const onInterrupt = (): void => {
    interrupted = true
    if (!options['cancel-on-exit']) leaving.abort()
    // What is wrong with the task is told by its events.
    else run.cancel().catch(() => {})
  }
  process.once('SIGINT', onInterrupt)
  // Whoever reads our lines has gone: `| head`.
  process.stdout.once('error', () => leaving.abort())
  const print = json ? printJson : new Printer().print
  let last: TaskEvent | null = null
  try {
    for await (const event of run) {
      last = event
      narrator.event(event)
      print(event)
    }
  } catch (error) {
    if (!leaving.signal.aborted) throw error
    if (interrupted) narrator.left(run, options)
  } finally {
    process.removeListener('SIGINT', onInterrupt)
    rejoin.close()
  }
  if (interrupted) return EXIT.interrupted
  return last?.type === 'failed' || last?.type === 'canceled' ? EXIT.failed : 0
}

const printJson = (event: TaskEvent): void => void process.stdout.write(`${JSON.stringify(event)}\n`)

/** The text, and an end of line where it has none. */
class Printer {
  #last = ''

  print = (event: TaskEvent): void => {
    if (event.type === 'token' && event.text !== '') {
      process.stdout.write(event.text)
      this.#last = event.text
    }
    if (isTerminal(event) && this.#last !== '' && !this.#last.endsWith('\n')) process.stdout.write('\n')
  }
}

/** What a person wants to know meanwhile. */
class Narrator {
  readonly #out: NodeJS.WriteStream
  #wasLive = false
  #told = false

  constructor(out: NodeJS.WriteStream) {
    this.#out = out
  }

  event(event: TaskEvent): void {
    if (event.type === 'queued' && event.position > 0) this.#say(`queued, ${event.position} ahead`)
    else if (event.type === 'retrying') this.#say(`a worker was lost, attempt ${event.attempt}`)
    else if (event.type === 'failed') this.#tell(`the task failed: ${event.error.message} (${event.error.code})`)
    else if (event.type === 'canceled') this.#tell(`the task was canceled by ${event.by}`)
  }

  state({ status, transport, reason, retryInMs }: ConnectionState): void {
    if (status === 'live' && this.#wasLive) this.#say(`live again (${transport})`)
    if (status === 'live') this.#wasLive = true
    if ((status !== 'rejoining' && status !== 'connecting') || reason === null) return
    const text = `${reason}; ${retryInMs ? `again in ${(retryInMs / 1000).toFixed(1)} s` : 'again now'}`
    // Before anything has come a script, too, should know what it waits for; once.
    if (this.#wasLive || this.#told) this.#say(text)
    else this.#tell(`no connection yet: ${text}`)
    this.#told = true
  }

  left({ id, position }: Run, { url }: FollowOptions): void {
    if (id === null) this.#tell('left before the task was accepted')
    else this.#tell(`the task goes on; come back with\n  rejoin tail ${id} --after ${position} --url ${url}`)
  }

  /** To a person at a terminal only. */
  #say(text: string): void {
    if (this.#out.isTTY) this.#tell(text)
  }

  #tell(text: string): void {
    this.#out.write(`\nrejoin: ${text}\n`)
  }
}
