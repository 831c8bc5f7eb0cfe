// Get data out of a picture: an answer that is a JSON document, valid for a schema.
//
//     node examples/extract-json.js PICTURE

import { Isaac } from "isaac-vlm"

const [picture] = process.argv.slice(2)

const schema = {
  type: "object",
  properties: {
    background: { enum: ["white", "gray", "black", "other"] },
    shapes: {
      type: "array",
      maxItems: 3,
      items: {
        type: "object",
        properties: { color: { type: "string", maxLength: 12 }, count: { type: "integer", minimum: 1, maximum: 9 } },
        required: ["color", "count"],
      },
    },
  },
  required: ["background", "shapes"],
}

const isaac = await Isaac.load("tiny")
// The model does not see the schema: the question should say what is wanted. (isaac-tiny has never written JSON, so what
// it fills in is worth little; the form always holds.)
const question = "Which background, and which shapes are there? Give color and count."
const { json, text } = await isaac.ask(picture, question, { schema, maxNewTokens: 200 })
await isaac.dispose()

console.log(text)
console.log(`${json.shapes.length} shapes on ${json.background}`)
