// Runs in the browser: does what the test names in the address, and posts what came of it. Served under /plain/ and, with
// the headers for shared memory, under /isolated/.

import { decodeImage } from "../../dist/browser/decode-image.js"
import { drawImage, drawOnPixels, Isaac, isIsaacError } from "../../dist/browser/isaac.js"

/** The same address for both, so that what one has kept the other finds. */
const MODEL = "/models/isaac-tiny/"
const sample = (name) => `${MODEL}samples/${name}`

const bytes = async (address) => new Uint8Array(await (await fetch(address)).arrayBuffer())
const failure = async (promise) => {
  const error = await promise.then(
    () => undefined,
    (thrown) => thrown,
  )
  return error && { code: isIsaacError(error) ? error.code : "not ours", message: String(error.message) }
}
const heldLocks = async () => (await navigator.locks.query()).held.map(({ name }) => name)

async function loaded(model = MODEL, options = {}) {
  const steps = []
  const start = performance.now()
  const isaac = await Isaac.load(model, { onProgress: (step) => steps.push(step), ...options })
  return { isaac, steps, ms: performance.now() - start }
}

async function ask(isaac, name, question, options) {
  const start = performance.now()
  const { text, points, pixels, finishReason } = await isaac.ask([sample(name)], question, options)
  return { text, points, pixels, finishReason, ms: performance.now() - start }
}

