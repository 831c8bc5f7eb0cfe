import { describe, expect, it } from "vitest"
import { type Annotation, annotationText, tagOf } from "./annotations"

const box = (x1: number, y1: number, x2: number, y2: number, mention?: string): Annotation => ({
  type: "box",
  ...{ x1, y1, x2, y2 },
  mention,
})

describe("annotations", () => {
  it("are written in thousandths of their picture", () => {
    const pixels = [box(32, 24, 320, 240, "cat"), { type: "point", x: 640, y: 0 } as const]
    expect(annotationText(pixels, "pixels", { width: 640, height: 480 })).toBe(
      '<point_box mention="cat"> (50,50) (500,500) </point_box> <point> (1000,0) </point>',
    )
    expect(annotationText([box(1.4, 2.6, 1e6, -5)], "thousandths")).toBe("<point_box> (1,0) (1000,3) </point_box>")
  })

  it("of one mention are gathered where the first one stands", () => {
    const boxes = [box(1, 1, 2, 2, "cat"), box(3, 3, 4, 4, 'dog "A"'), box(5, 5, 6, 6, "cat"), box(7, 7, 8, 8)]
    expect(annotationText(boxes, "thousandths")).toBe(
      '<collection mention="cat"> <point_box> (1,1) (2,2) </point_box> <point_box> (5,5) (6,6) </point_box> </collection> ' +
        '<point_box mention="dog &quot;A&quot;"> (3,3) (4,4) </point_box> <point_box> (7,7) (8,8) </point_box>',
    )
    const times = [0, 1, 0].map((t) => ({ type: "point", x: 1, y: 2, mention: "cat", t }) as const)
    expect(annotationText(times, "thousandths").match(/collection/g)).toHaveLength(2)
  })

  it("have their corners put in order", () => {
    expect(tagOf(box(9, 8, 2, 3))).toEqual({ type: "box", x1: 2, y1: 3, x2: 9, y2: 8, mention: null, t: null })
  })

  it("may be none: then there is nothing to see", () => {
    expect(annotationText([], "pixels")).toBe("")
  })

  it.each([
    null,
    undefined,
    "cat",
    {},
    { type: "mask" },
    { type: "box", x1: 1, y1: 2, x2: 3 },
    { type: "box", x1: 1, y1: 2, x2: 3, y2: Number.NaN },
    { type: "point", x: "1", y: 2 },
    { type: "point", x: 1, y: 2, mention: 5 },
    { type: "point", x: 1, y: 2, t: "now" },
    {
      type: "polygon",
      points: [
        [1, 2],
        [3, 4],
      ],
    },
    { type: "polygon", points: [[1, 2], [3, 4], null] },
    { type: "polygon" },
    { type: "collection", items: [] },
    { type: "collection", items: [{ type: "mask" }] },
  ])("are refused when they are none: %j", (annotation) => {
    const all = [box(1, 2, 3, 4), annotation as Annotation]
    expect(() => annotationText(all, "thousandths")).toThrow(
      expect.objectContaining({ code: "bad_input", message: expect.stringContaining("annotation 2 of 2") }),
    )
  })
})
