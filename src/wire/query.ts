/**
 * What callers put into a URL: positions, limits, waits. Unchecked text in, numbers with bounds out.
 *
 * An unreadable value is refused and never replaced by a default: a reader with a wrong position would silently
 * get the wrong events.
 */

import { RejoinError } from '../core/errors.js'
import type { Seq } from '../core/event.js'
import { shown } from './shown.js'

/** A position: a whole number from 0, or null when absent.
 * @throws RejoinError `invalid_position` */
export function parsePosition(text: string | null | undefined, name: string): Seq | null {
  if (text === null || text === undefined) return null
  const seq = wholeNumber(text)
  if (seq === null) {
    throw new RejoinError('invalid_position', `\`${name}\` must be a whole number from 0, got ${shown(text)}`, {
      param: name,
    })
  }
  return seq
}

/** @throws RejoinError `invalid_request` when it is not a whole number in [min, max] */
export function parseInteger(text: string | null, name: string, min: number, max: number): number | null {
  if (text === null) return null
  const value = wholeNumber(text)
  if (value === null || value < min || value > max) throw outOfRange(text, name, `a whole number from ${min} to ${max}`)
  return value
}

/** Seconds, with a fraction allowed, as ms.
 * @throws RejoinError `invalid_request` when it is not in [0, maxS] */
export function parseSeconds(text: string | null, name: string, maxS: number): number | null {
  if (text === null) return null
  const seconds = /^\d{1,9}(\.\d{1,9})?$/.test(text) ? Number(text) : Number.NaN
  if (!(seconds <= maxS)) throw outOfRange(text, name, `seconds from 0 to ${maxS}`)
  return Math.round(seconds * 1000)
}

const wholeNumber = (text: string): number | null => {
  if (!/^\d{1,16}$/.test(text)) return null
  const value = Number(text)
  return Number.isSafeInteger(value) ? value : null
}

const outOfRange = (text: string, name: string, range: string): RejoinError =>
  new RejoinError('invalid_request', `\`${name}\` must be ${range}, got ${shown(text)}`, { param: name })
