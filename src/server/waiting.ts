/**
 * An answer that waits for a task: until something new is there, or its end, or the time is up.
 *
 * It is a reader like any other, so it counts against `--max-readers` and ends with its connection.
 */
import type { Seq } from '../core/event.js'
import type { Gateway } from '../gateway/gateway.js'
import type { Pumpable } from '../gateway/pump.js'
import type { TaskRecord } from '../gateway/record.js'
import type { Reader } from '../log/reader.js'
import type { OpenAnswer, OpenAnswers } from './open-answers.js'
import type { Exchange } from './request.js'

/** Hands the reader over when `enough` says so, after `ms` (null: no matter how long it takes), or when the gateway closes; it is detached afterwards.
 * Never resolves when the client goes away. @throws RejoinError `draining`, and as `Gateway.attach` does */
export async function waitFor<T>(
  exchange: Exchange,
  gateway: Gateway,
  answers: OpenAnswers,
  record: TaskRecord,
  after: Seq,
  ms: number | null,
  enough: (reader: Reader) => boolean,
  answer: (reader: Reader) => T,
): Promise<T> {
  answers.check()
  return new Promise((resolve) => {
    const waiting: Pumpable = {
      behindSince: 0,
      pump: () => {
        if (enough(reader)) finish()
      },
    }
    const reader = gateway.attach(record, after, () => gateway.pump.mark(waiting, reader.fresh))
    const leave = (): boolean => {
      clearTimeout(timer)
      answers.remove(open)
      return gateway.detach(reader)
    }
    const finish = (): void => {
      if (leave()) resolve(answer(reader))
    }
    const open: OpenAnswer = { finish }
    const timer = ms === null ? undefined : setTimeout(finish, ms)
    exchange.onAborted(leave)
    answers.add(open)
    if (enough(reader)) finish()
  })
}