const scenarios = {
  /** Load once and answer all samples. */
  async answers({ samples }) {
    const { isaac, steps, ms } = await loaded()
    const answers = []
    for (const { image, question, expect } of samples) answers.push(await ask(isaac, image, question, { expect }))
    const memory = await isaac.memory()
    const before = await heldLocks()
    await isaac.dispose()
    const released = await new Promise((resolve) => {
      const look = async () => ((await heldLocks()).length === 0 ? resolve(true) : setTimeout(look, 20))
      look()
    })
    const notices = steps.filter(({ stage }) => stage === "notice").map(({ message }) => message)
    const stages = [...new Set(steps.map(({ stage }) => stage))]
    const { info } = isaac
    return { info, stages, notices, ms, answers, memory, before, released, isolated: crossOriginIsolated }
  },

  /** Leaves drawn on a picture in each format, from an address and from a canvas. */
  async drawings({ image, leaves }) {
    const element = new Image()
    element.src = sample(image)
    await element.decode()
    const canvas = document.createElement("canvas")
    canvas.width = element.naturalWidth
    canvas.height = element.naturalHeight
    const context = canvas.getContext("2d")
    context.drawImage(element, 0, 0)
    const files = {}
    for (const format of ["png", "jpeg", "webp", "svg"]) {
      files[format] = btoa(String.fromCharCode(...(await drawImage(sample(image), leaves, { format }))))
    }
    files.canvas = btoa(String.fromCharCode(...(await drawImage(canvas, leaves))))
    const drawn = drawOnPixels(context.getImageData(0, 0, canvas.width, canvas.height), leaves, { minSide: 0 })
    // What comes back goes onto a canvas as it is.
    context.putImageData(new ImageData(drawn.data, drawn.width, drawn.height), 0, 0)
    const [at] = leaves
    const centre = [...context.getImageData(Math.round(at.x), Math.round(at.y), 1, 1).data]
    const format = await failure(drawImage(canvas, leaves, { format: "bmp" }))
    return { files, centre, format }
  },

  /** Events while the answer is written, and an abort in the middle of it. */
  async streaming({ question, image }) {
    const { isaac } = await loaded()
    const types = []
    let [text, points] = ["", 0]
    for await (const event of isaac.ask([sample(image)], question, { expect: "box" })) {
      types.push(event.type)
      if (event.type === "text.delta") text += event.text
      if (event.type === "points.delta") points += event.points.length
    }
    const controller = new AbortController()
    let [pieces, end] = [0, undefined]
    for await (const event of isaac.ask([sample(image)], question, { expect: "box", signal: controller.signal })) {
      if (event.type === "text.delta" && ++pieces === 3) controller.abort()
      if (event.type === "final") end = event.answer
    }
    const afterwards = await ask(isaac, image, question, { expect: "box" })
    const late = await isaac.ask([sample(image)], question, { signal: AbortSignal.abort() })
    await isaac.dispose()
    const used = await failure(isaac.ask([], "Again?").answer())
    return { types, text, points, end, afterwards, late: late.finishReason, used }
  },

  /** Every form that a picture and a model may have. */
  async inputs({ image, question, expect }) {
    const { isaac } = await loaded(new URL(MODEL, location.href))
    const address = sample(image)
    const blob = await (await fetch(address)).blob()
    const element = new Image()
    element.src = address
    await element.decode()
    const canvas = document.createElement("canvas")
    canvas.width = element.naturalWidth
    canvas.height = element.naturalHeight
    canvas.getContext("2d").drawImage(element, 0, 0)
    const offscreen = new OffscreenCanvas(canvas.width, canvas.height)
    offscreen.getContext("2d").drawImage(element, 0, 0)
    const dataUri = await new Promise((resolve) => {
      const reader = new FileReader()
      reader.onload = () => resolve(reader.result)
      reader.readAsDataURL(blob)
    })
    const forms = {
      "relative address": `../..${address}`,
      URL: new URL(address, location.href),
      "blob address": URL.createObjectURL(blob),
      "data URI": dataUri,
      Blob: blob,
      File: new File([blob], "a.png"),
      bytes: await bytes(address),
      element,
      canvas,
      OffscreenCanvas: offscreen,
      ImageBitmap: await createImageBitmap(blob),
      ImageData: canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height),
    }
    const texts = {}
    for (const [name, form] of Object.entries(forms)) {
      texts[name] = (await isaac.ask([form], question, { expect })).text
    }
    // What is shown as an example may have these forms as well.
    const annotations = [{ type: "box", x1: 10, y1: 20, x2: 60, y2: 80, mention: "square" }]
    const examples = []
    for (const form of [forms.bytes, element, canvas, forms["relative address"]]) {
      const options = { expect, examples: [{ image: form, question, annotations }] }
      examples.push((await isaac.ask([blob], question, options)).text)
    }
    const failures = {
      "not there": await failure(isaac.ask(["/models/nothing.png"], question).answer()),
      "not loaded": await failure(isaac.ask([new Image()], question).answer()),
      "no image": await failure(isaac.ask([new Blob(["text"])], question).answer()),
      nothing: await failure(isaac.ask([{}], question).answer()),
    }
    await isaac.dispose()

    const names = ["config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja", "prompt_profile.json"]
    const files = await Promise.all(names.map(async (name) => new File([await bytes(MODEL + name)], name)))
    const { isaac: picked } = await loaded(files)
    texts["picked files"] = (await picked.ask([blob], question, { expect })).text
    await picked.dispose()
    Object.assign(failures, {
      tiny: await failure(Isaac.load("tiny")),
      "no model there": await failure(Isaac.load("/nothing/")),
      "no config": await failure(Isaac.load(files.slice(1))),
      "this thread": await failure(Isaac.load(MODEL, { worker: false })),
    })
    return { texts, examples, failures }
  },

  /** The pixels of each picture, as the page's own decoder gives them. */
  async pixels({ pictures }) {
    for (const name of pictures) {
      const { width, height, data } = await decodeImage(await bytes(`/pictures/${name}`), name)
      await fetch(`/pixels/${name}?width=${width}&height=${height}`, { method: "POST", body: data })
    }
    return { cut: await failure(bytes("/pictures/cut.png").then((cut) => decodeImage(cut, "cut.png"))) }
  },

  /** A worker that is killed: everything that waits is told. */
  async lost({ image, question }) {
    const workers = []
    const { Worker } = globalThis
    globalThis.Worker = class extends Worker {
      constructor(...parts) {
        super(...parts)
        workers.push(this)
      }
    }
    const { isaac } = await loaded()
    const running = failure(isaac.ask([sample(image)], question, { maxNewTokens: 100_000, stopIds: [] }).answer())
    await new Promise((resolve) => setTimeout(resolve, 200))
    for (const worker of workers) worker.terminate()
    const pending = await running
    const later = await failure(isaac.memory())
    const { isaac: other } = await loaded()
    const stopped = failure(other.ask([sample(image)], question, { maxNewTokens: 100_000, stopIds: [] }).answer())
    await other.terminate()
    return { pending, later, stopped: await stopped }
  },

  /** The page of examples/, used as a person would. */
  async example({ image, question }) {
    const frame = document.createElement("iframe")
    frame.src = "../../examples/browser/index.html"
    document.body.append(frame)
    const until = async (what, ready) => {
      for (let tries = 0; tries < 3000; tries++) {
        if (ready()) return
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
      throw new Error(`${what} did not come; the page shows: ${output()?.value}`)
    }
    const page = () => frame.contentDocument
    const output = () => page()?.querySelector("output")
    await until("the model", () => output()?.value.startsWith("ready"))
    const ready = output().value
    const [file, words, , button] = page().querySelector("form").elements
    const transfer = new DataTransfer()
    transfer.items.add(new File([await bytes(sample(image))], image, { type: "image/png" }))
    file.files = transfer.files
    words.value = question
    button.click()
    const magenta = () => {
      const canvas = page().querySelector("canvas")
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height)
      let count = 0
      for (let i = 0; i < data.length; i += 4) if (data[i] > 240 && data[i + 1] < 20 && data[i + 2] > 240) count++
      return count
    }
    await until("the box", () => magenta() > 0)
    await until("the answer", () => output().value.endsWith("</point_box>"))
    return { ready, text: output().value, magenta: magenta() }
  },
}

addEventListener("unhandledrejection", ({ reason }) => report({ unhandled: String(reason?.stack ?? reason) }))

function report(body) {
  return fetch("/result", { method: "POST", body: JSON.stringify(body) })
}

async function next() {
  for (;;) {
    try {
      const response = await fetch("/next")
      if (response.ok) return await response.json()
    } catch {
      // The server is not ready yet.
    }
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

/** One after the other, as the server says. */
for (;;) {
  const { name, input, go } = await next()
  if (go) {
    location.href = go
    break
  }
  if (!name) break
  try {
    await report({ name, result: await scenarios[name](input) })
  } catch (error) {
    await report({ name, error: String(error.stack ?? error) })
  }
}
