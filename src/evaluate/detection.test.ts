/** Published results of the COCO and VOC metrics, cases counted by hand, and what must hold for any boxes. */

import { describe, expect, it } from "vitest"
import type { Box } from "./boxes"
import { averagePrecision, detectionScores, type FoundBox, type TrueBox, verdictsAt } from "./detection"

/** [left, top, right, bottom] */
function corners(x1: number, y1: number, x2: number, y2: number): Box {
  return [x1, y1, x2 - x1, y2 - y1]
}

const truth = (image: number, category: number, box: Box, more: Partial<TrueBox> = {}): TrueBox => ({
  ...{ image, category, box },
  ...more,
})
const found = (image: number, category: number, box: Box, score: number): FoundBox => ({ image, category, box, score })

describe("published examples", () => {
  // Four images of COCO val2014 (42, 73, 74, 133) with results of instances_val2014_fakebbox100_results.json. Boxes and
  // the output of pycocotools stand in tests/unittests/detection/test_map.py of torchmetrics (v0.10).
  const truths = [
    truth(42, 4, corners(214.15, 41.29, 562.41, 285.07)),
    truth(73, 2, corners(13.0, 22.75, 548.98, 632.42)),
    truth(73, 2, corners(1.66, 3.32, 270.26, 275.23)),
    truth(74, 4, corners(61.87, 276.25, 358.29, 379.43)),
    truth(74, 1, corners(2.75, 3.66, 162.15, 316.06)),
    truth(74, 0, corners(295.55, 93.96, 313.97, 152.79)),
    truth(74, 0, corners(326.94, 97.05, 340.49, 122.98)),
    truth(74, 0, corners(356.62, 95.47, 372.33, 147.55)),
    truth(74, 0, corners(462.08, 105.09, 493.74, 146.99)),
    truth(74, 0, corners(277.11, 103.84, 292.44, 150.72)),
    truth(133, 5, corners(13.99, 2.87, 640.0, 421.52)),
  ]
  const boxes = [
    found(42, 4, corners(258.15, 41.29, 606.41, 285.07), 0.236),
    found(73, 3, corners(61.0, 22.75, 565.0, 632.42), 0.318),
    found(73, 2, corners(12.66, 3.32, 281.26, 275.23), 0.726),
    found(74, 4, corners(87.87, 276.25, 384.29, 379.43), 0.546),
    found(74, 1, corners(0.0, 3.66, 142.15, 316.06), 0.3),
    found(74, 0, corners(296.55, 93.96, 314.97, 152.79), 0.407),
    found(74, 0, corners(328.94, 97.05, 342.49, 122.98), 0.611),
    found(74, 0, corners(356.62, 95.47, 372.33, 147.55), 0.335),
    found(74, 0, corners(464.08, 105.09, 495.74, 146.99), 0.805),
    found(74, 0, corners(276.11, 103.84, 291.44, 150.72), 0.953),
    found(133, 5, corners(0.0, 2.87, 601.0, 421.52), 0.699),
  ]

  it("pycocotools on four images of COCO", () => {
    const scores = detectionScores(truths, boxes)
    const three = (value: number | null) => Number(value?.toFixed(3))
    expect({
      ap: three(scores.ap),
      ap50: three(scores.ap50),
      ap75: three(scores.ap75),
      apSmall: three(scores.apSmall),
      apMedium: three(scores.apMedium),
      apLarge: three(scores.apLarge),
      ar1: three(scores.ar1),
      ar10: three(scores.ar10),
      ar100: three(scores.ar100),
      arSmall: three(scores.arSmall),
      arMedium: three(scores.arMedium),
      arLarge: three(scores.arLarge),
    }).toEqual({
      ap: 0.706,
      ap50: 0.901,
      ap75: 0.846,
      apSmall: 0.689,
      apMedium: 0.8,
      apLarge: 0.701,
      ar1: 0.592,
      ar10: 0.716,
      ar100: 0.716,
      arSmall: 0.767,
      arMedium: 0.8,
      arLarge: 0.7,
    })
    const categories = scores.categories.map(({ category, ap, ar100 }) => [category, three(ap), three(ar100)])
    // Category 3 has no true box: pycocotools gives -1 and leaves it out of the means.
    expect(categories.sort()).toEqual([
      [0, 0.725, 0.78],
      [1, 0.8, 0.8],
      [2, 0.454, 0.45],
      [4, 0.65, 0.65],
      [5, 0.9, 0.9],
    ])
  })

  it("the example of torchmetrics' documentation: IoU 0.7755 matches at six of ten thresholds", () => {
    const scores = detectionScores(
      [truth(0, 0, corners(214, 41, 562, 285))],
      [found(0, 0, corners(258, 41, 606, 285), 0.536)],
    )
    expect(scores).toMatchObject({ ap50: 1, ap75: 1, apSmall: null, apMedium: null, arSmall: null })
    for (const name of ["ap", "apLarge", "ar1", "ar10", "ar100", "arLarge"] as const) {
      expect(scores[name]).toBeCloseTo(0.6, 12)
    }
  })

  // github.com/rafaelpadilla/Object-Detection-Metrics, samples/sample_2: 7 images, 15 objects, 24 detections, IoU 0.3,
  // "26.84 %" by 11 points and "24.56 %" by all points. Their boxes include the last pixel.
  const sample: [truths: number[][], found: number[][]][] = [
    [
      [
        [25, 16, 38, 56],
        [129, 123, 41, 62],
      ],
      [
        [88, 5, 67, 31, 48],
        [70, 119, 111, 40, 67],
        [80, 124, 9, 49, 67],
      ],
    ],
    [
      [
        [123, 11, 43, 55],
        [38, 132, 59, 45],
      ],
      [
        [71, 64, 111, 64, 58],
        [54, 26, 140, 60, 47],
        [74, 19, 18, 43, 35],
      ],
    ],
    [
      [
        [16, 14, 35, 48],
        [123, 30, 49, 44],
        [99, 139, 47, 47],
      ],
      [
        [18, 109, 15, 77, 39],
        [67, 86, 63, 46, 45],
        [38, 160, 62, 36, 53],
        [91, 105, 131, 47, 47],
        [44, 18, 148, 40, 44],
      ],
    ],
    [
      [
        [53, 42, 40, 52],
        [154, 43, 31, 34],
      ],
      [
        [35, 83, 28, 28, 26],
        [78, 28, 68, 42, 67],
        [45, 87, 89, 25, 39],
        [14, 10, 155, 60, 26],
      ],
    ],
    [
      [
        [59, 31, 44, 51],
        [48, 128, 34, 52],
      ],
      [
        [62, 50, 38, 28, 46],
        [44, 95, 11, 53, 28],
        [95, 29, 131, 72, 29],
        [23, 29, 163, 72, 29],
      ],
    ],
    [
      [
        [36, 89, 52, 76],
        [62, 58, 44, 67],
      ],
      [
        [45, 43, 48, 74, 38],
        [84, 17, 155, 29, 35],
        [43, 95, 110, 25, 42],
      ],
    ],
    [
      [
        [28, 31, 55, 63],
        [58, 67, 50, 58],
      ],
      [
        [48, 16, 20, 101, 88],
        [95, 33, 116, 37, 49],
      ],
    ],
  ]

  it("the average precision of Padilla's survey of object detection metrics", () => {
    const within = ([x, y, width, height]: number[]): Box => [x, y, width + 1, height + 1]
    const truths = sample.flatMap(([boxes], image) => boxes.map((box) => truth(image, 0, within(box))))
    const boxes = sample.flatMap(([, boxes], image) =>
      // Of the two at 95 % the table has the one of image 5 first.
      boxes.map(([percent, ...box]) => found(image, 0, within(box), percent - (image === 6 ? 0.1 : 0))),
    )
    const verdicts = verdictsAt(truths, boxes, 0.3)
    // R, J, B, P, E, X and G.
    expect(verdicts.map(({ verdict }) => Number(verdict === "right")).join("")).toBe("101000000101110000000010")
    const objects = truths.length
    expect([objects, verdicts.length]).toEqual([15, 24])
    expect(averagePrecision(verdicts, objects, "voc2007")).toBeCloseTo(0.2684, 4)
    expect(averagePrecision(verdicts, objects, "all")).toBeCloseTo(0.2456, 3)
    expect(averagePrecision([], 0)).toBeNull()
  })
})

