/**
 * Every task that the gateway has accepted from us, for the last question of a run: is what it lists what it accepted?
 *
 * A task that all of its readers have seen to the end is checked and forgotten by its ledger; of it only this is kept:
 * its tag (which its `metadata` gives back), how it ended, and a hash of its text. So a long run costs little.
 */
import { createHash } from 'node:crypto'
import { hasEnded, type TaskObject } from './ledger.js'
import type { Report } from './violations.js'

type Known = {
  number: number
  tag: string
  /** Null while it has not ended. */
  end: { status: string; lastSeq: number; textHash: string } | null
}

/** A clock may be set back a little between two tasks. */
const ORDER_SLACK_MS = 1000

export class Roster {
  readonly #known = new Map<string, Known>()
  /** Tags of submits without a key whose answer was lost: each may have made a task, or none. */
  readonly #unanswered = new Set<string>()

  get size(): number {
    return this.#known.size
  }

  accepted(id: string, number: number, tag: string): void {
    this.#known.set(id, { number, tag, end: null })
  }

  unanswered(tag: string): void {
    this.#unanswered.add(tag)
  }

  ended({ id, status, last_seq: lastSeq, output }: TaskObject): void {
    const known = this.#known.get(id)
    if (known) known.end = { status, lastSeq, textHash: hashOf(output.text) }
  }

  /** Tasks that ended, in order of acceptance. */
  get veterans(): { id: string; number: number; status: string }[] {
    return [...this.#known].flatMap(([id, { number, end }]) => (end ? [{ id, number, status: end.status }] : []))
  }

  /** @param listed all pages of the list, in their order */
  check(listed: readonly TaskObject[], report: Report): void {
    const byId = new Map<string, TaskObject>()
    const idOfTag = new Map<string, string>()
    let before = Number.POSITIVE_INFINITY
    for (const object of listed) {
      const { id, created_at: createdAt } = object
      const tag = object.metadata.chaos ?? ''
      if (byId.has(id)) report({ kind: 'repeated', what: 'it is listed twice', task: id })
      byId.set(id, object)
      if (createdAt > before + ORDER_SLACK_MS) {
        report({ kind: 'form', what: 'the list is not newest first', task: id })
      }
      before = Math.min(before, createdAt)
      const known = this.#known.get(id)
      const other = idOfTag.get(tag)
      idOfTag.set(tag, id)
      if (known && known.tag !== tag) {
        report({ kind: 'key', what: `its metadata is ${tag}, submitted was ${known.tag}`, task: id })
      } else if (other !== undefined && other !== id) {
        report({ kind: 'repeated', what: `the submit ${tag} made ${other}, too`, task: id })
      } else if (!known && !this.#unanswered.has(tag)) {
        report({ kind: 'repeated', what: `nobody was told of it; its submit was ${tag || 'not ours'}`, task: id })
      }
      if (!hasEnded(object)) {
        report({ kind: 'unended', what: `status ${object.status}, last_seq ${object.last_seq}`, task: id })
      }
    }
    for (const [id, known] of this.#known) this.#checkKnown(`task ${known.number} (${id})`, known, byId.get(id), report)
  }

  #checkKnown(task: string, { end }: Known, object: TaskObject | undefined, report: Report): void {
    if (!object) {
      report({ kind: 'lost', what: 'it was accepted and is not in the list', task })
      return
    }
    if (end === null) return
    const { status, last_seq: lastSeq, output } = object
    if (status !== end.status || lastSeq !== end.lastSeq) {
      const what = `${status} at ${lastSeq}, it had ended with ${end.status} at ${end.lastSeq}`
      report({ kind: 'backwards', what, task })
    } else if (hashOf(output.text) !== end.textHash) {
      report({ kind: 'text', what: 'output.text has changed since its end', task })
    }
  }
}

const hashOf = (text: string): string => createHash('sha256').update(text).digest('base64').slice(0, 16)
