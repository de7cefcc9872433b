import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, sep } from 'node:path'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { options } from '../src/config.js'
import { ERRORS } from '../src/core/errors.js'
import { loadOptions } from '../src/load/options.js'

// From dist/test to the repository.
const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const SRC = join(ROOT, 'src')

/** What the files of each folder may import, beside their own folder. `top` are the files in src/ itself. */
const ARROWS: Record<string, string[]> = {
  core: [],
  wire: ['core'],
  log: ['core'],
  model: ['core'],
  engine: ['core', 'model'],
  backend: ['core', 'wire', 'log'],
  gateway: ['core', 'wire', 'log', 'model', 'engine', 'backend'],
  server: ['core', 'wire', 'log', 'gateway'],
  load: ['core', 'wire'],
  client: ['core', 'wire'],
  terminal: ['core', 'client'],
  page: ['client'],
  top: ['core', 'wire', 'log', 'model', 'engine', 'backend', 'gateway', 'server', 'load', 'terminal'],
}

/** The folder that has each package. */
const PACKAGES: Record<string, string> = {
  nanoid: 'core',
  typebox: 'wire',
  msgpackr: 'wire',
  '@huggingface/jinja': 'model',
  '@huggingface/tokenizers': 'model',
  'onnxruntime-node': 'model',
  piscina: 'engine',
  lmdb: 'backend',
  'fs-native-extensions': 'backend',
  'uWebSockets.js': 'server',
  'prom-client': 'server',
  pino: 'top',
  'eventsource-parser': 'client',
  ws: 'client',
}

/** Of what the build puts into the browser's files: not needed where the gateway runs. */
const BUNDLED: Record<string, string> = {
  preact: 'page',
  '@preact/signals': 'page',
  marked: 'page',
  dompurify: 'page',
}

type Import = { file: string; folder: string; target: string }

const folderOf = (path: string): string => (path.includes(sep) ? (path.split(sep)[0] as string) : 'top')

const files = (readdirSync(SRC, { recursive: true }) as string[]).filter((file) => /\.tsx?$/.test(file)).sort()

const source = (file: string): string => readFileSync(join(SRC, file), 'utf8')

/** Static imports, re-exports, dynamic imports and imported types. */
const IMPORT = /(?:\bfrom\s+|\bimport\s*\(?\s*)'([^']+)'/g

const withoutComments = (text: string): string => text.replaceAll(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '')

const imports: Import[] = files.flatMap((file) =>
  [...withoutComments(source(file)).matchAll(IMPORT)].map(([, target = '']) => ({
    file,
    folder: folderOf(file),
    target,
  })),
)

const packageOf = (target: string): string =>
  target
    .split('/')
    .slice(0, target.startsWith('@') ? 2 : 1)
    .join('/')

describe('the house', () => {
  test('every folder of src has its place in the table', () => {
    const folders = new Set(files.map(folderOf))

    assert.deepEqual([...folders].sort(), Object.keys(ARROWS).sort())
    assert.ok(imports.length > files.length)
  })

  test('every import points toward core', () => {
    const wrong = imports.filter(({ file, folder, target }) => {
      if (!target.startsWith('.')) return false
      const to = folderOf(normalize(join(dirname(file), target)))
      return to !== folder && !ARROWS[folder]?.includes(to)
    })

    assert.deepEqual(wrong, [])
  })

  test('each package is imported by one folder, and every one that is installed is imported', () => {
    const found: Record<string, string[]> = {}
    for (const { folder, target } of imports) {
      // `#` is a file of our own that depends on the runtime.
      if (/^(\.|node:|#)/.test(target)) continue
      const name = packageOf(target)
      found[name] = [...new Set([...(found[name] ?? []), folder])]
    }

    const { dependencies, devDependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      dependencies: object
      devDependencies: object
    }
    const all = Object.entries({ ...PACKAGES, ...BUNDLED })
    assert.deepEqual(found, Object.fromEntries(all.map(([name, folder]) => [name, [folder]])))
    assert.deepEqual(Object.keys(dependencies).sort(), Object.keys(PACKAGES).sort())
    for (const name of Object.keys(BUNDLED)) assert.ok(Object.hasOwn(devDependencies, name), name)
  })

  test('the environment is read in cli.ts and nowhere else', () => {
    const readers = files.filter((file) => /process\.env\b|['"]node:process['"]/.test(source(file)))

    assert.deepEqual(readers, ['cli.ts'])
  })

  test('every file says first what it is for', () => {
    const silent = files.filter((file) => !/^(#!.*\n)?\/\*\*\n(?: \*(?: .*)?\n)+ \*\/\n/.test(source(file)))

    assert.deepEqual(silent, [])
  })

  test('the README has the tables of options as the code has them', () => {
    const readme = readFileSync(join(ROOT, 'README.md'), 'utf8')

    for (const each of [options, loadOptions]) assert.ok(readme.includes(`\n${each.markdownTable()}\n`))
  })

  test('the README lists exactly the errors that there are', () => {
    const readme = readFileSync(join(ROOT, 'README.md'), 'utf8')
    const listed = [...readme.matchAll(/^\| `([a-z_]+)` \| (\d{3}) \| (.+) \|$/gm)].map((row) => row.slice(1, 4))

    const errors = Object.entries(ERRORS).map(([code, { status, meaning }]) => [code, String(status), meaning])
    assert.deepEqual(listed.sort(), errors.sort())
  })

  test('the lock file names no host, so that any registry serves an install', () => {
    const lock = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
      packages: Record<string, { resolved?: string }>
    }

    const resolved = Object.entries(lock.packages).flatMap(([name, { resolved }]) =>
      resolved ? [[name, resolved]] : [],
    )
    assert.deepEqual(resolved, [])
    assert.ok(Object.keys(lock.packages).length > 10)
  })
})
