/**
 * A pool of threads, with what every pool here needs.
 *
 * Piscina first loads a thread's file with `require`. Where Node can do that with ES modules, a thread that is ended in
 * that moment takes the process with it (`v8::Module::IsGraphAsync must be used on an instantiated module`; Node 20.20,
 * once in some hundred threads that are ended while they start). Without that ability Piscina imports the file.
 */
import { Piscina } from 'piscina'

const execArgv = [
  ...process.execArgv.filter((flag) => flag === '--enable-source-maps'),
  // Node has the flag where it has the ability.
  ...(process.allowedNodeEnvironmentFlags.has('--experimental-require-module')
    ? ['--no-experimental-require-module']
    : []),
]

type Options = Pick<
  NonNullable<ConstructorParameters<typeof Piscina>[0]>,
  'minThreads' | 'maxThreads' | 'workerData' | 'atomics'
>

/** @param file of the threads, beside this one, such as `./worker.js` */
export function newPool<T, R>(file: string, options: Options): Piscina<T, R> {
  const pool = new Piscina<T, R>({ filename: new URL(file, import.meta.url).href, execArgv, ...options })
  // A thread that dies without a task has nobody to tell; Piscina starts another.
  pool.on('error', () => {})
  return pool
}
