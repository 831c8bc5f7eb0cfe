import { describe, expect, it } from "vitest"
import { readDataset } from "./dataset"

const images = [
  { id: 1, file_name: "a.png", width: 100, height: 50, license: 3 },
  { id: 2, file_name: "b.png", width: 100, height: 50 },
]
const categories = [
  { id: 7, name: "cat", supercategory: "animal" },
  { id: 9, name: "dog" },
]
const object = { id: 1, image_id: 1, category_id: 9, bbox: [1, 2, 30, 40], area: 900, iscrowd: 0 }
const read = (...values: unknown[]) => readDataset(values.map((value, i) => ({ name: `${i + 1}.json`, value })))

describe("readDataset", () => {
  it("reads COCO's objects: boxes, polygons and both forms of runs", () => {
    const square = [[0, 0, 10, 0, 10, 10]]
    const crowd = { size: [50, 100], counts: [0, 5000] }
    const annotations = [
      { ...object, segmentation: square },
      { ...object, id: 2, iscrowd: 1, segmentation: crowd, category_id: 7, area: undefined },
      { ...object, id: 3, image_id: 2, segmentation: { size: [50, 100], counts: "0Xl4" } },
    ]
    const dataset = read({ info: {}, images, categories, annotations })
    expect(dataset.categories).toEqual([
      { id: 7, name: "cat" },
      { id: 9, name: "dog" },
    ])
    const box = [1, 2, 30, 40]
    expect(dataset.images[0]).toEqual({
      ...{ id: 1, file: "a.png", questions: [], counts: [] },
      objects: [
        { category: 1, box, area: 900, crowd: false, segmentation: square },
        { category: 0, box, area: 1200, crowd: true, segmentation: crowd },
      ],
    })
    expect(dataset.images[1].objects).toHaveLength(1)
  })

  it("reads questions, counts and text", () => {
    const annotations = [
      { image_id: 1, question: "What is it?", answer: "cat" },
      { image_id: 1, question: "Colour?", answers: ["grey", "gray"] },
      { image_id: 2, objects: "dogs", count: 0 },
      { image_id: 2, text: "STOP" },
      { image_id: 2, text: "NOW" },
      { image_id: 2, caption: "A sign." },
    ]
    const dataset = read({ images, annotations })
    expect(dataset.images).toMatchObject([
      {
        questions: [
          { question: "What is it?", accepted: ["cat"] },
          { question: "Colour?", accepted: ["grey", "gray"] },
        ],
      },
      { counts: [{ objects: "dogs", count: 0 }], text: "STOP\nNOW" },
    ])
    expect("text" in dataset.images[0]).toBe(false)
  })

  it("joins the two files of VQA v2", () => {
    const questions = { data_subtype: "val2014", questions: [{ image_id: 42, question: "Why?", question_id: 420 }] }
    const answers = [{ answer: "red", answer_confidence: "yes", answer_id: 1 }]
    const annotations = [{ question_id: 420, answers, question_type: "why", answer_type: "other" }]
    expect(read({ annotations, data_subtype: "val2014" }, questions).images).toEqual([
      {
        ...{ id: 42, file: "COCO_val2014_000000000042.jpg", objects: [], counts: [] },
        questions: [{ id: 420, question: "Why?", accepted: ["red"] }],
      },
    ])
  })

  it("joins files that name the same images and categories", () => {
    const dataset = read({ images, categories, annotations: [object] }, { images, categories, annotations: [object] })
    expect(dataset.images).toHaveLength(2)
    expect(dataset.images[0].objects).toHaveLength(2)
  })

  const withOne = (annotation: object) => ({ images, categories, annotations: [annotation] })
  it.each<[string, unknown, ...string[]]>([
    ["no object", [], "1.json", "expected object"],
    ["null", null, "the file is null"],
    ["no images", { annotations: [] }, "there are no images"],
    ["an image without a file", { images: [{ id: 1 }] }, "images[0].file_name is undefined"],
    ["an unknown image", withOne({ ...object, image_id: 3 }), "annotation 1 of 1", "image 3", "2 images"],
    ["an unknown category", withOne({ ...object, category_id: 1 }), "a.png", "category 1", "2 categories"],
    ["a box outside", withOne({ ...object, bbox: [90, 2, 30, 40] }), "a.png", "(120, 42)", "100×50"],
    ["a box above", withOne({ ...object, bbox: [0, -2, 30, 40] }), "(0, -2)"],
    ["NaN", withOne({ ...object, bbox: [Number.NaN, 2, 30, 40] }), "annotations[0].bbox[0] is NaN"],
    ["infinity", withOne({ ...object, area: Number.POSITIVE_INFINITY }), "annotations[0].area is Infinity"],
    ["a negative width", withOne({ ...object, bbox: [0, 2, -30, 40] }), "annotations[0].bbox[2] is -30"],
    ["three numbers", withOne({ ...object, bbox: [0, 2, 3] }), "annotations[0].bbox is [0,2,3]"],
    ["a polygon of two corners", withOne({ ...object, segmentation: [[0, 0, 1, 1]] }), "polygon of 4 numbers"],
    ["a polygon of half a corner", withOne({ ...object, segmentation: [[0, 0, 1, 1, 2, 2, 3]] }), "of 7 numbers"],
    ["another mask's size", withOne({ ...object, segmentation: { size: [100, 50], counts: [5000] } }), "50×100 pixels"],
    [
      "a mask that does not add up",
      withOne({ ...object, segmentation: { size: [50, 100], counts: [7] } }),
      "add up to 7",
    ],
    ["nothing to it", withOne({ image_id: 1 }), "no bbox, no question"],
    ["a question alone", withOne({ image_id: 1, question: "Why?" }), '"Why?" and no answer'],
    ["an answer alone", withOne({ image_id: 1, answer: "No.", question_id: 5 }), "no question", "5"],
    ["no answers", withOne({ image_id: 1, question: "Why?", answers: [] }), "annotations[0].answers"],
    ["a count of nothing", withOne({ image_id: 1, count: 2 }), "objects and count"],
    ["half a count", withOne({ image_id: 1, objects: "cats", count: 1.5 }), "annotations[0].count is 1.5"],
    ["an id twice", { images: [...images, { id: 1, file_name: "c.png" }] }, "a.png", "c.png"],
    ["a file twice", { images: [...images, { id: 3, file_name: "a.png" }] }, "images 1 and 3"],
    ["a category twice", { images, categories: [...categories, { id: 9, name: "cow" }] }, "dog", "cow"],
  ])("refuses %s", (_, value, ...messages) => {
    const refused = expect.objectContaining({ code: "bad_input" })
    expect(() => read(value)).toThrowError(refused)
    for (const message of messages) expect(() => read(value)).toThrowError(message)
  })

  it("names the first problems and says how many more there are", () => {
    const annotations = Array.from({ length: 9 }, () => ({ ...object, area: "big" }))
    expect(() => read({ images, categories, annotations })).toThrowError(/annotations\[4\].*and 4 more$/)
  })
})
