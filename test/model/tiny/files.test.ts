import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { ChatTemplate } from '../../../src/model/chat-template.js'
import { readModelConfig } from '../../../src/model/model-config.js'
import { Tokenizer } from '../../../src/model/tokenizer.js'
import { buildTinyModel, type TinyOptions } from './build.js'

const temporary = mkdtempSync(join(tmpdir(), 'rejoin-'))
after(() => rmSync(temporary, { recursive: true }))

let built = 0
const build = (options: TinyOptions): Promise<string> => buildTinyModel(join(temporary, String(built++)), options)

const read = (dir: string, file: string) => JSON.parse(readFileSync(join(dir, file), 'utf8'))

const FAMILIES = ['llama', 'qwen2', 'gpt2'] as const

for (const type of FAMILIES) {
  test(`any text comes back from its ids in the tokenizer of a ${type}`, async () => {
    const tokenizer = Tokenizer.load(await build({ type }))

    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 60 }), (text) => {
        // Text of a special token would be one, and is not decoded.
        fc.pre(!text.includes('<|'))
        const ids = tokenizer.encode(text, { addSpecial: true })
        assert.ok(ids.every((id) => id >= 0 && id < 320))
        assert.equal(tokenizer.decode(ids), text)
      }),
    )
  })

  test(`the vocabulary of a ${type} is 320 tokens, the special ones last`, async () => {
    const dir = await build({ type })
    const { model, added_tokens } = read(dir, 'tokenizer.json')

    // Keys that look like numbers come first in an object, so the tokens of the digits are out of order.
    const ordinary = (Object.values(model.vocab) as number[]).sort((a, b) => a - b)
    const special = added_tokens.map(({ id }: { id: number }) => id)
    assert.deepEqual([...ordinary, ...special], [...Array(320).keys()])
    assert.equal(read(dir, 'config.json').vocab_size, 320)
  })
}

test('a token is a byte, or a piece of English', async () => {
  const tokenizer = Tokenizer.load(await build({ type: 'qwen2' }))
  const encode = (text: string): number[] => tokenizer.encode(text, { addSpecial: false })

  assert.deepEqual(encode('A'), [32])
  assert.equal(encode('€').length, 3)
  assert.deepEqual(
    encode('hello world that').map((id) => tokenizer.decode([id])),
    ['hello', ' world', ' that'],
  )
  assert.deepEqual(encode('<|im_end|>'), [319])
})

test('a Llama’s tokenizer puts its first token before a text, the others put none', async () => {
  const ids = async (type: (typeof FAMILIES)[number]) =>
    Tokenizer.load(await build({ type })).encode('A', { addSpecial: true })

  assert.deepEqual(await ids('llama'), [315, 32])
  assert.deepEqual(await ids('qwen2'), [32])
  assert.deepEqual(await ids('gpt2'), [32])
})

test('the end of a text is one id, a list, or in generation_config.json only', async () => {
  const ends = async (options: TinyOptions) => {
    const dir = await build(options)
    return [read(dir, 'config.json').eos_token_id, [...(readModelConfig(dir).eosIds ?? [])]]
  }

  assert.deepEqual(await ends({ type: 'llama' }), [319, [319]])
  assert.deepEqual(await ends({ type: 'llama', eos: 'list' }), [
    [319, 316],
    [319, 316],
  ])
  assert.deepEqual(await ends({ type: 'qwen2', eos: 'generation' }), [undefined, [319, 317]])
  assert.deepEqual(await ends({ type: 'gpt2' }), [319, [319]])
  assert.equal(read(await build({ type: 'gpt2' }), 'config.json').bos_token_id, 319)
})

test('each family names its sizes as it does', async () => {
  const llama = read(await build({ type: 'llama', window: 24 }), 'config.json')
  const qwen2 = read(await build({ type: 'qwen2', heads: 6, context: 100 }), 'config.json')
  const gpt2 = read(await build({ type: 'gpt2', layers: 3 }), 'config.json')

  assert.deepEqual([llama.model_type, llama.sliding_window, llama.head_dim], ['mistral', 24, 16])
  assert.deepEqual([qwen2.model_type, qwen2.hidden_size, qwen2.max_position_embeddings], ['qwen2', 96, 100])
  assert.deepEqual([gpt2.model_type, gpt2.n_layer, gpt2.n_embd, gpt2.n_positions], ['gpt2', 3, 64, 256])
  assert.equal(gpt2.max_position_embeddings, undefined)
})

test('a chat template is where it was asked for, and says the same there', async () => {
  const render = async (options: TinyOptions): Promise<string | undefined> =>
    ChatTemplate.load(await build(options), [])
      ?.render([{ role: 'user', content: 'Hi' }])
      .join('')

  const chatml = '<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n'
  assert.equal(await render({ type: 'qwen2', chatTemplate: 'config' }), chatml)
  assert.equal(await render({ type: 'qwen2', chatTemplate: 'file' }), chatml)
  assert.equal(
    await render({ type: 'llama', chatTemplate: 'config' }),
    '<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n',
  )
  assert.equal(await render({ type: 'gpt2', chatTemplate: 'file' }), 'Hi\n')
  assert.equal(await render({ type: 'llama' }), undefined)
  assert.equal(
    read(await build({ type: 'qwen2', chatTemplate: 'file' }), 'tokenizer_config.json').chat_template,
    undefined,
  )
})

test('generation_config.json is there when it has something to say', async () => {
  const silent = await build({ type: 'llama' })
  const sampled = await build({ type: 'llama', eos: 'generation', generation: { do_sample: true, top_k: 5 } })

  assert.ok(!existsSync(join(silent, 'generation_config.json')))
  assert.deepEqual(read(sampled, 'generation_config.json'), { do_sample: true, top_k: 5, eos_token_id: [319, 316] })
})
