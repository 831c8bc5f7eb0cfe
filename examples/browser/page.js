// Choose a picture, ask, see where the answer points. Run `node examples/browser/serve.js` and open what it says.
// With a bundler the import is "isaac-vlm".
import { Isaac } from "../../dist/browser/isaac.js"

const form = document.querySelector("form")
const [file, question, expect, , stop] = form.elements
const output = document.querySelector("output")
const canvas = document.querySelector("canvas")

const isaac = await Isaac.load("../../models/isaac-tiny/", {
  onProgress: ({ stage, fraction, message }) => {
    output.value = stage === "notice" ? message : `${stage}: ${Math.round(fraction * 100)} %`
  },
}).catch((error) => {
  output.value = error.message
  throw error
})
output.value = `ready: ${isaac.info.isa}, ${isaac.info.threads} threads`

file.onchange = showPicture

form.onsubmit = async (event) => {
  event.preventDefault()
  const picture = await showPicture()
  if (!picture) return
  const controller = new AbortController()
  stop.disabled = false
  stop.onclick = () => controller.abort()
  output.value = ""
  try {
    const answer = isaac.ask([picture], question.value, { expect: expect.value, signal: controller.signal })
    for await (const event of answer) {
      if (event.type === "text.delta") output.value += event.text
      if (event.type === "points.delta") event.pixels.forEach(draw)
    }
  } catch (error) {
    output.value = error.message
  }
  stop.disabled = true
}

async function showPicture() {
  const [picture] = file.files
  if (!picture) return undefined
  const bitmap = await createImageBitmap(picture) // upright, as its EXIF orientation says
  canvas.width = bitmap.width
  canvas.height = bitmap.height
  canvas.getContext("2d").drawImage(bitmap, 0, 0)
  return picture
}

function draw(leaf) {
  const pen = canvas.getContext("2d")
  pen.strokeStyle = "magenta"
  pen.lineWidth = Math.max(2, canvas.width / 200)
  pen.beginPath()
  if (leaf.type === "box") pen.rect(leaf.x1, leaf.y1, leaf.x2 - leaf.x1, leaf.y2 - leaf.y1)
  if (leaf.type === "point") pen.arc(leaf.x, leaf.y, pen.lineWidth * 2, 0, 7)
  if (leaf.type === "polygon") for (const [x, y] of [...leaf.points, leaf.points[0]]) pen.lineTo(x, y)
  pen.stroke()
}