describe("pycocotools", () => {
  // What COCOeval of pycocotools 2.0.11 computes on random boxes of whole pixels, a seventh of the objects crowds, some
  // with 100 found boxes and more in an image, some overlapping by exactly one of the thresholds.
  const names = "ap ap50 ap75 apSmall apMedium apLarge ar1 ar10 ar100 arSmall arMedium arLarge".split(" ")
  it.each([
    [
      5, 0.1935707395, 0.4032597492, 0.179179475, 0.1399738415, 0.3773606544, -1, 0.1078603371, 0.4455280358,
      0.6874842335, 0.5887179487, 0.8874603175, -1,
    ],
    [
      15, 0.3173621203, 0.5742312572, 0.3330874612, 0.188000874, 0.5810335066, -1, 0.1974945534, 0.5319716776,
      0.750708061, 0.6502645503, 0.9066666667, -1,
    ],
    [
      32, 0.2085919131, 0.4260960915, 0.178555168, 0.1673689573, 0.4880664239, -1, 0.1043055556, 0.4534259259,
      0.4914351852, 0.3719047619, 0.7916666667, -1,
    ],
  ])("agrees to the last digits: random boxes %i", (seed, ...expected) => {
    const scores = detectionScores(...randomScene(seed))
    // -1 is how pycocotools says that there is nothing to find.
    const found = names.map((name) => scores[name as "ap"] ?? -1)
    for (const [i, value] of expected.entries())
      expect([names[i], found[i]]).toEqual([names[i], expect.closeTo(value, 9)])
  })

  function randomScene(seed: number): [TrueBox[], FoundBox[]] {
    let state = seed + 1
    const next = () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      return state / 2 ** 32
    }
    const below = (limit: number) => Math.floor(next() * limit)
    const side = () => 4 + Math.floor(next() * 150 * next())
    const truths = Array.from({ length: 60 }, () => {
      const box: Box = [below(300), below(300), side(), side()]
      const [image, category] = [1 + below(8), 1 + below(3)]
      return { image, category, box, area: Math.floor(box[2] * box[3] * (0.5 + next() / 2)), crowd: next() < 0.15 }
    })
    const found = truths.flatMap(({ image, category, box: [x, y, width, height] }) =>
      Array.from({ length: seed % 5 === 0 ? 20 : 3 }, () => ({
        image: next() < 0.9 ? image : 1 + below(8),
        category: next() < 0.9 ? category : 1 + below(4),
        box: [x, y, width, height].map((v, i) => Math.max(i < 2 ? v - 9 : 1, v + below(9) - 4)) as unknown as Box,
        score: below(100_000) / 100_000,
      })),
    )
    // pycocotools takes the images in the order of their ids, where scores are equal.
    const byImage = <V extends { image: number }>(list: V[]) => [...list].sort((a, b) => a.image - b.image)
    return [byImage(truths), byImage(found)]
  }
})

