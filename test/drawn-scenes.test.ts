/** The drawn scenes that `isaac eval` is tried on: the same for a seed, and what they say about themselves is true. */

import { describe, expect, it } from "vitest"
import { readDataset } from "../src/evaluate/dataset"
import { maskOf } from "../src/evaluate/mask"
import { glyphDot } from "../src/perception/label-font"
import { COLOURS, datasetOf, drawScene } from "../tools/scene.mjs"

const seeds = Array.from({ length: 24 }, (_, i) => i)
const scenes = seeds.map((seed) => drawScene(seed, glyphDot))
const value = datasetOf(scenes, seeds, (i) => `${i}.png`)
const dataset = readDataset([{ name: "scenes.json", value }])
const nameOf = (category: number) => dataset.categories[category].name

describe("drawn scenes", () => {
  it("are the same for a seed and others for another", () => {
    expect(drawScene(7, glyphDot)).toEqual(scenes[7])
    expect(new Set(scenes.map(({ image }) => Buffer.from(image.data).toString("base64"))).size).toBe(seeds.length)
  })

  it("are within what isaac-tiny was trained on", () => {
    for (const [i, { image, objects }] of scenes.entries()) {
      expect(Math.max(image.width / image.height, image.height / image.width)).toBeLessThanOrEqual(2)
      expect(image.data).toHaveLength(image.width * image.height * 3)
      expect(objects.length).toBeGreaterThan(0)
      expect(objects.length).toBeLessThanOrEqual(6)
      expect(dataset.images[i].objects.filter(({ category }) => nameOf(category) === "text").length).toBeLessThan(2)
    }
    const texts = scenes.filter(({ text }) => text !== undefined)
    expect(texts.length).toBeGreaterThan(4)
    for (const { text } of texts) expect(text?.text).toMatch(/^([A-Z]+|\d+)$/)
  })

  it("have objects of their colour inside of their polygon and box, apart from each other", () => {
    for (const [i, { objects }] of dataset.images.entries()) {
      const { width, data } = scenes[i].image
      for (const { category, box, segmentation, area } of objects.filter((o) => nameOf(o.category) !== "text")) {
        const [x, y, w, h] = box
        const [colour, shape] = nameOf(category).split(" ")
        const covers = maskOf(segmentation!)
        let [inside, alike] = [0, 0]
        for (let py = Math.ceil(y); py < y + h - 1; py++) {
          for (let px = Math.ceil(x); px < x + w - 1; px++) {
            if (!covers(px + 0.5, py + 0.5)) continue
            inside++
            const pixel = data.subarray((py * width + px) * 3, (py * width + px) * 3 + 3)
            if (COLOURS[colour].every((value, c) => Math.abs(value - pixel[c]) < 30)) alike++
          }
        }
        expect(Math.abs(inside / area - 1)).toBeLessThan(0.2)
        // A ring's polygon has its hole in it; edges are blended.
        expect(alike / inside).toBeGreaterThan(shape === "ring" ? 0.5 : 0.75)
      }
      for (const [a, one] of objects.entries()) {
        for (const other of objects.slice(a + 1)) {
          const [[x1, y1, w1, h1], [x2, y2, w2, h2]] = [one.box, other.box]
          expect(x1 + w1 <= x2 || x2 + w2 <= x1 || y1 + h1 <= y2 || y2 + h2 <= y1).toBe(true)
        }
      }
    }
  })

  it("have true answers to their questions", () => {
    const answers = new Map<string, number>()
    for (const { objects, questions, counts } of dataset.images) {
      const names = objects.map(({ category }) => nameOf(category))
      for (const { objects: many, count } of counts) {
        const one = many.replace(/(ss)es$|s$/, "$1")
        expect([many, count]).toEqual([many, names.filter((name) => name === one || name.endsWith(` ${one}`)).length])
      }
      for (const { question, accepted } of questions) {
        answers.set(accepted[0], (answers.get(accepted[0]) ?? 0) + 1)
        const [, there] = /^Is there a (.*)\?$/.exec(question) ?? []
        const [, shape] = /^What color is the (.*)\?$/.exec(question) ?? []
        if (there) expect(accepted).toEqual([names.includes(there) ? "Yes." : "No."])
        else if (shape) expect(names.filter((name) => name.endsWith(` ${shape}`))).toEqual([`${accepted[0]} ${shape}`])
        else {
          expect(question).toBe("What shape is on the left?")
          const shapes = objects.filter(({ category }) => nameOf(category) !== "text")
          const [left] = shapes.sort((a, b) => a.box[0] + a.box[2] / 2 - (b.box[0] + b.box[2] / 2))
          expect(nameOf(left.category).split(" ")[1]).toBe(accepted[0])
        }
      }
    }
    const questions = dataset.images.flatMap(({ questions }) => questions.map(({ question }) => question))
    expect(questions.filter((question) => question.endsWith("on the left?")).length).toBeGreaterThan(3)
    expect(Math.min(answers.get("Yes.") ?? 0, answers.get("No.") ?? 0)).toBeGreaterThan(3)
  })
})
