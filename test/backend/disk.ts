/** Data directories for tests, and what a backend over one is opened with. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { DiskOptions } from '../../src/backend/embedded/disk.js'

/** Removed when the test has ended, after what was set up later. */
export function temporaryDir(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'rejoin-test-'))
  t.after(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

export const diskOptions = (path: string, more: Partial<DiskOptions> = {}): DiskOptions => ({
  path,
  durability: 'process',
  journalBytes: 64 * 1_048_576,
  onTrouble: () => {},
  ...more,
})
