/**
 * A gateway with a defect: now and then a reader is not given an event. For the test of `npm run chaos`, which must see it.
 */
import { Reader } from '../../src/log/reader.js'

const EVERY = 400
const { next } = Reader.prototype
let calls = 0

Reader.prototype.next = function (maxBytes) {
  if (++calls % EVERY === 0) next.call(this, maxBytes)
  return next.call(this, maxBytes)
}

await import('../../src/cli.js')
