/** The tools that `isaac mcp` serves, whatever carries the protocol. */

import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js"
import type { RequestHandlerExtra } from "@modelcontextprotocol/sdk/shared/protocol.js"
import type { CallToolResult, ServerNotification, ServerRequest } from "@modelcontextprotocol/sdk/types.js"
import type { Answer, AnswerStream, AskOptions, CaptionAnswer, Isaac } from "../index"
import { encodeDrawing, IsaacError, isIsaacError, PUBLISHED_PROFILE, plainText, type RgbImage } from "../internal"
import type { McpModel } from "./mcp-model"
import type { PictureReader } from "./mcp-pictures"
import { ProgressNotices } from "./mcp-progress"
import {
  answerOutput,
  captionInput,
  captionOutput,
  detectInput,
  type GenerationInput,
  listModelsInput,
  listModelsOutput,
  type MediaInput,
  ocrInput,
  questionInput,
} from "./mcp-schemas"

export interface McpServerParts {
  readonly model: McpModel
  readonly pictures: PictureReader
  /** Of the package. */
  readonly version: string
}

type Extra = RequestHandlerExtra<ServerRequest, ServerNotification>

/** One call of a tool that looks at a picture. */
interface PictureCall {
  readonly address: string
  readonly input: GenerationInput & MediaInput
  ask(isaac: Isaac, picture: RgbImage, options: AskOptions): AnswerStream<Answer | CaptionAnswer>
}

/** Larger drawings cost their reader more than they show. */
const DRAWING_SIDE = 1568

const INSTRUCTIONS =
  "Isaac, a small vision-language model, looks at pictures on this machine: nothing is uploaded. It answers questions, " +
  "writes captions, reads text and finds things. Pictures are local files, https addresses or data URIs. What an " +
  "answer points at comes as pixels of the upright picture in `pixels`. The model is small: check what matters. Calls are " +
  "answered one after another; the first one may wait until the model is loaded."

export function createMcpServer({ model, pictures, version }: McpServerParts): McpServer {
  const server = new McpServer(
    { name: "isaac-vlm", title: "Isaac, a vision-language model", version },
    { instructions: INSTRUCTIONS },
  )
  const look = (call: PictureCall, extra: Extra) => toolResult(() => lookAtPicture(model, pictures, call, extra))
  const annotations = { readOnlyHint: true, openWorldHint: true }

  server.registerTool(
    "question",
    {
      title: "Ask about a picture",
      description: "Ask a question about a picture. With output_format the answer points at what it is about.",
      inputSchema: questionInput,
      outputSchema: answerOutput,
      annotations,
    },
    (input, extra) =>
      look(
        {
          address: input.media_url,
          input,
          ask: (isaac, picture, options) => isaac.ask(picture, input.question, options),
        },
        extra,
      ),
  )
  server.registerTool(
    "caption",
    {
      title: "Describe a picture",
      description: "Describe a picture in a sentence, or in detail.",
      inputSchema: captionInput,
      outputSchema: captionOutput,
      annotations,
    },
    (input, extra) =>
      look(
        {
          address: input.media_url,
          input,
          ask: (isaac, picture, options) => isaac.caption(picture, { ...options, style: input.style }),
        },
        extra,
      ),
  )
  server.registerTool(
    "ocr",
    {
      title: "Read the text in a picture",
      description: "Read the text in a picture, as plain text, Markdown or HTML.",
      inputSchema: ocrInput,
      outputSchema: answerOutput,
      annotations,
    },
    (input, extra) => look({ address: input.image_url, input, ask: readText(input) }, extra),
  )
  server.registerTool(
    "detect",
    {
      title: "Find things in a picture",
      description: "Find things in a picture: everything, or the given classes. Boxes come in pixels.",
      inputSchema: detectInput,
      outputSchema: answerOutput,
      annotations,
    },
    (input, extra) => {
      const classes = input.classes?.length === 0 ? undefined : input.classes
      return look(
        {
          address: input.media_url,
          input,
          ask: (isaac, picture, options) => isaac.detect(picture, { ...options, classes }),
        },
        extra,
      )
    },
  )
  server.registerTool(
    "list_models",
    {
      title: "List models",
      description: "The model that this server runs, and its id.",
      inputSchema: listModelsInput,
      outputSchema: listModelsOutput,
      annotations: { ...annotations, openWorldHint: false },
    },
    () => {
      const models = [describeModel(model)]
      return { content: [{ type: "text", text: JSON.stringify(models, null, 2) }], structuredContent: { models } }
    },
  )
  return server
}

/** The usual prompt of the mode; or the caller's own, after the instruction that Isaac knows for reading. */
function readText({ mode, prompt }: { mode: "plain" | "markdown" | "html"; prompt?: string }): PictureCall["ask"] {
  if (prompt === undefined || prompt.trim() === "") {
    const format = mode === "plain" ? "text" : mode
    return (isaac, picture, options) => isaac.ocr(picture, { ...options, format })
  }
  const { system } = PUBLISHED_PROFILE.prompts.ocr
  return (isaac, picture, options) => isaac.ask(picture, prompt, { ...options, system })
}

