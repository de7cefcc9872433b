/**
 * A gateway in a process of its own, to be killed: forked with its data directory and port.
 */
import { start } from '../../src/index.js'

const [dir = '', port = '0'] = process.argv.slice(2)
const { url, ready } = await start({ port: Number(port), model: ['scripted'], workers: 1, 'data-dir': dir })
await ready
process.on('disconnect', () => process.exit())
process.send?.({ url })
