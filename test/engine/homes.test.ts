import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Prompt } from '../../src/core/task.js'
import { Homes } from '../../src/engine/homes.js'

const chat = (...turns: [role: string, content: string][]): Prompt => ({
  type: 'chat',
  messages: turns.map(([role, content]) => ({ role, content })),
})
const text = (text: string): Prompt => ({ type: 'text', text })

test('every turn of a conversation has the home of the first', () => {
  const homes = new Homes<string>()
  const system: [string, string] = ['system', 's'.repeat(2000)]
  homes.set(chat(['user', 'Hello']), 'a')
  homes.set(chat(system, ['user', 'Hello']), 'b')

  assert.equal(homes.get(chat(['user', 'Hello'], ['assistant', 'Hi!'], ['user', 'How are you?'])), 'a')
  assert.equal(homes.get(chat(system, ['user', 'Hello'], ['assistant', 'Hi!'], ['user', 'Bye'])), 'b')
  assert.equal(homes.get(chat(system, ['user', 'Something else'])), undefined)
  assert.equal(homes.get(chat(['system', 'other'], ['user', 'Hello'])), undefined)
})

test('a text has the home of one that begins like it', () => {
  const homes = new Homes<string>()
  const beginning = 'once upon a time '.repeat(40)
  homes.set(text(`${beginning}there was a fox`), 'a')

  assert.equal(homes.get(text(`${beginning}there was an owl`)), 'a')
  assert.equal(homes.get(text('once upon a time')), undefined)
})

test('the home is the thread that was last, until it is gone', () => {
  const homes = new Homes<string>()
  homes.set(text('x'), 'a')
  homes.set(text('y'), 'a')
  homes.set(text('x'), 'b')

  homes.remove('a')

  assert.deepEqual([homes.get(text('x')), homes.get(text('y'))], ['b', undefined])
})

test('it remembers 10,000 conversations, and forgets the one that was silent for longest', () => {
  const homes = new Homes<number>()
  for (let i = 0; i < 10_000; i++) homes.set(text(`${i}`), i)
  homes.set(text('0'), 0)

  homes.set(text('one more'), -1)

  assert.deepEqual([homes.get(text('0')), homes.get(text('1')), homes.get(text('2'))], [0, undefined, 2])
})
