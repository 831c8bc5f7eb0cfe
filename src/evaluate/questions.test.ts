import { describe, expect, it } from "vitest"
import { plural, wordsOf } from "./class-names"
import { readDataset } from "./dataset"
import { type AskingOptions, checkTasks, EVAL_TASKS, questionsAbout, tasksOf } from "./questions"

const base = {
  images: [1, 2, 3].map((id) => ({ id, file_name: `${id}.png` })),
  categories: ["cat", "bus", "person", "dog"].map((name, i) => ({ id: i + 1, name })),
}
const object = (image_id: number, category_id: number, iscrowd = 0) => ({
  ...{ image_id, category_id, iscrowd, bbox: [0, 0, 5, 5] },
})
const objects = [object(1, 1), object(1, 1), object(1, 3, 1), object(2, 2)]
const dataset = (...annotations: object[]) => readDataset([{ name: "d.json", value: { ...base, annotations } }])
const asked = (annotations: object[], options: Partial<AskingOptions>, image = 0) => {
  const read = dataset(...annotations)
  return questionsAbout(read.images[image], read, { tasks: EVAL_TASKS, absent: 0, ...options })
}

describe("questionsAbout", () => {
  it("asks for everything once, for points of what is there, and makes counts of the objects", () => {
    expect(asked(objects, {})).toEqual([
      { task: "detect", about: null },
      { task: "point", about: "cat", category: 0 },
      // How many people there are in a crowd nobody knows.
      { task: "count", about: "cats", expected: 2 },
    ])
    expect(asked(objects, {}, 2)).toEqual([{ task: "detect", about: null }])
  })

  it("--per-class asks for each category that is there, --absent for others too", () => {
    const tasks = ["detect"] as const
    expect(asked(objects, { tasks, perClass: true }).map(({ about }) => about)).toEqual(["cat", "person"])
    const names = asked(objects, { tasks, perClass: true, absent: 1 }).map(({ about }) => about)
    expect(names).toHaveLength(3)
    expect(["bus", "dog"]).toContain(names[2])
    expect(asked(objects, { tasks, perClass: true, absent: 1 }).map(({ about }) => about)).toEqual(names)
    expect(asked(objects, { tasks, perClass: true, absent: 9 })).toHaveLength(4)
    expect(asked(objects, { tasks: ["count"], absent: 9 }, 1)).toEqual([
      { task: "count", about: "buses", expected: 1 },
      ...asked(objects, { tasks: ["count"], absent: 9 }, 1).slice(1),
    ])
    const absent = asked(objects, { tasks: ["count"], absent: 9 }, 1).slice(1)
    expect(absent.map(({ about }) => about).sort()).toEqual(["cats", "dogs", "people"])
    for (const question of absent) expect(question).toMatchObject({ expected: 0 })
  })

  it("puts other categories to other pictures", () => {
    const many = Array.from({ length: 40 }, (_, i) => ({ id: i, file_name: `${i}.png` }))
    const read = readDataset([{ name: "d", value: { ...base, images: many, annotations: [object(0, 1)] } }])
    const options: AskingOptions = { tasks: ["point"], absent: 1 }
    const absent = read.images.slice(1).map((image) => questionsAbout(image, read, options)[0].about)
    expect(new Set(absent).size).toBe(4)
  })

  it("takes counts, questions and text as the dataset has them", () => {
    const more = [
      { image_id: 1, objects: "paws", count: 8 },
      { image_id: 1, question: "Why?", answers: ["so", "thus"] },
      { image_id: 1, text: "STOP" },
    ]
    expect(asked([...objects, ...more], { tasks: ["count", "vqa", "ocr"] })).toEqual([
      { task: "count", about: "paws", expected: 8 },
      { task: "vqa", about: "Why?", accepted: ["so", "thus"] },
      { task: "ocr", about: null, expected: "STOP" },
    ])
    expect(asked([...objects, ...more], { tasks: ["count", "vqa", "ocr"] }, 1)).toEqual([])
  })
})

describe("tasksOf", () => {
  it("are those that there are answers for", () => {
    expect(tasksOf(dataset(...objects))).toEqual(["detect", "point", "count"])
    expect(tasksOf(dataset({ image_id: 1, objects: "paws", count: 8 }))).toEqual(["count"])
    expect(tasksOf(dataset({ image_id: 1, question: "Why?", answer: "so" }))).toEqual(["vqa"])
    expect(tasksOf(dataset({ image_id: 1, text: "STOP" }))).toEqual(["ocr"])
  })

  it("others are refused", () => {
    checkTasks(dataset(...objects), ["detect", "count"])
    expect(() => checkTasks(dataset(...objects), ["vqa", "detect", "ocr"])).toThrowError(
      /evaluate vqa and ocr with; it has what detect, point, count need/,
    )
    expect(() => checkTasks(dataset(), [])).toThrowError(/evaluate any task with; it has neither/)
  })
})

it.each(["cat", "bus", "person", "box", "cherry", "toy", "wine glass", "hot dog", "sports ball", "knife", "Red Cross"])(
  "the plural of %s has its singular",
  (name) => {
    expect(plural(name)).not.toBe(name)
    expect(wordsOf(plural(name))).toEqual(wordsOf(name))
  },
)

it.each([
  ["toy", "toys"],
  ["cherry", "cherries"],
  ["red cross", "red crosses"],
  ["wine glass", "wine glasses"],
])("the plural of %s is %s", (one, many) => {
  expect(plural(one)).toBe(many)
})
