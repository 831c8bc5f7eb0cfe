/**
 * What the tools take and give. Names, choices and defaults are those of Perceptron's own server (perceptron-mcp 0.3), so
 * that an agent can change from one to the other; what is ours besides is optional. docs/mcp.md has the table.
 */

import * as z from "zod"

const generation = {
  reasoning: z.boolean().optional().describe("Deprecated: use reasoning_effort"),
  reasoning_effort: z
    .enum(["none", "minimal", "low", "medium", "high"])
    .optional()
    .describe(
      "Any value but none asks for thoughts before the answer (models from Isaac 0.2 on); there are no degrees",
    ),
  temperature: z.number().min(0).optional().describe("Sampling temperature; 0 takes the likeliest token"),
  top_p: z.number().positive().max(1).optional().describe("Draw from the likeliest tokens that reach this probability"),
  top_k: z.number().int().positive().optional().describe("Draw from the k likeliest tokens"),
  frequency_penalty: z.number().min(-2).max(2).optional().describe("Off a token for each time the answer has it"),
  presence_penalty: z.number().min(-2).max(2).optional().describe("Off the tokens that the answer has"),
  max_tokens: z.number().int().positive().optional().describe("Longest answer, in tokens"),
  seed: z.number().int().nonnegative().optional().describe("Same seed, same answer"),
  guided: z.boolean().optional().describe("Keep pointing tags well-formed, whatever the model would write"),
  draw: z.boolean().optional().describe("Also give the picture with what was pointed at drawn on it. Default false"),
}

const model = {
  model: z.string().optional().describe("The id that list_models gives; may be left out"),
}

const address =
  "The picture: an address (https://…), the path of a local file (/path/to/image.png, ~/photos/image.jpg), " +
  "or a data URI (data:image/jpeg;base64,…)"

const media = {
  media_url: z.string().describe(address),
  modality: z
    .enum(["image", "video", "audio"])
    .default("image")
    .describe("What media_url is. This model looks at images; others are refused"),
}

const pointing = {
  output_format: z
    .enum(["text", "point", "box", "polygon", "clip"])
    .optional()
    .describe("What the answer points with: point, box or polygon. clip is for videos and refused"),
  enable_audio_in_video: z.boolean().optional().describe("For videos, which are refused"),
}

export const questionInput = z.strictObject({
  ...media,
  ...model,
  question: z.string().describe("What to ask about the picture"),
  ...pointing,
  ...generation,
})

export const captionInput = z.strictObject({
  ...media,
  ...model,
  style: z.enum(["concise", "detailed"]).default("concise").describe("How much to tell. Default concise"),
  ...pointing,
  ...generation,
})

export const ocrInput = z.strictObject({
  image_url: z.string().describe(address),
  ...model,
  mode: z.enum(["plain", "markdown", "html"]).default("plain").describe("What the text is written as. Default plain"),
  prompt: z.string().optional().describe("Words of your own in place of those that go with the mode"),
  ...generation,
})

export const detectInput = z.strictObject({
  ...media,
  ...model,
  classes: z.array(z.string()).optional().describe("What to look for; left out: everything"),
  ...generation,
})

export const listModelsInput = z.strictObject({})

const mention = z.string().nullable().describe("What is pointed at, in the model's words")
const t = z.number().nullable()

/** Coordinates in pixels of the upright picture, or in thousandths of its sides. */
const leaf = z.discriminatedUnion("type", [
  z.object({ type: z.literal("point"), x: z.number(), y: z.number(), mention, t }),
  z.object({
    type: z.literal("box"),
    ...{ x1: z.number(), y1: z.number(), x2: z.number(), y2: z.number() },
    ...{ mention, t },
  }),
  z.object({ type: z.literal("polygon"), points: z.array(z.tuple([z.number(), z.number()])), mention, t }),
])

const answer = {
  text: z.string().describe("What the model wrote, pointing tags included"),
  reasoning: z.string().nullable().describe("Its thoughts, where it was asked for them"),
  pixels: z.array(leaf).describe("What the text points at, in pixels of the picture"),
  points: z.array(leaf).describe("The same in thousandths of the picture's width and height, as in the text"),
  image: z.object({ width: z.number(), height: z.number() }).describe("The picture's size in pixels"),
  issues: z.array(z.string()).describe("Tags that could not be read; they stay in the text"),
  finish_reason: z.enum(["stop", "length"]),
  model: z.string(),
  usage: z.object({ prompt_tokens: z.number(), image_tokens: z.number(), completion_tokens: z.number() }),
}

export const answerOutput = z.object(answer)
export const captionOutput = z.object({ ...answer, caption: z.string().describe("The text for people, without tags") })

export const listModelsOutput = z.object({
  models: z.array(
    z.object({
      id: z.string().describe("What the parameter model of the other tools takes"),
      name: z.string(),
      description: z.string(),
      loaded: z.boolean(),
      backend: z.string().optional(),
      dtype: z.string().optional(),
      max_context: z.number().optional(),
    }),
  ),
})

export type GenerationInput = Pick<z.infer<typeof questionInput>, keyof typeof generation | "model">
export type MediaInput = Partial<
  Pick<z.infer<typeof questionInput>, "modality" | "output_format" | "enable_audio_in_video">
>
