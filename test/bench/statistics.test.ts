import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { cpuSeconds, mainThreadCpuSeconds } from '../../bench/cpu.js'
import { markdown, ratio } from '../../bench/load/table.js'
import { median, percentile, spreadOf } from '../../bench/statistics.js'

describe('statistics of a benchmark', () => {
  test('a percentile is one of the values, by their size and not by their order as text', () => {
    const values = [1000, 9, 80, 7, 600]

    assert.equal(median(values), 80)
    assert.equal(percentile(values, 0), 7)
    assert.equal(percentile(values, 99), 1000)
    assert.equal(percentile(values, 100), 1000)
    assert.deepEqual(values, [1000, 9, 80, 7, 600])
  })

  test('of 1 to 100, percent p is the value that p of them do not exceed', () => {
    const values = Array.from({ length: 100 }, (_, i) => 100 - i)

    assert.deepEqual(
      [1, 50, 99].map((percent) => percentile(values, percent)),
      [2, 51, 100],
    )
  })

  test('more percent is never less', () => {
    const values = fc.array(fc.double({ noNaN: true }), { minLength: 1 })
    fc.assert(
      fc.property(values, fc.nat(100), fc.nat(100), (values, one, other) => {
        const [low, high] = [Math.min(one, other), Math.max(one, other)]
        assert.ok(percentile(values, low) <= percentile(values, high))
      }),
    )
  })

  test('nothing measured is no number, and no ratio', () => {
    assert.deepEqual(spreadOf([]), { count: 0, p50: Number.NaN, p99: Number.NaN })
    assert.equal(ratio(1, undefined), '-')
    assert.equal(ratio(Number.NaN, 2), '-')
    assert.equal(ratio(3, 2), '1.50')
  })

  test('CPU time is that of the process: it grows while it works', () => {
    const [before, ofThread] = [cpuSeconds(process.pid), mainThreadCpuSeconds()]
    for (const until = performance.now() + 100; performance.now() < until; );

    const [worked, byThread] = [cpuSeconds(process.pid) - before, mainThreadCpuSeconds() - ofThread]
    assert.ok(worked > 0.01 && worked < 10, `${worked} s`)
    assert.ok(byThread > 0.01 && byThread <= worked + 0.02, `${byThread} s`)
  })

  test('a table is Markdown', () => {
    assert.equal(markdown(['what', 'n'], [['one', '1.00']]), '| what |    n |\n| ---- | ---: |\n| one  | 1.00 |\n')
  })
})
