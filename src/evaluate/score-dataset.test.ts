import { describe, expect, it } from "vitest"
import type { PixelLeaf } from "../perception/parse"
import { readDataset } from "./dataset"
import type { Answered, Prediction } from "./predictions"
import type { AskingOptions, EvalTask } from "./questions"
import { reportMarkdown, reportText } from "./report"
import { scoreDataset } from "./score-dataset"

const dataset = readDataset([
  {
    name: "d.json",
    value: {
      images: [1, 2].map((id) => ({ id, file_name: `${id}.png`, width: 100, height: 100 })),
      categories: [
        { id: 1, name: "cat" },
        { id: 2, name: "traffic light" },
      ],
      annotations: [
        { image_id: 1, category_id: 1, bbox: [0, 0, 10, 10], segmentation: [[0, 0, 10, 0, 0, 10]] },
        { image_id: 1, category_id: 2, bbox: [50, 50, 20, 20] },
        { image_id: 2, category_id: 1, bbox: [0, 0, 40, 40] },
        { image_id: 1, objects: "cats", count: 1 },
        { image_id: 2, objects: "cats", count: 3 },
        { image_id: 1, question_id: 5, question: "Red?", answer: "yes" },
        { image_id: 1, text: "STOP" },
      ],
    },
  },
])
const box = (mention: string | null, x1: number, y1: number, x2: number, y2: number): PixelLeaf => ({
  ...{ type: "box", x1, y1, x2, y2, mention, t: null, image: 0 },
})
const point = (x: number, y: number): PixelLeaf => ({ type: "point", x, y, mention: null, t: null, image: 0 })
const answer = (task: EvalTask, about: string | null, more: Partial<Answered> = {}): Answered => ({
  ...{ task, about, text: "", pixels: [] },
  ...more,
})
const score = (answers: readonly (readonly Answered[])[], options: Partial<AskingOptions>) =>
  scoreDataset(
    dataset,
    new Map(answers.map((list, i): [(typeof dataset.images)[0], Prediction] => [dataset.images[i], { answers: list }])),
    {
      ...{ tasks: [], absent: 0 },
      ...options,
    },
  )

