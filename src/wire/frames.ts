/**
 * What a WebSocket client may say (PROTOCOL section 6), checked.
 *
 * A frame that is no object of that table is the client's defect and counts as a strike; a `submit` whose request
 * is refused is an ordinary answer. `ref` comes back in every answer as it was given.
 */
import Type from 'typebox'
import { Compile } from 'typebox/compile'
import { RejoinError } from '../core/errors.js'
import { shown } from './shown.js'

const Ref = Type.Union([Type.String({ maxLength: 200 }), Type.Number()])
const TaskRef = Type.String({ maxLength: 200 })
const closed = { additionalProperties: false }

const Command = Type.Union([
  Type.Object({ type: Type.Literal('submit'), ref: Type.Optional(Ref) }),
  Type.Object(
    { type: Type.Literal('subscribe'), ref: Type.Optional(Ref), task: TaskRef, after: Type.Optional(Type.Unknown()) },
    closed,
  ),
  Type.Object({ type: Type.Literal('unsubscribe'), ref: Type.Optional(Ref), task: TaskRef }, closed),
  Type.Object({ type: Type.Literal('cancel'), ref: Type.Optional(Ref), task: TaskRef }, closed),
  Type.Object({ type: Type.Literal('ping'), ref: Type.Optional(Ref) }, closed),
])

export type Ref = Type.Static<typeof Ref>

export type ClientFrame =
  | { type: 'submit'; ref?: Ref; request: unknown }
  | { type: 'subscribe'; ref?: Ref; task: string; after: number }
  | { type: 'unsubscribe'; ref?: Ref; task: string }
  | { type: 'cancel'; ref?: Ref; task: string }
  | { type: 'ping'; ref?: Ref }

const check = Compile(Command)

/** Null when the value is no object of the table.
 * @throws RejoinError `invalid_position` */
export function parseFrame(value: unknown): ClientFrame | null {
  if (!check.Check(value)) return null
  if (value.type === 'submit') {
    const { type, ref, ...request } = value
    return { type, ...(ref === undefined ? {} : { ref }), request }
  }
  if (value.type !== 'subscribe') return value
  const after = value.after === undefined ? 0 : value.after
  if (typeof after !== 'number' || !Number.isSafeInteger(after) || after < 0) {
    throw new RejoinError('invalid_position', `\`after\` must be a whole number from 0, got ${shown(after)}`, {
      param: 'after',
    })
  }
  return { ...value, after }
}

/** The `ref` and `task` of a frame that was refused, as far as it has them. */
export function refOf(value: unknown): { ref?: Ref; task?: string } {
  if (typeof value !== 'object' || value === null) return {}
  const { ref, task } = value as { ref?: unknown; task?: unknown }
  return {
    ...(typeof ref === 'string' || typeof ref === 'number' ? { ref } : {}),
    ...(typeof task === 'string' ? { task } : {}),
  }
}
