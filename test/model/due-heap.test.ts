import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { DueHeap } from '../../src/model/due-heap.js'

test('an empty heap has no first slot', () => {
  const heap = new DueHeap(4)

  assert.deepEqual([heap.first, heap.firstDue], [-1, Number.POSITIVE_INFINITY])
})

test('the first slot is always one with the earliest time, whatever was set and deleted', () => {
  const change = fc.record({ slot: fc.nat(15), due: fc.option(fc.nat(100)) })
  const property = fc.property(fc.array(change, { maxLength: 200 }), (changes) => {
    const heap = new DueHeap(16)
    const model = new Map<number, number>()
    for (const { slot, due } of changes) {
      if (due === null) {
        heap.delete(slot)
        model.delete(slot)
      } else {
        heap.set(slot, due)
        model.set(slot, due)
      }
      assert.equal(heap.firstDue, Math.min(...model.values()))
      assert.equal(model.get(heap.first) ?? Number.POSITIVE_INFINITY, heap.firstDue)
    }
  })

  fc.assert(property)
})