describe("detect", () => {
  const tasks = ["detect"] as const
  const first = [box("The Cats", 10, 10, 0, 0), box("big traffic light", 50, 50, 70, 70), box("zebra", 0, 0, 5, 5)]

  it("understands names, puts corners in order and counts what is named wrongly as wrong", () => {
    const { tasks: reports } = score(
      [
        [answer("detect", null, { pixels: first, unreadable: 2 })],
        [answer("detect", null, { pixels: [box(null, 0, 0, 40, 40)] })],
      ],
      { tasks },
    )
    expect(reports.detect).toMatchObject({
      ...{ ranking: "order", apByOrder: null, unreadable: 2 },
      names: { exact: 1, words: 1, none: 1, unmatched: [{ name: "zebra", times: 1 }] },
      // A box without a name is of no category.
      matches: { matched: 2, found: 4, objects: 3, precision: 0.5, meanIou: 1 },
      coco: { ap50: expect.closeTo((51 / 101 + 1) / 2, 12) },
    })
    expect(reports.detect?.coco.categories.map(({ category }) => category)).toEqual(["cat", "traffic light"])
    expect(Object.keys(reports)).toEqual(["detect"])
  })

  it("ranks by confidence where every box has one, and says what their order would give", () => {
    const wrong = box("cat", 80, 80, 90, 90)
    const right = box("cat", 0, 0, 40, 40)
    const two = (confidences?: number[]) =>
      score([[answer("detect", null)], [answer("detect", null, { pixels: [wrong, right], confidences })]], { tasks })
    // One of two cats: precision 1 or 1/2 up to recall 0.5; no traffic light.
    expect(two([0.2, 0.9]).tasks.detect).toMatchObject({
      ranking: "confidence",
      apByOrder: expect.closeTo(51 / 101 / 2 / 2, 12),
      coco: { ap: expect.closeTo(51 / 101 / 2, 12) },
    })
    for (const unsure of [undefined, [0.2]]) {
      expect(two(unsure).tasks.detect).toMatchObject({
        ranking: "order",
        coco: { ap: expect.closeTo(51 / 101 / 4, 12) },
      })
    }
  })

  it("by class, a box without a name is of the class that was asked for, one of another name of none", () => {
    const options = { tasks, perClass: true }
    const { tasks: reports } = score(
      [
        [
          answer("detect", "cat", { pixels: [box(null, 0, 0, 10, 10)] }),
          answer("detect", "traffic light", { pixels: [box("cat", 50, 50, 70, 70)] }),
        ],
        [answer("detect", "cat", { pixels: [box("cat", 0, 0, 40, 40)] })],
      ],
      options,
    )
    expect(reports.detect).toMatchObject({ matches: { matched: 2, found: 3 }, names: { none: 1 } })
  })

  it("takes given boxes with their scores, and shapes by what they cover", () => {
    const boxes = [{ category: 0, box: [0, 0, 10, 10] as const, score: 3 }]
    const given = scoreDataset(dataset, new Map([[dataset.images[0], { answers: [], boxes }]]), { tasks, absent: 0 })
    expect(given).toMatchObject({
      images: 1,
      tasks: { detect: { ranking: "given", coco: { ap: expect.closeTo(0.5, 12) } } },
    })
    const points = [
      [50, 70],
      [70, 50],
      [60, 50],
      [50, 50],
    ] as const
    const polygon: PixelLeaf = { type: "polygon", points, mention: "traffic light", t: null, image: 0 }
    expect(score([[answer("detect", null, { pixels: [polygon] })]], { tasks }).tasks.detect?.matches).toMatchObject({
      matched: 1,
      meanIou: 1,
    })
  })

  it("a picture without objects in which nothing is found is right", () => {
    const images = [{ id: 1, file_name: "1.png" }]
    const nothing = readDataset([{ name: "d", value: { images, categories: [{ id: 1, name: "cat" }] } }])
    const run = (pixels: PixelLeaf[]) => {
      const answers = [answer("detect", null, { pixels })]
      return scoreDataset(nothing, new Map([[nothing.images[0], { answers }]]), { tasks, absent: 0 })
    }
    expect(run([]).cases).toMatchObject([{ badness: 0, expected: "nothing", said: "nothing" }])
    expect(run([box("cat", 0, 0, 1, 1)])).toMatchObject({
      cases: [{ badness: 1 }],
      tasks: { detect: { coco: { ap: null } } },
    })
  })

  it("shows what was expected beside what was found", () => {
    const { cases } = score([[answer("detect", null, { pixels: [...first, first[2]] })]], { tasks })
    expect(cases).toMatchObject([
      {
        ...{ task: "detect", badness: expect.closeTo(1 - 4 / 6, 12), expected: "cat, traffic light" },
        said: "The Cats, big traffic light, 2 zebra",
      },
    ])
    expect(cases[0].expectedLeaves).toEqual([
      {
        type: "polygon",
        points: [
          [0, 0],
          [10, 0],
          [0, 10],
        ],
        mention: "cat",
        t: null,
        image: 0,
      },
      { type: "box", x1: 50, y1: 50, x2: 70, y2: 70, mention: "traffic light", t: null, image: 0 },
    ])
  })
})

