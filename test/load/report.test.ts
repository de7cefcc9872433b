import assert from 'node:assert/strict'
import { test } from 'node:test'
import { barChart, lineChart } from '../../src/load/charts.js'
import { Measure } from '../../src/load/measure.js'
import { loadOptions } from '../../src/load/options.js'
import { report } from '../../src/load/report.js'
import type { Result } from '../../src/load/run.js'
import { shownCount, shownMs, summarize } from '../../src/load/summary.js'
import { table } from '../../src/load/table.js'

function result(change: (measure: Measure) => void = () => {}): Result {
  const measure = new Measure()
  measure.start(0)
  for (let second = 1; second <= 10; second++) {
    for (let i = 0; i < 50; i++) {
      measure.time('firstToken', 10 + i)
      measure.time('gap', 20)
    }
    measure.tokens += 1234
    measure.events += 617
    measure.point(second * 1000)
  }
  measure.ended('completed')
  measure.error('queue_full')
  change(measure)
  const options = loadOptions.check({
    url: 'http://example.test:8080',
    prompt: '<script>alert(1)</script>',
    'api-key': 'secret-key',
  })
  return { options, measure, seconds: 10, unfinished: 2, own: { cpu: 0.5, busy: 0.4 }, startedAt: 1_790_000_000_000 }
}

test('the page holds the numbers and needs nothing else', () => {
  const made = result()

  const page = report(made, summarize(made))

  for (const part of [
    '1,234',
    'queue_full',
    'Throughput over time',
    'Time to first token',
    'example.test:8080',
    '--clients 50',
  ]) {
    assert.ok(page.includes(part), part)
  }
  assert.doesNotMatch(page, /<script|<link|src=|@import|url\(|NaN|undefined|Infinity/)
  assert.ok(page.includes('&lt;script&gt;alert(1)'))
  assert.ok(!page.includes('secret-key'))
})

test('a run in which nothing came makes a page and a table, too', () => {
  const made: Result = { ...result(), measure: new Measure() }

  const summary = summarize(made)

  assert.doesNotMatch(report(made, summary) + table(summary), /NaN|undefined|Infinity/)
})

test('the table tells throughput, times, ends, and what was lost', () => {
  const summary = summarize(
    result((measure) => {
      measure.lost = 3
    }),
  )

  const text = table(summary)

  assert.match(text, /^throughput +1,234 +tokens\/s/m)
  assert.match(text, /^ +2\.00 tokens an event/m)
  assert.match(text, /^time to first token +\d\d\.\d ms/m)
  assert.match(text, /^events +3 +lost +0 +repeated/m)
  assert.match(text, /^errors +queue_full 1$/m)
  assert.match(text, /^Warning: 3 events were lost and 0 came twice\.$/m)
})

test('a load test that was too busy itself says so', () => {
  const { warnings } = summarize({ ...result(), own: { cpu: 1, busy: 0.95 } })

  assert.match(warnings.join(), /busy for 95 % of the time/)
})

const X = { label: 'x', shown: String }

test('a line goes through its points, and its ticks are round', () => {
  const svg = lineChart({
    title: 't',
    x: X,
    y: X,
    series: [
      {
        name: 'a',
        points: [
          [0, 0],
          [10, 87],
        ],
      },
    ],
  })

  assert.match(svg, /d="M64\.0 234\.0L612\.0 [\d.]+"/)
  const ticks = [...svg.matchAll(/text-anchor="end">(\d+)</g)].map(([, tick]) => Number(tick))
  assert.deepEqual(ticks, [0, 20, 40, 60, 80, 100])
})

test('bars on a logarithmic axis are as wide as each other for equal ratios', () => {
  const bars = [
    { from: 1, to: 2, count: 5 },
    { from: 2, to: 4, count: 10 },
  ]

  const svg = barChart({ title: 't', x: { ...X, log: true }, y: X, bars })

  const widths = [...svg.matchAll(/width="([\d.]+)" height/g)].map(([, width]) => width)
  const heights = [...svg.matchAll(/height="([\d.]+)"><title>/g)].map(([, height]) => Number(height))
  assert.equal(widths.length, 2)
  assert.equal(widths[0], widths[1])
  assert.ok(Math.abs((heights[1] as number) - 2 * (heights[0] as number)) < 0.2)
})

test('nothing to plot is no plot', () => {
  assert.equal(lineChart({ title: 't', x: X, y: X, series: [{ name: 'a', points: [] }] }), '')
  assert.equal(barChart({ title: 't', x: X, y: X, bars: [] }), '')
})

test('numbers are shown as people read them', () => {
  assert.deepEqual([0.4267, 12.34, 345.6, 1234, 65_432].map(shownMs), [
    '0.43 ms',
    '12.3 ms',
    '346 ms',
    '1.23 s',
    '65 s',
  ])
  assert.deepEqual([0, 7, 5.25, 1234, 45_678, 2_345_678].map(shownCount), [
    '0',
    '7',
    '5.3',
    '1,234',
    '45.7 k',
    '2.35 M',
  ])
})
