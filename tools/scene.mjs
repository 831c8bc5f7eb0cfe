// Drawn scenes of the kind isaac-tiny knows, from a seed: pixels, what is where, questions with their true answers.
// draw-scenes.mjs writes them as a dataset for `isaac eval`, bench/drawn-questions.mjs asks about simpler ones.

export const COLOURS = {
  red: [220, 40, 40],
  green: [40, 160, 60],
  blue: [40, 80, 220],
  yellow: [240, 210, 50],
  orange: [240, 140, 40],
  purple: [140, 60, 170],
  black: [20, 20, 20],
  white: [250, 250, 250],
}
const BACKGROUNDS = {
  white: [245, 244, 247],
  gray: [140, 137, 146],
  black: [18, 18, 20],
  beige: [224, 220, 184],
  pink: [243, 192, 205],
  cyan: [152, 219, 231],
}

/** Whole numbers below a limit, the same for the same seed. */
export function random(seed) {
  let state = Math.imul(seed + 1, 0x9e3779b9)
  return (limit) => {
    state = (state + 0x6d2b79f5) | 0
    let x = Math.imul(state ^ (state >>> 15), state | 1)
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61)
    return ((x ^ (x >>> 14)) >>> 0) % limit
  }
}

/** Corners on a circle, the first above the centre; radii by turns. */
const onCircle = (count, ...radii) =>
  Array.from({ length: count }, (_, i) => {
    const [angle, radius] = [(2 * Math.PI * i) / count, radii[i % radii.length]]
    return [radius * Math.sin(angle), -radius * Math.cos(angle)]
  })

/** Outlines, −1 … 1 from the centre; `hole` is what a ring leaves out, of its radius. */
const SHAPES = {
  circle: { outline: onCircle(48, 1) },
  square: {
    outline: [
      [-1, -1],
      [1, -1],
      [1, 1],
      [-1, 1],
    ],
  },
  diamond: {
    outline: [
      [0, -1],
      [0.8, 0],
      [0, 1],
      [-0.8, 0],
    ],
  },
  triangle: {
    outline: [
      [0, -1],
      [1, 1],
      [-1, 1],
    ],
  },
  cross: {
    outline: [
      [-1, -1],
      [1, -1],
      [1, -3],
      [3, -3],
      [3, -1],
      [5, -1],
      [5, 1],
      [3, 1],
      [3, 3],
      [1, 3],
      [1, 1],
      [-1, 1],
    ].map(([x, y]) => [(x - 2) / 3, y / 3]),
  },
  ring: { outline: onCircle(48, 1), hole: 0.55 },
  star: { outline: onCircle(10, 1, 0.42) },
  hexagon: { outline: onCircle(6, 1) },
}
/** Shapes that look the same when turned much are turned a little. */
const MOST_TURN = 12
const NAMES = Object.keys(COLOURS).flatMap((colour) => Object.keys(SHAPES).map((shape) => `${colour} ${shape}`))

const WORDS = (
  "STOP EXIT OPEN CLOSED SALE TAXI BUS MUSIC CAFE HOTEL BANK PARK FIRE POLICE MENU PIZZA BOOK GAME NEWS TEA MILK " +
  "HELLO WAIT GO PUSH PULL START END LEFT RIGHT NORTH SOUTH EAST WEST"
).split(" ")
const DOTS = { width: 5, height: 7, step: 6 }

export function plural(name) {
  return name.endsWith("s") ? `${name}es` : `${name}s`
}

/**
 * One scene: 1 … 6 shapes that do not touch, and sometimes a line of text.
 *
 * @param glyphDot (character, column, row) → 1 where a font of 5 × 7 dots has one: src/perception/label-font.ts
 * @returns {image: {width, height, data}, objects: [{colour, shape, name, corners}], text?: {text, place}}, in pixels
 */