describe("the other tasks", () => {
  it("point: by the mask, and by the middle of other shapes", () => {
    const first = answer("point", "cat", { pixels: [point(2, 2), point(9, 9)] })
    const second = answer("point", "traffic light", { pixels: [box(null, 44, 44, 70, 70)] })
    const { tasks, cases } = score([[first, second], [answer("point", "cat", { text: "None." })]], { tasks: ["point"] })
    expect(tasks.point).toEqual({
      ...{ questions: 3, points: 3, inside: 2, objects: 3, hit: 2, insideShare: 2 / 3, recall: 2 / 3 },
    })
    expect(cases.map(({ badness, said }) => [badness.toFixed(3), said])).toEqual([
      ["0.333", "2 points, 1 inside"],
      ["0.000", "1 point, 1 inside"],
      ["1.000", "None."],
    ])
  })

  it("count: what the answer says, nothing for an answer without a number", () => {
    const answers = [[answer("count", "cats", { count: 1 })], [answer("count", "cats", { count: null, text: "Many." })]]
    const { tasks, cases } = score(answers, { tasks: ["count"] })
    expect(tasks.count).toMatchObject({ questions: 2, unanswered: 1, exact: 0.5, mae: 1.5 })
    expect(cases[1]).toMatchObject({ badness: 1, expected: "3", said: "Many." })
    const none = { images: [{ id: 1, file_name: "1.png" }], annotations: [{ image_id: 1, objects: "cats", count: 0 }] }
    const noCats = readDataset([{ name: "d", value: none }])
    const silent = new Map([[noCats.images[0], { answers: [answer("count", "cats", { count: null })] }]])
    expect(scoreDataset(noCats, silent, { tasks: ["count"], absent: 0 }).cases).toMatchObject([{ badness: 1 }])
  })

  it("vqa and ocr: the words without tags; text in mentions only is text", () => {
    const yes = answer("vqa", "Red?", { text: 'Yes. <point mention="it"> (1,2) </point>' })
    const stop = answer("ocr", null, { text: "<point_box …>", pixels: [box("ST0P", 0, 0, 1, 1)] })
    const { tasks, cases } = score([[yes, { ...stop, text: "" }]], { tasks: ["vqa", "ocr"] })
    expect(tasks.vqa).toEqual({ questions: 1, exact: 0, normalised: 1, accuracy: 1 })
    expect(tasks.ocr?.normalised).toEqual({ texts: 1, exact: 0, cer: 0.25, wer: 1 })
    const both = answer("ocr", null, { text: "STOP <point> (1,2) </point>", pixels: [box("sign", 0, 0, 1, 1)] })
    expect(score([[both]], { tasks: ["ocr"] }).tasks.ocr?.raw.exact).toBe(1)
    expect(cases.map(({ task, badness }) => [task, badness])).toEqual([
      ["vqa", 0],
      ["ocr", 0.25],
    ])
  })

  it("takes answers of a file of results by their question's id", () => {
    const byQuestion = new Map([[5, "no"]])
    const { tasks } = scoreDataset(dataset, new Map([[dataset.images[0], { answers: [], byQuestion }]]), {
      ...{ tasks: ["vqa"], absent: 0 },
    })
    expect(tasks.vqa).toMatchObject({ questions: 1, normalised: 0 })
  })

  it("takes the answers to one question put twice in their order", () => {
    const question = { image_id: 1, question: "Red?" }
    const annotations = [
      { ...question, answer: "yes" },
      { ...question, answer: "no" },
    ]
    const twice = readDataset([{ name: "d", value: { images: [{ id: 1, file_name: "1.png" }], annotations } }])
    const answers = ["yes", "no"].map((text) => answer("vqa", "Red?", { text }))
    const { tasks } = scoreDataset(twice, new Map([[twice.images[0], { answers }]]), { tasks: ["vqa"], absent: 0 })
    expect(tasks.vqa).toMatchObject({ questions: 2, exact: 1 })
  })

  it("refuses answers to other questions", () => {
    expect(() => score([[answer("point", "dog")]], { tasks: ["point"] })).toThrowError(
      expect.objectContaining({
        code: "bad_input",
        message: expect.stringMatching(/point "cat" for 1\.png.*--absent/),
      }),
    )
  })
})

describe("the report", () => {
  const everything = score(
    [
      [
        answer("detect", null, { pixels: [box("a|b <c>\nd", 0, 0, 10, 10)], confidences: [0.5] }),
        answer("point", "cat", { pixels: [point(2, 2)] }),
        answer("point", "traffic light"),
        answer("count", "cats", { count: 1 }),
        answer("vqa", "Red?", { text: "no" }),
        answer("ocr", null, { text: "STOP" }),
      ],
      [answer("detect", null), answer("point", "cat"), answer("count", "cats", { count: 2 })],
    ],
    { tasks: ["detect", "point", "count", "vqa", "ocr"] },
  )
  const report = {
    ...{ model: "tiny", settings: { absent: 0 }, pictures: { evaluated: 2, failed: 1 }, tasks: everything.tasks },
    speed: { questions: 9, seconds: 1.8, tokens: 70 },
  }

  it("has a table for each task, as Markdown and as text", () => {
    const markdown = reportMarkdown(report, everything.cases, "worst.png")
    for (const title of ["Detection", "Pointing", "Counting", "Questions", "Reading", "Categories", "Worst answers"]) {
      expect(markdown).toContain(`\n## ${title}\n`)
    }
    expect(markdown).toContain("2 pictures. 1 more failed and are left out.")
    expect(markdown).toContain("| points inside | 100.0 % | 1 of 1 points, 3 questions |")
    expect(markdown).toContain("| mAP@[.5:.95] | 0.000 | each box ranked by the mean log-probability of its tokens |")
    expect(markdown).toContain("9 questions in 1.8 s (200 ms each), 70 tokens.")
    expect(markdown).toContain("![worst answers](worst.png)")
    const text = reportText(report)
    expect(text).toContain("\nReading\n  CER ")
    expect(text).toMatch(/mean IoU of matches +–\n/)
    expect(text.endsWith("2 pictures, 1 failed\n")).toBe(true)
  })

  it("is not broken by what models and files say", () => {
    const markdown = reportMarkdown(report, everything.cases, null)
    expect(markdown).toContain("a\\|b \\<c\\> d (1)")
    expect(markdown).not.toContain("![")
    const rows = markdown.split("\n").filter((line) => line.startsWith("| 1.png"))
    for (const row of rows) expect(row.match(/(?<!\\)\|/g)).toHaveLength(6)
    expect(rows.length).toBeGreaterThan(3)
  })
})
