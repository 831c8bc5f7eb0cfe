/**
 * The public class: Isaac off the caller's thread.
 *
 * const isaac = await Isaac.load("tiny")
 * const answer = await isaac.ask(["picture.png"], "Where is the red circle?", { expect: "box" })
 */

import type { AnswerStream, AskOptions, EngineInfo, ImageInput, LoadOptions } from "../isaac"

export interface IsaacLoadOptions extends LoadOptions {
  /** false runs the model in the calling thread, which then blocks during each step. Default true. */
  readonly worker?: boolean
}

export declare class Isaac implements AsyncDisposable {
  /** @param model "tiny" (ships with the package) or a checkpoint folder */
  static load(model: string, options?: IsaacLoadOptions): Promise<Isaac>
  readonly info: EngineInfo
  ask(images: readonly ImageInput[], question: string, options?: AskOptions): AnswerStream
  /** Waits for calls in flight, then frees everything. */
  dispose(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}