export function drawScene(seed, glyphDot) {
  const choose = random(seed)
  const width = 160 + 32 * choose(6)
  const height = 160 + 32 * choose(6)
  const backgrounds = Object.values(BACKGROUNDS)
  const background = backgrounds[choose(backgrounds.length)]
  const image = paintBackground(width, height, background, choose)
  const seen = Object.keys(COLOURS).filter((colour) => contrast(COLOURS[colour], background) > 110)

  const taken = []
  const isFree = (box) =>
    taken.every((o) => box[0] > o[2] + 4 || box[2] < o[0] - 4 || box[1] > o[3] + 4 || box[3] < o[1] - 4)
  let text
  let place
  if (choose(5) < 2) {
    text = chooseText(choose)
    const scale = 2 + choose(3)
    const [w, h] = [(text.length * DOTS.step - 1) * scale, DOTS.height * scale]
    if (w < width - 8 && h < height / 3) {
      const [x, y] = [4 + choose(width - w - 8), 4 + choose(height - h - 8)]
      taken.push([x, y, x + w, y + h])
      place = [x, y, x + w, y + h]
      paintText(image, text, x, y, scale, COLOURS[seen[choose(seen.length)]], glyphDot)
    } else {
      text = undefined
    }
  }

  const objects = []
  const wanted = 1 + choose(6)
  const side = Math.min(width, height)
  for (let tries = 0; objects.length < wanted && tries < 300; tries++) {
    const half = Math.round(side * (0.07 + choose(120) / 1000))
    const [x, y] = [half + choose(width - 2 * half), half + choose(height - 2 * half)]
    const colour = seen[choose(seen.length)]
    // Some of them like one that is there already, so that there is something to count.
    const like = objects.length > 0 && choose(3) === 0 ? objects[choose(objects.length)] : undefined
    const shape = like?.shape ?? Object.keys(SHAPES)[choose(8)]
    const turn = ((choose(2 * MOST_TURN + 1) - MOST_TURN) * Math.PI) / 180
    const corners = SHAPES[shape].outline.map(([u, v]) => [
      x + half * (u * Math.cos(turn) - v * Math.sin(turn)),
      y + half * (u * Math.sin(turn) + v * Math.cos(turn)),
    ])
    const box = boundsOf(corners)
    if (!isFree(box) || box[0] < 0 || box[1] < 0 || box[2] > width || box[3] > height) continue
    taken.push(box)
    const kind = like && choose(2) === 0 ? like.colour : colour
    const shade = COLOURS[kind].map((value) => Math.max(0, Math.min(255, value + choose(25) - 12)))
    paintShape(image, corners, shade, { x, y, radius: half * (SHAPES[shape].hole ?? 0) })
    objects.push({ colour: kind, shape, name: `${kind} ${shape}`, corners })
  }
  return { image, objects, text: text && { text, place } }
}

function contrast(a, b) {
  return Math.abs(a[0] - b[0]) + Math.abs(a[1] - b[1]) + Math.abs(a[2] - b[2])
}

function chooseText(choose) {
  const letters = (alphabet, count) => Array.from({ length: count }, () => alphabet[choose(alphabet.length)]).join("")
  const kind = choose(4)
  if (kind < 2) return WORDS[choose(WORDS.length)]
  return kind === 2 ? letters("0123456789", 2 + choose(4)) : letters("ABCDEFGHIJKLMNOPQRSTUVWXYZ", 2 + choose(4))
}

/** Plain, a little darker towards one side, or with a little noise. */
function paintBackground(width, height, colour, choose) {
  const data = new Uint8Array(width * height * 3)
  const kind = choose(3)
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const change = kind === 1 ? Math.round(-40 * ((x + y) / (width + height))) : kind === 2 ? choose(17) - 8 : 0
      for (let c = 0; c < 3; c++) {
        data[(y * width + x) * 3 + c] = Math.max(0, Math.min(255, colour[c] + change))
      }
    }
  }
  return { width, height, data }
}

/** Smooth edges: each pixel is looked at in nine places. */
function paintShape(image, corners, colour, hole) {
  const [left, top, right, bottom] = boundsOf(corners)
  const covers = (x, y) => inside(corners, x, y) && Math.hypot(x - hole.x, y - hole.y) >= hole.radius
  for (let y = Math.floor(top); y < Math.ceil(bottom); y++) {
    for (let x = Math.floor(left); x < Math.ceil(right); x++) {
      let share = 0
      for (let i = 0; i < 9; i++)
        share += covers(x + ((i % 3) + 0.5) / 3, y + (Math.floor(i / 3) + 0.5) / 3) ? 1 / 9 : 0
      blend(image, x, y, colour, share)
    }
  }
}

function paintText(image, text, left, top, scale, colour, glyphDot) {
  for (let i = 0; i < text.length; i++) {
    for (let y = 0; y < DOTS.height * scale; y++) {
      for (let x = 0; x < DOTS.width * scale; x++) {
        const dot = glyphDot(text[i], Math.floor(x / scale), Math.floor(y / scale))
        blend(image, left + i * DOTS.step * scale + x, top + y, colour, dot)
      }
    }
  }
}