describe("cases counted by hand", () => {
  const box: Box = [10, 20, 5, 5]

  it("one of two objects found: precision 1 at the recalls 0 … 0.5, 51 of 101", () => {
    const scores = detectionScores([truth(0, 0, box), truth(1, 0, box)], [found(0, 0, box, 0.9)])
    expect(scores.ap).toBeCloseTo(51 / 101, 12)
    expect(scores.ar100).toBeCloseTo(0.5, 12)
  })

  it("a surer box in an image without objects halves the precision", () => {
    const scores = detectionScores([truth(0, 0, box)], [found(0, 0, box, 0.9), found(1, 0, box, 0.95)])
    expect(scores.ap).toBeCloseTo(0.5, 12)
    // A less sure one comes after recall 1 was reached.
    expect(detectionScores([truth(0, 0, box)], [found(0, 0, box, 0.9), found(1, 0, box, 0.8)]).ap).toBeCloseTo(1, 12)
  })

  it("right, wrong, right of three objects: 34 recalls at 1, 33 at 2/3, the rest at 0", () => {
    const truths = [0, 1, 2].map((image) => truth(image, 0, box))
    const boxes = [found(0, 0, box, 0.9), found(1, 0, [90, 90, 5, 5], 0.8), found(1, 0, box, 0.7)]
    expect(detectionScores(truths, boxes).ap).toBeCloseTo((34 + 33 * (2 / 3)) / 101, 12)
  })

  it("one object is found once: the second box on it is wrong", () => {
    const truths = [truth(0, 0, box), truth(1, 0, box)]
    const boxes = [found(0, 0, box, 0.9), found(0, 0, box, 0.8), found(1, 0, box, 0.7)]
    // Precision 1 up to recall 0.5, then 2/3.
    expect(detectionScores(truths, boxes).ap).toBeCloseTo((51 + 50 * (2 / 3)) / 101, 12)
  })

  it("takes the 1, 10 and 100 surest boxes of an image", () => {
    const at = (i: number): Box => [i * 20, 0, 10, 10]
    const truths = Array.from({ length: 20 }, (_, i) => truth(0, 0, at(i)))
    const boxes = truths.map((_, i) => found(0, 0, at(i), 1 - i / 100))
    const { ar1, ar10, ar100 } = detectionScores(truths, boxes)
    expect([ar1, ar10, ar100].map((ar) => ar?.toFixed(9))).toEqual(["0.050000000", "0.500000000", "1.000000000"])
    const noise = Array.from({ length: 100 }, (_, i) => found(0, 0, [i, 500, 1, 1], 2))
    expect(detectionScores(truths, [...noise, ...boxes])).toMatchObject({ ap: 0, ar100: 0 })
  })

  it("boxes in a crowd count neither way, and it is no object to be found", () => {
    const crowd = truth(0, 0, [100, 0, 100, 100], { crowd: true })
    const inCrowd = [0, 1, 2].map((i) => found(0, 0, [110 + 20 * i, 10, 10, 10], 0.99))
    expect(detectionScores([truth(0, 0, box), crowd], [...inCrowd, found(0, 0, box, 0.5)])).toMatchObject({
      ap: expect.closeTo(1, 12),
      ar100: 1,
    })
    expect(detectionScores([truth(0, 0, box)], [...inCrowd, found(0, 0, box, 0.5)]).ap).toBeCloseTo(0.25, 12)
    expect(detectionScores([crowd], inCrowd)).toMatchObject({ ap: null, ar100: null, categories: [] })
  })

  it("an object is preferred to a crowd that overlaps more", () => {
    const crowd = truth(0, 0, [0, 0, 100, 100], { crowd: true })
    const boxes = [found(0, 0, [10, 20, 5, 6], 0.5)]
    // IoU 5/6 with the object, 1 with the crowd: right up to 0.8, then ignored.
    expect(detectionScores([crowd, truth(0, 0, box)], boxes).ap).toBeCloseTo(0.7, 12)
  })

  it("sorts objects by the area of their mask, found boxes by their own", () => {
    // 40 by 40 pixels around 1000 square pixels of mask: small.
    const ring = truth(0, 0, [0, 0, 40, 40], { area: 1000 })
    const scores = detectionScores([ring], [found(0, 0, [0, 0, 40, 40], 0.9), found(0, 0, [200, 0, 40, 40], 0.95)])
    // The wrong box is medium, so it is left out among the small ones.
    expect(scores).toMatchObject({ ap: expect.closeTo(0.5, 12), apSmall: expect.closeTo(1, 12), apMedium: null })
  })

  it("without true boxes there is no score; found boxes of other categories do not count", () => {
    expect(detectionScores([], [found(0, 0, box, 1)])).toMatchObject({ ap: null, ar1: null, categories: [] })
    const scores = detectionScores([truth(0, 0, box)], [found(0, 0, box, 0.5), found(0, 1, box, 0.9)])
    expect(scores.ap).toBeCloseTo(1, 12)
  })
})

