/** Has a data directory open until it is killed: forked by a test, with its path. */
import { DataDir } from '../../src/backend/embedded/data-dir.js'

DataDir.open(process.argv[2] ?? '')
process.on('disconnect', () => process.exit())
process.send?.('open')