async function lookAtPicture(
  model: McpModel,
  pictures: PictureReader,
  { address, input, ask }: PictureCall,
  extra: Extra,
): Promise<CallToolResult> {
  const { signal } = extra
  checkInput(model, input)
  return model.inTurn(signal, async () => {
    // Before the model: a name that was mistyped should not have to wait for it.
    const picture = await pictures.read(address, signal)
    const notices = new ProgressNotices(extra)
    const isaac = await model.load(signal, (step) => notices.loading(step))
    const onProgress: AskOptions["onProgress"] = (step) => notices.answering(step)
    const options = { ...optionsOf(input), signal, onProgress }
    const answer = await ask(isaac, picture, options).catch(async (error) => {
      if (isIsaacError(error) && error.code === "worker_lost") await model.forget()
      throw error
    })
    if (answer.finishReason === "abort") throw new IsaacError("aborted", "the call was cancelled")
    const drawing = input.draw ? [await drawn(picture, answer)] : []
    return { content: [...textOf(answer, picture), ...drawing], structuredContent: structureOf(answer, picture) }
  })
}

/** Refuses what the cloud has and this model has not. */
function checkInput(
  model: McpModel,
  { model: asked, modality = "image", output_format, ...input }: GenerationInput & MediaInput,
) {
  if (modality !== "image") {
    throw new IsaacError("unsupported", `this model looks at images; ${modality} is not supported`)
  }
  if (output_format === "clip" || input.enable_audio_in_video) {
    const what = output_format === "clip" ? 'output_format "clip"' : "enable_audio_in_video"
    throw new IsaacError("unsupported", `${what} is for videos; this model looks at images`)
  }
  if (asked !== undefined && asked !== model.id && asked !== model.info?.model) {
    throw new IsaacError(
      "bad_input",
      `there is no model ${JSON.stringify(asked)} here; this server runs ${JSON.stringify(model.id)}: leave model out`,
    )
  }
}

function optionsOf(input: GenerationInput & MediaInput): AskOptions {
  const { reasoning, reasoning_effort, output_format } = input
  return {
    expect: output_format === "clip" ? undefined : output_format,
    reasoning: reasoning_effort === undefined ? reasoning : reasoning_effort !== "none",
    temperature: input.temperature,
    topP: input.top_p,
    topK: input.top_k,
    frequencyPenalty: input.frequency_penalty,
    presencePenalty: input.presence_penalty,
    maxNewTokens: input.max_tokens,
    seed: input.seed,
    guided: input.guided,
  }
}

/** The answer; then, for readers who do not see the structure, where things are. */
function textOf(answer: Answer | CaptionAnswer, { width, height }: RgbImage): CallToolResult["content"] {
  const text = {
    type: "text" as const,
    text: "caption" in answer && answer.points.length === 0 ? answer.caption : answer.text,
  }
  if (answer.pixels.length === 0) return [text]
  const lines = answer.pixels.map((leaf) => {
    const corners =
      leaf.type === "point"
        ? [[leaf.x, leaf.y]]
        : leaf.type === "box"
          ? [
              [leaf.x1, leaf.y1],
              [leaf.x2, leaf.y2],
            ]
          : leaf.points
    const where = corners.map(([x, y]) => `(${Math.round(x)},${Math.round(y)})`).join(" ")
    return `${leaf.type}${leaf.mention ? ` ${leaf.mention}` : ""}: ${where}`
  })
  return [text, { type: "text", text: `In pixels of the picture, ${width}×${height}:\n${lines.join("\n")}` }]
}

function structureOf(answer: Answer | CaptionAnswer, { width, height }: RgbImage): Record<string, unknown> {
  const { text, reasoning, points, pixels, issues, finishReason, model, usage } = answer
  return {
    text,
    ...("caption" in answer && { caption: answer.caption }),
    reasoning,
    pixels: pixels.map(({ image: _, ...leaf }) => leaf),
    points,
    image: { width, height },
    issues: issues.map(({ message }) => message),
    finish_reason: finishReason,
    model,
    usage,
  }
}

async function drawn(picture: RgbImage, { pixels }: Answer): Promise<CallToolResult["content"][number]> {
  const bytes = await encodeDrawing(picture, pixels, "png", { maxSide: DRAWING_SIDE })
  return { type: "image", mimeType: "image/png", data: Buffer.from(bytes).toString("base64") }
}

function describeModel({ id, info }: McpModel) {
  return {
    id,
    name: info?.model ?? id,
    description:
      "Answers questions about images, describes them, reads text and finds things, on this machine. The server was " +
      "started with --model, which takes tiny (built in), a checkpoint's folder, or ORG/NAME of the Hugging Face hub.",
    loaded: info !== undefined,
    ...(info && { backend: info.backend, dtype: info.dtype, max_context: info.maxContext }),
  }
}

/** Failures are results that the agent can read, never errors of the protocol. */
async function toolResult(work: () => Promise<CallToolResult>): Promise<CallToolResult> {
  try {
    return await work()
  } catch (error) {
    const code = isIsaacError(error) ? error.code : "internal"
    const message = plainText(error instanceof Error ? error.message : String(error))
    return {
      isError: true,
      content: [{ type: "text", text: `${code}: ${message}` }],
      _meta: { "isaac-vlm/error": { code, message } },
    }
  }
}
