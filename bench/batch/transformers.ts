/**
 * transformers.js, which people use today: as many `generate` calls at once as there are streams.
 *
 * The package is not among our dependencies (it brings a browser runtime and an
 * image library): `npm install --no-save @huggingface/transformers` before the benchmark. Same file, same number of
 * ONNX Runtime threads, greedy, and never at an end before the last token.
 */
import { basename, dirname } from 'node:path'
import { MODEL_DIR, measure, PROMPTS, readJob, report } from './setup.js'

const job = readJob()
const { file, width, threads, tokens } = job

/** What we use of it; the package is not there when this is compiled. */
type Transformers = {
  env: { allowRemoteModels: boolean; localModelPath: string }
  AutoTokenizer: { from_pretrained(name: string): Promise<Tokenizer> }
  AutoModelForCausalLM: { from_pretrained(name: string, options: object): Promise<CausalModel> }
}
type Tokenizer = { apply_chat_template(messages: object[], options: object): object }
type CausalModel = { generate(options: object): Promise<unknown> }

const NAME: string = '@huggingface/transformers'
let library: Transformers
try {
  library = (await import(NAME)) as Transformers
} catch {
  report({ failed: 'not installed: npm install --no-save @huggingface/transformers' })
  process.exit()
}
const { env, AutoTokenizer, AutoModelForCausalLM } = library
env.allowRemoteModels = false
env.localModelPath = dirname(MODEL_DIR)
const name = basename(MODEL_DIR)
const tokenizer = await AutoTokenizer.from_pretrained(name)
const dtype = file.endsWith('_q4.onnx') ? 'q4' : 'fp32'
const session_options = { intraOpNumThreads: threads, interOpNumThreads: 1 }
const model = await AutoModelForCausalLM.from_pretrained(name, { dtype, session_options })

const generate = (number: number): Promise<unknown> => {
  const messages = [{ role: 'user', content: PROMPTS[number % PROMPTS.length] }]
  const inputs = tokenizer.apply_chat_template(messages, { add_generation_prompt: true, return_dict: true })
  return model.generate({ ...inputs, max_new_tokens: tokens, min_new_tokens: tokens, do_sample: false })
}

const rates = await measure(job, async (round) => {
  await Promise.all(Array.from({ length: width }, (_, i) => generate(round * width + i)))
})
report({ rates })
