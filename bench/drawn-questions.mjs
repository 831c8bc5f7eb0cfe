// Drawn pictures of the kind isaac-tiny knows, with questions and their true answers, from a seed: bench/accuracy.mjs.

import { COLOURS as ALL_COLOURS, random } from "../tools/scene.mjs"

const { white: _, ...COLOURS } = ALL_COLOURS
const BACKGROUNDS = [
  [255, 255, 255],
  [200, 200, 200],
  [240, 230, 210],
  [200, 235, 240],
]

/** Whether a point, −1 … 1 from the centre, is inside. */
const SHAPES = {
  circle: (x, y) => x * x + y * y <= 1,
  square: () => true,
  diamond: (x, y) => Math.abs(x) + Math.abs(y) <= 1,
  triangle: (x, y) => y >= 2 * Math.abs(x) - 1,
  cross: (x, y) => Math.min(Math.abs(x), Math.abs(y)) <= 1 / 3,
  ring: (x, y) => x * x + y * y <= 1 && x * x + y * y >= 0.3,
}
const PLURALS = { cross: "crosses" }

/** A picture of three to five shapes that do not touch; the first two have names of their own. */
function drawPicture(choose) {
  const [width, height] = [160 + 32 * choose(4), 160 + 32 * choose(4)]
  const background = BACKGROUNDS[choose(BACKGROUNDS.length)]
  const data = new Uint8Array(width * height * 3)
  for (let i = 0; i < data.length; i++) data[i] = background[i % 3]
  const objects = []
  const wanted = 3 + choose(3)
  for (let tries = 0; objects.length < wanted && tries < 200; tries++) {
    const half = 15 + choose(20)
    const [x, y] = [half + choose(width - 2 * half), half + choose(height - 2 * half)]
    const colour = Object.keys(COLOURS)[choose(7)]
    const shape = Object.keys(SHAPES)[choose(6)]
    const name = `${colour} ${shape}`
    const touches = (o) => Math.abs(o.x - x) < o.half + half + 4 && Math.abs(o.y - y) < o.half + half + 4
    if (objects.slice(0, 2).some((o) => o.name === name) || objects.some(touches)) continue
    if (objects.length < 2 && objects.some((o) => o.name === name)) continue
    objects.push({ name, colour, shape, x, y, half })
    for (let py = y - half; py < y + half; py++) {
      for (let px = x - half; px < x + half; px++) {
        if (SHAPES[shape]((px + 0.5 - x) / half, (py + 0.5 - y) / half)) {
          data.set(COLOURS[colour], (py * width + px) * 3)
        }
      }
    }
  }
  // Steps of 5, as isaac-tiny was trained.
  const thousand = (at, side) => Math.round((at / side) * 200) * 5
  for (const o of objects) {
    o.box = [o.x - o.half, o.y - o.half, o.x + o.half, o.y + o.half].map((at, i) =>
      thousand(at, i % 2 ? height : width),
    )
    o.point = [thousand(o.x, width), thousand(o.y, height)]
  }
  return { image: { width, height, data }, objects }
}

/**
 * Five questions about one picture: {image, question, expect, truth} and, where a place is asked for, `box`.
 * `truth` is the answer as isaac-tiny was trained to give it.
 */
export function questionsAbout(seed) {
  const choose = random(seed)
  const { image, objects } = drawPicture(choose)
  const [a, b, c] = objects
  const many = (shape) => PLURALS[shape] ?? `${shape}s`
  const box = (o) => ({
    image,
    expect: "box",
    question: `Where is the ${o.name}?`,
    truth: `<point_box mention="${o.name}"> (${o.box[0]},${o.box[1]}) (${o.box[2]},${o.box[3]}) </point_box>`,
    box: o.box,
  })
  const there = choose(2) === 0
  const absent = Object.keys(COLOURS)
    .flatMap((colour) => Object.keys(SHAPES).map((shape) => `${colour} ${shape}`))
    .filter((name) => !objects.some((o) => o.name === name))
  return [
    box(a),
    box(b),
    {
      image,
      expect: "text",
      question: `How many ${many(c.shape)} are there?`,
      truth: String(objects.filter((o) => o.shape === c.shape).length),
    },
    {
      image,
      expect: "text",
      question: `Is there a ${there ? a.name : absent[choose(absent.length)]}?`,
      truth: there ? "Yes." : "No.",
    },
    {
      image,
      expect: "point",
      question: `Find the ${b.name}.`,
      truth: `<point mention="${b.name}"> (${b.point[0]},${b.point[1]}) </point>`,
    },
  ]
}

/** Intersection over union of two boxes [x1, y1, x2, y2]; 0 for one that is missing. */
export function iou(a, b) {
  if (!a || !b) return 0
  const side = (i) => Math.max(0, Math.min(a[i + 2], b[i + 2]) - Math.max(a[i], b[i]))
  const area = (c) => Math.max(0, c[2] - c[0]) * Math.max(0, c[3] - c[1])
  const both = side(0) * side(1)
  return both === 0 ? 0 : both / (area(a) + area(b) - both)
}
