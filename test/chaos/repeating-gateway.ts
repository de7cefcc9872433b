/**
 * A gateway with a defect: a reader that comes back is now and then given the event again that it saw last. For the test
 * of `npm run chaos`, which must see it.
 */
import { TaskLog } from '../../src/log/task-log.js'

const EVERY = 20
const { attach } = TaskLog.prototype
let calls = 0

TaskLog.prototype.attach = function (after, wake) {
  return attach.call(this, ++calls % EVERY === 0 ? Math.max(0, after - 1) : after, wake)
}

await import('../../src/cli.js')
