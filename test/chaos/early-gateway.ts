/**
 * A gateway with a defect: events are visible before they are recorded. For the test of `npm run chaos`, which must see
 * it once the gateway keeps its tasks on disk: a kill then takes what readers were shown.
 *
 * The recorder waits for `append`; this one answers at once, and records in the same order a moment later.
 */
import { EmbeddedBackend } from '../../src/backend/embedded/embedded.js'

const LATE_MS = 50
const { append } = EmbeddedBackend.prototype

EmbeddedBackend.prototype.append = async function (flushes) {
  setTimeout(() => void append.call(this, flushes), LATE_MS)
  return []
}

await import('../../src/cli.js')
