/**
 * What becomes of a task, as a function of the seed and of its number: how it is submitted, who reads it how, and who
 * cancels it, or asks for it again.
 */
import { Random } from '../../test/server/random.js'
import { planPrompt, planScript } from './answers.js'
import type { Expected } from './ledger.js'
import { type Setup, spanOf } from './setup.js'

export type Protocol = 'sse' | 'poll' | 'json' | 'msgpack'

export type TaskPlan = {
  number: number
  /** How it is submitted; over a socket there is no key. */
  submit: 'http' | 'stream' | 'socket'
  key: string
  /** Which one of `prompts`; null with the scripted model. */
  prompt: number | null
  /** Without `metadata`. */
  request: Record<string, unknown>
  expected: Expected
  /** From acceptance, as all that follow; null: never. */
  cancelAfterMs: number | null
  /** The same key and body once more, and the same key with another body. */
  resubmitAfterMs: number | null
  conflictAfterMs: number | null
  /** When the task object is looked at; with `waitS` the answer waits for the end. */
  looks: { afterMs: number; waitS: number }[]
  readers: ReaderPlan[]
}

export type ReaderPlan = {
  name: string
  protocol: Protocol
  /** `second`: from a position that another reader has been shown. */
  start: { type: 'now' | 'late' | 'second'; afterMs: number }
  temper: Temper
}

/** `steady` is never cut by us, `restless` again and again; `slow` pauses after every chunk, `stalled` for seconds. */
export type Temper = 'steady' | 'restless' | 'slow' | 'stalled'

// A task whose acceptance was not heard of has no reader, and one that pauses would wait for it for ever.
const PAUSING_SUBMITS = ['http', 'stream'] as const
const SUBMITS = [...PAUSING_SUBMITS, 'http', 'socket'] as const

export function planTask(setup: Setup, number: number): TaskPlan {
  const random = Random.for(setup.seed, `task ${number}`)
  const answer = setup.model === 'scripted' ? planScript(setup, random) : planPrompt(random)
  const { pausing = false } = answer
  const submit = random.pick(pausing ? PAUSING_SUBMITS : SUBMITS)
  const spanMs = spanOf(setup)
  const maybe = (probability: number, maxMs: number): number | null =>
    random.chance(probability) ? random.between(0, maxMs) : null
  const deadlineMs = random.chance(0.08) ? random.between(100, spanMs) : null
  const priority = random.chance(0.5) ? random.between(0, 9) : null
  return {
    number,
    submit,
    prompt: answer.prompt ?? null,
    key: `chaos-${setup.seed}-${number}`,
    request: {
      ...answer.request,
      ...(deadlineMs === null ? {} : { deadline_ms: deadlineMs }),
      ...(priority === null ? {} : { priority }),
    },
    expected: { ...answer.expected, deadlineMs },
    cancelAfterMs: maybe(0.15, spanMs >> 1),
    resubmitAfterMs: submit === 'socket' ? null : maybe(0.25, spanMs),
    conflictAfterMs: submit === 'socket' ? null : maybe(0.1, spanMs),
    looks: Array.from({ length: random.between(0, 3) }, () => ({
      afterMs: random.between(0, spanMs),
      waitS: random.pick([0, 0, 2]),
    })),
    readers: planReaders(setup, number, submit, pausing, random),
  }
}

function planReaders(
  setup: Setup,
  number: number,
  submit: TaskPlan['submit'],
  pausing: boolean,
  random: Random,
): ReaderPlan[] {
  // A single reader that comes and goes is what pauses a task.
  const count = pausing ? 1 : setup.readers
  return Array.from({ length: count }, (_, i): ReaderPlan => {
    const protocol = random.pick(['sse', 'poll', 'json', 'msgpack'] as const)
    const afterMs = random.between(0, spanOf(setup))
    const temper = random.pick(['steady', 'restless', 'restless', 'slow', 'stalled'] as const)
    const name = `reader ${number}.${i}`
    // The first one is there from the start: by it one knows when the task ends.
    const first = i === 0
    const type = first ? 'now' : random.pick(['now', 'now', 'late', 'second'] as const)
    return {
      name,
      protocol:
        first && submit === 'stream'
          ? 'sse'
          : first && submit === 'socket'
            ? random.pick(['json', 'msgpack'])
            : protocol,
      start: { type, afterMs: type === 'now' ? 0 : afterMs },
      temper: pausing ? 'restless' : temper,
    }
  })
}