function blend({ width, height, data }, x, y, colour, share) {
  if (share === 0 || x < 0 || y < 0 || x >= width || y >= height) return
  for (let c = 0; c < 3; c++) {
    const at = (y * width + x) * 3 + c
    data[at] = Math.round(data[at] + (colour[c] - data[at]) * share)
  }
}

function inside(corners, x, y) {
  let odd = false
  for (let i = 0, j = corners.length - 1; i < corners.length; j = i++) {
    const [[x1, y1], [x2, y2]] = [corners[i], corners[j]]
    if (y1 > y !== y2 > y && x < x1 + ((y - y1) * (x2 - x1)) / (y2 - y1)) odd = !odd
  }
  return odd
}

/** [left, top, right, bottom] */
function boundsOf(corners) {
  const [xs, ys] = [corners.map(([x]) => x), corners.map(([, y]) => y)]
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)]
}

/**
 * Scenes as a dataset in the format that `isaac eval` reads (docs/evaluation.md).
 *
 * @param scenes as drawScene gives them
 * @param seeds one for the questions of each
 * @param fileOf index → file name
 */
export function datasetOf(scenes, seeds, fileOf) {
  const annotations = []
  const add = (annotation) => annotations.push({ id: annotations.length + 1, ...annotation })
  for (const [i, { image, objects, text }] of scenes.entries()) {
    const image_id = i + 1
    for (const { name, corners } of objects) {
      const [left, top, right, bottom] = boundsOf(corners)
      add({
        image_id,
        category_id: NAMES.indexOf(name) + 1,
        bbox: [left, top, right - left, bottom - top].map(hundredth),
        area: hundredth(areaOf(corners)),
        segmentation: [corners.flat().map(hundredth)],
        iscrowd: 0,
      })
    }
    if (text !== undefined) {
      const [left, top, right, bottom] = text.place
      const [width, height] = [right - left, bottom - top]
      add({
        image_id,
        category_id: NAMES.length + 1,
        bbox: [left, top, width, height],
        area: width * height,
        iscrowd: 0,
      })
      add({ image_id, text: text.text })
    }
    for (const question of questionsAbout(objects, image, random(seeds[i] + 0x5eed))) add({ image_id, ...question })
  }
  return {
    info: { description: "Drawn scenes of shapes and short texts, made by tools/draw-scenes.mjs of isaac-vlm" },
    images: scenes.map(({ image: { width, height } }, i) => ({ id: i + 1, file_name: fileOf(i), width, height })),
    categories: [...NAMES, "text"].map((name, i) => ({ id: i + 1, name })),
    annotations,
  }
}

const hundredth = (value) => Math.round(value * 100) / 100

function areaOf(corners) {
  const twice = corners.reduce((sum, [x1, y1], i) => {
    const [x2, y2] = corners[(i + 1) % corners.length]
    return sum + x1 * y2 - x2 * y1
  }, 0)
  return Math.abs(twice) / 2
}

/** Two counts, and questions about what is there and what it looks like, in words that isaac-tiny was trained on. */
function questionsAbout(objects, { width }, choose) {
  const pick = (list) => list[choose(list.length)]
  const countOf = (test) => objects.filter(test).length
  const one = pick(objects)
  const absent = NAMES.filter((name) => !objects.some((o) => o.name === name))
  const questions = [
    { objects: plural(one.shape), count: countOf(({ shape }) => shape === one.shape) },
    choose(2) === 0
      ? { objects: plural(one.name), count: countOf(({ name }) => name === one.name) }
      : { objects: plural(pick(absent)), count: 0 },
  ]
  const there = choose(2) === 0
  questions.push({
    question: `Is there a ${there ? pick(objects).name : pick(absent)}?`,
    answer: there ? "Yes." : "No.",
  })
  const single = objects.filter((o) => countOf(({ shape }) => shape === o.shape) === 1)
  if (single.length > 0) {
    const { shape, colour } = pick(single)
    questions.push({ question: `What color is the ${shape}?`, answer: colour })
  }
  const byLeft = [...objects].sort((a, b) => centre(a) - centre(b))
  if (byLeft.length > 1 && centre(byLeft[1]) - centre(byLeft[0]) > width / 8) {
    questions.push({ question: "What shape is on the left?", answer: byLeft[0].shape })
  }
  return questions
}

function centre({ corners }) {
  const [left, , right] = boundsOf(corners)
  return (left + right) / 2
}
