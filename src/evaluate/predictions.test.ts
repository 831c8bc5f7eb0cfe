import { describe, expect, it } from "vitest"
import { readDataset } from "./dataset"
import { readPredictions } from "./predictions"

const dataset = readDataset([
  {
    name: "d.json",
    value: {
      images: [
        { id: 1, file_name: "a.png" },
        { id: 2, file_name: "sub/b.png" },
      ],
      categories: [{ id: 7, name: "cat" }],
      annotations: [{ image_id: 2, question_id: 20, question: "Why?", answer: "so" }],
    },
  },
])
const [a, b] = dataset.images
const leaf = { type: "box", x1: 1, y1: 2, x2: 3, y2: 4, mention: "cat", t: null, image: 0 }
const answer = { task: "detect", about: null, text: "…", pixels: [leaf] }
const lines = (...values: unknown[]) => values.map((value) => JSON.stringify(value)).join("\n")

describe("readPredictions", () => {
  it("reads the lines of isaac eval, errors counted", () => {
    const text = `${lines({ image: "a.png", answers: [answer] }, { image: "sub/b.png", error: { code: "io" } })}\n\n`
    const { predictions, failed } = readPredictions(text, dataset, undefined)
    expect([...predictions]).toEqual([[a, { answers: [answer] }]])
    expect(failed).toBe(1)
  })

  it("reads the lines of a batch, by the ends of their paths", () => {
    const line = { image: "/home/me/x/sub/b.png", text: "…", points: [], pixels: [leaf], model: "tiny" }
    expect([...readPredictions(lines(line), dataset, "detect").predictions]).toEqual([[b, { answers: [answer] }]])
    const windows = { image: "C:\\pictures\\a.png", text: "STOP", pixels: [] }
    const { predictions } = readPredictions(lines(windows), dataset, "ocr")
    expect(predictions.get(a)?.answers).toEqual([{ task: "ocr", about: null, text: "STOP", pixels: [] }])
  })

  it("reads results of COCO and of VQA v2; every picture was looked at", () => {
    const box = { image_id: 1, category_id: 7, bbox: [1, 2, 3, 4], score: 0.5 }
    const { predictions } = readPredictions(
      JSON.stringify([box, { question_id: 20, answer: "thus" }]),
      dataset,
      undefined,
    )
    expect(predictions.get(a)).toEqual({ answers: [], boxes: [{ category: 0, box: [1, 2, 3, 4], score: 0.5 }] })
    expect(predictions.get(b)).toEqual({ answers: [], boxes: [], byQuestion: new Map([[20, "thus"]]) })
    expect(readPredictions("\n []", dataset, undefined).predictions.size).toBe(2)
  })

  const result = { image_id: 1, category_id: 7, bbox: [1, 2, 3, 4], score: 0.5 }
  it.each<[string, string, ...string[]]>([
    ["nothing", " \n", "is empty"],
    ["no JSON", "{", "line 1", "no JSON"],
    ["a list that is cut", "[1,", "the file is no JSON"],
    ["a line without a picture", "{}", "line 1", "no image"],
    ["null", "null", "line 1", "no image"],
    ["a picture that there is not", lines({ image: "c.png", answers: [] }), "c.png", "2 images"],
    ["a batch of unknown questions", lines({ image: "a.png", text: "3", pixels: [] }), "--task detect"],
    ["an answer without pixels", lines({ image: "a.png", answers: [{ ...answer, pixels: undefined }] }), "line 1"],
    ["half a box", lines({ image: "a.png", answers: [{ ...answer, pixels: [{ ...leaf, x2: null }] }] }), "line 1"],
    [
      "half a polygon",
      lines({ image: "a.png", answers: [{ ...answer, pixels: [{ type: "polygon", points: [[1, 2, 3]] }] }] }),
      "line 1",
    ],
    [
      "a mention that is none",
      lines({ image: "a.png", answers: [{ ...answer, pixels: [{ ...leaf, mention: 1 }] }] }),
      "line 1",
    ],
    ["another task", lines({ image: "a.png", answers: [{ ...answer, task: "dance" }] }), "dance"],
    ["a count that is none", lines({ image: "a.png", answers: [{ ...answer, count: "2" }] }), "line 1"],
    ["a result of no image", JSON.stringify([{ ...result, image_id: 5 }]), "result 1 of 1", "image 5"],
    ["a result of no category", JSON.stringify([result, { ...result, category_id: 1 }]), "result 2 of 2", "category 1"],
    ["a result without a score", JSON.stringify([{ ...result, score: undefined }]), "score undefined"],
    ["a result of three numbers", JSON.stringify([{ ...result, bbox: [1, 2, 3] }]), "bbox [1,2,3]"],
    ["null among results", "[null]", "result 1 of 1"],
    ["an answer to no question", JSON.stringify([{ question_id: 1, answer: "so" }]), "question 1"],
    ["an answer that is a number", JSON.stringify([{ question_id: 20, answer: 3 }]), "answer 3"],
  ])("refuses %s", (_, text, ...messages) => {
    const refused = expect.objectContaining({ code: "bad_input" })
    expect(() => readPredictions(text, dataset, undefined)).toThrowError(refused)
    for (const message of messages) expect(() => readPredictions(text, dataset, undefined)).toThrowError(message)
  })
})