describe("for any boxes", () => {
  function random(seed: number): () => number {
    let state = seed
    return () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      return state / 2 ** 32
    }
  }
  function scene(seed: number) {
    const next = random(seed)
    const box = (): Box => [next() * 80, next() * 80, 5 + next() * 60, 5 + next() * 60]
    const truths = Array.from({ length: 30 }, () => ({
      image: Math.floor(next() * 6),
      category: Math.floor(next() * 3),
      box: box(),
    }))
    const boxes = truths.flatMap(({ image, category, box: [x, y, w, h] }) => {
      const near = (): Box => [x + next() * 8, y + next() * 8, w * (0.8 + next() * 0.4), h * (0.8 + next() * 0.4)]
      return [found(image, category, near(), next()), found(image, category, box(), next())].filter(() => next() < 0.8)
    })
    return { truths, boxes, next }
  }
  const seeds = Array.from({ length: 25 }, (_, i) => i)

  it("what is there, found as it is, scores 1", () => {
    for (const seed of seeds) {
      const { truths } = scene(seed)
      const scores = detectionScores(
        truths,
        truths.map((t, i) => ({ ...t, score: i / 100 })),
      )
      expect(scores).toMatchObject({
        ap: expect.closeTo(1, 9),
        ap75: expect.closeTo(1, 9),
        ar100: expect.closeTo(1, 9),
      })
    }
  })

  it("the order of the lists does not matter", () => {
    for (const seed of seeds) {
      const { truths, boxes, next } = scene(seed)
      const shuffled = <V>(values: readonly V[]) =>
        values
          .map((value) => ({ value, at: next() }))
          .sort((a, b) => a.at - b.at)
          .map(({ value }) => value)
      const { categories: _, ...scores } = detectionScores(truths, boxes)
      const { categories: __, ...again } = detectionScores(shuffled(truths), shuffled(boxes))
      for (const name of Object.keys(scores) as (keyof typeof scores)[]) {
        if (scores[name] === null) expect(again[name]).toBeNull()
        else expect(again[name]).toBeCloseTo(scores[name], 9)
      }
    }
  })

  it("saying everything twice never helps, and hurts where something is right", () => {
    for (const seed of seeds) {
      const { truths, boxes } = scene(seed)
      const twice = boxes.flatMap((box) => [box, { ...box, score: box.score - 1e-6 }])
      const [once, doubled] = [detectionScores(truths, boxes), detectionScores(truths, twice)]
      expect(doubled.ap!).toBeLessThan(once.ap!)
      expect(doubled.ar100!).toBeGreaterThanOrEqual(once.ar100!)
    }
  })

  it("a crowd never hurts, and never adds to recall", () => {
    for (const seed of seeds) {
      const { truths, boxes } = scene(seed)
      const crowds = [0, 1, 2].map((category) => truth(seed % 6, category, [0, 0, 150, 150], { crowd: true }))
      const [without, withCrowds] = [detectionScores(truths, boxes), detectionScores([...truths, ...crowds], boxes)]
      expect(withCrowds.ap!).toBeGreaterThanOrEqual(without.ap! - 1e-12)
      expect(withCrowds.ar100).toBe(without.ar100)
    }
  })
})
