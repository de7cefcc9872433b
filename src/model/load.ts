/**
 * From a `TextSource` to a model, in the thread that will step it.
 *
 * The real model is imported only where it is asked for: ONNX Runtime is a native library of many megabytes, and a
 * thread that runs the scripted model starts without it.
 */
import type { Model, TextSource } from './model.js'
import { ScriptedModel } from './scripted.js'

/** @throws Error in one line when a file of the model is missing or cannot be used */
export const loadModel = async (source: TextSource): Promise<Model> => {
  switch (source.type) {
    case 'scripted':
      return new ScriptedModel({ slots: source.slots })
    case 'onnx': {
      const { OnnxModel } = await import('./onnx.js')
      return OnnxModel.load(source)
    }
    default:
      return source satisfies never
  }
}
