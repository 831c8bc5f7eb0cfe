import { describe, expect, it } from "vitest"
import { ClassNames, wordsOf } from "./class-names"

describe("wordsOf", () => {
  it.each([
    ["The Red  Circles", "red circle"],
    ["a cross", "cross"],
    ["crosses", "cross"],
    ["boxes", "box"],
    ["two puppies", "two puppy"],
    ["people", "person"],
    ["a bus", "bus"],
    ["buses", "bus"],
    ["horses", "horse"],
    ["hexagons", "hexagon"],
    ["glass", "glass"],
    ["tennis racket", "tennis racket"],
    ["the dog's ball", "dog ball"],
    ["traffic-light", "traffic light"],
    ["!", ""],
  ])("%s: %s", (name, words) => {
    expect(wordsOf(name).join(" ")).toBe(words)
  })
})

describe("ClassNames", () => {
  const categories = ["car", "traffic light", "hot dog", "person", "stop sign", "red circle", "blue circle"]
  const names = new ClassNames(categories)
  const match = (...asked: string[]) =>
    Object.fromEntries(
      [...names.match(asked)].map(([name, { category, how }]) => [
        name,
        [category === null ? null : categories[category], how],
      ]),
    )

  it("takes every name that is a category, in all its forms", () => {
    expect(match("Cars", "the car", "Traffic lights", "hotdog", "people")).toEqual({
      Cars: ["car", "exact"],
      "the car": ["car", "exact"],
      "Traffic lights": ["traffic light", "exact"],
      hotdog: ["hot dog", "exact"],
      people: ["person", "exact"],
    })
  })

  it("then goes by words in common and by containment, the most alike first, each category once", () => {
    expect(match("red traffic light", "a big old light", "sign")).toEqual({
      "red traffic light": ["traffic light", "words"],
      "a big old light": [null, "none"],
      sign: ["stop sign", "words"],
    })
    expect(match("a very old car")).toEqual({ "a very old car": ["car", "contained"] })
    expect(match("a big old light")).toEqual({ "a big old light": [null, "none"] })
    // Named exactly beside it, the category is taken.
    expect(match("car", "a very old car")).toEqual({ car: ["car", "exact"], "a very old car": [null, "none"] })
    expect(match("a very old car", "police car")).toEqual({
      "police car": ["car", "words"],
      "a very old car": [null, "none"],
    })
  })

  it("leaves names that fit none or two", () => {
    expect(match("circle", "zebra", "", "carpet")).toEqual({
      circle: [null, "ambiguous"],
      zebra: [null, "none"],
      "": [null, "none"],
      carpet: [null, "none"],
    })
    // With the red one taken there is only one left.
    expect(match("red circle", "circle")).toMatchObject({ circle: ["blue circle", "words"] })
  })

  it("has nothing to go by where there are no words", () => {
    expect(new ClassNames(["!"]).match(["?"]).get("?")).toEqual({ category: null, how: "none" })
  })
})
